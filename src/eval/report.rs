//! What an evaluation came to, as it is printed and written: figures with their intervals, beside what blind guessing scores.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statistics::{Interval, wilson};
use crate::heal::HealingNote;

/// The report's `format`.
pub const REPORT_FORMAT: &str = "halfdepth-eval";
/// The version this code writes.
pub const REPORT_VERSION: u64 = 1;

/// A share of right answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Right answers.
    pub right: usize,
    /// Answers.
    pub of: usize,
    /// Their ratio.
    pub share: f64,
    /// Wilson, 95 %.
    pub interval: Interval,
}

/// What needs no model: uniform guessing, and always giving the most frequent answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baselines {
    /// Share that uniform guessing gets.
    pub chance: f64,
    /// Share that the most frequent answer gets.
    pub majority: f64,
    /// That answer.
    pub most_frequent: String,
}

/// A mean that is no share of right answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// 95 %, normal approximation over windows or subjects.
    pub interval: Interval,
}

/// The figures of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Figures {
    /// Multiple choice.
    Choice {
        /// By log-likelihood: the harness's `acc`; of MMLU per question.
        accuracy: Accuracy,
        /// By log-likelihood over characters: the harness's `acc_norm`.
        accuracy_by_length: Accuracy,
        /// Of the items.
        baselines: Baselines,
        /// Mean over subjects of their `accuracy`, where there are subjects: the convention of MMLU's authors.
        over_subjects: Option<Mean>,
        /// `accuracy` by subject.
        subjects: BTreeMap<String, Accuracy>,
    },
    /// A word or number, each token of which must be the likeliest.
    Word {
        /// Share of them.
        accuracy: Accuracy,
        /// e to the mean of -ln p of the word.
        perplexity: f64,
        /// Of the items.
        baselines: Baselines,
    },
    /// A number found in generated text.
    Number {
        /// Share of right ones.
        accuracy: Accuracy,
        /// Share of texts in which no number stands.
        without_number: f64,
        /// Of the items.
        baselines: Baselines,
    },
    /// Pages read in rolling windows.
    Pages {
        /// e to the nats a word of the original page.
        word_perplexity: f64,
        /// e to the nats a byte of the original page.
        byte_perplexity: f64,
        /// Bits a byte of the original page.
        bits_per_byte: f64,
        /// Nats a token, and over ln V.
        cross_entropy: f64,
        /// 1 is uniform guessing.
        over_ln_v: f64,
        /// Predictions.
        tokens: usize,
    },
    /// Cross-entropy.
    Loss {
        /// Nats a token.
        cross_entropy: Mean,
        /// 1 is uniform guessing.
        over_ln_v: f64,
        /// e to the cross-entropy.
        perplexity: f64,
        /// Predictions.
        tokens: usize,
    },
    /// Distance from the reference.
    Distance {
        /// Nats a token.
        kl: Mean,
        /// Share of predictions where both pick the same token.
        agreement: Mean,
        /// Predictions.
        tokens: usize,
    },
    /// Repetition.
    Repetition {
        /// Share of repeated 4-grams in what the model wrote.
        rate: f64,
        /// The same of how the text goes on.
        text_rate: f64,
        /// 4-grams of the model's.
        grams: usize,
    },
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskReport {
    /// Its name.
    pub task: String,
    /// The text, where it is measured on one.
    pub text: Option<String>,
    /// How it was asked and scored.
    pub protocol: String,
    /// Items.
    pub items: usize,
    /// Items whose context was cut at the left to fit the model.
    pub cut: usize,
    /// The figures.
    pub figures: Figures,
}

/// Which model was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelNote {
    /// Its name.
    pub name: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// Tokens of its vocabulary.
    pub vocab_size: usize,
    /// Positions it has.
    pub context: usize,
}

/// Which of its layers ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanNote {
    /// The plan's name.
    pub name: String,
    /// Layers that ran.
    pub layers: Vec<usize>,
    /// Of these, layers whose attention was muted.
    pub mute_attention: Vec<usize>,
    /// Of these, layers whose MLP was muted.
    pub mute_mlp: Vec<usize>,
}

/// A whole evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    /// [`REPORT_FORMAT`].
    pub format: &'static str,
    /// [`REPORT_VERSION`].
    pub version: u64,
    /// The model.
    pub model: ModelNote,
    /// The plan.
    pub plan: PlanNote,
    /// What was laid over the model's weights, where anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healing: Option<HealingNote>,
    /// What KL and agreement compare with.
    pub reference: String,
    /// Where it ran.
    pub device: String,
    /// What was drawn at random was drawn from this.
    pub seed: u64,
    /// Items of each task at most.
    pub limit: Option<usize>,
    /// Every task.
    pub tasks: Vec<TaskReport>,
    /// What the figures do not show by themselves.
    pub warnings: Vec<String>,
}

impl Accuracy {
    /// Of a count.
    pub fn new(right: usize, of: usize) -> Self {
        Self {
            right,
            of,
            share: right as f64 / of.max(1) as f64,
            interval: wilson(right, of),
        }
    }

    pub(super) fn of(rights: impl IntoIterator<Item = bool>) -> Self {
        let rights: Vec<bool> = rights.into_iter().collect();
        Self::new(rights.iter().filter(|right| **right).count(), rights.len())
    }

    /// Whether guessing blindly can hardly explain it.
    pub fn beats(&self, baselines: &Baselines) -> bool {
        self.interval.low > baselines.chance.max(baselines.majority)
    }
}

impl Baselines {
    /// `answers` are the right ones; `chance` what uniform guessing gets on average.
    pub(super) fn new<'a>(answers: impl IntoIterator<Item = &'a str>, chance: f64) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut all = 0_usize;
        for answer in answers {
            *counts.entry(answer).or_default() += 1;
            all += 1;
        }
        let (most_frequent, count) = (counts.into_iter())
            .max_by_key(|(_, count)| *count)
            .unwrap_or_default();
        Self {
            chance,
            majority: count as f64 / all.max(1) as f64,
            most_frequent: most_frequent.to_string(),
        }
    }
}
