//! In: a source of layers and samples of a text. Out: every block's angular distance, after as many steps as there are layers.
//! In memory stand one layer, the stream of every sample, and the last token's stream at every depth seen so far.

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::tensor::{Device, Tensor};

use super::ScanError;
use super::turn::{angular_distance, cosine};
use crate::config::LlamaConfig;
use crate::dense::{
    Block, DenseError, DenseSource, Positions, default_threads, in_parallel, read_floats, tensor,
};

/// Floats of the widest thing that a layer makes of one piece of the samples; each core runs one piece.
const PIECE: usize = 1 << 22;

/// A scan under way: each step runs every sample through one more layer.
pub struct Scanner<'s> {
    source: &'s dyn DenseSource,
    device: Device,
    threads: usize,
    pub(super) shape: Shape,
    pub(super) progress: Progress,
}

/// How much is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) samples: usize,
    pub(super) tokens: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
}

/// What has been computed so far: all that a scan needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    /// (samples, tokens, hidden): the stream after the layers done.
    pub(super) x: Vec<f32>,
    /// (layers done + 1, samples, hidden): the last token's stream at each depth.
    pub(super) last: Vec<f32>,
    pub(super) sums: Sums,
}

/// Sums over samples or positions, in f64.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    /// For each depth after the first, the distances from depths 0, 1, ...; (layers done) rows.
    pub(super) distances: Vec<Vec<f64>>,
    /// For each layer done: 1 - cosine over all positions.
    pub(super) block: Vec<f64>,
    pub(super) attention: Vec<f64>,
    pub(super) mlp: Vec<f64>,
}

/// The means.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// By n, from 1: the mean angular distance, in units of pi, between the last token's stream before layer l and before
    /// layer l + n, for each l.
    pub distance: BTreeMap<usize, Vec<f64>>,
    /// By layer: 1 minus the mean cosine between the stream before and after it, over all positions.
    pub block_influence: Vec<f64>,
    /// As `block_influence`, of attention alone.
    pub attention: Vec<f64>,
    /// As `block_influence`, of the MLP alone.
    pub mlp: Vec<f64>,
}

impl<'s> Scanner<'s> {
    /// Embeds the samples, which have equal lengths.
    ///
    /// # Errors
    /// An id is past the vocabulary, or the embedding is damaged.
    pub fn new(
        source: &'s dyn DenseSource,
        samples: &[Vec<u32>],
        device: &Device,
    ) -> Result<Self, ScanError> {
        let shape = Shape::of(source, samples);
        let mut x = Vec::with_capacity(shape.floats());
        for ids in samples {
            x.extend(source.embed(ids)?);
        }
        let mut progress = Progress {
            x,
            last: Vec::with_capacity(shape.samples * shape.hidden * (shape.layers + 1)),
            sums: Sums::default(),
        };
        progress.keep_last(&shape);
        Ok(Self::at(source, device, shape, progress))
    }

    pub(super) fn at(
        source: &'s dyn DenseSource,
        device: &Device,
        shape: Shape,
        progress: Progress,
    ) -> Self {
        Self {
            source,
            device: device.clone(),
            threads: default_threads(device),
            shape,
            progress,
        }
    }

    /// Layers run so far.
    pub fn done(&self) -> usize {
        self.progress.sums.block.len()
    }

    /// Runs the next layer; `false` when there is none.
    ///
    /// # Errors
    /// The layer cannot be read, or the stream overflows.
    pub fn step(&mut self) -> Result<bool, ScanError> {
        let layer = self.done();
        if layer == self.shape.layers {
            return Ok(false);
        }
        let config = self.source.config();
        let block = Block::new(self.source.layer(layer)?, config, &self.device);
        let positions = Positions::new(config, self.shape.tokens, &self.device);
        let sample = self.shape.tokens * self.shape.hidden;
        let pieces = self
            .progress
            .x
            .chunks_mut(sample * samples_at_once(config, self.shape.tokens));
        let pieces: Vec<_> = pieces.map(Mutex::new).collect();
        let turned = in_parallel(self.threads, &pieces, |piece| {
            let mut piece = piece
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            self.shape.run(&block, &positions, &mut piece, &self.device)
        })?;
        drop(pieces);
        // In the samples' order, whichever core was first: the sums are the same to the last bit.
        let sum = |of: fn(&Turned) -> f64| turned.iter().map(of).sum::<f64>();
        let total = sum(|turned| turned.block);
        if !total.is_finite() {
            return Err(ScanError::NonFinite { layer });
        }
        let sums = &mut self.progress.sums;
        sums.block.push(total);
        sums.attention.push(sum(|turned| turned.attention));
        sums.mlp.push(sum(|turned| turned.mlp));
        self.progress.keep_last(&self.shape);
        Ok(true)
    }

    /// The means, once every layer has run.
    pub fn finish(self) -> Measured {
        let Shape {
            samples, tokens, ..
        } = self.shape;
        let Sums {
            distances,
            block,
            attention,
            mlp,
        } = self.progress.sums;
        let mut distance = BTreeMap::<usize, Vec<f64>>::new();
        for (above, row) in distances.iter().enumerate() {
            for (l, sum) in row.iter().enumerate() {
                // Depths rise, so every row over l grows from its left end.
                distance
                    .entry(above + 1 - l)
                    .or_default()
                    .push(sum / samples as f64);
            }
        }
        let mean = |sums: Vec<f64>| {
            sums.into_iter()
                .map(|sum| sum / (samples * tokens) as f64)
                .collect()
        };
        Measured {
            distance,
            block_influence: mean(block),
            attention: mean(attention),
            mlp: mean(mlp),
        }
    }
}

/// What a piece of the samples adds to the sums.
#[derive(Default)]
struct Turned {
    block: f64,
    attention: f64,
    mlp: f64,
}

impl Shape {
    pub(super) fn of(source: &dyn DenseSource, samples: &[Vec<u32>]) -> Self {
        let config = source.config();
        Self {
            samples: samples.len(),
            tokens: samples.first().map_or(0, Vec::len),
            hidden: config.hidden_size,
            layers: config.layers,
        }
    }

    pub(super) fn floats(&self) -> usize {
        self.samples * self.tokens * self.hidden
    }

    /// Runs whole samples through a layer, in place.
    fn run(
        &self,
        block: &Block,
        positions: &Positions,
        x: &mut [f32],
        device: &Device,
    ) -> Result<Turned, DenseError> {
        let shape = [
            x.len() / (self.tokens * self.hidden),
            self.tokens,
            self.hidden,
        ];
        let before: Tensor<3> = tensor(x.to_vec(), shape, device);
        let (between, after) = block.streams(before, positions);
        let (between, after) = (read_floats(between)?, read_floats(after)?);
        let mut turned = Turned::default();
        let rows = x
            .chunks_exact(self.hidden)
            .zip(between.chunks_exact(self.hidden));
        for ((before, between), after) in rows.zip(after.chunks_exact(self.hidden)) {
            turned.block += 1.0 - cosine(before, after);
            turned.attention += 1.0 - cosine(before, between);
            turned.mlp += 1.0 - cosine(between, after);
        }
        x.copy_from_slice(&after);
        Ok(turned)
    }
}

impl Progress {
    /// Keeps the last token's stream and adds its distance from every depth before.
    fn keep_last(&mut self, shape: &Shape) {
        let before = self.last.len() / (shape.samples * shape.hidden);
        let sample = shape.tokens * shape.hidden;
        for x in self.x.chunks_exact(sample) {
            self.last.extend_from_slice(&x[sample - shape.hidden..]);
        }
        if before == 0 {
            return;
        }
        let depths: Vec<&[f32]> = self
            .last
            .chunks_exact(shape.samples * shape.hidden)
            .collect();
        let distance = |depth: &&[f32]| -> f64 {
            let pairs = depth
                .chunks_exact(shape.hidden)
                .zip(depths[before].chunks_exact(shape.hidden));
            pairs.map(|(a, b)| angular_distance(a, b)).sum()
        };
        let row = depths[..before].iter().map(distance).collect();
        self.sums.distances.push(row);
    }
}

/// Bytes that a scan holds at its peak: a layer's weights, the samples' streams, what the cores work on.
pub fn memory_bytes(config: &LlamaConfig, samples: usize, tokens: usize, device: &Device) -> u64 {
    let [hidden, layers, samples, tokens] =
        [config.hidden_size, config.layers, samples, tokens].map(|size| size as u64);
    let attention = 2 * (config.query_rows() + config.kv_rows()) as u64 * hidden;
    let layer = attention + 3 * hidden * config.intermediate_size as u64;
    let streams = samples * hidden * (tokens + layers + 1);
    let piece = (samples_at_once(config, tokens as usize) as u64).min(samples) * tokens;
    // Gate, its SiLU, up and their product stand side by side, beside the streams before, between and after.
    let work = piece * (4 * widest(config) as u64 + 4 * hidden) * default_threads(device) as u64;
    4 * (layer + streams + work)
}

fn samples_at_once(config: &LlamaConfig, tokens: usize) -> usize {
    (PIECE / (widest(config) * tokens.max(1))).max(1)
}

fn widest(config: &LlamaConfig) -> usize {
    config
        .intermediate_size
        .max(config.query_rows())
        .max(config.hidden_size)
}
