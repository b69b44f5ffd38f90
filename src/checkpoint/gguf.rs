//! GGUF versions 2 and 3 (llama.cpp's file): one file that holds shape, tokenizer, chat template and weights.
//! F32, F16, BF16, Q8_0 and Q4_0 tensors are read; q and k are put into Hugging Face's row order by [`Checkpoint::matrix`].

mod metadata;

use std::collections::{BTreeMap, BTreeSet};

use self::metadata::{Metadata, Reader};
use super::{
    Checkpoint, CheckpointError, Dtype, GgufParts, Kind, LayerWeight, SpecialTexts, Stored,
    StoredTensor, TensorFile, Tensors, TokenizerParts, Weight, matrix::widen, stored::GgufTensor,
};
use crate::config::{ConfigError, LlamaConfig, Rope, RopeScaling};

/// The tokenizer a GGUF file describes in its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `llama` (SentencePiece BPE) or `gpt2` (byte-level BPE); others exist.
    pub model: String,
    /// Name of the pre-tokenizer.
    pub pre: Option<String>,
    /// Token texts by id.
    pub tokens: Vec<String>,
    /// By id; empty where the model has none.
    pub scores: Vec<f32>,
    /// By id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty where the model has none.
    pub token_types: Vec<i32>,
    /// Pairs separated by a space, first merged first; empty where the model has none.
    pub merges: Vec<String>,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Last token of a text.
    pub eos: Option<u32>,
    /// Stands for what no token covers.
    pub unknown: Option<u32>,
    /// Fills batches.
    pub padding: Option<u32>,
    /// Texts begin with `bos`.
    pub add_bos: Option<bool>,
    /// Texts end with `eos`.
    pub add_eos: Option<bool>,
    /// A space goes before the first word.
    pub add_space_prefix: Option<bool>,
}

impl GgufVocabulary {
    /// Reads the vocabulary alone, also from files that hold nothing else.
    pub fn from_gguf(bytes: &[u8]) -> Result<Self, CheckpointError> {
        Gguf::open(bytes)?.vocabulary()
    }
}

pub(super) fn open(bytes: &[u8]) -> Result<Checkpoint<'_>, CheckpointError> {
    let gguf = Gguf::open(bytes)?;
    let vocabulary = gguf.vocabulary()?;
    let config = gguf.config(&vocabulary)?;
    let tensors = Tensors::gather(&gguf, &config)?;
    let text = |id: Option<u32>| id.and_then(|id| vocabulary.tokens.get(id as usize).cloned());
    Ok(Checkpoint {
        kind: Kind::Gguf,
        tensors,
        chat_template: gguf
            .metadata
            .text("tokenizer.chat_template")?
            .map(str::to_owned),
        special: SpecialTexts {
            bos: text(vocabulary.bos),
            eos: text(vocabulary.eos),
        },
        tokenizer: if vocabulary.tokens.is_empty() {
            TokenizerParts::Missing
        } else {
            TokenizerParts::Gguf(Box::new(vocabulary))
        },
        config,
        stored: Stored::Gguf(bytes),
        replaced: BTreeSet::new(),
    })
}

/// A file that was opened before, taken apart.
pub(crate) fn parts(bytes: &[u8]) -> Result<GgufParts<'_>, CheckpointError> {
    let gguf = Gguf::open(bytes)?;
    let mut tensors: Vec<_> = gguf.tensors.iter().collect();
    tensors.sort_unstable_by_key(|(_, info)| info.offset);
    let tensors = tensors.into_iter().map(|(name, info)| GgufTensor {
        name,
        kind: ggml_code(info.dtype),
        dimensions: info.shape.iter().rev().copied().collect(),
        // `check_extents` has seen that the range is inside the file.
        bytes: gguf
            .data
            .get(info.offset as usize..(info.offset + info.bytes) as usize)
            .unwrap_or_default(),
    });
    Ok(GgufParts {
        tensors: tensors.collect(),
        metadata: gguf.metadata.into_entries(),
    })
}

/// The name GGUF gives a weight.
pub(crate) fn gguf_name(weight: Weight) -> String {
    <Gguf<'_> as TensorFile<'_>>::name(weight)
}

/// ggml's code of a type.
pub(crate) fn ggml_code(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Q4_0 => 2,
        Dtype::Q8_0 => 8,
        Dtype::Bf16 => 30,
    }
}

// Real files have below a hundred keys and 1,200 tensors, texts of 100 kB at most, and 256,000 tokens.
const MAX_ENTRIES: u64 = 1 << 16;
const MAX_NAME_BYTES: u64 = 1 << 10;
const MAX_TOKENS: u64 = 1 << 20;
const MAX_MERGES: u64 = 1 << 21;
const MAX_DIMENSIONS: u32 = 4;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// A GGUF file taken apart; nothing is copied but names.
struct Gguf<'a> {
    metadata: Metadata<'a>,
    tensors: BTreeMap<&'a str, TensorInfo>,
    data: &'a [u8],
}

struct TensorInfo {
    dtype: Dtype,
    /// Outermost dimension first (the file has it last).
    shape: Vec<u64>,
    /// In bytes from the start of the data.
    offset: u64,
    bytes: u64,
}

impl<'a> Gguf<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader { bytes, position: 0 };
        let magic = &bytes[..bytes.len().min(4)];
        if magic != b"GGUF" {
            return Err(CheckpointError::Magic {
                found: magic.to_vec(),
            });
        }
        reader.position = 4;
        let version = reader.u32("the version")?;
        if !matches!(version, 2 | 3) {
            return Err(CheckpointError::Version { found: version });
        }
        let tensor_count = reader.count("tensors", MAX_ENTRIES)?;
        let key_count = reader.count("metadata keys", MAX_ENTRIES)?;
        let metadata = Metadata::read(&mut reader, key_count)?;
        if metadata.size("split.count")?.is_some_and(|parts| parts > 1) {
            return Err(CheckpointError::Unsupported {
                what: "a GGUF split over several files".into(),
                way_out: "join it with `llama-gguf-split --merge` first",
            });
        }
        let alignment = metadata.size("general.alignment")?.unwrap_or(32);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(malformed(format!(
                "general.alignment = {alignment} is no power of two up to {MAX_ALIGNMENT}"
            )));
        }

        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = reader.text("a tensor name", MAX_NAME_BYTES)?;
            let info = TensorInfo::read(&mut reader, name, alignment)?;
            if tensors.insert(name, info).is_some() {
                return Err(malformed(format!("tensor `{name}` is listed twice")));
            }
        }
        let start = reader
            .position
            .next_multiple_of(alignment as usize)
            .min(bytes.len());
        let data = &bytes[start..];
        check_extents(&tensors, data.len() as u64, alignment)?;
        Ok(Self {
            metadata,
            tensors,
            data,
        })
    }

    fn config(&self, vocabulary: &GgufVocabulary) -> Result<LlamaConfig, CheckpointError> {
        let metadata = &self.metadata;
        match metadata.text("general.architecture")? {
            Some("llama") => {}
            Some(other) => {
                let found = other.chars().take(80).collect();
                return Err(ConfigError::Unsupported {
                    feature: "general.architecture".into(),
                    found,
                }
                .into());
            }
            None => {
                return Err(ConfigError::Missing {
                    field: "general.architecture".into(),
                }
                .into());
            }
        }
        let hidden_size = metadata.needed("llama.embedding_length")?;
        let heads = metadata.needed("llama.attention.head_count")?;
        let context = metadata.needed("llama.context_length")?;
        let head_dim = match metadata.whole("llama.attention.key_length")? {
            Some(given) => given,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        };
        self.refuse_unsupported(head_dim, context)?;

        let tokens = vocabulary.tokens.len();
        let vocab_size = match metadata.whole("llama.vocab_size")? {
            Some(given) => given,
            None => tokens,
        };
        let mut eos_tokens = Vec::new();
        for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            if let Some(token) = metadata.token(&format!("tokenizer.ggml.{key}"))?
                && !eos_tokens.contains(&token)
            {
                eos_tokens.push(token);
            }
        }
        let config = LlamaConfig {
            hidden_size,
            intermediate_size: metadata.needed("llama.feed_forward_length")?,
            layers: metadata.needed("llama.block_count")?,
            heads,
            kv_heads: metadata
                .whole("llama.attention.head_count_kv")?
                .unwrap_or(heads),
            head_dim,
            vocab_size,
            context,
            rms_norm_eps: match metadata.number("llama.attention.layer_norm_rms_epsilon")? {
                Some(eps) => eps as f32,
                None => {
                    let field = "llama.attention.layer_norm_rms_epsilon".into();
                    return Err(ConfigError::Missing { field }.into());
                }
            },
            rope: self.rope(head_dim)?,
            tied_head: !self.tensors.contains_key("output.weight"),
            bos_token: vocabulary.bos,
            eos_tokens,
        };
        Ok(config.validate()?)
    }

    fn refuse_unsupported(&self, head_dim: usize, context: usize) -> Result<(), CheckpointError> {
        let metadata = &self.metadata;
        // A value other than the one named would change the arithmetic.
        for (key, plain) in [
            ("llama.attention.value_length", head_dim),
            ("llama.rope.dimension_count", head_dim),
            ("llama.expert_count", 0),
        ] {
            if let Some(found) = metadata.whole(key)?
                && found != plain
            {
                return Err(ConfigError::Unsupported {
                    feature: key.into(),
                    found: found.to_string(),
                }
                .into());
            }
        }
        if let Some(window) = metadata.whole("llama.attention.sliding_window")?
            && window > 0
            && window < context
        {
            let feature = "llama.attention.sliding_window".into();
            return Err(ConfigError::Unsupported {
                feature,
                found: window.to_string(),
            }
            .into());
        }
        match self.tensors.keys().find(|name| name.ends_with(".bias")) {
            Some(name) => Err(CheckpointError::Unsupported {
                what: format!("a bias (tensor `{name}`)"),
                way_out: "only Llamas without biases run here",
            }),
            None => Ok(()),
        }
    }

    fn rope(&self, head_dim: usize) -> Result<Rope, CheckpointError> {
        let metadata = &self.metadata;
        let theta = metadata.number("llama.rope.freq_base")?.unwrap_or(10_000.0);
        if let Some(stored) = self.find("rope_freqs.weight")? {
            let expected = vec![head_dim as u64 / 2];
            if stored.shape != expected || stored.dtype != Ok(Dtype::F32) {
                return Err(CheckpointError::Shape {
                    tensor: "rope_freqs.weight".into(),
                    expected,
                    found: stored.shape,
                });
            }
            let mut factors = vec![0.0; stored.bytes.len() / 4];
            widen(stored.bytes, Dtype::F32, &mut factors);
            return Ok(Rope {
                theta,
                scaling: RopeScaling::Factors(factors),
            });
        }
        let factor = match metadata.number("llama.rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => metadata.number("llama.rope.scale_linear")?,
        };
        let scaling = match (metadata.text("llama.rope.scaling.type")?, factor) {
            (Some("none"), _) | (None | Some("linear"), None | Some(0.0 | 1.0)) => {
                RopeScaling::None
            }
            (None | Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
            (Some(other), _) => {
                let found = other.chars().take(80).collect();
                return Err(ConfigError::Unsupported {
                    feature: "llama.rope.scaling.type".into(),
                    found,
                }
                .into());
            }
        };
        Ok(Rope { theta, scaling })
    }

    fn vocabulary(&self) -> Result<GgufVocabulary, CheckpointError> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let metadata = &self.metadata;
        let vocabulary = GgufVocabulary {
            model: metadata.text(&key("model"))?.unwrap_or_default().to_owned(),
            pre: metadata.text(&key("pre"))?.map(str::to_owned),
            tokens: metadata.texts(&key("tokens"), MAX_TOKENS)?,
            scores: metadata.array(
                &key("scores"),
                metadata::F32,
                MAX_TOKENS,
                f32::from_le_bytes,
            )?,
            token_types: metadata.array(
                &key("token_type"),
                metadata::I32,
                MAX_TOKENS,
                i32::from_le_bytes,
            )?,
            merges: metadata.texts(&key("merges"), MAX_MERGES)?,
            bos: metadata.token(&key("bos_token_id"))?,
            eos: metadata.token(&key("eos_token_id"))?,
            unknown: metadata.token(&key("unknown_token_id"))?,
            padding: metadata.token(&key("padding_token_id"))?,
            add_bos: metadata.flag(&key("add_bos_token"))?,
            add_eos: metadata.flag(&key("add_eos_token"))?,
            add_space_prefix: metadata.flag(&key("add_space_prefix"))?,
        };
        let tokens = vocabulary.tokens.len();
        for (what, length) in [
            ("scores", vocabulary.scores.len()),
            ("token_type", vocabulary.token_types.len()),
        ] {
            if length != 0 && length != tokens {
                return Err(malformed(format!(
                    "{} has {length} values for {tokens} tokens",
                    key(what)
                )));
            }
        }
        if vocabulary.scores.iter().any(|score| score.is_nan()) {
            return Err(malformed(format!("{} holds a NaN", key("scores"))));
        }
        Ok(vocabulary)
    }
}

impl<'a> TensorFile<'a> for Gguf<'a> {
    const DTYPES: &'static str = GGUF_DTYPES;

    fn name(weight: Weight) -> String {
        let (layer, part) = match weight {
            Weight::Embedding => return "token_embd.weight".into(),
            Weight::FinalNorm => return "output_norm.weight".into(),
            Weight::Head => return "output.weight".into(),
            Weight::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            LayerWeight::AttentionNorm => "attn_norm",
            LayerWeight::Query => "attn_q",
            LayerWeight::Key => "attn_k",
            LayerWeight::Value => "attn_v",
            LayerWeight::Output => "attn_output",
            LayerWeight::MlpNorm => "ffn_norm",
            LayerWeight::Gate => "ffn_gate",
            LayerWeight::Up => "ffn_up",
            LayerWeight::Down => "ffn_down",
        };
        format!("blk.{layer}.{part}.weight")
    }

    fn find(&self, name: &str) -> Result<Option<StoredTensor<'a>>, CheckpointError> {
        let Some(info) = self.tensors.get(name) else {
            return Ok(None);
        };
        // `check_extents` has seen that the range is inside the file.
        let range = info.offset as usize..(info.offset + info.bytes) as usize;
        Ok(Some(StoredTensor {
            dtype: Ok(info.dtype),
            shape: info.shape.clone(),
            bytes: self.data.get(range).unwrap_or_default(),
        }))
    }
}

const GGUF_DTYPES: &str = "F32, F16, BF16, Q8_0 and Q4_0";

impl TensorInfo {
    fn read(reader: &mut Reader, name: &str, alignment: u64) -> Result<Self, CheckpointError> {
        let dimensions = reader.u32("a tensor's dimensions")?;
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(malformed(format!(
                "tensor `{name}` has {dimensions} dimensions"
            )));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            shape.push(reader.u64("a tensor's shape")?);
        }
        let row = shape[0];
        shape.reverse();
        let dtype = match reader.u32("a tensor's type")? {
            0 => Dtype::F32,
            1 => Dtype::F16,
            2 => Dtype::Q4_0,
            8 => Dtype::Q8_0,
            30 => Dtype::Bf16,
            other => {
                return Err(CheckpointError::Dtype {
                    tensor: name.into(),
                    found: ggml_type(other),
                    supported: GGUF_DTYPES,
                });
            }
        };
        let offset = reader.u64("a tensor's offset")?;
        if !offset.is_multiple_of(alignment) {
            return Err(malformed(format!(
                "tensor `{name}` begins at {offset}, no multiple of {alignment}"
            )));
        }
        // Blocks lie along a row: a row must fill them.
        let bytes = shape[..shape.len() - 1]
            .iter()
            .try_fold(dtype.byte_count(row).unwrap_or(u64::MAX), |bytes, size| {
                bytes.checked_mul(*size)
            })
            .filter(|bytes| *bytes <= i64::MAX as u64);
        match bytes {
            Some(bytes) => Ok(Self {
                dtype,
                shape,
                offset,
                bytes,
            }),
            None => Err(malformed(format!(
                "tensor `{name}` of shape {shape:?} cannot be {}",
                dtype.name()
            ))),
        }
    }
}

/// The names of ggml's other tensor types, for messages.
fn ggml_type(id: u32) -> String {
    let name = match id {
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16..=23 | 29 => "an IQ type",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        34 | 35 => "a ternary type",
        39 => "MXFP4",
        _ => "an unknown type",
    };
    format!("{name} (ggml type {id})")
}

/// Every tensor inside the data, none over another, and no more data after the last than alignment explains.
fn check_extents(
    tensors: &BTreeMap<&str, TensorInfo>,
    data_bytes: u64,
    alignment: u64,
) -> Result<(), CheckpointError> {
    let mut extents: Vec<_> = tensors
        .iter()
        .map(|(name, info)| (info.offset, info.bytes, *name))
        .collect();
    extents.sort_unstable();
    let mut end = 0;
    for (offset, bytes, name) in extents {
        if offset < end {
            return Err(malformed(format!(
                "tensor `{name}` begins at {offset}, inside the one before it"
            )));
        }
        match offset.checked_add(bytes) {
            Some(next) if next <= data_bytes => end = next,
            _ => {
                return Err(CheckpointError::Truncated {
                    what: format!("tensor `{name}` at {offset}"),
                    needed: bytes,
                    found: data_bytes.saturating_sub(offset),
                });
            }
        }
    }
    if !tensors.is_empty() && data_bytes - end >= alignment {
        return Err(malformed(format!(
            "{} bytes follow the last tensor",
            data_bytes - end
        )));
    }
    Ok(())
}

fn malformed(reason: String) -> CheckpointError {
    CheckpointError::Malformed {
        file: "the GGUF file".into(),
        reason,
    }
}
