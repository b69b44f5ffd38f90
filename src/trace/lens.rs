//! In: token ids and a model. Out: what the model would answer if it ended after each of its layers: the final norm and the head,
//! applied to the residual stream at every depth.

use burn::tensor::Tensor;

use super::TraceError;
use crate::decode::distribution;
use crate::dense::{Dense, DenseError, read_floats};
use crate::plan::LayerPlan;

/// Logits that are looked at together.
const LOGITS: usize = 1 << 22;

/// A prompt read at every depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    /// By position: the token that the whole model chooses next.
    pub chosen: Vec<u32>,
    /// By depth, by position: first the embedding, then the stream after each layer; the last is the model's own answer.
    pub readings: Vec<Vec<Reading>>,
}

/// One depth at one position.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The likeliest tokens with their probabilities, the likeliest first.
    pub top: Vec<(u32, f64)>,
    /// The probability of the token that the whole model chooses.
    pub probability: f64,
    /// Its rank: 1 where no token is likelier.
    pub rank: usize,
    /// Nats: sum of p ln (p / q), p the whole model's distribution, q the one here.
    pub kl: f64,
}

impl Lens {
    /// Reads a prompt; `top` tokens of every reading are kept.
    ///
    /// # Errors
    /// The prompt is empty, an id is past the vocabulary, or the device failed.
    pub fn new(model: &Dense, ids: &[u32], top: usize) -> Result<Self, TraceError> {
        let layers = model.config().layers;
        let full = LayerPlan::full(layers).map_err(DenseError::from)?;
        let model = model.with_plan(full)?;
        let streams = streams(&model, ids)?;
        let at_once = (LOGITS / model.config().vocab_size).max(1);
        let mut lens = Self {
            chosen: Vec::with_capacity(ids.len()),
            readings: vec![Vec::with_capacity(ids.len()); layers + 1],
        };
        for first in (0..ids.len()).step_by(at_once) {
            let count = at_once.min(ids.len() - first);
            let look = |x: &Tensor<2>| log_softmaxes(&model, x.clone().narrow(0, first, count));
            let last = look(&streams[layers])?;
            let chosen: Vec<usize> = last.iter().map(|logprobs| likeliest(logprobs)).collect();
            for (readings, x) in lens.readings.iter_mut().zip(&streams) {
                let here = look(x)?;
                let rows = here.iter().zip(&last).zip(&chosen);
                readings.extend(
                    rows.map(|((here, last), chosen)| Reading::new(here, last, *chosen, top)),
                );
            }
            lens.chosen.extend(chosen.iter().map(|id| *id as u32));
        }
        Ok(lens)
    }

    /// The first depth at which the token finally chosen is the likeliest, and the one from which it stays so; 0 is the embedding,
    /// 1 the stream after layer 0.
    pub fn first_chosen(&self, position: usize) -> (usize, usize) {
        let is_top: Vec<bool> = (self.readings.iter())
            .map(|readings| readings[position].rank == 1)
            .collect();
        let last = is_top.len() - 1;
        let first = is_top.iter().position(|is_top| *is_top).unwrap_or(last);
        let stays = is_top.iter().rposition(|is_top| !is_top);
        (first, stays.map_or(0, |depth| (depth + 1).min(last)))
    }
}

impl Reading {
    /// What log-probabilities say; `last` are the whole model's, `chosen` the token it chooses.
    pub fn new(here: &[f64], last: &[f64], chosen: usize, top: usize) -> Self {
        let mut order: Vec<usize> = (0..here.len()).collect();
        let likelier = |a: &usize, b: &usize| here[*b].total_cmp(&here[*a]).then(a.cmp(b));
        let top = top.min(order.len());
        if top > 0 && top < order.len() {
            order.select_nth_unstable_by(top - 1, likelier);
        }
        order.truncate(top);
        order.sort_unstable_by(likelier);
        let pairs = here.iter().zip(last);
        Self {
            top: (order.iter())
                .map(|id| (*id as u32, here[*id].exp()))
                .collect(),
            probability: here[chosen].exp(),
            rank: 1
                + (here.iter())
                    .filter(|logprob| **logprob > here[chosen])
                    .count(),
            // Rounding may leave a sum just below zero, which a divergence never is.
            kl: pairs.map(|(q, p)| p.exp() * (p - q)).sum::<f64>().max(0.0),
        }
    }
}

/// The stream before the first layer and after each: (positions, hidden_size).
fn streams(model: &Dense, ids: &[u32]) -> Result<Vec<Tensor<2>>, DenseError> {
    let (mut x, positions) = model.embed(&[ids])?;
    let [_, length, hidden] = x.dims();
    let rows = |x: &Tensor<3>| x.clone().reshape([length, hidden]);
    let mut streams = vec![rows(&x)];
    for layer in 0..model.config().layers {
        let block = model.block(layer).ok_or(DenseError::NotLoaded { layer })?;
        x = block.forward(x, &positions);
        streams.push(rows(&x));
    }
    Ok(streams)
}

/// ln p of every token, for each row of a stream: summed in f64, since distributions close to each other are compared.
fn log_softmaxes(model: &Dense, rows: Tensor<2>) -> Result<Vec<Vec<f64>>, TraceError> {
    let vocabulary = model.config().vocab_size;
    let logits = read_floats(model.head(rows))?;
    logits
        .chunks_exact(vocabulary)
        .map(|logits| {
            let logprobs = distribution::log_softmax(logits);
            match logprobs.iter().any(|logprob| logprob.is_nan()) {
                true => Err(TraceError::NonFinite),
                false => Ok(logprobs),
            }
        })
        .collect()
}

fn likeliest(logprobs: &[f64]) -> usize {
    let better = |best: usize, at: usize| {
        if logprobs[at] > logprobs[best] {
            at
        } else {
            best
        }
    };
    (0..logprobs.len()).fold(0, better)
}
