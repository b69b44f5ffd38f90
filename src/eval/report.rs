//! In: items and answers. Out: what is printed and written: figures with their intervals, beside what blind guessing scores.

use std::collections::BTreeMap;

use serde::Serialize;

use super::item::{choose, choose_by_length};
use super::statistics::{Interval, mean_interval, wilson};
use super::{Answer, Ask, Item};

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

    fn of(rights: impl IntoIterator<Item = bool>) -> Self {
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
    fn new<'a>(answers: impl IntoIterator<Item = &'a str>, chance: f64) -> Self {
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

/// The figures of a task's items and answers; `None` where there is nothing of the kind that the first item asks.
pub fn summarise(
    items: &[Item],
    answers: &[Answer],
    vocab_size: usize,
) -> Option<(Figures, usize)> {
    let pairs: Vec<(&Item, &Answer)> = items.iter().zip(answers).collect();
    let cut = (answers.iter())
        .filter(|answer| match answer {
            Answer::Choice { is_cut, .. }
            | Answer::Greedy { is_cut, .. }
            | Answer::Number { is_cut, .. } => *is_cut,
            _ => false,
        })
        .count();
    let figures = match &items.first()?.ask {
        Ask::Choice { .. } => choice(&pairs),
        Ask::Greedy(_) => word(&pairs),
        Ask::Number { .. } => number(&pairs),
        Ask::Page { .. } => pages(&pairs, vocab_size),
        Ask::Window(_) => loss(answers, vocab_size),
        Ask::Compare(_) => distance(answers),
        Ask::Repetition { .. } => repetition(answers),
    };
    Some((figures, cut))
}

fn choice(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut plain = Vec::new();
    let mut by_length = Vec::new();
    let mut golds = Vec::new();
    let mut chance = 0.0;
    let mut subjects: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (item, answer) in pairs {
        let (
            Ask::Choice {
                lengths,
                gold,
                requests,
            },
            Answer::Choice { logs, .. },
        ) = (&item.ask, answer)
        else {
            continue;
        };
        let right = choose(logs) == *gold;
        plain.push(right);
        by_length.push(choose_by_length(logs, lengths) == *gold);
        golds.push(requests[*gold].continuation.clone());
        chance += 1.0 / requests.len() as f64;
        subjects
            .entry(item.group.to_string())
            .or_default()
            .push(right);
    }
    chance /= plain.len().max(1) as f64;
    // Where every item has options of its own, the most frequent answer is a position.
    let positions: Vec<String> = (pairs.iter())
        .filter_map(|(item, _)| match &item.ask {
            Ask::Choice { gold, .. } => Some(format!("option {}", gold + 1)),
            _ => None,
        })
        .collect();
    let same = golds
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        <= 4;
    let labels = if same { &golds } else { &positions };
    let baselines = Baselines::new(labels.iter().map(|label| label.trim()), chance);
    let subjects: BTreeMap<String, Accuracy> = (subjects.into_iter())
        .map(|(subject, rights)| (subject, Accuracy::of(rights)))
        .collect();
    Figures::Choice {
        accuracy: Accuracy::of(plain),
        accuracy_by_length: Accuracy::of(by_length),
        baselines,
        over_subjects: (subjects.len() > 1).then(|| over_subjects(&subjects)),
        subjects: if subjects.len() > 1 {
            subjects
        } else {
            BTreeMap::new()
        },
    }
}

/// The subjects are fixed; the questions of each are a sample.
fn over_subjects(subjects: &BTreeMap<String, Accuracy>) -> Mean {
    let n = subjects.len() as f64;
    let value = subjects.values().map(|subject| subject.share).sum::<f64>() / n;
    let variance: f64 = (subjects.values())
        .map(|subject| subject.share * (1.0 - subject.share) / subject.of as f64)
        .sum();
    let half = 1.959_963_984_540_054 * variance.sqrt() / n;
    let interval = Interval {
        low: value - half,
        high: value + half,
    };
    Mean { value, interval }
}

fn word(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut rights = Vec::new();
    let mut logs = Vec::new();
    let mut words = Vec::new();
    for (item, answer) in pairs {
        if let (Ask::Greedy(request), Answer::Greedy { log, is_right, .. }) = (&item.ask, answer) {
            rights.push(*is_right);
            logs.push(*log);
            words.push(request.continuation.trim());
        }
    }
    Figures::Word {
        perplexity: (-logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp(),
        accuracy: Accuracy::of(rights),
        baselines: Baselines::new(words, 0.0),
    }
}

fn number(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut rights = Vec::new();
    let mut golds = Vec::new();
    let mut without = 0;
    for (item, answer) in pairs {
        if let (
            Ask::Number { gold, .. },
            Answer::Number {
                is_right, number, ..
            },
        ) = (&item.ask, answer)
        {
            rights.push(*is_right);
            golds.push(gold.rsplit("#### ").next().unwrap_or_default());
            without += usize::from(number == "[invalid]");
        }
    }
    Figures::Number {
        without_number: without as f64 / rights.len().max(1) as f64,
        accuracy: Accuracy::of(rights),
        baselines: Baselines::new(golds, 0.0),
    }
}

fn pages(pairs: &[(&Item, &Answer)], vocab_size: usize) -> Figures {
    let (mut nats, mut all_words, mut all_bytes, mut all_tokens) = (0.0, 0, 0, 0);
    for (item, answer) in pairs {
        if let (Ask::Page { words, bytes, .. }, Answer::Log { log, tokens }) = (&item.ask, answer) {
            nats -= log;
            all_words += words;
            all_bytes += bytes;
            all_tokens += tokens;
        }
    }
    let each = |count: usize| nats / count.max(1) as f64;
    Figures::Pages {
        word_perplexity: each(all_words).exp(),
        byte_perplexity: each(all_bytes).exp(),
        bits_per_byte: each(all_bytes) / std::f64::consts::LN_2,
        cross_entropy: each(all_tokens),
        over_ln_v: each(all_tokens) / (vocab_size as f64).ln(),
        tokens: all_tokens,
    }
}

fn loss(answers: &[Answer], vocab_size: usize) -> Figures {
    let windows = answers.iter().filter_map(|answer| match answer {
        Answer::Log { log, tokens } => Some((-log, *tokens as f64)),
        _ => None,
    });
    let (nats, tokens): (Vec<f64>, Vec<f64>) = windows.unzip();
    let (value, interval) = mean_interval(&nats, &tokens);
    Figures::Loss {
        cross_entropy: Mean { value, interval },
        over_ln_v: value / (vocab_size as f64).ln(),
        perplexity: value.exp(),
        tokens: tokens.iter().sum::<f64>() as usize,
    }
}

fn distance(answers: &[Answer]) -> Figures {
    let (mut nats, mut agreements, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for answer in answers {
        if let Answer::Distance { kl, agreed, tokens } = answer {
            nats.push(*kl);
            agreements.push(*agreed as f64);
            all.push(*tokens as f64);
        }
    }
    let mean = |sums: &[f64]| {
        let (value, interval) = mean_interval(sums, &all);
        Mean { value, interval }
    };
    Figures::Distance {
        kl: mean(&nats),
        agreement: mean(&agreements),
        tokens: all.iter().sum::<f64>() as usize,
    }
}

fn repetition(answers: &[Answer]) -> Figures {
    let (mut written, mut truth) = ((0, 0), (0, 0));
    for answer in answers {
        if let Answer::Repetition {
            written: w,
            truth: t,
        } = answer
        {
            written = (written.0 + w.0, written.1 + w.1);
            truth = (truth.0 + t.0, truth.1 + t.1);
        }
    }
    let rate = |(repeated, all): (usize, usize)| repeated as f64 / all.max(1) as f64;
    Figures::Repetition {
        rate: rate(written),
        text_rate: rate(truth),
        grams: written.1,
    }
}

/// Repeating more than every second 4-gram is no longer language, whatever the text.
const DEGENERATE: f64 = 0.5;

/// What to tell a reader who looks at one figure alone: multiple choice may be fine where writing or arithmetic is broken, and
/// says nothing where it does not beat guessing.
pub fn warnings(tasks: &[TaskReport]) -> Vec<String> {
    let mut fine = Vec::new();
    let mut failed = Vec::new();
    let mut warnings = Vec::new();
    let (mut chose, mut generated) = (false, false);
    for report in tasks {
        let task = &report.task;
        match &report.figures {
            Figures::Choice {
                accuracy,
                accuracy_by_length,
                baselines,
                ..
            } => {
                chose = true;
                if accuracy.beats(baselines) || accuracy_by_length.beats(baselines) {
                    fine.push(task.as_str());
                } else {
                    warnings.push(format!(
                        "{task} does not beat guessing: it says nothing of this model"
                    ));
                }
            }
            Figures::Word {
                accuracy,
                baselines,
                ..
            } if task == "arithmetic" => {
                generated = true;
                if !accuracy.beats(baselines) {
                    failed.push(format!("{task} ({:.1} % right)", accuracy.share * 100.0));
                }
            }
            Figures::Number {
                accuracy,
                baselines,
                ..
            } => {
                generated = true;
                if !accuracy.beats(baselines) {
                    failed.push(format!("{task} ({:.1} % right)", accuracy.share * 100.0));
                }
            }
            Figures::Repetition { rate, .. } => {
                generated = true;
                if *rate > DEGENERATE {
                    failed.push(format!("{task} ({:.0} % of 4-grams)", rate * 100.0));
                }
            }
            _ => {}
        }
    }
    if !fine.is_empty() && !failed.is_empty() {
        warnings.push(format!(
            "multiple choice says fine ({}), but what the model writes or computes fails: {}",
            fine.join(", "),
            failed.join(", ")
        ));
    }
    if chose && !generated {
        warnings.push(
            "no generation or arithmetic was measured, and multiple choice does not show it: add --tasks repetition,arithmetic,gsm8k"
                .into(),
        );
    }
    warnings
}
