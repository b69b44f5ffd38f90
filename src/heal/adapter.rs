//! Low-rank changes of a cut model's matrices: W + alpha / rank * B A (LoRA, arXiv 2106.09685).

use std::collections::BTreeMap;

use super::HealError;
use crate::checkpoint::{LayerWeight, Weight};
use crate::config::LlamaConfig;
use crate::dense::DenseSource;

/// Factors for some matrices of the layers that run.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// Rows of every A, columns of every B.
    pub rank: usize,
    /// Changes count alpha / rank times.
    pub alpha: f32,
    /// Of the inputs of A while training: a note, nothing that runs drops anything.
    pub dropout: f32,
    /// By layer of the model that was never cut, and matrix.
    pub factors: BTreeMap<(usize, LayerWeight), Factors>,
}

/// The change of one matrix (out, in).
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// (rank, in).
    pub a: Vec<f32>,
    /// (out, rank).
    pub b: Vec<f32>,
}

impl Adapter {
    /// alpha / rank.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// The matrices it changes, changed: what a [`super::Healing`] holds.
    ///
    /// # Errors
    /// Factors do not fit the model, or its weights cannot be read.
    pub fn merge(&self, source: &dyn DenseSource) -> Result<BTreeMap<Weight, Vec<f32>>, HealError> {
        self.check(source.config())?;
        let scale = f64::from(self.scale());
        let mut tensors = BTreeMap::new();
        let mut layers: Vec<usize> = self.factors.keys().map(|(layer, _)| *layer).collect();
        layers.dedup();
        for layer in layers {
            let mut weights = source.layer(layer)?;
            for ((_, part), factors) in self.factors.range(parts_of(layer)) {
                let mut matrix = std::mem::take(weights.part_mut(*part));
                let cols = factors.a.len() / self.rank;
                add_product(&mut matrix, factors, (self.rank, cols), scale);
                tensors.insert(Weight::Layer(layer, *part), matrix);
            }
        }
        Ok(tensors)
    }

    pub(super) fn check(&self, config: &LlamaConfig) -> Result<(), HealError> {
        let bad = |reason: String| HealError::Adapter {
            file: "factors",
            reason,
        };
        if self.rank == 0 || !self.alpha.is_finite() {
            let (rank, alpha) = (self.rank, self.alpha);
            return Err(bad(format!("rank {rank} and alpha {alpha} change nothing")));
        }
        for ((layer, part), factors) in &self.factors {
            let (rows, cols) = part.shape(config);
            let fits = *layer < config.layers
                && !part.is_norm()
                && self.rank <= rows.min(cols)
                && factors.a.len() == self.rank * cols
                && factors.b.len() == rows * self.rank;
            if !fits {
                return Err(bad(format!(
                    "rank {} with {} and {} values does not fit {part:?} ({rows} x {cols}) of layer {layer}",
                    self.rank,
                    factors.a.len(),
                    factors.b.len()
                )));
            }
        }
        Ok(())
    }
}

fn parts_of(layer: usize) -> std::ops::RangeInclusive<(usize, LayerWeight)> {
    (layer, LayerWeight::AttentionNorm)..=(layer, LayerWeight::Down)
}

/// Adds scale * B A, a row at a time; sums in f64, so that a merged weight is off by its own rounding alone.
fn add_product(matrix: &mut [f32], factors: &Factors, (rank, cols): (usize, usize), scale: f64) {
    let mut sums = vec![0.0; cols];
    let rows = matrix.chunks_exact_mut(cols);
    for (row, b) in rows.zip(factors.b.chunks_exact(rank)) {
        sums.fill(0.0);
        for (b, a) in b.iter().zip(factors.a.chunks_exact(cols)) {
            let b = f64::from(*b) * scale;
            for (sum, a) in sums.iter_mut().zip(a) {
                *sum += b * f64::from(*a);
            }
        }
        for (value, sum) in row.iter_mut().zip(&sums) {
            *value = (f64::from(*value) + sum) as f32;
        }
    }
}
