//! In: a checkpoint or a pack, and which layers run. Out: the residual stream, logits and likelihoods of whole sequences.
//!
//! A dense f32 Llama in plain Burn tensor ops, on any device, made of [`Block`]s that stand alone: what scans, measures,
//! searches and verifies is built on it. Text is generated elsewhere ([`crate::decode`]); this one keeps no cache.

mod block;
mod model;
mod parallel;
mod score;
mod source;

use crate::checkpoint::CheckpointError;
use crate::pack::PackError;
use crate::plan::PlanError;
use crate::weights::WeightsError;

pub use self::block::{Block, Positions};
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::block::{Heads, Weights, attention, mlp};
pub(crate) use self::block::{rms_norm, tensor};
pub use self::model::{Dense, default_threads, is_cpu};
pub(crate) use self::parallel::in_parallel;
pub(crate) use self::score::read_floats;
pub use self::score::{Comparison, Continuation, Likelihood};
pub use self::source::{DenseLayer, DenseSource, PackSource, PlanSource};

/// Why a dense model cannot be made or run.
#[derive(Debug, thiserror::Error)]
pub enum DenseError {
    /// The weights could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The pack could not be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The plan does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An id past the vocabulary.
    #[error(
        "token {id} is not in the vocabulary of {vocabulary}; the tokenizer belongs to another model"
    )]
    UnknownToken {
        /// The id.
        id: u32,
        /// Tokens there are.
        vocabulary: usize,
    },
    /// Nothing to run on, or nothing to predict from.
    #[error(
        "sequence {sequence} has no token to predict from; begin it with the model's begin token"
    )]
    Empty {
        /// Position in the batch.
        sequence: usize,
    },
    /// A plan that runs a layer which was not loaded.
    #[error("layer {layer} was not loaded; load the model with every plan's layers")]
    NotLoaded {
        /// The layer.
        layer: usize,
    },
    /// The device failed or was lost.
    #[error("the device failed: {reason}; try again, or on the CPU with --device cpu")]
    Device {
        /// What the driver said.
        reason: String,
    },
}

impl From<CheckpointError> for DenseError {
    fn from(error: CheckpointError) -> Self {
        Self::Weights(error.into())
    }
}
