//! In: a model, the layers that run, texts. Out: a [`Healing`]: weights that make the cut model better than the cut left it.
//!
//! A healing is weights and how they came about, whatever the method. [`Healed`] lays it over its source, so that all that measures,
//! searches, verifies or writes a dense model takes a healed one. [`Adapter`] is the low-rank form, in PEFT's files.

mod adapter;
mod healing;
mod normal;
mod overlay;
mod patch;
mod patcher;
mod peft;

// What trains needs autodiff, which the page does without.
#[cfg(not(target_family = "wasm"))]
mod train;

use crate::checkpoint::CheckpointError;
use crate::dense::DenseError;
use crate::plan::PlanError;

pub use self::adapter::{Adapter, Factors};
pub use self::healing::{HEALING, Healing, HealingFiles, HealingNote, Record, TENSORS, Text};
pub use self::overlay::Healed;
pub use self::patch::{Calibration, PatchForm, PatchOptions, Patched, PatchedCut, patch};
pub use self::peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, PeftFiles};
#[cfg(not(target_family = "wasm"))]
pub use self::train::{
    Base, Corpus, LowRank, Objective, Parts, Progress, Schedule, Settings, StepNote, Trainer, Tune,
    part_name, part_of_name,
};

/// Why a model cannot be healed, or a healing not read.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Weights cannot be read or run.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The plan does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Not a healing, or a damaged one.
    #[error("healing: {file} is none made by `halfdepth heal` ({reason}); heal again")]
    NotAHealing {
        /// Which file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Made for another version of this program.
    #[error("healing: the folder has format version {found}, this program reads version {known}; {}", if found > known { "update halfdepth" } else { "heal again" })]
    Version {
        /// Version in the file.
        found: u64,
        /// The version this code reads.
        known: u64,
    },
    /// A healing of a model of another shape.
    #[error(
        "healing: it is for {model}, whose shape is another: {reason}; name the model that was healed"
    )]
    OtherShape {
        /// What it is for.
        model: String,
        /// What differs.
        reason: String,
    },
    /// A healing of other weights.
    #[error(
        "healing: it was made for other weights: those of {model} had SHA-256 {expected}, these have {found}. Name the model that was healed, or heal this one"
    )]
    OtherWeights {
        /// What it is for.
        model: String,
        /// The start of the hash it names.
        expected: String,
        /// The start of the hash found.
        found: String,
    },
    /// A cut with no layer before it, or no cut.
    #[error("heal: plan `{plan}` {what}")]
    NothingToPatch {
        /// The plan.
        plan: String,
        /// Why, and what to do.
        what: &'static str,
    },
    /// Not enough text.
    #[error("heal: {what}; give more text")]
    TooLittleText {
        /// What is missing.
        what: &'static str,
    },
    /// Numbers that overflowed.
    #[error(
        "heal: the stream after layer {layer} is not finite; the weights are damaged, or f32 cannot run them"
    )]
    NonFinite {
        /// Where.
        layer: usize,
    },
    /// A text too short to learn from.
    #[error(
        "heal: the text has {tokens} tokens, which is not one sequence of {window}; give more text, or fewer --tokens"
    )]
    Corpus {
        /// Tokens there are.
        tokens: usize,
        /// Tokens a sequence.
        window: usize,
    },
    /// Settings that nothing can be trained with.
    #[error("heal: {what}")]
    Settings {
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The loss left every bound.
    #[error(
        "heal: training diverged at step {step}: the loss is {loss:.3}, it was {lowest:.3} before; take a lower --learning-rate or a longer --warmup"
    )]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// Of late.
        loss: f64,
        /// At the beginning, or at its lowest since.
        lowest: f64,
    },
    /// A saved state that cannot be gone on from.
    #[error("heal: the saved state cannot be used ({reason}); remove it to begin anew")]
    State {
        /// What is wrong.
        reason: String,
    },
    /// An adapter that cannot be used.
    #[error("adapter: {file}: {reason}")]
    Adapter {
        /// Which file.
        file: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl From<CheckpointError> for HealError {
    fn from(error: CheckpointError) -> Self {
        Self::Dense(error.into())
    }
}
