//! In: a model at some depth, and benchmarks or texts as bytes. Out: what it scores, with intervals and baselines.
//!
//! The way of the data: a file is parsed ([`data`]), a [`Task`] or a text makes [`Item`]s of it, an [`Encoder`] and a
//! [`crate::dense::Dense`] give each its [`Answer`], and [`summarise`] makes a [`TaskReport`] of items and answers. Prompts,
//! scoring and truncation are those of lm-evaluation-harness 0.4.13, item by item.

mod answer;
pub mod data;
mod encode;
mod figures;
mod generate;
mod item;
mod lane;
mod prompt;
mod report;
mod search;
mod state;
mod statistics;
mod task;
mod text;
mod warnings;

use thiserror::Error;

use crate::decode::DecodeError;
use crate::dense::DenseError;
use crate::tokenizer::TokenizerError;

pub use self::answer::{Answer, Answerer};
pub use self::encode::{Encoder, Pair};
pub use self::figures::summarise;
pub use self::generate::{Ends, Writer, extract_number, repeated_4grams};
pub use self::item::{Ask, Item, Request, choose, choose_by_length};
pub use self::lane::cross_entropy;
pub use self::report::{
    Accuracy, Baselines, EvalReport, Figures, Mean, ModelNote, PlanNote, REPORT_FORMAT,
    REPORT_VERSION, TaskReport,
};
pub use self::search::{best_plan, exchange, greedy};
pub use self::state::{STATE_FORMAT, STATE_VERSION, StateKey, header, parse_state, record};
pub(crate) use self::statistics::student;
pub use self::statistics::{Interval, mean_interval, wilson};
pub use self::task::{Files, MMLU_SUBJECTS, Mmlu, Task};
pub use self::text::{TextMeasure, rolling_windows, wikitext_detokenized, wikitext_pages};
pub use self::warnings::warnings;

/// Why something could not be measured.
#[derive(Debug, Error)]
pub enum EvalError {
    /// A benchmark's file is not what it should be.
    #[error("{file}, {place}: {reason}; is it the file that data/README names, complete?")]
    Data {
        /// The file.
        file: String,
        /// Where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that was not given.
    #[error("{task} needs the file {file}, which is not there")]
    MissingFile {
        /// The task.
        task: String,
        /// The file, as it is named in the data folder.
        file: String,
    },
    /// No such task.
    #[error("there is no task `{found}`; there are: {known}")]
    NoSuchTask {
        /// The name given.
        found: String,
        /// All names.
        known: String,
    },
    /// A continuation of no tokens.
    #[error("{continuation:?} has no token to score; is the item complete?")]
    NothingToScore {
        /// What was to be scored.
        continuation: String,
    },
    /// The model names neither a begin nor an end token.
    #[error(
        "the model names no begin or end token, after which to measure; add bos_token_id to its config.json"
    )]
    NoPrefix,
    /// A text with nothing in it.
    #[error("{text}: {tokens} tokens are too few to measure on; give a longer text")]
    TooShort {
        /// Its name.
        text: String,
        /// Tokens there are.
        tokens: usize,
    },
    /// Generation was asked for, but nothing was given that generates.
    #[error("this task generates text, and nothing was given to generate with")]
    NoWriter,
    /// The state of another evaluation.
    #[error(
        "the state file is of another evaluation or damaged ({reason}); give --fresh to begin anew"
    )]
    State {
        /// What does not fit.
        reason: String,
    },
    /// The tokenizer refused the text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model could not run.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The model could not generate.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}
