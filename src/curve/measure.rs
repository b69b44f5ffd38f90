//! In: items and a model under a plan. Out: the figures that are drawn, with their intervals and baselines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CurveError, WINDOW, Worse};
use crate::eval::{
    Answerer, Figures, Interval, Item, Mean, StateKey, Task, TextMeasure, summarise,
};

/// Items that are answered together: enough to fill batches of like length.
const TOGETHER: usize = 64;

/// Something to be measured of every plan.
#[derive(Clone, Debug)]
pub struct Job {
    kind: Kind,
    items: Vec<Item>,
    digest: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text(TextMeasure),
    Task(Task),
}

/// A figure and where it lies, 95 times of 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a job came to: figures by name, and what needs no model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// By the name of the [`Measure`].
    pub values: BTreeMap<String, Value>,
    /// Of a benchmark.
    pub baseline: Option<Baseline>,
}

/// What guessing scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Uniform guessing.
    pub chance: f64,
    /// Always giving the most frequent answer.
    pub majority: Option<f64>,
    /// That answer.
    pub most_frequent: Option<String>,
}

/// A figure that is drawn against the layers dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its key in [`Measured::values`].
    pub name: String,
    /// What an axis says.
    pub title: String,
    /// Which way is worse.
    pub worse: Worse,
    /// How it was asked and scored.
    pub protocol: String,
    /// Items, or windows.
    pub items: usize,
    /// What guessing scores.
    pub baseline: Option<Baseline>,
    /// Whether it has a panel of its own in the figure.
    pub is_drawn: bool,
}

impl Job {
    /// Something to be measured on a stretch of text.
    ///
    /// # Errors
    /// The stretch is empty.
    pub fn text(measure: TextMeasure, tokens: &[u32]) -> Result<Self, CurveError> {
        let items = measure.items("the stretch to judge by", tokens, WINDOW, None)?;
        Ok(Self::new(Kind::Text(measure), items))
    }

    /// A benchmark.
    pub fn task(task: Task, items: Vec<Item>) -> Self {
        Self::new(Kind::Task(task), items)
    }

    fn new(kind: Kind, items: Vec<Item>) -> Self {
        let digest = StateKey::new(&[], &items).short().to_string();
        Self {
            kind,
            items,
            digest,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Text(measure) => measure.name(),
            Kind::Task(task) => task.name(),
        }
    }

    /// Of its items: two jobs that ask the same have the same.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many things are asked.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Asks a model.
    ///
    /// # Errors
    /// The model could not run, or there is nothing to ask.
    pub async fn measure(&self, answerer: &mut Answerer<'_>) -> Result<Measured, CurveError> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        // Like beside like: little of a batch is padding.
        order.sort_by_key(|index| std::cmp::Reverse(self.items[*index].length()));
        let mut answers = vec![None; self.items.len()];
        for numbers in order.chunks(TOGETHER) {
            let items: Vec<&Item> = numbers.iter().map(|number| &self.items[*number]).collect();
            let found = answerer.answer(&items).await?;
            for (number, answer) in numbers.iter().zip(found) {
                answers[*number] = Some(answer);
            }
        }
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        let vocabulary = answerer.model.config().vocab_size;
        let figures = summarise(&self.items, &answers, vocabulary);
        let (figures, _) = figures.ok_or_else(|| CurveError::Nothing {
            job: self.name().to_string(),
        })?;
        Ok(self.measured(&figures, vocabulary))
    }

    fn measured(&self, figures: &Figures, vocabulary: usize) -> Measured {
        let name = self.name();
        let mut measured = Measured::default();
        let mut add = |name: String, value: Value| {
            measured.values.insert(name, value);
        };
        match figures {
            Figures::Loss { cross_entropy, .. } => {
                let scale = 1.0 / (vocabulary as f64).ln();
                add("loss".into(), Value::mean(cross_entropy, scale));
                add("cross_entropy".into(), Value::mean(cross_entropy, 1.0));
            }
            Figures::Distance { kl, agreement, .. } => {
                add("kl".into(), Value::mean(kl, 1.0));
                add("agreement".into(), Value::mean(agreement, 1.0));
            }
            Figures::Choice {
                accuracy,
                accuracy_by_length,
                baselines,
                ..
            } => {
                add(name.into(), Value::new(accuracy.share, accuracy.interval));
                let by_length = Value::new(accuracy_by_length.share, accuracy_by_length.interval);
                add(format!("{name}_by_length"), by_length);
                measured.baseline = Some(Baseline {
                    chance: baselines.chance,
                    majority: Some(baselines.majority),
                    most_frequent: Some(baselines.most_frequent.clone()),
                });
            }
            Figures::Word { accuracy, .. } | Figures::Number { accuracy, .. } => {
                add(name.into(), Value::new(accuracy.share, accuracy.interval));
            }
            Figures::Repetition { rate, .. } => {
                let [low, high] = [*rate; 2];
                add(name.into(), Value::new(*rate, Interval { low, high }));
            }
            Figures::Pages { .. } => {}
        }
        measured
    }

    /// What its figures are, given what it came to for any plan.
    pub fn measures(&self, measured: &Measured) -> Vec<Measure> {
        let protocol = match self.kind {
            Kind::Text(measure) => measure.protocol(WINDOW),
            Kind::Task(task) => task.protocol().to_string(),
        };
        let uniform = Baseline {
            chance: 1.0,
            majority: None,
            most_frequent: None,
        };
        let measure = |name: &str, title: &str, worse, is_drawn| Measure {
            name: name.to_string(),
            title: title.to_string(),
            worse,
            protocol: protocol.clone(),
            items: self.items.len(),
            baseline: measured.baseline.clone(),
            is_drawn,
        };
        match self.kind {
            Kind::Text(TextMeasure::Loss) => {
                let loss = measure("loss", "cross-entropy / ln V", Worse::Up, true);
                let nats = "cross-entropy, nats a token";
                vec![
                    Measure {
                        baseline: Some(uniform),
                        ..loss
                    },
                    measure("cross_entropy", nats, Worse::Up, false),
                ]
            }
            Kind::Text(TextMeasure::Compare) => vec![
                measure("kl", "KL(full || plan), nats a token", Worse::Up, true),
                measure(
                    "agreement",
                    "top-1 agreement with full depth",
                    Worse::Down,
                    true,
                ),
            ],
            Kind::Text(TextMeasure::Repetition) => {
                vec![measure("repetition", "repeated 4-grams", Worse::Up, true)]
            }
            Kind::Task(task) => {
                let name = task.name();
                let mut measures = vec![measure(
                    name,
                    &format!("{name}, accuracy"),
                    Worse::Down,
                    true,
                )];
                if task.is_choice() {
                    let title = format!("{name}, accuracy by length");
                    measures.push(measure(
                        &format!("{name}_by_length"),
                        &title,
                        Worse::Down,
                        false,
                    ));
                }
                measures
            }
        }
    }
}

impl Value {
    fn new(value: f64, interval: Interval) -> Self {
        Self {
            value,
            low: interval.low,
            high: interval.high,
        }
    }

    fn mean(mean: &Mean, scale: f64) -> Self {
        Self {
            value: mean.value * scale,
            low: mean.interval.low * scale,
            high: mean.interval.high * scale,
        }
    }

    /// One value is itself; several are their mean, from the least to the most of them.
    pub(super) fn mean_of(values: &[Self]) -> Option<Self> {
        let all = || values.iter().map(|value| value.value);
        match values {
            [] => None,
            [only] => Some(*only),
            _ => Some(Self {
                value: all().sum::<f64>() / values.len() as f64,
                low: all().fold(f64::INFINITY, f64::min),
                high: all().fold(f64::NEG_INFINITY, f64::max),
            }),
        }
    }

    /// Whether the true figures may be the same for all their intervals say: these overlap.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// Whether JSON holds it.
    pub(super) fn is_finite(&self) -> bool {
        [self.value, self.low, self.high]
            .iter()
            .all(|v| v.is_finite())
    }
}
