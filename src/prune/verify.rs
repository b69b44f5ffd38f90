//! In: the source under its plan, and what was written. Out: whether both give the same logits. One layer of each is in memory.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::encode::round_trip;
use super::{NumberType, PruneError};
use crate::checkpoint::{Checkpoint, Dtype, LayerWeight, Weight};
use crate::config::LlamaConfig;
use crate::dense::{Block, DenseError, DenseLayer, DenseSource, Positions, read_floats, tensor};
use crate::draws::SplitMix;
use crate::plan::LayerPlan;

/// Tokens of each sequence that is run.
const TOKENS: usize = 24;
const SEQUENCES: usize = 2;

/// The rotary embedding goes into some files as f32 divisors of the frequencies, of which the other side keeps f64: angles differ by
/// 2^-24 of themselves, and logits by little more. All else is equal to the last bit.
const ROPE_TOLERANCE: f32 = 1e-4;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// Positions whose logits were compared.
    pub positions: usize,
    /// The largest difference of two logits.
    pub largest_difference: f32,
    /// The largest magnitude of a logit: beside it the difference is to be seen.
    pub largest_logit: f32,
}

/// A checkpoint's layers under a plan, in the numbers that were asked for: what the written file has to do.
pub struct Expected<'c> {
    checkpoint: &'c Checkpoint<'c>,
    plan: &'c LayerPlan,
    config: LlamaConfig,
    number_type: NumberType,
}

impl<'c> Expected<'c> {
    /// The plan's layers, counted anew.
    pub fn new(
        checkpoint: &'c Checkpoint<'c>,
        plan: &'c LayerPlan,
        number_type: NumberType,
    ) -> Self {
        let config = LlamaConfig {
            layers: plan.layers.len(),
            ..checkpoint.config().clone()
        };
        Self {
            checkpoint,
            plan,
            config,
            number_type,
        }
    }

    fn written(&self, weight: Weight, values: &mut [f32], cols: usize) -> Result<(), DenseError> {
        if self.number_type == NumberType::Stored {
            return Ok(());
        }
        let stored = self.checkpoint.matrix(weight)?.dtype;
        let dtype = self.number_type.of(stored, cols);
        if dtype == Dtype::F32 || dtype == stored {
            return Ok(());
        }
        // It was written before, so it can be.
        round_trip("", values, cols, dtype).map_err(|error| DenseError::Device {
            reason: error.to_string(),
        })
    }
}

impl DenseSource for Expected<'_> {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let mut values = self.checkpoint.embed(ids)?;
        self.written(Weight::Embedding, &mut values, self.config.hidden_size)?;
        Ok(values)
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let Some(&original) = self.plan.layers.get(index) else {
            return Err(DenseError::NotLoaded { layer: index });
        };
        let mut layer = DenseSource::layer(self.checkpoint, original)?;
        let hidden = self.config.hidden_size;
        let (query, intermediate) = (self.config.query_rows(), self.config.intermediate_size);
        for (part, values, cols) in [
            (LayerWeight::Query, &mut layer.query, hidden),
            (LayerWeight::Key, &mut layer.key, hidden),
            (LayerWeight::Value, &mut layer.value, hidden),
            (LayerWeight::Output, &mut layer.output, query),
            (LayerWeight::Gate, &mut layer.gate, hidden),
            (LayerWeight::Up, &mut layer.up, hidden),
            (LayerWeight::Down, &mut layer.down, intermediate),
        ] {
            self.written(Weight::Layer(original, part), values, cols)?;
        }
        Ok(layer)
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        self.checkpoint.final_norm()
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        let mut values = self.checkpoint.head(rows)?;
        self.written(Weight::Head, &mut values, self.config.hidden_size)?;
        Ok(values)
    }
}

/// Runs drawn token ids through both and compares every logit. `progress` is told how many of how many layers have run.
///
/// # Errors
/// The two are of different shapes or differ, or cannot be read.
pub fn verify(
    expected: &dyn DenseSource,
    written: &dyn DenseSource,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verified, PruneError> {
    let (left, right) = (expected.config(), written.config());
    same_shape(left, right)?;
    let tokens = TOKENS.min(left.context);
    let ids = draw(left, seed, tokens * SEQUENCES);
    let mut streams = Vec::new();
    for source in [expected, written] {
        let shape = [SEQUENCES, tokens, left.hidden_size];
        let positions = Positions::new(source.config(), tokens, device);
        streams.push((
            source,
            positions,
            tensor(source.embed(&ids)?, shape, device),
        ));
    }
    for layer in 0..left.layers {
        for (source, positions, x) in &mut streams {
            let block = Block::new(source.layer(layer)?, source.config(), device);
            *x = block.forward(x.clone(), positions);
        }
        progress(layer + 1, left.layers);
    }
    let mut found = Verified {
        positions: tokens * SEQUENCES,
        largest_difference: 0.0,
        largest_logit: 0.0,
    };
    let mut normed = Vec::new();
    for (source, _, x) in streams {
        normed.push((source, normalise(x, source.final_norm()?, left, device)));
    }
    // Some rows of the head at a time: the whole of it is never widened.
    for first in (0..left.vocab_size).step_by(HEAD_ROWS) {
        let rows = first..(first + HEAD_ROWS).min(left.vocab_size);
        let mut logits = Vec::new();
        for (source, x) in &normed {
            let head = tensor(
                source.head(rows.clone())?,
                [rows.len(), left.hidden_size],
                device,
            );
            logits.push(read_floats(x.clone().matmul(head.transpose()))?);
        }
        for (a, b) in logits[0].iter().zip(&logits[1]) {
            let difference = (a - b).abs();
            // A NaN is kept, and fails the verdict.
            if difference > found.largest_difference || difference.is_nan() {
                found.largest_difference = difference;
            }
            found.largest_logit = found.largest_logit.max(a.abs());
        }
    }
    judge(found, left.rope == right.rope)
}

const HEAD_ROWS: usize = 4096;

fn judge(found: Verified, same_rope: bool) -> Result<Verified, PruneError> {
    let tolerance = if same_rope { 0.0 } else { ROPE_TOLERANCE };
    if found.largest_difference <= tolerance * found.largest_logit {
        return Ok(found);
    }
    let (difference, logit) = (found.largest_difference, found.largest_logit);
    Err(PruneError::Differs {
        reason: format!("logits of up to {logit} differ by {difference}"),
    })
}

fn same_shape(left: &LlamaConfig, right: &LlamaConfig) -> Result<(), PruneError> {
    let shape = |config: &LlamaConfig| LlamaConfig {
        rope: left.rope.clone(),
        eos_tokens: Vec::new(),
        bos_token: None,
        ..config.clone()
    };
    if shape(left) == shape(right) {
        return Ok(());
    }
    Err(PruneError::Differs {
        reason: format!("its shape is {right:?}, not {left:?}"),
    })
}

fn normalise(x: Tensor<3>, gains: Vec<f32>, config: &LlamaConfig, device: &Device) -> Tensor<2> {
    let hidden = config.hidden_size;
    let rows = x.dims()[0] * x.dims()[1];
    crate::dense::rms_norm(
        x.reshape([rows, hidden]),
        tensor(gains, [1, hidden], device),
        config.rms_norm_eps,
    )
}

/// Ids all over the vocabulary; the begin token first, where there is one.
fn draw(config: &LlamaConfig, seed: u64, count: usize) -> Vec<u32> {
    let mut random = SplitMix(seed);
    let draw = |_| random.below(config.vocab_size as u64) as u32;
    let mut ids: Vec<u32> = (0..count).map(draw).collect();
    if let (Some(first), Some(bos)) = (ids.first_mut(), config.bos_token) {
        *first = bos;
    }
    ids
}
