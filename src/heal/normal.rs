//! Least squares in normal equations: rows of features F and of what is wanted D come in pieces, Z that makes F Z like D goes out.
//! Sums and solutions in f64.

/// Sums over rows, each a feature vector and what is wanted of it.
pub(super) struct Normal {
    features: usize,
    wanted: usize,
    /// F' F: (features, features).
    gram: Vec<f64>,
    /// F' D: (features, wanted).
    cross: Vec<f64>,
    /// The sum of D's squares.
    energy: f64,
}

/// What some rows add.
pub(super) struct Sums {
    /// (features, features).
    pub(super) gram: Vec<f32>,
    /// (features, wanted).
    pub(super) cross: Vec<f32>,
    pub(super) energy: f64,
}

impl Normal {
    pub(super) fn new(features: usize, wanted: usize) -> Self {
        Self {
            features,
            wanted,
            gram: vec![0.0; features * features],
            cross: vec![0.0; features * wanted],
            energy: 0.0,
        }
    }

    pub(super) fn add(&mut self, sums: &Sums) {
        for (total, value) in self.gram.iter_mut().zip(&sums.gram) {
            *total += f64::from(*value);
        }
        for (total, value) in self.cross.iter_mut().zip(&sums.cross) {
            *total += f64::from(*value);
        }
        self.energy += sums.energy;
    }

    pub(super) fn is_finite(&self) -> bool {
        let mut values = self.gram.iter().chain(&self.cross).chain([&self.energy]);
        values.all(|value| value.is_finite())
    }

    /// Z that minimises |F Z - D|^2 + ridge |Z|^2, the ridge in units of the features' mean square: (features, wanted). `None` where
    /// the features are too dependent on each other for so small a ridge.
    pub(super) fn solve(&self, ridge: f64) -> Option<Vec<f64>> {
        let n = self.features;
        let mean = (0..n).map(|at| self.gram[at * n + at]).sum::<f64>() / n as f64;
        let mut factor = self.gram.clone();
        for at in 0..n {
            factor[at * n + at] += ridge * mean;
        }
        cholesky(&mut factor, n)?;
        let mut solution = self.cross.clone();
        substitute(&factor, &mut solution, self.wanted);
        Some(solution)
    }

    /// |F Z - D|^2 / |D|^2 over these rows, whichever rows Z was solved for.
    pub(super) fn error(&self, z: &[f64]) -> f64 {
        if self.energy == 0.0 {
            return 0.0;
        }
        let mut sum = self.energy;
        let rows = z.chunks_exact(self.wanted);
        let rows = rows.zip(self.gram.chunks_exact(self.features));
        let mut product = vec![0.0; self.wanted];
        for ((own, gram), cross) in rows.zip(self.cross.chunks_exact(self.wanted)) {
            product.fill(0.0);
            for (weight, other) in gram.iter().zip(z.chunks_exact(self.wanted)) {
                add(&mut product, *weight, other);
            }
            let terms = own.iter().zip(&product).zip(cross);
            sum += terms.map(|((z, gz), c)| z * (gz - 2.0 * c)).sum::<f64>();
        }
        sum / self.energy
    }
}

/// The upper factor U of a symmetric positive matrix A = U' U, in its place. A row at a time is taken from all rows below it: every
/// access is along a row.
fn cholesky(a: &mut [f64], n: usize) -> Option<()> {
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        let pivot = row[k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let root = pivot.sqrt();
        row[k..].iter_mut().for_each(|value| *value /= root);
        for (other, i) in below.chunks_exact_mut(n).zip(k + 1..) {
            add(&mut other[i..], -row[i], &row[i..]);
        }
    }
    Some(())
}

/// Solves U' U Z = C in the place of C: (n, width).
fn substitute(u: &[f64], c: &mut [f64], width: usize) {
    let n = c.len() / width;
    for k in 0..n {
        let (above, below) = c.split_at_mut((k + 1) * width);
        let own = &mut above[k * width..];
        let row = &u[k * n..][..n];
        own.iter_mut().for_each(|value| *value /= row[k]);
        for (other, factor) in below.chunks_exact_mut(width).zip(&row[k + 1..]) {
            add(other, -factor, own);
        }
    }
    for k in (0..n).rev() {
        let (above, below) = c.split_at_mut((k + 1) * width);
        let own = &mut above[k * width..];
        let row = &u[k * n..][..n];
        for (other, factor) in below.chunks_exact(width).zip(&row[k + 1..]) {
            add(own, -factor, other);
        }
        own.iter_mut().for_each(|value| *value /= row[k]);
    }
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::SplitMix;

    fn normals(random: &mut SplitMix) -> f32 {
        (0..12)
            .map(|_| random.below(1 << 20) as f32 / (1 << 20) as f32)
            .sum::<f32>()
            - 6.0
    }

    fn of(f: &[f32], d: &[f32], features: usize, wanted: usize) -> Normal {
        let mut normal = Normal::new(features, wanted);
        for (f, d) in f.chunks_exact(features).zip(d.chunks_exact(wanted)) {
            let outer = |a: &[f32], b: &[f32]| -> Vec<f32> {
                a.iter()
                    .flat_map(|a| b.iter().map(move |b| a * b))
                    .collect()
            };
            normal.add(&Sums {
                gram: outer(f, f),
                cross: outer(f, d),
                energy: d.iter().map(|d| f64::from(d * d)).sum(),
            });
        }
        normal
    }

    #[test]
    fn what_made_the_data_is_found_again() {
        let (features, wanted, rows) = (7, 3, 60);
        let mut random = SplitMix(1);
        let truth: Vec<f32> = (0..features * wanted)
            .map(|_| normals(&mut random))
            .collect();
        let f: Vec<f32> = (0..rows * features).map(|_| normals(&mut random)).collect();
        let mut d = Vec::new();
        for f in f.chunks_exact(features) {
            for column in 0..wanted {
                let terms = f.iter().enumerate();
                d.push(
                    terms
                        .map(|(at, f)| f * truth[at * wanted + column])
                        .sum::<f32>(),
                );
            }
        }
        let normal = of(&f, &d, features, wanted);
        let found = normal.solve(0.0).expect("independent features");
        for (found, truth) in found.iter().zip(&truth) {
            // Products were rounded to f32, 2^-24 of themselves.
            assert!((found - f64::from(*truth)).abs() < 1e-5, "{found} {truth}");
        }
        assert!(normal.error(&found) < 1e-6);
        assert!((normal.error(&vec![0.0; features * wanted]) - 1.0).abs() < 1e-12);
        // A ridge shrinks, a large one to nothing.
        let norm = |z: &[f64]| z.iter().map(|z| z * z).sum::<f64>();
        let shrunk = normal.solve(1e6).expect("positive");
        assert!(norm(&shrunk) < 1e-6 * norm(&found));
    }

    #[test]
    fn the_solution_has_no_slope() {
        let (features, wanted) = (5, 2);
        let mut random = SplitMix(2);
        let f: Vec<f32> = (0..40 * features).map(|_| normals(&mut random)).collect();
        let d: Vec<f32> = (0..40 * wanted).map(|_| normals(&mut random)).collect();
        let normal = of(&f, &d, features, wanted);
        let best = normal.solve(0.0).expect("independent features");
        for at in 0..best.len() {
            for step in [-1e-3, 1e-3] {
                let mut other = best.clone();
                other[at] += step;
                assert!(normal.error(&other) > normal.error(&best));
            }
        }
    }

    #[test]
    fn features_that_depend_on_each_other_need_a_ridge() {
        let f = [1.0, 2.0, 2.0, 4.0, 3.0, 6.0];
        let d = [1.0, 2.0, 3.0];
        let normal = of(&f, &d, 2, 1);
        assert!(normal.solve(0.0).is_none());
        let solved = normal.solve(1e-6).expect("positive with a ridge");
        assert!(normal.error(&solved) < 1e-6);
    }
}
