//! Llama as Burn modules, written once: for every device, weight format and layer plan.
//!
//! A layer plan says which layers run. Full and half depth are two plans over one [`Llama`], and nothing else differs.

mod matrix;
#[cfg(test)]
mod mutations;
mod pass;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

pub use matrix::PackedLinear;
pub(crate) use matrix::{float_tensor, word_tensor};
pub use pass::{Cache, Control, Workspace};

use crate::config::LlamaConfig;
use crate::quant::Packed;
use crate::weights::{HeadWeights, LayerWeights};

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
    /// Moves a layer's weights to `device`.
    pub fn new(weights: LayerWeights, device: &Device) -> Self {
        Self {
            attention_norm: norm(weights.attention_norm, device),
            qkv: PackedLinear::new(weights.qkv, device),
            output: PackedLinear::new(weights.output, device),
            mlp_norm: norm(weights.mlp_norm, device),
            gate_up: PackedLinear::new(weights.gate_up, device),
            down: PackedLinear::new(weights.down, device),
        }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let matrices = [&self.qkv, &self.output, &self.gate_up, &self.down];
        let norms = [&self.attention_norm, &self.mlp_norm];
        matrices.iter().map(|m| m.bytes()).sum::<usize>()
            + norms
                .iter()
                .map(|n| 4 * n.val().shape().num_elements())
                .sum::<usize>()
    }
}

/// A whole model on one device.
#[derive(Module, Debug)]
pub struct Llama {
    embedding: PackedLinear,
    layers: Vec<Layer>,
    norm: Param<Tensor<1>>,
    /// `None`: tied to the embedding.
    head: Option<PackedLinear>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    device: Device,
}

impl Llama {
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
        self.embedding.bytes()
            + self.head.as_ref().map_or(0, PackedLinear::bytes)
            + 4 * self.config.hidden_size
            + self.layers.iter().map(Layer::bytes).sum::<usize>()
    }

    fn head(&self) -> &PackedLinear {
        self.head.as_ref().unwrap_or(&self.embedding)
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
}

/// Takes a model's parts in any order, as they arrive, and puts each on the device at once.
#[derive(Debug)]
pub struct LlamaBuilder {
    config: LlamaConfig,
    device: Device,
    embedding: Option<PackedLinear>,
    head: Option<(Param<Tensor<1>>, Option<PackedLinear>)>,
    layers: Vec<Option<Layer>>,
}

impl LlamaBuilder {
    /// A model of this shape on this device, still without weights.
    pub fn new(config: LlamaConfig, device: &Device) -> Self {
        let layers = (0..config.layers).map(|_| None).collect();
        Self {
            config,
            device: device.clone(),
            embedding: None,
            head: None,
            layers,
        }
    }

    /// Takes the embedding table (vocabulary, hidden).
    pub fn embedding(&mut self, table: Packed) -> Result<(), BuildError> {
        self.check(
            "the embedding",
            &table,
            self.config.vocab_size,
            self.config.hidden_size,
        )?;
        self.embedding = Some(PackedLinear::new(table, &self.device));
        Ok(())
    }

    /// Takes the final norm and, where it is not tied, the head (vocabulary, hidden).
    pub fn head(&mut self, weights: HeadWeights) -> Result<(), BuildError> {
        self.check_norm("the final norm", &weights.norm)?;
        if let Some(head) = &weights.head {
            self.check(
                "the head",
                head,
                self.config.vocab_size,
                self.config.hidden_size,
            )?;
        }
        let head = weights
            .head
            .map(|head| PackedLinear::new(head, &self.device));
        self.head = Some((norm(weights.norm, &self.device), head));
        Ok(())
    }

    /// Takes the weights of layer `index`.
    pub fn layer(&mut self, index: usize, weights: LayerWeights) -> Result<(), BuildError> {
        let c = &self.config;
        let attention = c.heads * c.head_dim;
        let shapes = [
            (
                "qkv",
                &weights.qkv,
                (c.heads + 2 * c.kv_heads) * c.head_dim,
                c.hidden_size,
            ),
            ("output", &weights.output, c.hidden_size, attention),
            (
                "gate_up",
                &weights.gate_up,
                2 * c.intermediate_size,
                c.hidden_size,
            ),
            ("down", &weights.down, c.hidden_size, c.intermediate_size),
        ];
        for (name, packed, rows, cols) in shapes {
            self.check(&format!("{name} of layer {index}"), packed, rows, cols)?;
        }
        self.check_norm(
            &format!("attention norm of layer {index}"),
            &weights.attention_norm,
        )?;
        self.check_norm(&format!("MLP norm of layer {index}"), &weights.mlp_norm)?;
        let Some(place) = self.layers.get_mut(index) else {
            return Err(BuildError::Missing {
                missing: format!("a place for layer {index}"),
            });
        };
        *place = Some(Layer::new(weights, &self.device));
        Ok(())
    }

    /// The finished model.
    pub fn build(self) -> Result<Llama, BuildError> {
        let missing = |missing: &str| BuildError::Missing {
            missing: missing.to_string(),
        };
        let (norm, head) = self.head.ok_or_else(|| missing("the head"))?;
        let layers = self.layers.into_iter().enumerate();
        let layers: Result<Vec<Layer>, BuildError> = layers
            .map(|(i, layer)| layer.ok_or_else(|| missing(&format!("layer {i}"))))
            .collect();
        Ok(Llama {
            embedding: self.embedding.ok_or_else(|| missing("the embedding"))?,
            layers: layers?,
            norm,
            head,
            config: self.config,
            device: self.device,
        })
    }

    fn check(
        &self,
        part: &str,
        packed: &Packed,
        rows: usize,
        cols: usize,
    ) -> Result<(), BuildError> {
        let (found, expected) = ((packed.rows, packed.cols), (rows, cols));
        if found == expected {
            return Ok(());
        }
        Err(BuildError::Shape {
            part: part.to_string(),
            found,
            expected,
        })
    }

    fn check_norm(&self, part: &str, values: &[f32]) -> Result<(), BuildError> {
        let (found, expected) = ((1, values.len()), (1, self.config.hidden_size));
        if found == expected {
            return Ok(());
        }
        Err(BuildError::Shape {
            part: part.to_string(),
            found,
            expected,
        })
    }
}

fn norm(values: Vec<f32>, device: &Device) -> Param<Tensor<1>> {
    Param::initialized(ParamId::new(), float_tensor(values, device))
}
