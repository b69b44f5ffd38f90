//! In: probabilities under noise, with and without a state put back. Out: effects with intervals, layer by layer, token by token.

use serde::Serialize;

use crate::eval::{Interval, student};

/// A mean over noise samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Where the mean over all noise lies, 95 times of 100; unknown with one sample.
    pub interval: Option<Interval>,
}

/// How much of the answer's probability comes back where one state is put back.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// By layer, by token read: probability with the state put back minus probability without, same noise.
    pub effects: Vec<Vec<Estimate>>,
}

impl Estimate {
    /// The mean of draws, and its interval after Student.
    pub fn of(draws: &[f64]) -> Self {
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let squares: f64 = draws.iter().map(|draw| (draw - mean).powi(2)).sum();
        let interval = (draws.len() > 1).then(|| {
            let half = student(n - 1.0) * (squares / (n - 1.0) / n).sqrt();
            Interval {
                low: mean - half,
                high: mean + half,
            }
        });
        Self { mean, interval }
    }
}

impl Map {
    /// Where the effect is strongest: layer, token.
    pub fn strongest(&self) -> (usize, usize) {
        let cells = self.effects.iter().enumerate();
        let cells = cells.flat_map(|(layer, row)| (0..row.len()).map(move |token| (layer, token)));
        let mean = |(layer, token): (usize, usize)| self.effects[layer][token].mean;
        cells.fold(
            (0, 0),
            |best, cell| {
                if mean(cell) > mean(best) { cell } else { best }
            },
        )
    }

    /// The share of the positive effects, summed over layers and tokens, that lies in these layers; `None` where there is no effect.
    pub fn share(&self, layers: &[usize]) -> Option<f64> {
        let of = |row: &Vec<Estimate>| row.iter().map(|cell| cell.mean.max(0.0)).sum::<f64>();
        let all: f64 = self.effects.iter().map(of).sum();
        let within = layers.iter().filter_map(|layer| self.effects.get(*layer));
        let within: f64 = within.map(of).sum();
        (all > 0.0).then(|| within / all)
    }
}
