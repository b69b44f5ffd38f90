//! In: a full model, the layers that run, a text, settings. Out: a [`Healing`](super::Healing) that was trained.
//!
//! [`Trainer`] does one step after the other, and can be saved and gone on from between any two. What it trains is whole weights, or
//! low-rank changes of frozen ones; what it trains towards is the text's next tokens, the full model's predictions, its stream at
//! the cuts, or some of each. Layers run under Burn's autodiff one by one.

mod corpus;
mod loss;
mod optimiser;
mod pass;
mod schedule;
mod settings;
mod state;
mod student;
mod trainer;

#[cfg(test)]
mod gradients;

pub use self::corpus::Corpus;
pub use self::schedule::Schedule;
pub use self::settings::{Base, LowRank, Objective, Settings, Tune, part_name, part_of_name};
pub use self::trainer::{Parts, Progress, StepNote, Trainer};
