//! In: a prompt, its subject, and a model. Out: where in layers and tokens the answer is held (causal tracing: Meng et al. 2022,
//! arXiv 2202.05262), and what each layer would answer (the logit lens: nostalgebraist 2020).
//!
//! The way of the data: a [`Question`] is a prompt as tokens, the subject found among them; a [`Tracer`] runs it clean, with noise on
//! the subject, and with single states put back, and makes a [`Map`]; [`Lens`] reads the stream after every layer through the head.

mod document;
mod lens;
mod map;
mod noise;
mod question;
mod settings;
mod tracer;

use crate::dense::DenseError;
use crate::tokenizer::TokenizerError;

pub use self::document::{
    Asked, CutDepths, CutLayers, LensDocument, ProbableToken, ReadingNote, TokenNote, TraceDocument,
};
pub use self::lens::{Lens, Reading};
pub use self::map::{Estimate, Map};
pub use self::noise::embedding_deviation;
pub use self::question::{Occurrence, Question};
pub use self::settings::{Kind, Settings};
pub use self::tracer::{Tracer, likeliest};

/// Why a prompt cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The model could not be read or run.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The text could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A text without a token.
    #[error("the {what} is empty; give at least a word")]
    Empty {
        /// `prompt`, `subject` or `answer`.
        what: &'static str,
    },
    /// The subject is somewhere else.
    #[error(
        "the subject {subject:?} is not in the prompt; spell it as it stands there, letter by letter"
    )]
    NoSubject {
        /// The subject.
        subject: String,
    },
    /// It could be any of several.
    #[error(
        "the subject {subject:?} is in the prompt {found} times; say which with --occurrence 1 to {found}, or take --occurrence all"
    )]
    SeveralSubjects {
        /// The subject.
        subject: String,
        /// How often it is there.
        found: usize,
    },
    /// An occurrence that is not there.
    #[error(
        "the prompt has no occurrence {asked} of the subject {subject:?}; they are 1 to {found}"
    )]
    NoSuchOccurrence {
        /// The subject.
        subject: String,
        /// The occurrence asked for.
        asked: usize,
        /// How often it is there.
        found: usize,
    },
    /// The answer does not begin with a token of its own.
    #[error(
        "the token {token:?} holds both the prompt's end and the answer's begin; move letters from one to the other: an answer mostly begins with its space"
    )]
    Merged {
        /// The token.
        token: String,
    },
    /// More tokens than the model has positions.
    #[error(
        "prompt and answer have {tokens} tokens, the model takes {context}; shorten the prompt"
    )]
    TooLong {
        /// Tokens.
        tokens: usize,
        /// Positions.
        context: usize,
    },
    /// Settings that measure nothing.
    #[error("{what} cannot be {value}; {help}")]
    Setting {
        /// The flag.
        what: &'static str,
        /// What it was.
        value: String,
        /// What it can be.
        help: &'static str,
    },
    /// A probability that is none.
    #[error("the model's logits are not finite; its weights are damaged, or are no Llama's")]
    NonFinite,
}
