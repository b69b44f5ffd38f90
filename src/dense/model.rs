//! In: a source of weights, a plan, a device. Out: a resident model that runs whole sequences.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::backend::wgpu::CubeBackend;
use burn::tensor::{Device, Tensor};

use super::block::{rms_norm, tensor};
use super::{Block, DenseError, DenseSource, Positions};
use crate::config::LlamaConfig;
use crate::plan::SublayerPlan;

/// Floats of one piece of the head on the device; a driver may bind no more than 128 MiB at once.
const HEAD_PIECE: usize = 1 << 24;

/// A resident f32 model. Clones and other plans over it share the weights.
#[derive(Clone)]
pub struct Dense<'s> {
    source: &'s dyn DenseSource,
    blocks: Arc<BTreeMap<usize, Block>>,
    plan: SublayerPlan,
    norm: Tensor<1>,
    /// The head's rows, some to a tensor: (rows, hidden_size) each.
    head: Arc<Vec<Tensor<2>>>,
    device: Device,
    threads: usize,
}

impl<'s> Dense<'s> {
    /// Loads the layers that the plan runs, and the head. The embedding stays where it is: rows are looked up.
    /// `progress` is told how many of how many pieces are there.
    ///
    /// # Errors
    /// The plan does not fit the model, or weights cannot be read.
    pub fn load(
        source: &'s dyn DenseSource,
        plan: impl Into<SublayerPlan>,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, DenseError> {
        let (plan, config) = (plan.into(), source.config());
        let total = plan.layers().layers.len() + 1;
        let mut blocks = BTreeMap::new();
        for &layer in &plan.layers().layers {
            blocks.insert(layer, Block::new(source.layer(layer)?, config, device));
            progress(blocks.len(), total);
        }
        let hidden = config.hidden_size;
        let norm = tensor(source.final_norm()?, [hidden], device);
        let mut head = Vec::new();
        let rows = (HEAD_PIECE / hidden).max(1);
        for first in (0..config.vocab_size).step_by(rows) {
            let last = (first + rows).min(config.vocab_size);
            head.push(tensor(
                source.head(first..last)?,
                [last - first, hidden],
                device,
            ));
        }
        progress(total, total);
        Ok(Self {
            source,
            blocks: Arc::new(blocks),
            plan,
            norm,
            head: Arc::new(head),
            threads: default_threads(device),
            device: device.clone(),
        })
    }

    /// The same weights under another plan.
    ///
    /// # Errors
    /// It runs a layer that was not loaded.
    pub fn with_plan(&self, plan: impl Into<SublayerPlan>) -> Result<Self, DenseError> {
        let plan = plan.into();
        let missing = |layer: &&usize| !self.blocks.contains_key(layer);
        match plan.layers().layers.iter().find(missing) {
            Some(&layer) => Err(DenseError::NotLoaded { layer }),
            None => Ok(Self {
                plan,
                ..self.clone()
            }),
        }
    }

    /// Cores to use; [`default_threads`] unless said otherwise.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The model's shape.
    pub fn config(&self) -> &LlamaConfig {
        self.source.config()
    }

    /// What runs.
    pub fn plan(&self) -> &SublayerPlan {
        &self.plan
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn source(&self) -> &'s dyn DenseSource {
        self.source
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// A layer's weights; `None` where it was not loaded.
    pub fn block(&self, layer: usize) -> Option<&Block> {
        self.blocks.get(&layer)
    }

    /// The residual stream after the last layer, before the final norm: (batch, longest, hidden_size). Shorter sequences are
    /// padded on the right, where a causal model does not look; what stands there means nothing.
    ///
    /// # Errors
    /// A sequence is empty or holds an id past the vocabulary, or weights are damaged.
    pub fn stream(&self, batch: &[&[u32]]) -> Result<Tensor<3>, DenseError> {
        let (mut x, positions) = self.embed(batch)?;
        for layer in &self.plan.layers().layers {
            let Some(block) = self.blocks.get(layer) else {
                return Err(DenseError::NotLoaded { layer: *layer });
            };
            if !self.plan.mute_attention().contains(layer) {
                x = x.clone() + block.attention(x, &positions);
            }
            if !self.plan.mute_mlp().contains(layer) {
                x = x.clone() + block.mlp(x);
            }
        }
        Ok(x)
    }

    /// The embeddings of a batch, padded on the right, and the positions they stand at.
    ///
    /// # Errors
    /// A sequence is empty or holds an id past the vocabulary.
    pub fn embed(&self, batch: &[&[u32]]) -> Result<(Tensor<3>, Positions), DenseError> {
        if let Some(sequence) = batch.iter().position(|ids| ids.is_empty()) {
            return Err(DenseError::Empty { sequence });
        }
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let hidden = self.config().hidden_size;
        let mut values = Vec::with_capacity(batch.len() * longest * hidden);
        for (row, ids) in batch.iter().enumerate() {
            values.extend(self.source.embed(ids)?);
            values.resize((row + 1) * longest * hidden, 0.0);
        }
        let x = tensor(values, [batch.len(), longest, hidden], &self.device);
        Ok((x, Positions::new(self.config(), longest, &self.device)))
    }

    /// Logits of rows of the stream, (rows, hidden_size) in, (rows, vocab_size) out. Mind the size: give it few rows at once.
    pub fn head(&self, rows: Tensor<2>) -> Tensor<2> {
        let x = rms_norm(
            rows,
            self.norm.clone().unsqueeze(),
            self.config().rms_norm_eps,
        );
        let pieces = self.head.iter();
        let mut pieces: Vec<_> = pieces
            .map(|piece| x.clone().matmul(piece.clone().transpose()))
            .collect();
        match pieces.len() {
            1 => pieces.remove(0),
            _ => Tensor::cat(pieces, 1),
        }
    }
}

/// Pieces of work to run at once: as many as there are cores on the CPU, one on a GPU.
pub fn default_threads(device: &Device) -> usize {
    if !is_cpu(device) {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Whether tensors of this device lie in the host's memory.
pub fn is_cpu(device: &Device) -> bool {
    Tensor::<1>::empty([1], device)
        .try_into_primitive::<CubeBackend>()
        .is_err()
}
