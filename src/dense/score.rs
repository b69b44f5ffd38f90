//! In: contexts and continuations. Out: how likely a dense model holds each token of a continuation, and how far two models
//! are from each other.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::parallel::in_parallel;
use super::{Dense, DenseError, is_cpu};

/// A token of a continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// ln p, the softmax taken over the whole vocabulary.
    pub logprob: f32,
    /// Whether no token is more likely.
    pub is_greedy: bool,
}

/// How a model's next token compares with another model's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Nats: sum of p ln (p / q), p the other model's.
    pub kl: f32,
    /// Whether both pick the same token.
    pub agrees: bool,
}

/// What a continuation follows, and the continuation.
pub type Continuation<'t> = (&'t [u32], &'t [u32]);

/// Positions that run at once on one core: enough to fill the matrix products, few enough to stay in its cache.
const CPU_POSITIONS: usize = 1024;
/// Positions that run at once on a GPU.
const GPU_POSITIONS: usize = 4096;
/// Logits that stand in memory at once on one core.
const CPU_LOGITS: usize = 1 << 20;
/// Logits that stand in memory at once on a GPU.
const GPU_LOGITS: usize = 1 << 23;

/// Sequences that run together.
#[derive(Default)]
struct Batch<'t> {
    sequences: Vec<Sequence<'t>>,
}

/// What is read once, however many continuations are asked of it: choices of one token differ in nothing else.
struct Sequence<'t> {
    /// All but the last token, which predicts nothing.
    ids: Vec<u32>,
    asked: Vec<Asked<'t>>,
}

/// The request's number, where its first prediction stands in the sequence, and the tokens expected from there on.
type Asked<'t> = (usize, usize, &'t [u32]);

/// A row of a batch's stream, (sequence * longest + position), and the token that is expected after it.
struct Row {
    row: i32,
    target: i32,
}

impl Dense<'_> {
    /// ln p and greediness of every token of every continuation, in the order asked. Requests that read the same tokens are
    /// read once.
    ///
    /// # Errors
    /// A context is empty, an id is past the vocabulary, or the device failed.
    pub fn log_likelihoods(
        &self,
        requests: &[Continuation],
    ) -> Result<Vec<Vec<Likelihood>>, DenseError> {
        self.answer(requests, |batch, rows, answers| {
            answers.extend(self.likelihoods(&self.rows_stream(&batch.ids())?, rows)?);
            Ok(())
        })
    }

    /// How far this model is from another at every position that predicts a token of the continuations.
    ///
    /// # Errors
    /// A context is empty, an id is past the vocabulary, or the device failed.
    pub fn compare(
        &self,
        reference: &Dense,
        requests: &[Continuation],
    ) -> Result<Vec<Vec<Comparison>>, DenseError> {
        self.answer(requests, |batch, rows, answers| {
            let (own, other) = (
                self.rows_stream(&batch.ids())?,
                reference.rows_stream(&batch.ids())?,
            );
            for rows in rows.chunks(self.rows_at_once()) {
                let own = log_softmax(self.head(self.select(&own, rows)), 1);
                let other = log_softmax(reference.head(reference.select(&other, rows)), 1);
                let picks = read_ints(own.clone().argmax(1))?;
                let wanted = read_ints(other.clone().argmax(1))?;
                let kl = (other.clone().exp() * (other - own)).sum_dim(1);
                let found = read_floats(kl)?.into_iter().zip(picks).zip(wanted);
                answers.extend(found.map(|((kl, pick), wanted)| Comparison {
                    kl,
                    agrees: pick == wanted,
                }));
            }
            Ok(())
        })
    }

    /// Nats a token over disjoint windows of `window` predictions, each after the begin token alone.
    ///
    /// # Errors
    /// There is no token, an id is past the vocabulary, or the device failed.
    pub fn cross_entropy(
        &self,
        tokens: &[u32],
        window: usize,
        bos: u32,
    ) -> Result<f64, DenseError> {
        if tokens.is_empty() {
            return Err(DenseError::Empty { sequence: 0 });
        }
        let begin = [bos];
        let windows: Vec<Continuation> = tokens
            .chunks(window.max(1))
            .map(|tokens| (&begin[..], tokens))
            .collect();
        let likelihoods = self.log_likelihoods(&windows)?;
        let nats = likelihoods.iter().flatten();
        let nats: f64 = nats.map(|token| -f64::from(token.logprob)).sum();
        Ok(nats / tokens.len() as f64)
    }

    /// The logits after the last token of each sequence.
    ///
    /// # Errors
    /// A sequence is empty, an id is past the vocabulary, or the device failed.
    pub fn logits(&self, batch: &[&[u32]]) -> Result<Vec<Vec<f32>>, DenseError> {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let x = self.rows_stream(batch)?;
        let last = |(row, ids): (usize, &&[u32])| Row {
            row: (row * longest + ids.len() - 1) as i32,
            target: 0,
        };
        let rows: Vec<Row> = batch.iter().enumerate().map(last).collect();
        let mut logits = Vec::new();
        for rows in rows.chunks(self.rows_at_once()) {
            let values = read_floats(self.head(self.select(&x, rows)))?;
            logits.extend(
                values
                    .chunks_exact(self.config().vocab_size)
                    .map(<[f32]>::to_vec),
            );
        }
        Ok(logits)
    }

    /// Runs every batch and gives each request the answers to its own rows.
    fn answer<A: Copy + Send>(
        &self,
        requests: &[Continuation],
        work: impl Fn(&Batch, &[Row], &mut Vec<A>) -> Result<(), DenseError> + Sync,
    ) -> Result<Vec<Vec<A>>, DenseError> {
        let vocabulary = self.config().vocab_size;
        let mut targets = requests.iter().flat_map(|(_, continuation)| *continuation);
        if let Some(&id) = targets.find(|id| **id as usize >= vocabulary) {
            return Err(DenseError::UnknownToken { id, vocabulary });
        }
        let budget = match is_cpu(self.device()) {
            true => CPU_POSITIONS,
            false => GPU_POSITIONS,
        };
        let batches = batches(requests, budget)?;
        let done = in_parallel(self.threads(), &batches, |batch| {
            let mut answers = Vec::new();
            work(batch, &batch.rows(), &mut answers)?;
            Ok::<_, DenseError>(answers)
        })?;
        let mut answered = vec![Vec::new(); requests.len()];
        for (batch, answers) in batches.iter().zip(done) {
            let mut answers = answers.into_iter();
            for (request, _, continuation) in batch.sequences.iter().flat_map(|s| &s.asked) {
                answered[*request] = answers.by_ref().take(continuation.len()).collect();
            }
        }
        Ok(answered)
    }

    /// Nats of all tokens of sequences of equal lengths but their first ones, whose stream after the last layer is x.
    pub(crate) fn nats_of(&self, x: Tensor<3>, batch: &[&[u32]]) -> Result<f64, DenseError> {
        let [sequences, longest, hidden] = x.dims();
        let rows = batch.iter().enumerate().flat_map(|(index, ids)| {
            let targets = ids.iter().skip(1).enumerate();
            targets.map(move |(at, target)| Row {
                row: (index * longest + at) as i32,
                target: *target as i32,
            })
        });
        let rows: Vec<Row> = rows.collect();
        let likelihoods = self.likelihoods(&x.reshape([sequences * longest, hidden]), &rows)?;
        Ok(likelihoods
            .iter()
            .map(|token| -f64::from(token.logprob))
            .sum())
    }

    /// How likely each row's target is; some rows' logits at a time.
    fn likelihoods(&self, x: &Tensor<2>, rows: &[Row]) -> Result<Vec<Likelihood>, DenseError> {
        let mut answers = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.rows_at_once()) {
            let logits = self.head(self.select(x, rows));
            let targets = ints(rows.iter().map(|row| row.target), self).unsqueeze_dim(1);
            let greedy = logits.clone().argmax(1);
            let greedy = read_ints(greedy)?;
            let logprobs = log_softmax(logits, 1).gather(1, targets);
            let logprobs = read_floats(logprobs)?;
            let found = rows.iter().zip(logprobs).zip(greedy);
            answers.extend(found.map(|((row, logprob), greedy)| Likelihood {
                logprob,
                is_greedy: greedy == row.target,
            }));
        }
        Ok(answers)
    }

    /// The stream as rows: (batch * longest, hidden_size).
    fn rows_stream(&self, batch: &[&[u32]]) -> Result<Tensor<2>, DenseError> {
        let x = self.stream(batch)?;
        let [batch, longest, hidden] = x.dims();
        Ok(x.reshape([batch * longest, hidden]))
    }

    fn select(&self, x: &Tensor<2>, rows: &[Row]) -> Tensor<2> {
        x.clone()
            .select(0, ints(rows.iter().map(|row| row.row), self))
    }

    fn rows_at_once(&self) -> usize {
        let logits = match is_cpu(self.device()) {
            true => CPU_LOGITS,
            false => GPU_LOGITS,
        };
        (logits / self.config().vocab_size).max(1)
    }
}

impl Batch<'_> {
    fn ids(&self) -> Vec<&[u32]> {
        self.sequences.iter().map(|s| s.ids.as_slice()).collect()
    }

    fn longest(&self) -> usize {
        self.sequences
            .iter()
            .map(|s| s.ids.len())
            .max()
            .unwrap_or(0)
    }

    fn rows(&self) -> Vec<Row> {
        let longest = self.longest();
        let sequences = self.sequences.iter().enumerate();
        sequences
            .flat_map(|(index, sequence)| {
                let asked = sequence.asked.iter();
                asked.flat_map(move |(_, first, continuation)| {
                    let targets = continuation.iter().enumerate();
                    targets.map(move |(offset, target)| Row {
                        row: (index * longest + first + offset) as i32,
                        target: *target as i32,
                    })
                })
            })
            .collect()
    }
}

/// Groups requests by what is read, and sequences of like length into batches of at most `budget` positions (or one sequence).
fn batches<'t>(requests: &[Continuation<'t>], budget: usize) -> Result<Vec<Batch<'t>>, DenseError> {
    let mut sequences: BTreeMap<Vec<u32>, Vec<Asked>> = BTreeMap::new();
    for (index, (context, continuation)) in requests.iter().enumerate() {
        if context.is_empty() {
            return Err(DenseError::Empty { sequence: index });
        }
        if continuation.is_empty() {
            continue;
        }
        let read = &continuation[..continuation.len() - 1];
        let ids = [*context, read].concat();
        let asked = sequences.entry(ids).or_default();
        asked.push((index, context.len() - 1, continuation));
    }
    let mut sequences: Vec<_> = sequences
        .into_iter()
        .map(|(ids, asked)| Sequence { ids, asked })
        .collect();
    // The longest first: little padding, and no core begins the longest piece when the others are done.
    sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.ids.len()));
    let mut batches: Vec<Batch> = Vec::new();
    for sequence in sequences {
        match batches.last_mut() {
            Some(batch) if (batch.sequences.len() + 1) * batch.longest() <= budget => {
                batch.sequences.push(sequence);
            }
            _ => batches.push(Batch {
                sequences: vec![sequence],
            }),
        }
    }
    Ok(batches)
}

fn ints(values: impl Iterator<Item = i32>, model: &Dense) -> Tensor<1, Int> {
    let values: Vec<i32> = values.collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (model.device(), DType::I32))
}

pub(crate) fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DenseError> {
    tensor
        .try_into_vec_as()
        .map_err(|error| DenseError::Device {
            reason: error.to_string(),
        })
}

fn read_ints<const D: usize>(tensor: Tensor<D, Int>) -> Result<Vec<i32>, DenseError> {
    tensor
        .try_into_vec_as()
        .map_err(|error| DenseError::Device {
            reason: error.to_string(),
        })
}
