//! Llama as Burn modules, written once: for every device, weight format and layer plan.
//!
//! A layer plan says which layers run. Full and half depth are two plans over one [`Llama`], and nothing else differs.

mod build;
mod load;
mod matrix;
#[cfg(test)]
mod mutations;
mod pass;
mod storage;

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

pub use build::LlamaBuilder;
pub use load::{LoadError, Loader};
pub use matrix::PackedLinear;
pub use pass::{Cache, Control, HeadWork, Pick, Workspace};
pub use storage::InUse;
pub(crate) use storage::{float_tensor, word_tensor};

use crate::config::LlamaConfig;
use crate::kernels::linear::MatrixShape;
use crate::pack::Role;
use crate::plan::LanePlan;
use crate::quant::Format;
use crate::weights::{LayerFormats, ModelFormats};
use storage::{Allocator, Destination};

/// One transformer layer: grouped-query attention and a SwiGLU feed-forward network, each behind an RMSNorm.
#[derive(Module, Debug)]
pub struct Layer {
    attention_norm: Param<Tensor<1>>,
    qkv: PackedLinear,
    output: PackedLinear,
    mlp_norm: Param<Tensor<1>>,
    gate_up: PackedLinear,
    down: PackedLinear,
}

impl Layer {
    /// Room for a layer, and where the sections of its shard go, in their order.
    fn allocate(
        config: &LlamaConfig,
        layer: &str,
        formats: LayerFormats,
        allocator: &Allocator,
    ) -> Result<(Self, Vec<Destination>), BuildError> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let qkv_rows = config.query_rows() + 2 * config.kv_rows();
        let matrix = |name, rows, cols, format| {
            let shape = MatrixShape { rows, cols, format };
            PackedLinear::allocate(&format!("{name} of {layer}"), shape, allocator)
        };
        let (attention_norm, attention_norm_to) = allocator.floats(hidden);
        let (qkv, qkv_to) = matrix("qkv", qkv_rows, hidden, formats.qkv)?;
        let (output, output_to) = matrix("output", hidden, config.query_rows(), formats.output)?;
        let (mlp_norm, mlp_norm_to) = allocator.floats(hidden);
        let (gate_up, gate_up_to) = matrix("gate_up", 2 * intermediate, hidden, formats.gate_up)?;
        let (down, down_to) = matrix("down", hidden, intermediate, formats.down)?;
        let layer = Self {
            attention_norm,
            qkv,
            output,
            mlp_norm,
            gate_up,
            down,
        };
        let attention = [attention_norm_to].into_iter().chain(qkv_to);
        let mlp = [mlp_norm_to].into_iter().chain(gate_up_to).chain(down_to);
        Ok((layer, attention.chain(output_to).chain(mlp).collect()))
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let matrices = [&self.qkv, &self.output, &self.gate_up, &self.down];
        let norms = [&self.attention_norm, &self.mlp_norm];
        matrices.iter().map(|m| m.bytes()).sum::<usize>()
            + norms
                .iter()
                .map(|n| 4 * n.lazy_shape().num_elements())
                .sum::<usize>()
    }
}

/// What turns the residual stream into logits.
#[derive(Module, Debug)]
pub struct Head {
    norm: Param<Tensor<1>>,
    /// `None`: tied to the embedding.
    matrix: Option<PackedLinear>,
}

impl Head {
    /// Bytes on the device.
    fn bytes(&self) -> usize {
        4 * self.norm.lazy_shape().num_elements()
            + self.matrix.as_ref().map_or(0, PackedLinear::bytes)
    }
}

/// A whole model on one device.
#[derive(Module, Debug)]
pub struct Llama {
    embedding: PackedLinear,
    layers: Vec<Layer>,
    /// Other weights for some of the layers, which plans may run in their place.
    replacements: Vec<Layer>,
    head: Head,
    /// Others for plans that run one of them.
    heads: Vec<Head>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    device: Device,
}

/// Where each file's sections go, in their order.
type Destinations = HashMap<Role, Vec<Destination>>;

impl Llama {
    /// Room for a model whose weights are still to come, and where they go.
    fn allocate(
        config: LlamaConfig,
        formats: &ModelFormats,
        allocator: &Allocator,
    ) -> Result<(Self, Destinations), BuildError> {
        let mut destinations = Destinations::new();
        let (embedding, to) = allocate_embedding(&config, formats.embedding, allocator)?;
        destinations.insert(Role::Embedding, to.into());
        let (head, to) = allocate_head(&config, formats.head, allocator)?;
        destinations.insert(Role::Head, to);
        let mut heads = Vec::new();
        for (number, format) in formats.heads.iter().enumerate() {
            let (head, to) = allocate_head(&config, *format, allocator)?;
            destinations.insert(Role::ReplacedHead(number), to);
            heads.push(head);
        }
        let mut replacements = Vec::new();
        for (number, formats) in formats.replacements.iter().enumerate() {
            let name = format!("replacement {number}");
            let (layer, to) = Layer::allocate(&config, &name, *formats, allocator)?;
            destinations.insert(Role::Replacement(number), to);
            replacements.push(layer);
        }
        let mut layers = Vec::new();
        for index in 0..config.layers {
            let Some(formats) = formats.layers.get(index) else {
                return Err(BuildError::Missing {
                    missing: format!("the format of layer {index}"),
                });
            };
            let name = format!("layer {index}");
            let (layer, to) = Layer::allocate(&config, &name, *formats, allocator)?;
            destinations.insert(Role::Layer(index), to);
            layers.push(layer);
        }
        let model = Self {
            embedding,
            layers,
            replacements,
            head,
            heads,
            config,
            device: allocator.device().clone(),
        };
        Ok((model, destinations))
    }

    /// The model's shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Where the weights lie.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of weights on the device: shared by every plan.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.layers.iter().chain(&self.replacements);
        let heads = self.heads.iter().chain([&self.head]);
        self.embedding.bytes()
            + layers.map(Layer::bytes).sum::<usize>()
            + heads.map(Head::bytes).sum::<usize>()
    }

    /// Whether it has every layer and head that a plan runs.
    pub fn has(&self, plan: &LanePlan) -> bool {
        let layers = &plan.layers().layers;
        layers.iter().all(|layer| *layer < self.layers.len())
            && plan
                .replaced()
                .values()
                .all(|number| *number < self.replacements.len())
            && plan.head().is_none_or(|number| number < self.heads.len())
    }

    /// The weights in which a plan runs a layer of its own.
    fn layer(&self, plan: &LanePlan, layer: usize) -> &Layer {
        match plan.replaced().get(&layer) {
            Some(number) => &self.replacements[*number],
            None => &self.layers[layer],
        }
    }

    /// The norm before a plan's head, and the head.
    fn head(&self, plan: &LanePlan) -> (Tensor<1>, &PackedLinear) {
        let head = plan.head().map_or(&self.head, |number| &self.heads[number]);
        let matrix = head.matrix.as_ref().unwrap_or(&self.embedding);
        (head.norm.val(), matrix)
    }
}

fn allocate_embedding(
    config: &LlamaConfig,
    format: Format,
    allocator: &Allocator,
) -> Result<(PackedLinear, [Destination; 2]), BuildError> {
    PackedLinear::allocate_in_parts("the embedding", table(config, format), allocator)
}

/// The final norm and, where there is a format for it, a head of its own.
fn allocate_head(
    config: &LlamaConfig,
    format: Option<Format>,
    allocator: &Allocator,
) -> Result<(Head, Vec<Destination>), BuildError> {
    let (norm, norm_to) = allocator.floats(config.hidden_size);
    let mut to = vec![norm_to];
    let mut matrix = None;
    if let Some(format) = format {
        let shape = table(config, format);
        let (own, own_to) = PackedLinear::allocate_in_parts("the head", shape, allocator)?;
        to.extend(own_to);
        matrix = Some(own);
    }
    Ok((Head { norm, matrix }, to))
}

/// The shape of embedding and head.
fn table(config: &LlamaConfig, format: Format) -> MatrixShape {
    MatrixShape {
        rows: config.vocab_size,
        cols: config.hidden_size,
        format,
    }
}

/// What keeps a model from being built.
#[derive(Debug, Error, PartialEq)]
pub enum BuildError {
    /// A part was never given.
    #[error(
        "the model is not complete: {missing} has not been loaded; load every file of the pack first"
    )]
    Missing {
        /// The part.
        missing: String,
    },
    /// A part has another shape than the configuration says.
    #[error(
        "{part} has the shape {found:?}, but the configuration asks for {expected:?}; the weights belong to another model"
    )]
    Shape {
        /// The part.
        part: String,
        /// (rows, columns) given.
        found: (usize, usize),
        /// (rows, columns) needed.
        expected: (usize, usize),
    },
    /// A layer's matrix that would have to be split by rows over several buffers; only embedding and head are.
    #[error("{name} has {bytes} bytes, but this GPU binds {limit} at once; use another GPU")]
    NeedsRowParts {
        /// The matrix.
        name: String,
        /// Bytes of its words.
        bytes: u64,
        /// Bytes that one tensor may have.
        limit: u64,
    },
}
