//! Opens a trained Llama: bytes of a Hugging Face folder or of a GGUF file in, one [`Checkpoint`] out.
//! Every size and shape is checked on opening; numbers are widened (and found finite) only when asked for,
//! so a memory-mapped checkpoint may be larger than memory.

mod gguf;
mod matrix;
mod replaced;
mod safetensors;
mod stored;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::gguf::GgufVocabulary;
pub(crate) use self::gguf::{ggml_code, gguf_name, parts as gguf_parts};
pub(crate) use self::matrix::widen;
pub use self::matrix::{Dtype, Matrix};
pub use self::safetensors::{HuggingFaceFiles, shard_names};
pub(crate) use self::safetensors::{hugging_face_name, hugging_face_weight, stored_tensors};
pub use self::stored::Stored;
pub(crate) use self::stored::{GgufParts, SafeTensor};
use crate::config::{ConfigError, LlamaConfig};

/// One weight of a Llama.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// (vocab_size, hidden_size).
    Embedding,
    /// (hidden_size,).
    FinalNorm,
    /// (vocab_size, hidden_size); the embedding itself when tied.
    Head,
    /// A weight of one layer, counted from 0.
    Layer(usize, LayerWeight),
}

/// The weights of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerWeight {
    /// (hidden_size,).
    AttentionNorm,
    /// (heads * head_dim, hidden_size), rows in Hugging Face's order: the two halves of a head rotate together.
    Query,
    /// (kv_heads * head_dim, hidden_size), rows as in `Query`.
    Key,
    /// (kv_heads * head_dim, hidden_size).
    Value,
    /// (hidden_size, heads * head_dim).
    Output,
    /// (hidden_size,).
    MlpNorm,
    /// (intermediate_size, hidden_size).
    Gate,
    /// (intermediate_size, hidden_size).
    Up,
    /// (hidden_size, intermediate_size).
    Down,
}

/// A checkpoint whose every weight is there and has the right shape. Borrows the (mapped) bytes.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    config: LlamaConfig,
    kind: Kind,
    tensors: Tensors<'a>,
    tokenizer: TokenizerParts<'a>,
    chat_template: Option<String>,
    special: SpecialTexts,
    /// What it was opened from.
    stored: Stored<'a>,
    /// Weights that are no longer those of the file.
    replaced: BTreeSet<Weight>,
}

/// Where a checkpoint's tokenizer is to be found.
#[derive(Clone, Copy, Debug)]
pub enum TokenizerSource<'a> {
    /// Hugging Face's files.
    Json {
        /// `tokenizer.json`.
        tokenizer: &'a [u8],
        /// `tokenizer_config.json`.
        config: Option<&'a [u8]>,
    },
    /// GGUF metadata.
    Gguf(&'a GgufVocabulary),
    /// The checkpoint has none.
    Missing,
}

/// The special tokens a chat template may name, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTexts {
    /// `bos_token`.
    pub bos: Option<String>,
    /// `eos_token`.
    pub eos: Option<String>,
}

/// Why a checkpoint cannot be opened or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Neither format.
    #[error("checkpoint: not a GGUF file (it begins with {found:02x?}); expected the letters GGUF")]
    Magic {
        /// First bytes.
        found: Vec<u8>,
    },
    /// A GGUF version this reader does not know.
    #[error(
        "checkpoint: GGUF version {found} is not known (2 and 3 are); convert the model again with a current llama.cpp"
    )]
    Version {
        /// Version number in the file.
        found: u32,
    },
    /// The file ends too early.
    #[error(
        "checkpoint: truncated: {what} needs {needed} bytes, {found} are left; download the file again"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A claim beyond what any real file makes.
    #[error(
        "checkpoint: {what} = {found} is over the limit of {limit}; the file is damaged or not a Llama"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// What the file claims.
        found: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The structure contradicts itself.
    #[error("checkpoint: {file} is damaged: {reason}; download it again")]
    Malformed {
        /// File or part.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight is not stored.
    #[error("checkpoint: tensor `{tensor}` is missing; the configuration says the model has it")]
    MissingTensor {
        /// Name.
        tensor: String,
    },
    /// The index names a file that was not given.
    #[error(
        "checkpoint: tensor `{tensor}` is in `{shard}`, which is not there; download the missing file"
    )]
    MissingShard {
        /// Tensor name.
        tensor: String,
        /// File name.
        shard: String,
    },
    /// A tensor of another shape than the configuration implies.
    #[error(
        "checkpoint: tensor `{tensor}` has shape {found:?}, the configuration implies {expected:?}"
    )]
    Shape {
        /// Tensor name.
        tensor: String,
        /// From the configuration.
        expected: Vec<u64>,
        /// From the file.
        found: Vec<u64>,
    },
    /// A number type that cannot be read.
    #[error(
        "checkpoint: tensor `{tensor}` is stored as {found}; {supported} can be read: convert the model to one of them"
    )]
    Dtype {
        /// Tensor name.
        tensor: String,
        /// Type found.
        found: String,
        /// Types that can be read.
        supported: &'static str,
    },
    /// A feature of the file that is not supported.
    #[error("checkpoint: {what} is not supported; {way_out}")]
    Unsupported {
        /// What.
        what: String,
        /// What to do instead.
        way_out: &'static str,
    },
    /// A NaN or an infinity.
    #[error(
        "checkpoint: tensor `{tensor}` holds a value that is not finite in row {row}; the file is damaged"
    )]
    NonFinite {
        /// Tensor name.
        tensor: String,
        /// First such row.
        row: usize,
    },
    /// A weight that this model does not have, or a vector where a matrix was asked for.
    #[error("checkpoint: there is no {what} {weight:?} in a model of {layers} layers")]
    NoSuchWeight {
        /// "matrix" or "vector".
        what: &'static str,
        /// What was asked for.
        weight: Weight,
        /// Layers there are.
        layers: usize,
    },
}

impl<'a> Checkpoint<'a> {
    /// Opens the files of a Hugging Face folder.
    pub fn from_hugging_face(files: HuggingFaceFiles<'a>) -> Result<Self, CheckpointError> {
        safetensors::open(files)
    }

    /// Opens a GGUF file.
    pub fn from_gguf(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        gguf::open(bytes)
    }

    /// The model's shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// A matrix in its stored type. Nothing is copied, but q and k of a GGUF, whose rows are put in order.
    pub fn matrix(&self, weight: Weight) -> Result<Matrix<'_>, CheckpointError> {
        let tensor = match weight {
            Weight::Embedding => &self.tensors.embedding,
            Weight::Head => self
                .tensors
                .head
                .as_ref()
                .unwrap_or(&self.tensors.embedding),
            Weight::Layer(layer, part) if !part.is_norm() => {
                self.layer_tensor(layer, part, "matrix")?
            }
            _ => return Err(self.no_such("matrix", weight)),
        };
        let mut matrix = Matrix {
            name: Cow::Borrowed(tensor.name.as_str()),
            rows: tensor.rows,
            cols: tensor.cols,
            dtype: tensor.dtype,
            bytes: Cow::Borrowed(tensor.bytes.as_ref()),
        };
        if self.kind == Kind::Gguf
            && let Weight::Layer(_, LayerWeight::Query | LayerWeight::Key) = weight
        {
            matrix.bytes = Cow::Owned(halves_apart(&matrix, self.config.head_dim));
        }
        Ok(matrix)
    }

    /// A norm's gains as floats.
    pub fn vector(&self, weight: Weight) -> Result<Vec<f32>, CheckpointError> {
        let tensor = match weight {
            Weight::FinalNorm => &self.tensors.final_norm,
            Weight::Layer(layer, part) if part.is_norm() => {
                self.layer_tensor(layer, part, "vector")?
            }
            _ => return Err(self.no_such("vector", weight)),
        };
        let mut values = vec![0.0; tensor.cols];
        matrix::widen(&tensor.bytes, tensor.dtype, &mut values);
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(CheckpointError::NonFinite {
                tensor: tensor.name.clone(),
                row: 0,
            })
        }
    }

    /// Where the tokenizer is.
    pub fn tokenizer(&self) -> TokenizerSource<'_> {
        match &self.tokenizer {
            TokenizerParts::Json { tokenizer, config } => TokenizerSource::Json {
                tokenizer,
                config: *config,
            },
            TokenizerParts::Gguf(vocabulary) => TokenizerSource::Gguf(vocabulary),
            TokenizerParts::Missing => TokenizerSource::Missing,
        }
    }

    /// The Jinja text that turns messages into a prompt.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// The special tokens a chat template may name.
    pub fn special(&self) -> &SpecialTexts {
        &self.special
    }

    /// `safetensors` or `gguf`.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Safetensors => "safetensors",
            Kind::Gguf => "gguf",
        }
    }

    /// The files it was opened from.
    pub fn stored(&self) -> &Stored<'a> {
        &self.stored
    }

    /// SHA-256 of the weight files' bytes, one after the other, in hexadecimal. Reads all of them.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for file in self.stored.weight_files() {
            hash.update(file);
        }
        hex(&hash.finalize())
    }

    fn layer_tensor(
        &self,
        layer: usize,
        part: LayerWeight,
        what: &'static str,
    ) -> Result<&Tensor<'a>, CheckpointError> {
        match self.tensors.layers.get(layer) {
            Some(tensors) => Ok(&tensors[part as usize]),
            None => Err(self.no_such(what, Weight::Layer(layer, part))),
        }
    }

    fn no_such(&self, what: &'static str, weight: Weight) -> CheckpointError {
        CheckpointError::NoSuchWeight {
            what,
            weight,
            layers: self.config.layers,
        }
    }
}

impl Weight {
    /// Whether it is a vector.
    pub(crate) fn is_norm(self) -> bool {
        match self {
            Self::FinalNorm => true,
            Self::Layer(_, part) => part.is_norm(),
            Self::Embedding | Self::Head => false,
        }
    }

    /// (rows, cols); a norm is one row.
    pub(crate) fn shape(self, config: &LlamaConfig) -> (usize, usize) {
        match self {
            Self::Embedding | Self::Head => (config.vocab_size, config.hidden_size),
            Self::FinalNorm => (1, config.hidden_size),
            Self::Layer(_, part) => part.shape(config),
        }
    }
}

impl LayerWeight {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::AttentionNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::MlpNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    pub(crate) fn is_norm(self) -> bool {
        matches!(self, Self::AttentionNorm | Self::MlpNorm)
    }

    /// (rows, cols); a norm is one row.
    pub(crate) fn shape(self, config: &LlamaConfig) -> (usize, usize) {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        match self {
            Self::AttentionNorm | Self::MlpNorm => (1, hidden),
            Self::Query => (config.query_rows(), hidden),
            Self::Key | Self::Value => (config.kv_rows(), hidden),
            Self::Output => (hidden, config.query_rows()),
            Self::Gate | Self::Up => (intermediate, hidden),
            Self::Down => (hidden, intermediate),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Safetensors,
    /// The rows of q and k are stored with rotating pairs side by side.
    Gguf,
}

#[derive(Debug)]
enum TokenizerParts<'a> {
    Json {
        tokenizer: &'a [u8],
        config: Option<&'a [u8]>,
    },
    Gguf(Box<GgufVocabulary>),
    Missing,
}

/// Every weight of the model, shape and length checked.
#[derive(Debug)]
struct Tensors<'a> {
    embedding: Tensor<'a>,
    final_norm: Tensor<'a>,
    head: Option<Tensor<'a>>,
    /// By `LayerWeight as usize`.
    layers: Vec<[Tensor<'a>; LayerWeight::ALL.len()]>,
}

#[derive(Debug)]
struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    rows: usize,
    cols: usize,
    /// As the file has them, or as it would where they were replaced.
    bytes: Cow<'a, [u8]>,
}

/// A tensor as its file describes it; the bytes are there, nothing else is checked.
struct StoredTensor<'a> {
    /// The type, or the name of one that cannot be read.
    dtype: Result<Dtype, String>,
    /// Outermost dimension first.
    shape: Vec<u64>,
    bytes: &'a [u8],
}

/// What a file format knows of its tensors.
trait TensorFile<'a> {
    /// The name this format gives a weight.
    fn name(weight: Weight) -> String;
    /// The types it can hold, for messages.
    const DTYPES: &'static str;
    /// `None` when no tensor has that name.
    fn find(&self, name: &str) -> Result<Option<StoredTensor<'a>>, CheckpointError>;
}

impl<'a> Tensors<'a> {
    /// Finds and checks every weight. `config.tied_head` decides whether a head is looked for.
    fn gather<F: TensorFile<'a>>(file: &F, config: &LlamaConfig) -> Result<Self, CheckpointError> {
        let table = (config.vocab_size, config.hidden_size);
        // Some tied checkpoints store the table under the head's name only.
        let embedding = match Tensor::find(file, Weight::Embedding, table) {
            Err(missing @ CheckpointError::MissingTensor { .. }) if config.tied_head => {
                match Tensor::find(file, Weight::Head, table) {
                    Err(CheckpointError::MissingTensor { .. }) => Err(missing),
                    found => found,
                }
            }
            found => found,
        }?;
        let head = match config.tied_head {
            true => None,
            false => Some(Tensor::find(file, Weight::Head, table)?),
        };
        let final_norm = Tensor::find(file, Weight::FinalNorm, (1, config.hidden_size))?;
        // Grows a layer at a time: a claimed number of layers reserves nothing.
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            let find = |part: LayerWeight| {
                Tensor::find(file, Weight::Layer(layer, part), part.shape(config))
            };
            let [a, b, c, d, e, f, g, h, i] = LayerWeight::ALL;
            layers.push([
                find(a)?,
                find(b)?,
                find(c)?,
                find(d)?,
                find(e)?,
                find(f)?,
                find(g)?,
                find(h)?,
                find(i)?,
            ]);
        }
        Ok(Self {
            embedding,
            final_norm,
            head,
            layers,
        })
    }
}

impl<'a> Tensor<'a> {
    fn find<F: TensorFile<'a>>(
        file: &F,
        weight: Weight,
        (rows, cols): (usize, usize),
    ) -> Result<Self, CheckpointError> {
        let name = F::name(weight);
        let Some(stored) = file.find(&name)? else {
            return Err(CheckpointError::MissingTensor { tensor: name });
        };
        let is_norm = weight.is_norm();
        let expected = if is_norm {
            vec![cols as u64]
        } else {
            vec![rows as u64, cols as u64]
        };
        if stored.shape != expected {
            return Err(CheckpointError::Shape {
                tensor: name,
                expected,
                found: stored.shape,
            });
        }
        let dtype = match stored.dtype {
            Ok(dtype) if is_norm && dtype.block() > 1 => Err(format!("{} (a norm)", dtype.name())),
            other => other,
        };
        let dtype = match dtype {
            Ok(dtype) => dtype,
            Err(found) => {
                return Err(CheckpointError::Dtype {
                    tensor: name,
                    found,
                    supported: F::DTYPES,
                });
            }
        };
        // Blocks lie along a row, so it is rows that have to fill them.
        let row = dtype
            .byte_count(cols as u64)
            .and_then(|bytes| bytes.checked_mul(rows as u64));
        if row != Some(stored.bytes.len() as u64) {
            let reason = format!(
                "tensor `{name}` has {} bytes, which is not {rows} x {cols} {}",
                stored.bytes.len(),
                dtype.name()
            );
            return Err(CheckpointError::Malformed {
                file: "the file".into(),
                reason,
            });
        }
        Ok(Self {
            name,
            dtype,
            rows,
            cols,
            bytes: Cow::Borrowed(stored.bytes),
        })
    }
}

/// From rotating pairs side by side (row 2j and 2j + 1 of a head) to pairs half a head apart (j and j + head_dim / 2).
/// Whole rows move, so quantised blocks stay as they are.
fn halves_apart(matrix: &Matrix, head_dim: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(matrix.bytes.len());
    for head in (0..matrix.rows).step_by(head_dim) {
        for half in 0..2 {
            for pair in 0..head_dim / 2 {
                bytes.extend_from_slice(matrix.row_bytes(head + 2 * pair + half));
            }
        }
    }
    bytes
}

/// Lower-case hexadecimal, as hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
