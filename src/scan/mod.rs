//! In: a model's weights, one layer at a time, and samples of a text. Out: how far each block of layers turns the residual
//! stream, which is how little it would be missed (arXiv 2403.17887, section 3.2; block influence: arXiv 2403.03853).

mod angles;
mod document;
mod measure;
mod sampling;
mod state;
mod turn;

use crate::dense::DenseError;

pub use self::angles::angles;
pub use self::document::{MAX_SCAN_BYTES, Scan, ScannedModel, ScannedText, Sublayers};
pub use self::measure::{Measured, Scanner, memory_bytes};
pub use self::sampling::{Sampling, draw};
pub use self::state::Key;

/// Why a scan cannot be made, resumed or read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The model could not be read or run.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// Fewer tokens than the samples take.
    #[error(
        "scan: the text has {found} tokens, which is {runs} runs of {tokens}; {samples} were asked for: give a longer text, or smaller --samples or --tokens"
    )]
    TooShort {
        /// Tokens of the text.
        found: usize,
        /// Whole runs in it.
        runs: usize,
        /// Tokens a sample.
        tokens: usize,
        /// Samples asked for.
        samples: usize,
    },
    /// No sample, or samples of nothing.
    #[error(
        "scan: {samples} samples of {tokens} tokens are nothing to measure; ask for at least one of each"
    )]
    Nothing {
        /// Samples asked for.
        samples: usize,
        /// Tokens a sample.
        tokens: usize,
    },
    /// The stream overflowed.
    #[error(
        "scan: the stream after layer {layer} is not finite; the weights are damaged, or are no Llama's"
    )]
    NonFinite {
        /// The layer.
        layer: usize,
    },
    /// A half-done scan of something else.
    #[error(
        "scan: the half-done scan is of another {what} ({found}, now {expected}); delete its state file, or write this scan elsewhere with --output"
    )]
    OtherScan {
        /// What differs.
        what: &'static str,
        /// In the state.
        found: String,
        /// In this scan.
        expected: String,
    },
    /// A state file that is none.
    #[error("scan: the state of the half-done scan is damaged ({reason}); delete the state file")]
    State {
        /// What is wrong.
        reason: String,
    },
    /// Not a scan, or a damaged one.
    #[error("scan: this is no scan made by `halfdepth scan` ({reason}); make it again")]
    NotAScan {
        /// What is wrong.
        reason: String,
    },
    /// Made for another version of this program.
    #[error("scan: the file has format version {found}, this program reads version {known}; {}", if found > known { "update halfdepth" } else { "make the scan again" })]
    Version {
        /// Version in the file.
        found: u64,
        /// The version this code reads.
        known: u64,
    },
}
