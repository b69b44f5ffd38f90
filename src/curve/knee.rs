//! In: a figure at every number of dropped layers. Out: the knee: where it begins to get worse, if there is such a place.
//!
//! The curve is fitted by a straight line, a parabola, and broken lines with one and with two breaks (two: a plateau, a cliff, and
//! the ground). A break is believed only where straight lines with noise bend so much once in a hundred times, which is found by
//! drawing them, and where the broken line says more than the parabola does. The knee is then the first break after which the
//! curve gets worse faster than before. Nothing else is known of where a knee should be.

use serde::{Deserialize, Serialize};

use super::bends::{Bend, Bends, squares};
use crate::draws::SplitMix;
use crate::eval::student;

/// Fewer points have too many broken lines through them.
pub const LEAST_POINTS: usize = 6;
/// A line with two breaks has six numbers; fewer points than this are not enough to tell it from noise.
const LEAST_POINTS_FOR_TWO: usize = 9;
/// Straight lines with noise that are drawn.
const DRAWS: usize = 2000;
/// Of these, each kind of broken line may pass for believable in so many: 1 in 100 together.
const FALSE: usize = DRAWS / 200;
/// Noise below this share of the curve's height is rounding, not noise.
const ROUNDING: f64 = 1e-9;

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// Losses, distances.
    Up,
    /// Accuracies, agreement.
    Down,
}

/// What a curve looks like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "shape")]
pub enum Shape {
    /// It bends for the worse.
    Knee(Knee),
    /// No bend can be told from noise.
    Straight,
    /// It bends, but evenly: a parabola says as much as a broken line.
    Gradual,
    /// It is worse from the first layer on, and only levels off.
    AtOnce,
    /// Fewer than [`LEAST_POINTS`] points, or points that are no finite numbers.
    TooFew,
}

/// Where a curve bends for the worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// Where, in units of x.
    pub at: f64,
    /// 95 %: breaks further left fit significantly worse.
    pub low: f64,
    /// 95 %: breaks further right fit significantly worse.
    pub high: f64,
    /// Units of y to one of x, before.
    pub slope_before: f64,
    /// Units of y to one of x, after.
    pub slope_after: f64,
}

/// Finds knees in curves over the same points.
#[derive(Clone, Debug)]
pub struct KneeFinder {
    first: f64,
    span: f64,
    points: usize,
    /// `None` where there are too few points.
    bends: Option<Bends>,
    /// How much smaller than a straight line's its sum of squares must be for one break to be believed; the same for two.
    believable: [f64; 2],
}

impl KneeFinder {
    /// For points at these places, in rising order.
    pub fn new(x: &[f64]) -> Self {
        let first = x.first().copied().unwrap_or(0.0);
        let span = x.last().map_or(0.0, |last| last - first);
        let is_rising = x.windows(2).all(|pair| pair[1] > pair[0]) && span.is_finite();
        let bends = (x.len() >= LEAST_POINTS && is_rising).then(|| {
            let scaled: Vec<f64> = x.iter().map(|x| (x - first) / span).collect();
            Bends::new(&scaled)
        });
        Self {
            first,
            span,
            points: x.len(),
            believable: bends
                .as_ref()
                .map_or([f64::INFINITY; 2], |bends| believable(bends, x.len())),
            bends,
        }
    }

    /// The shape of a curve.
    pub fn find(&self, y: &[f64], worse: Worse) -> Shape {
        let (Some(bends), true) = (&self.bends, y.len() == self.points) else {
            return Shape::TooFew;
        };
        if !y.iter().all(|y| y.is_finite()) {
            return Shape::TooFew;
        }
        let off_line = bends.off_line(y);
        let straight = squares(&off_line);
        let height = y.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b))
            - y.iter().fold(f64::INFINITY, |a, b| a.min(*b));
        // Below it, differences of sums of squares are rounding.
        let floor = y.len() as f64 * (height * ROUNDING).powi(2) + f64::MIN_POSITIVE;
        if straight <= floor {
            return Shape::Straight;
        }
        let rest = |bend: &Bend| (straight - bend.explains(&off_line)).max(floor);
        let one = least(&bends.one, rest);
        let two = (y.len() >= LEAST_POINTS_FOR_TWO)
            .then(|| least(&bends.two, rest))
            .flatten();
        let [one, two] = [(one, self.believable[0]), (two, self.believable[1])]
            .map(|(found, ratio)| found.filter(|(_, rest)| straight / rest > ratio));
        // Numbers that each curve has: constant, slope, changes of slope and where; and the noise.
        let information = |rest: f64, numbers: f64| information(rest, numbers, y.len() as f64);
        // A second break has to be as believable beside the first as the first beside none.
        let (bend, broken) = match (one, two) {
            (Some((_, one)), Some((bend, two))) if one / two > self.believable[0] => {
                (bend, information(two, 7.0))
            }
            (Some((bend, rest)), _) => (bend, information(rest, 5.0)),
            (None, Some((bend, rest))) => (bend, information(rest, 7.0)),
            (None, None) => return Shape::Straight,
        };
        let parabola = bends.off_parabola(&off_line).max(floor);
        if information(parabola, 4.0) <= broken {
            return Shape::Gradual;
        }
        let family = if bend.breaks.len() == 1 {
            &bends.one
        } else {
            &bends.two
        };
        self.knee(bends, y, worse, bend, family, rest)
    }

    fn knee(
        &self,
        bends: &Bends,
        y: &[f64],
        worse: Worse,
        bend: &Bend,
        family: &[Bend],
        rest: impl Fn(&Bend) -> f64,
    ) -> Shape {
        let slopes = bends.slopes(y, &bend.breaks);
        let worsens = |pair: &[f64]| match worse {
            Worse::Up => pair[1] > pair[0] && pair[1] > 0.0,
            Worse::Down => pair[1] < pair[0] && pair[1] < 0.0,
        };
        let Some(which) = slopes.windows(2).position(worsens) else {
            return Shape::AtOnce;
        };
        // Constant, slope, changes of slope and where: breaks whose fit the F test does not tell from the best one's.
        let room = y.len() as f64 - 2.0 - 2.0 * bend.breaks.len() as f64;
        let limit = rest(bend) * (1.0 + student(room).powi(2) / room);
        let likely = family.iter().filter(|other| rest(other) <= limit);
        let at = |bend: &Bend| self.first + bend.breaks[which] * self.span;
        let (low, high) = likely
            .map(at)
            .fold((at(bend), at(bend)), |(low, high), at| {
                (low.min(at), high.max(at))
            });
        Shape::Knee(Knee {
            at: at(bend),
            low,
            high,
            slope_before: slopes[which] / self.span,
            slope_after: slopes[which + 1] / self.span,
        })
    }
}

/// Akaike's criterion, corrected for few points (Hurvich and Tsai 1989).
fn information(rest: f64, numbers: f64, points: f64) -> f64 {
    let room = points - numbers - 1.0;
    if room <= 0.0 {
        return f64::INFINITY;
    }
    points * (rest / points).ln() + 2.0 * numbers + 2.0 * numbers * (numbers + 1.0) / room
}

fn least(bends: &[Bend], rest: impl Fn(&Bend) -> f64) -> Option<(&Bend, f64)> {
    let rests = bends.iter().map(|bend| (bend, rest(bend)));
    rests.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// How much straight lines with noise bend, at most, but for a few: the ratio depends on neither the line nor how strong the noise is.
fn believable(bends: &Bends, points: usize) -> [f64; 2] {
    let mut random = SplitMix(0);
    let mut ratios = [Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS)];
    for _ in 0..DRAWS {
        let noise: Vec<f64> = (0..points).map(|_| random.normal()).collect();
        let off_line = bends.off_line(&noise);
        let straight = squares(&off_line);
        for (bends, ratios) in [&bends.one, &bends.two].into_iter().zip(&mut ratios) {
            let most = bends
                .iter()
                .map(|bend| bend.explains(&off_line))
                .fold(0.0, f64::max);
            ratios.push(straight / (straight - most).max(f64::MIN_POSITIVE));
        }
    }
    ratios.map(|mut ratios| {
        ratios.sort_by(|a, b| b.total_cmp(a));
        ratios[FALSE]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fractions(layers: usize) -> Vec<f64> {
        (0..layers).map(|n| n as f64 / layers as f64).collect()
    }

    /// A curve through corners, with noise.
    fn planted(x: &[f64], corners: &[(f64, f64)], noise: f64, random: &mut SplitMix) -> Vec<f64> {
        let at = |x: f64| {
            let pair = corners
                .windows(2)
                .find(|pair| x <= pair[1].0)
                .unwrap_or(&corners[corners.len() - 2..]);
            let share = (x - pair[0].0) / (pair[1].0 - pair[0].0);
            pair[0].1 + share * (pair[1].1 - pair[0].1)
        };
        x.iter().map(|x| at(*x) + noise * random.normal()).collect()
    }

    #[test]
    fn planted_knees_are_found_through_noise() {
        // (layers, corners, noise, where the knee is); all as Down and, upside down, as Up.
        type Row = (usize, &'static [(f64, f64)], f64, f64);
        let rows: [Row; 7] = [
            (12, &[(0.0, 0.7), (0.45, 0.68), (1.0, 0.1)], 0.01, 0.45),
            (12, &[(0.0, 0.7), (0.25, 0.7), (1.0, 0.1)], 0.01, 0.25),
            (24, &[(0.0, 0.7), (0.6, 0.66), (1.0, 0.1)], 0.02, 0.6),
            // A plateau, a cliff and the ground.
            (
                16,
                &[(0.0, 0.7), (0.4, 0.7), (0.6, 0.25), (1.0, 0.25)],
                0.01,
                0.4,
            ),
            (
                32,
                &[(0.0, 0.46), (0.5, 0.44), (0.6, 0.25), (1.0, 0.25)],
                0.008,
                0.5,
            ),
            (
                40,
                &[(0.0, 0.55), (0.2, 0.52), (0.35, 0.25), (1.0, 0.25)],
                0.01,
                0.2,
            ),
            (
                80,
                &[(0.0, 0.69), (0.47, 0.67), (0.52, 0.25), (1.0, 0.25)],
                0.01,
                0.47,
            ),
        ];
        for (layers, corners, noise, knee) in rows {
            let x = fractions(layers);
            let finder = KneeFinder::new(&x);
            let (mut near, mut covered, mut random) = (0, 0, SplitMix(layers as u64));
            const RUNS: usize = 100;
            for run in 0..RUNS {
                let mut y = planted(&x, corners, noise, &mut random);
                let mut worse = Worse::Down;
                if run % 2 == 1 {
                    (y, worse) = (y.iter().map(|y| 3.0 - y).collect(), Worse::Up);
                }
                if let Shape::Knee(found) = finder.find(&y, worse) {
                    // A step of x is what one layer is; two of them where the model is deep.
                    let step = (1.0 / layers as f64).max(0.04);
                    near += usize::from((found.at - knee).abs() <= step);
                    covered += usize::from(found.low - 0.01 <= knee && knee <= found.high + 0.01);
                }
            }
            assert!(
                near >= 95,
                "{layers} layers, knee at {knee}: {near} of {RUNS} found"
            );
            assert!(
                covered >= 85,
                "{layers} layers, knee at {knee}: {covered} of {RUNS} in the interval"
            );
        }
    }

    #[test]
    fn straight_lines_have_no_knee_whatever_the_noise() {
        for (layers, slope, noise) in [
            (12, 1.0, 0.05),
            (12, 0.0, 0.02),
            (32, -2.0, 0.3),
            (80, 0.5, 0.01),
        ] {
            let x = fractions(layers);
            let finder = KneeFinder::new(&x);
            let mut random = SplitMix(7);
            let mut bent = 0;
            for _ in 0..200 {
                let y = planted(&x, &[(0.0, 1.0), (1.0, 1.0 + slope)], noise, &mut random);
                bent += usize::from(finder.find(&y, Worse::Up) != Shape::Straight);
            }
            // 1 in 100 is expected: 2 of 200; 8 or more come once in a thousand times.
            assert!(bent < 8, "{layers} layers, slope {slope}: {bent} of 200");
            for exact in [0.0, 1e-7, 1.0, 1e9] {
                let y: Vec<f64> = x.iter().map(|x| 3.0 + exact * x).collect();
                assert_eq!(finder.find(&y, Worse::Up), Shape::Straight, "slope {exact}");
            }
        }
    }

    #[test]
    fn curves_that_bend_otherwise_are_told_apart() {
        let x = fractions(24);
        let finder = KneeFinder::new(&x);
        let mut random = SplitMix(1);
        for _ in 0..100 {
            let parabola: Vec<f64> = x.iter().map(|x| x * x + 0.02 * random.normal()).collect();
            assert!(!matches!(
                finder.find(&parabola, Worse::Down),
                Shape::Knee(_)
            ));
            let falls = planted(
                &x,
                &[(0.0, 0.8), (0.3, 0.25), (1.0, 0.25)],
                0.01,
                &mut random,
            );
            assert_eq!(finder.find(&falls, Worse::Down), Shape::AtOnce);
        }
        let parabola: Vec<f64> = x.iter().map(|x| x * x).collect();
        assert_eq!(finder.find(&parabola, Worse::Up), Shape::Gradual);
    }

    #[test]
    fn what_is_no_curve_has_no_knee() {
        let finder = KneeFinder::new(&fractions(12));
        for y in [
            vec![],
            vec![1.0; 11],
            vec![f64::NAN; 12],
            vec![f64::INFINITY; 12],
        ] {
            assert_eq!(finder.find(&y, Worse::Up), Shape::TooFew);
        }
        assert_eq!(finder.find(&[1.0; 12], Worse::Up), Shape::Straight);
        for x in [vec![], vec![0.0; 12], fractions(5), vec![f64::NAN; 12]] {
            let finder = KneeFinder::new(&x);
            assert_eq!(finder.find(&vec![1.0; x.len()], Worse::Up), Shape::TooFew);
        }
    }
}
