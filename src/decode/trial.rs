//! Finds the kernels that suit a device. In: a device and a model's shape. Out: the quickest variant, timed on matrices of that
//! shape, in steps so short that whoever loads a model can take them while it waits for bytes, and stop after any of them.
//!
//! Only variants that compute the same are tried: how keys and values are stored is the user's choice, not a matter of speed alone.

use burn::tensor::{DType, Device, Int, Tensor};

use super::device::client;
use super::{Clock, DecodeError};
use crate::config::LlamaConfig;
use crate::kernels::linear::{Epilogue, Input, Linear, Matrix, MatrixShape, Rows, linear};
use crate::kernels::{Prefill, Reduction, SHARING, Variant};
use crate::model::word_tensor;
use crate::quant::{Format, GROUP};

/// All steps together end after this, whatever is left to try.
pub const LONGEST_TRIAL_MS: f64 = 1000.0;
/// What one measurement should take: long beside the way to the device and back.
const MEASURE_MS: f64 = 3.0;
/// Measurements of a variant, of which the quickest counts: what else runs on a machine can only slow one down.
const MEASUREMENTS: usize = 3;
/// Launches of one measurement at most.
const MOST_LAUNCHES: usize = 64;
/// Words of a matrix at most: a device is known well enough by a part of a large one.
const MOST_WORDS: usize = 4 << 20;
/// Rows of the products that stand for a prompt.
const PREFILL_ROWS: usize = 64;

/// One variant and what it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The variant; what it was not timed for is as in the variant before.
    pub variant: Variant,
    /// Milliseconds of one product of the decode step, or of the prompt.
    pub ms: f64,
    /// Whether a prompt's product was timed.
    pub prefill: bool,
}

/// Variants still to be tried, and those that were.
#[derive(Debug)]
pub struct Trial {
    matrix: Matrix,
    waiting: Vec<(Variant, bool)>,
    measured: Vec<Measured>,
    best: Variant,
    spent_ms: f64,
    idle_ms: Option<f64>,
    clock: Clock,
}

impl Trial {
    /// Allocates a matrix of the model's shape. `start` is what to begin with, `subgroup` the least size of a subgroup where the
    /// device has any.
    pub fn new(
        config: &LlamaConfig,
        start: Variant,
        subgroup: Option<usize>,
        device: &Device,
        clock: Clock,
    ) -> Self {
        let padded = config.hidden_size.next_multiple_of(GROUP);
        let rows = (2 * config.intermediate_size)
            .min(MOST_WORDS * 8 / padded)
            .max(2)
            & !1;
        let shape = MatrixShape {
            rows,
            cols: config.hidden_size,
            format: Format::Q4,
        };
        let room = |words: usize| {
            device.memory_persistent_allocations([words], |shape| {
                Tensor::<1, Int>::empty(shape, (device, DType::U32))
            })
        };
        Self {
            matrix: Matrix {
                words: room(rows * padded / 8),
                scales: room((rows * padded / GROUP).div_ceil(2)),
                shape,
                first_row: 0,
            },
            waiting: candidates(start, subgroup),
            measured: Vec::new(),
            best: start,
            spent_ms: 0.0,
            idle_ms: None,
            clock,
        }
    }

    /// The quickest so far.
    pub fn best(&self) -> Variant {
        self.best
    }

    /// What was measured so far.
    pub fn measured(&self) -> &[Measured] {
        &self.measured
    }

    /// Milliseconds spent so far.
    pub fn spent_ms(&self) -> f64 {
        self.spent_ms
    }

    /// Whether nothing is left to try, or no time.
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty() || self.spent_ms >= LONGEST_TRIAL_MS
    }

    /// Times one more variant. Nothing happens on the CPU backend, which has one.
    ///
    /// # Errors
    /// The device failed.
    pub async fn step(&mut self) -> Result<(), DecodeError> {
        let begun_ms = (self.clock)();
        if self.is_over() || client(self.matrix.words.clone()).is_none() {
            self.waiting.clear();
            return Ok(());
        }
        let (candidate, prefill) = self.waiting.remove(0);
        // What decoding taught stays when prompts are tried.
        let variant = match prefill {
            true => Variant {
                prefill: candidate.prefill,
                ..self.best
            },
            false => candidate,
        };
        let ms = self
            .time(variant, if prefill { PREFILL_ROWS } else { 1 })
            .await?;
        let quickest = self
            .measured
            .iter()
            .filter(|other| other.prefill == prefill)
            .all(|other| other.ms > ms);
        if quickest {
            self.best = variant;
        }
        self.measured.push(Measured {
            variant,
            ms,
            prefill,
        });
        self.spent_ms += (self.clock)() - begun_ms;
        tracing::debug!(%variant, ms, prefill, "tried");
        Ok(())
    }

    /// Milliseconds of one launch.
    async fn time(&mut self, variant: Variant, rows: usize) -> Result<f64, DecodeError> {
        let shape = self.matrix.shape;
        let device = self.matrix.words.device();
        let x = Tensor::zeros([rows, shape.cols], (&device, DType::F32));
        let mut out = Tensor::zeros([rows, shape.rows / 2], (&device, DType::F32));
        let step = word_tensor(vec![0, rows as u32], &device);
        let spec = Linear {
            input: Input::Plain,
            rows: Rows::Each,
            epilogue: Epilogue::SwiGlu,
            variant,
        };
        let mut launch = |times: usize| {
            for _ in 0..times {
                out = linear(x.clone(), &self.matrix, out.clone(), step.clone(), spec);
            }
        };
        // The first one compiles, the second shows how many fill a measurement.
        launch(1);
        settle(&self.matrix).await?;
        if self.idle_ms.is_none() {
            self.idle_ms = Some(elapsed(self.clock, settle(&self.matrix)).await?);
        }
        let idle_ms = self.idle_ms.unwrap_or_default();
        launch(1);
        let one_ms = elapsed(self.clock, settle(&self.matrix)).await? - idle_ms;
        let times = (MEASURE_MS / one_ms.max(0.01)).ceil() as usize;
        let times = times.clamp(1, MOST_LAUNCHES);
        if times == 1 {
            return Ok(one_ms);
        }
        let mut quickest_ms = one_ms;
        for _ in 0..MEASUREMENTS {
            let begun_ms = (self.clock)();
            launch(times);
            settle(&self.matrix).await?;
            let each_ms = ((self.clock)() - begun_ms - idle_ms).max(0.0) / times as f64;
            quickest_ms = quickest_ms.min(each_ms);
        }
        Ok(quickest_ms)
    }
}

/// What is tried for decoding, then for prompts, `start` first in each: as a trial may end early, what is likely to matter comes
/// before what is not.
fn candidates(start: Variant, subgroup: Option<usize>) -> Vec<(Variant, bool)> {
    let mut decode = vec![start];
    let reductions = [Some(Reduction::Tree), subgroup.map(Reduction::Subgroup)];
    for lanes in [64, 16, 4, 1] {
        for weight_rows in [4, 8] {
            for reduction in reductions.into_iter().flatten() {
                // A lane alone has nothing to join.
                if lanes == 1 && reduction != Reduction::Tree {
                    continue;
                }
                decode.push(Variant {
                    weight_rows,
                    lanes,
                    reduction,
                    ..start
                });
            }
        }
    }
    if start.lanes < 64 {
        // Few lanes suit this device: begin from that end.
        decode[1..].reverse();
    }
    let sharing = subgroup.is_some_and(|least| least >= SHARING);
    let others = [
        sharing.then_some(Prefill::Shared),
        Some(Prefill::Direct),
        Some(Prefill::Tile),
    ];
    let mut prompts = vec![start.prefill];
    prompts.extend(others.into_iter().flatten().filter(|p| *p != start.prefill));
    let mut all: Vec<(Variant, bool)> = Vec::new();
    for (at, variant) in decode.into_iter().enumerate() {
        // Prompts second: there are few of them, and the gaps are wide.
        if at == 2 {
            all.extend(prompts.iter().map(|prefill| {
                (
                    Variant {
                        prefill: *prefill,
                        ..start
                    },
                    true,
                )
            }));
        }
        if !all.contains(&(variant, false)) {
            all.push((variant, false));
        }
    }
    all
}

async fn settle(matrix: &Matrix) -> Result<(), DecodeError> {
    match client(matrix.words.clone()) {
        Some(client) => client.sync().await.map_err(super::lane::refused),
        None => Ok(()),
    }
}

async fn elapsed(
    clock: Clock,
    work: impl Future<Output = Result<(), DecodeError>>,
) -> Result<f64, DecodeError> {
    let begun_ms = clock();
    work.await?;
    Ok(clock() - begun_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_tried_once_and_the_start_comes_first() {
        for start in [Variant::PLAIN, Variant::SOFTWARE] {
            for subgroup in [None, Some(8)] {
                let all = candidates(start, subgroup);
                assert_eq!(all[0], (start, false));
                for (i, candidate) in all.iter().enumerate() {
                    assert!(!all[i + 1..].contains(candidate), "{candidate:?} twice");
                    assert_eq!(candidate.0.cache, start.cache);
                }
                let prompts = all.iter().filter(|(_, prefill)| *prefill).count();
                let expected = if subgroup.is_some() { (3, 14) } else { (2, 8) };
                assert_eq!((prompts, all.len() - prompts), expected);
            }
        }
    }
}
