//! In: where points stand. Out: every broken line that could run through them, as directions in which a curve can leave a
//! straight line: what a break explains is then a dot product.

/// Steps from one point to the next in which breaks are looked for, where there are few points.
const FINE: usize = 4;
/// Points from which on breaks are looked for at points only: there are enough of them.
const MANY: usize = 33;
/// Shorter than this a direction is rounding.
const NOTHING: f64 = 1e-9;

/// The straight line and the parabola over some points, and all broken lines with one and with two breaks.
#[derive(Clone, Debug)]
pub(super) struct Bends {
    x: Vec<f64>,
    line: Vec<Vec<f64>>,
    parabola: Vec<f64>,
    pub(super) one: Vec<Bend>,
    pub(super) two: Vec<Bend>,
}

/// A broken line.
#[derive(Clone, Debug)]
pub(super) struct Bend {
    /// Where it breaks, from 0 (the first point) to 1 (the last).
    pub(super) breaks: Vec<f64>,
    /// Orthonormal, and perpendicular to every straight line.
    directions: Vec<Vec<f64>>,
}

impl Bends {
    /// For points that rise from 0 to 1; at least five.
    pub(super) fn new(x: &[f64]) -> Self {
        let constant = vec![1.0; x.len()];
        let line = orthonormal(&[], &[constant, x.to_vec()]);
        let square = x.iter().map(|x| x * x).collect();
        let parabola = orthonormal(&line, &[square]).concat();
        let places = places(x);
        let gap = least_gap(x);
        let bend = |breaks: &[f64]| {
            let hinges: Vec<Vec<f64>> = breaks.iter().map(|at| hinge(x, *at)).collect();
            Bend {
                breaks: breaks.to_vec(),
                directions: orthonormal(&line, &hinges),
            }
        };
        let one = places.iter().map(|at| bend(&[*at]));
        let pairs = places.iter().enumerate().flat_map(|(index, first)| {
            let later = places[index + 1..].iter();
            later.map(move |second| [*first, *second])
        });
        let apart = pairs.filter(|[first, second]| second - first > gap * 0.999);
        Self {
            one: one.collect(),
            two: apart.map(|pair| bend(&pair)).collect(),
            x: x.to_vec(),
            line,
            parabola,
        }
    }

    /// What of the values no straight line explains.
    pub(super) fn off_line(&self, y: &[f64]) -> Vec<f64> {
        let mut rest = y.to_vec();
        // Twice: what rounding leaves of a steep line would look like a bend.
        for _ in 0..2 {
            self.line
                .iter()
                .for_each(|direction| remove(&mut rest, direction));
        }
        rest
    }

    /// What of it no parabola explains: a sum of squares.
    pub(super) fn off_parabola(&self, off_line: &[f64]) -> f64 {
        squares(off_line) - dot(off_line, &self.parabola).powi(2)
    }

    /// The slopes of the best broken line with these breaks, one more than there are breaks; in units of y over the whole of x.
    pub(super) fn slopes(&self, y: &[f64], breaks: &[f64]) -> Vec<f64> {
        let mut columns = vec![vec![1.0; self.x.len()], self.x.clone()];
        columns.extend(breaks.iter().map(|at| hinge(&self.x, *at)));
        let weights = least_squares(&columns, y);
        let mut slope = 0.0;
        let slopes = weights[1..].iter().map(|change| {
            slope += change;
            slope
        });
        slopes.collect()
    }
}

impl Bend {
    /// How much of the values off the line it explains: a sum of squares.
    pub(super) fn explains(&self, off_line: &[f64]) -> f64 {
        let along = self.directions.iter().map(|d| dot(off_line, d));
        along.map(|dot| dot * dot).sum()
    }
}

/// Sum of squares.
pub(super) fn squares(values: &[f64]) -> f64 {
    dot(values, values)
}

/// Where a line may break: two points lie on either side, or the break would be at one of them.
fn places(x: &[f64]) -> Vec<f64> {
    let steps = if x.len() < MANY { FINE } else { 1 };
    let inner = &x[1..x.len() - 1];
    let mut places: Vec<f64> = (inner.windows(2))
        .flat_map(|pair| {
            (0..steps).map(move |step| pair[0] + (pair[1] - pair[0]) * step as f64 / steps as f64)
        })
        .collect();
    places.extend(inner.last());
    places
}

fn least_gap(x: &[f64]) -> f64 {
    let gaps = x.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.fold(f64::INFINITY, f64::min)
}

fn hinge(x: &[f64], at: f64) -> Vec<f64> {
    x.iter().map(|x| (x - at).max(0.0)).collect()
}

/// Gram and Schmidt's, each vector cleared twice, against those before it and `clear_of`.
fn orthonormal(clear_of: &[Vec<f64>], vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = Vec::new();
    for vector in vectors {
        let mut rest = vector.clone();
        for _ in 0..2 {
            let known = clear_of.iter().chain(&found);
            known.for_each(|direction| remove(&mut rest, direction));
        }
        let length = squares(&rest).sqrt();
        if length > NOTHING {
            rest.iter_mut().for_each(|value| *value /= length);
            found.push(rest);
        }
    }
    found
}

fn remove(from: &mut [f64], direction: &[f64]) {
    let along = dot(from, direction);
    let pairs = from.iter_mut().zip(direction);
    pairs.for_each(|(value, part)| *value -= along * part);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weights of the columns by the normal equations: four columns of numbers from 0 to 1 at most.
fn least_squares(columns: &[Vec<f64>], y: &[f64]) -> Vec<f64> {
    let size = columns.len();
    let mut rows: Vec<Vec<f64>> = columns
        .iter()
        .map(|row| {
            let mut sums: Vec<f64> = columns.iter().map(|column| dot(row, column)).collect();
            sums.push(dot(row, y));
            sums
        })
        .collect();
    for pivot in 0..size {
        let largest = (pivot..size).max_by(|a, b| {
            let (a, b) = (rows[*a][pivot].abs(), rows[*b][pivot].abs());
            a.total_cmp(&b)
        });
        rows.swap(pivot, largest.unwrap_or(pivot));
        let head = rows[pivot].clone();
        if head[pivot].abs() < f64::MIN_POSITIVE {
            return vec![0.0; size];
        }
        for (index, row) in rows.iter_mut().enumerate() {
            if index != pivot {
                let factor = row[pivot] / head[pivot];
                let pairs = row.iter_mut().zip(&head);
                pairs.for_each(|(value, part)| *value -= factor * part);
            }
        }
    }
    (0..size).map(|at| rows[at][size] / rows[at][at]).collect()
}
