//! What one item of a task asks of a model, and how a choice is made of likelihoods.

use std::sync::Arc;

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it is grouped by: MMLU's subject; else the task's name.
    pub group: Arc<str>,
    /// What is asked.
    pub ask: Ask,
}

/// A context and what follows it, to be scored. The context is shared by an item's choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is read.
    pub context: Arc<str>,
    /// What is scored.
    pub continuation: String,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Which of the requests is most likely?
    Choice {
        /// One a choice.
        requests: Vec<Request>,
        /// Characters of each choice, for `acc_norm`.
        lengths: Vec<usize>,
        /// Position of the right one.
        gold: usize,
    },
    /// Is every token of the continuation the most likely one?
    Greedy(Request),
    /// Continue, and find a number.
    Number {
        /// What is read.
        prompt: String,
        /// The number as the data set writes it.
        gold: String,
        /// Texts that end the answer.
        stops: Vec<String>,
    },
    /// How likely is a whole page, in windows of the model's context?
    Page {
        /// What is scored.
        text: String,
        /// Words of the page before it was detokenised.
        words: usize,
        /// Bytes of the same.
        bytes: usize,
    },
    /// How likely are these tokens after the begin token alone?
    Window(Vec<u32>),
    /// How far from the reference is the model at each of these tokens, after the begin token alone?
    Compare(Vec<u32>),
    /// How much does a greedy continuation repeat itself?
    Repetition {
        /// What is read, after the begin token.
        prompt: Vec<u32>,
        /// How the text itself goes on.
        truth: Vec<u32>,
    },
}

impl Item {
    /// Bytes or tokens that are read for it; only compared within a task.
    pub fn length(&self) -> usize {
        match &self.ask {
            Ask::Choice { requests, .. } => requests
                .iter()
                .map(|r| r.context.len() + r.continuation.len())
                .max()
                .unwrap_or(0),
            Ask::Greedy(request) => request.context.len(),
            Ask::Number { prompt, .. } => prompt.len(),
            Ask::Page { text, .. } => text.len(),
            Ask::Window(tokens) | Ask::Compare(tokens) => tokens.len(),
            Ask::Repetition { prompt, .. } => prompt.len(),
        }
    }
}

/// The first of the largest, as numpy's `argmax`; 0 where there is none.
pub fn choose(logs: &[f64]) -> usize {
    let mut best = 0;
    for (index, log) in logs.iter().enumerate() {
        if *log > logs[best] {
            best = index;
        }
    }
    best
}

/// As [`choose`], each log-likelihood divided by its choice's length.
pub fn choose_by_length(logs: &[f64], lengths: &[usize]) -> usize {
    let scaled = logs.iter().zip(lengths);
    choose(
        &scaled
            .map(|(log, length)| log / (*length).max(1) as f64)
            .collect::<Vec<_>>(),
    )
}
