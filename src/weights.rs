//! What the model is built from: one layer, the embedding or the head of a checkpoint in, packed matrices out.
//! q, k and v are stacked into one matrix, gate and up into another, since each pair of launches becomes one.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError, LayerWeight, Weight};
use crate::quant::{Format, Packed, QuantError};

/// One layer, ready for the device.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// (hidden_size,).
    pub attention_norm: Vec<f32>,
    /// ((heads + 2 kv_heads) * head_dim, hidden_size): the rows of q, then of k, then of v.
    pub qkv: Packed,
    /// (hidden_size, heads * head_dim).
    pub output: Packed,
    /// (hidden_size,).
    pub mlp_norm: Vec<f32>,
    /// (2 * intermediate_size, hidden_size): the rows of gate, then of up.
    pub gate_up: Packed,
    /// (hidden_size, intermediate_size).
    pub down: Packed,
}

/// What turns the last layer's output into logits.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadWeights {
    /// (hidden_size,).
    pub norm: Vec<f32>,
    /// (vocab_size, hidden_size); `None` when the embedding is the head.
    pub head: Option<Packed>,
}

/// The formats of one layer's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFormats {
    /// Of [`LayerWeights::qkv`].
    pub qkv: Format,
    /// Of [`LayerWeights::output`].
    pub output: Format,
    /// Of [`LayerWeights::gate_up`].
    pub gate_up: Format,
    /// Of [`LayerWeights::down`].
    pub down: Format,
}

/// The formats of a whole model's matrices: with the shape, all that its size in memory follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFormats {
    /// Of the embedding.
    pub embedding: Format,
    /// Of the head; `None` when the embedding is the head.
    pub head: Option<Format>,
    /// Of each layer.
    pub layers: Vec<LayerFormats>,
    /// Of each replacement of a layer.
    pub replacements: Vec<LayerFormats>,
    /// Of each replaced head; `None` where the embedding is that head.
    pub heads: Vec<Option<Format>>,
}

/// The format to give a checkpoint's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// What each is stored in, without loss; stacked matrices that differ become f32 together.
    Native,
    /// Floats always.
    Dense,
    /// This one always.
    Quantised(Format),
}

impl LayerWeights {
    /// Reads and packs one layer.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        layer: usize,
        choice: FormatChoice,
    ) -> Result<Self, WeightsError> {
        let vector = |part| checkpoint.vector(Weight::Layer(layer, part));
        let stacked = |parts: &[LayerWeight]| {
            let weights: Vec<_> = parts
                .iter()
                .map(|part| Weight::Layer(layer, *part))
                .collect();
            pack(checkpoint, &weights, choice)
        };
        Ok(Self {
            attention_norm: vector(LayerWeight::AttentionNorm)?,
            qkv: stacked(&[LayerWeight::Query, LayerWeight::Key, LayerWeight::Value])?,
            output: stacked(&[LayerWeight::Output])?,
            mlp_norm: vector(LayerWeight::MlpNorm)?,
            gate_up: stacked(&[LayerWeight::Gate, LayerWeight::Up])?,
            down: stacked(&[LayerWeight::Down])?,
        })
    }

    /// The formats of its matrices.
    pub fn formats(&self) -> LayerFormats {
        LayerFormats {
            qkv: self.qkv.format,
            output: self.output.format,
            gate_up: self.gate_up.format,
            down: self.down.format,
        }
    }
}

impl HeadWeights {
    /// Reads and packs the final norm and, when not tied, the head.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        choice: FormatChoice,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            norm: checkpoint.vector(Weight::FinalNorm)?,
            head: match checkpoint.config().tied_head {
                true => None,
                false => Some(pack(checkpoint, &[Weight::Head], choice)?),
            },
        })
    }
}

/// Reads and packs the embedding: (vocab_size, hidden_size).
pub fn embedding_from_checkpoint(
    checkpoint: &Checkpoint,
    choice: FormatChoice,
) -> Result<Packed, WeightsError> {
    pack(checkpoint, &[Weight::Embedding], choice)
}

/// Why weights could not be read or packed.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The values do not fit the format.
    #[error("{weight:?}: {source}")]
    Quant {
        /// The matrix.
        weight: Weight,
        /// What is wrong with it.
        source: QuantError,
    },
}

fn pack(
    checkpoint: &Checkpoint,
    weights: &[Weight],
    choice: FormatChoice,
) -> Result<Packed, WeightsError> {
    let format = match choice {
        FormatChoice::Dense => Format::F32,
        FormatChoice::Quantised(format) => format,
        FormatChoice::Native => {
            let mut natives = Vec::new();
            for weight in weights {
                natives.push(Packed::native_format(checkpoint.matrix(*weight)?.dtype));
            }
            match natives.as_slice() {
                [first, rest @ ..] if rest.iter().all(|native| native == first) => *first,
                _ => Format::F32,
            }
        }
    };
    let mut parts = Vec::new();
    for weight in weights {
        let matrix = checkpoint.matrix(*weight)?;
        let packed = Packed::from_matrix(&matrix, format).map_err(|source| match source {
            QuantError::Checkpoint(error) => WeightsError::Checkpoint(error),
            source => WeightsError::Quant {
                weight: *weight,
                source,
            },
        })?;
        parts.push(packed);
    }
    Packed::stack(parts).map_err(|source| WeightsError::Quant {
        weight: weights.first().copied().unwrap_or(Weight::Embedding),
        source,
    })
}
