//! From token ids to text: lanes over a shared model, sampling, stopping, and turns of a conversation.

mod bandwidth;
mod compare;
mod device;
pub mod distribution;
mod lane;
mod machine;
mod pace;
pub mod sampler;
mod self_test;
mod speculate;
pub mod stop;
pub mod trial;
mod turn;

use thiserror::Error;

pub use bandwidth::{Bandwidth, read_bandwidth};
pub use burn::tensor::Device;
pub use compare::{TokenComparison, compare};
#[cfg(test)]
pub(crate) use device::test_gpu;
pub use device::{GpuInfo, cpu, open_gpu};
pub use lane::{Lane, LaneOptions};
pub use speculate::{Drafts, SpeculationStats};
pub use turn::{Clock, Finish, LaneStats, Step, Turn, TurnRequest};

/// What can go wrong while decoding.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DecodeError {
    /// No GPU, or none that works.
    #[error("no usable GPU: {reason}; the CPU backend works everywhere, only slower")]
    NoGpu {
        /// What the driver said.
        reason: String,
    },
    /// The device computes wrongly.
    #[error(
        "this device computes wrongly: {reason}; update the browser or the graphics driver, or try another browser"
    )]
    SelfTest {
        /// What came out.
        reason: String,
    },
    /// The device failed or was lost.
    #[error("the device failed: {reason}; load the model again, the conversation is kept")]
    Device {
        /// What the driver said.
        reason: String,
    },
    /// More tokens than the context holds.
    #[error(
        "{tokens} tokens do not fit the context of {context}; shorten the text or begin a new conversation"
    )]
    ContextFull {
        /// Tokens in all.
        tokens: usize,
        /// Positions there are.
        context: usize,
    },
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
    /// A context of nothing, or of more than memory holds.
    #[error(
        "a context of {context} positions needs a cache of {bytes} bytes; ask for between 1 and what memory holds"
    )]
    Context {
        /// Positions asked for.
        context: usize,
        /// Bytes they need.
        bytes: u64,
    },
    /// A token was asked for, but the cache was cut since the last prefill.
    #[error("nothing has been prefilled since the cache was cut; prefill first")]
    NotReady,
    /// Nothing to continue.
    #[error("the prompt is empty; give it at least one token")]
    EmptyPrompt,
    /// A plan for another model.
    #[error(
        "plan {plan} runs layers or other weights that the model does not have; it has {layers} layers, numbered from 0"
    )]
    Plan {
        /// The plan's name.
        plan: String,
        /// Layers there are.
        layers: usize,
    },
    /// Logits that are no numbers.
    #[error(
        "the model's logits are no numbers: its weights are damaged, or this device computes wrongly; make the pack anew, or try another device"
    )]
    NonFinite,
    /// Settings out of range.
    #[error("{reason}")]
    Request {
        /// Which, and what is allowed.
        reason: String,
    },
}
