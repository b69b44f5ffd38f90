//! In: items and a model. Out: what the model answers to each.

use serde::{Deserialize, Serialize};

use super::generate::{ANSWER_TOKENS, Ends, extract_number, repeated_4grams, same_number};
use super::text::{CONTINUATION, rolling_windows};
use super::{Ask, Encoder, EvalError, Item, Pair, Writer};
use crate::dense::{Continuation, Dense, Likelihood};

/// What a model answered to an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To a choice: the log-likelihood of every option.
    Choice {
        /// Sums of ln p over an option's tokens.
        logs: Vec<f64>,
        /// Whether the context was cut at the left to fit the model.
        is_cut: bool,
    },
    /// To a word: its log-likelihood, and whether it is what the model would write.
    Greedy {
        /// Sum of ln p.
        log: f64,
        /// Whether every token is the likeliest.
        is_right: bool,
        /// Whether the context was cut at the left to fit the model.
        is_cut: bool,
    },
    /// To a problem: what was written.
    Number {
        /// All of it.
        text: String,
        /// The number found in it, or `[invalid]`.
        number: String,
        /// Whether it is the right one.
        is_right: bool,
        /// Whether the prompt was cut at the left to leave room for the answer.
        is_cut: bool,
    },
    /// To a text: its log-likelihood.
    Log {
        /// Sum of ln p.
        log: f64,
        /// Predictions it is a sum of.
        tokens: usize,
    },
    /// The distance from the reference.
    Distance {
        /// Sum of the KL divergences at every prediction, nats.
        kl: f64,
        /// Predictions where both pick the same token.
        agreed: usize,
        /// Predictions.
        tokens: usize,
    },
    /// Repetition: 4-grams that came before, and all, of what the model wrote and of how the text goes on.
    Repetition {
        /// (repeated, all) of the model's.
        written: (usize, usize),
        /// (repeated, all) of the text's.
        truth: (usize, usize),
    },
}

/// What answers.
pub struct Answerer<'a> {
    /// Text to ids.
    pub encoder: Encoder<'a>,
    /// The model that is measured.
    pub model: &'a Dense<'a>,
    /// What it is compared with; needed for [`Ask::Compare`] alone.
    pub reference: Option<&'a Dense<'a>>,
    /// What writes for it; needed for [`Ask::Number`] and [`Ask::Repetition`] alone.
    pub writer: Option<Writer<'a>>,
}

impl Answerer<'_> {
    /// The answers to some items, in their order. Likelihoods of all of them are computed together: a few hundred requests fill
    /// the batches, more only delay the next report of progress.
    ///
    /// # Errors
    /// A text cannot be encoded, the device failed, or what the items need was not given.
    pub async fn answer(&mut self, items: &[&Item]) -> Result<Vec<Answer>, EvalError> {
        let mut answers = vec![None; items.len()];
        let mut asked = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match &item.ask {
                Ask::Number { .. } | Ask::Repetition { .. } => {
                    answers[index] = Some(self.write(&item.ask).await?);
                }
                Ask::Compare(_) => {}
                ask => asked.push((index, self.pairs(ask)?)),
            }
        }
        let pairs = asked.iter().flat_map(|(_, pairs)| pairs);
        let requests: Vec<Continuation> = pairs.map(continuation).collect();
        let mut found = self.model.log_likelihoods(&requests)?.into_iter();
        for (index, pairs) in &asked {
            let found: Vec<Vec<Likelihood>> = found.by_ref().take(pairs.len()).collect();
            answers[*index] = Some(scored(&items[*index].ask, pairs, &found));
        }
        self.compare(items, &mut answers)?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn pairs(&self, ask: &Ask) -> Result<Vec<Pair>, EvalError> {
        let encoder = &self.encoder;
        let uncut = |context, continuation| Pair {
            context,
            continuation,
            is_cut: false,
        };
        Ok(match ask {
            Ask::Choice { requests, .. } => encoder.pairs(requests)?,
            Ask::Greedy(request) => encoder.pairs(std::slice::from_ref(request))?,
            Ask::Page { text, .. } => {
                let ids = encoder.encode(text)?;
                let windows = rolling_windows(&ids, encoder.prefix(), encoder.context());
                windows
                    .into_iter()
                    .map(|(read, scored)| uncut(read, scored))
                    .collect()
            }
            Ask::Window(tokens) => vec![uncut(vec![encoder.prefix()], tokens.clone())],
            Ask::Compare(_) | Ask::Number { .. } | Ask::Repetition { .. } => Vec::new(),
        })
    }

    fn compare(&self, items: &[&Item], answers: &mut [Option<Answer>]) -> Result<(), EvalError> {
        let prefix = [self.encoder.prefix()];
        let compared = items.iter().enumerate();
        let compared: Vec<(usize, Continuation)> = compared
            .filter_map(|(index, item)| match &item.ask {
                Ask::Compare(tokens) => Some((index, (&prefix[..], &tokens[..]))),
                _ => None,
            })
            .collect();
        if compared.is_empty() {
            return Ok(());
        }
        let requests: Vec<Continuation> = compared.iter().map(|(_, request)| *request).collect();
        // Without another reference a model is compared with itself, and is no way off.
        let reference = self.reference.unwrap_or(self.model);
        let found = self.model.compare(reference, &requests)?;
        for ((index, _), found) in compared.iter().zip(found) {
            answers[*index] = Some(Answer::Distance {
                kl: found.iter().map(|token| f64::from(token.kl)).sum(),
                agreed: found.iter().filter(|token| token.agrees).count(),
                tokens: found.len(),
            });
        }
        Ok(())
    }

    async fn write(&mut self, ask: &Ask) -> Result<Answer, EvalError> {
        let (tokenizer, prefix) = (self.encoder.tokenizer(), self.encoder.prefix());
        let Some(writer) = &mut self.writer else {
            return Err(EvalError::NoWriter);
        };
        match ask {
            Ask::Number {
                prompt,
                gold,
                stops,
            } => {
                let ids = self.encoder.encode(prompt)?;
                let max_tokens = ANSWER_TOKENS.min(self.encoder.context().saturating_sub(1));
                let room = self.encoder.context() - max_tokens;
                let cut = ids.len().saturating_sub(room);
                let ends = Ends { max_tokens, stops };
                let (_, text) = writer
                    .continue_greedily(tokenizer, &ids[cut..], ends)
                    .await?;
                let number = extract_number(&text);
                Ok(Answer::Number {
                    is_right: same_number(&number, gold),
                    is_cut: cut > 0,
                    number,
                    text,
                })
            }
            Ask::Repetition { prompt, truth } => {
                let prompt = [&[prefix], &prompt[..]].concat();
                let ends = Ends {
                    max_tokens: CONTINUATION,
                    stops: &[],
                };
                let (tokens, _) = writer.continue_greedily(tokenizer, &prompt, ends).await?;
                Ok(Answer::Repetition {
                    written: repeated_4grams(&tokens),
                    truth: repeated_4grams(truth),
                })
            }
            _ => Err(EvalError::NoWriter),
        }
    }
}

fn continuation(pair: &Pair) -> Continuation<'_> {
    (&pair.context, &pair.continuation)
}

fn scored(ask: &Ask, pairs: &[Pair], found: &[Vec<Likelihood>]) -> Answer {
    let log = |tokens: &Vec<Likelihood>| tokens.iter().map(|token| f64::from(token.logprob)).sum();
    let is_cut = pairs.iter().any(|pair| pair.is_cut);
    let tokens = found.iter().flatten();
    match ask {
        Ask::Choice { .. } => Answer::Choice {
            logs: found.iter().map(log).collect(),
            is_cut,
        },
        Ask::Greedy(_) => Answer::Greedy {
            log: found.iter().map(log).sum(),
            is_right: tokens.clone().all(|token| token.is_greedy),
            is_cut,
        },
        _ => Answer::Log {
            log: found.iter().map(log).sum(),
            tokens: tokens.count(),
        },
    }
}
