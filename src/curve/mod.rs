//! In: plans of every length, made by several strategies, and what is to be measured of them. Out: figures against the share of
//! layers that were dropped, and the knees of the curves (arXiv 2403.17887, figures 2, 3 and 5, for any model).
//!
//! No plan is judged by tokens that chose it: a text's first stretch is scanned and searched on, what follows is measured.

mod bends;
mod document;
mod knee;
mod measure;
mod plans;
mod state;
mod stretch;

use thiserror::Error;

pub use self::document::{Curve, CurveModel, Line, MAX_CURVE_BYTES, Point, Series, Stretch};
pub use self::knee::{Knee, KneeFinder, LEAST_POINTS, Shape, Worse};
pub use self::measure::{Baseline, Job, Measure, Measured, Value};
pub use self::plans::{Wanted, plan};
pub use self::state::{State, point_key, record, state_header};
pub use self::stretch::{Stretches, WINDOW, stretches};

use crate::eval::EvalError;
use crate::plan::PlanError;

/// Why no curve can be made or read.
#[derive(Debug, Error)]
pub enum CurveError {
    /// The text is too short for what is asked.
    #[error(
        "curve: the text has {found} tokens; {needed} are needed, {chosen} that choose plans and {measured} that judge them: give a longer text, or smaller --samples or --tokens"
    )]
    TooShort {
        /// Tokens of the text.
        found: usize,
        /// Tokens needed.
        needed: usize,
        /// Of these, to choose by.
        chosen: usize,
        /// Of these, to measure on.
        measured: usize,
    },
    /// One window has no interval, and none has nothing.
    #[error("curve: {tokens} tokens are too few to measure on; ask for {least} at least", least = 2 * WINDOW)]
    TooFewTokens {
        /// Tokens asked for.
        tokens: usize,
    },
    /// The greedy strategy without its search.
    #[error("curve: the plans of greedy removal were not searched for")]
    NotSearched,
    /// The state file of something else.
    #[error(
        "curve: the state file is damaged or of another version ({reason}); delete it, or name another folder"
    )]
    State {
        /// What is wrong.
        reason: String,
    },
    /// Not a curve, or a damaged one.
    #[error("curve: this is no file made by `halfdepth curve` ({reason}); make it again")]
    NotACurve {
        /// What is wrong.
        reason: String,
    },
    /// Made for another version of this program.
    #[error("curve: the file has format version {found}, this program reads version {known}; {}", if found > known { "update halfdepth" } else { "make it again" })]
    Version {
        /// Version in the file.
        found: u64,
        /// The version this code reads.
        known: u64,
    },
    /// What was measured has no figures.
    #[error("curve: {job} has no items to measure")]
    Nothing {
        /// What was to be measured.
        job: String,
    },
    /// No plan of the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It could not be measured.
    #[error(transparent)]
    Eval(#[from] EvalError),
}
