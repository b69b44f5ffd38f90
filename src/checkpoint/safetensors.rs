//! A Hugging Face folder: configuration, one or several safetensors files, tokenizer files; all as bytes.

use std::collections::{BTreeMap, BTreeSet};

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype as StoredDtype, Metadata};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Checkpoint, CheckpointError, Dtype, Kind, LayerWeight, SafeTensor, SpecialTexts, Stored,
    StoredTensor, TensorFile, Tensors, TokenizerParts, Weight,
};
use crate::config::LlamaConfig;

/// The files of a folder, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct HuggingFaceFiles<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `generation_config.json`.
    pub generation_config: Option<&'a [u8]>,
    /// `model.safetensors.index.json`.
    pub index: Option<&'a [u8]>,
    /// Each safetensors file under its name in the index.
    pub shards: Vec<(String, &'a [u8])>,
    /// `tokenizer.json`.
    pub tokenizer: Option<&'a [u8]>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `chat_template.jinja`.
    pub chat_template: Option<&'a [u8]>,
}

/// The files an index names, each a plain file name that cannot leave its folder.
pub fn shard_names(index: &[u8]) -> Result<Vec<String>, CheckpointError> {
    let names: BTreeSet<String> = parse_index(index)?.into_values().collect();
    Ok(names.into_iter().collect())
}

pub(super) fn open(files: HuggingFaceFiles<'_>) -> Result<Checkpoint<'_>, CheckpointError> {
    let config = LlamaConfig::from_hugging_face(files.config, files.generation_config)?;
    let tensors = Tensors::gather(&Folder::open(&files)?, &config)?;
    let about = TokenizerConfig::parse(files.tokenizer_config)?;
    let chat_template = match files.chat_template {
        Some(bytes) => Some(utf8("chat_template.jinja", bytes)?.to_owned()),
        None => about.chat_template(),
    };
    Ok(Checkpoint {
        tensors,
        config,
        kind: Kind::Safetensors,
        tokenizer: match files.tokenizer {
            Some(tokenizer) => TokenizerParts::Json {
                tokenizer,
                config: files.tokenizer_config,
            },
            None => TokenizerParts::Missing,
        },
        chat_template,
        special: SpecialTexts {
            bos: token_text(&about.bos_token),
            eos: token_text(&about.eos_token),
        },
        stored: Stored::HuggingFace(files),
        replaced: BTreeSet::new(),
    })
}

/// Every tensor of a folder that was opened before, known or not, file by file in the order of their bytes.
pub(crate) fn stored_tensors<'a>(
    files: &HuggingFaceFiles<'a>,
) -> Result<Vec<SafeTensor<'a>>, CheckpointError> {
    let folder = Folder::open(files)?;
    let mut tensors = Vec::new();
    for shard in &folder.shards {
        for name in shard.header.offset_keys() {
            let elsewhere = match &folder.index {
                Some(index) => index.get(&name) != Some(&shard.name),
                None => false,
            };
            let Some(info) = shard.header.info(&name).filter(|_| !elsewhere) else {
                continue;
            };
            let (start, end) = info.data_offsets;
            tensors.push(SafeTensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                // The header was found to cover the file.
                bytes: shard.data.get(start..end).unwrap_or_default(),
                name,
            });
        }
    }
    Ok(tensors)
}

// The index of a 405B model has 1,138 tensors in 100 kB; its headers are smaller.
const MAX_HEADER_BYTES: u64 = 16 << 20;
const MAX_INDEX_BYTES: usize = 16 << 20;
const MAX_TOKENIZER_CONFIG_BYTES: usize = 16 << 20;
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

struct Folder<'a> {
    shards: Vec<Shard<'a>>,
    /// Tensor name to file name.
    index: Option<BTreeMap<String, String>>,
}

struct Shard<'a> {
    name: String,
    header: Metadata,
    data: &'a [u8],
}

impl<'a> Folder<'a> {
    fn open(files: &HuggingFaceFiles<'a>) -> Result<Self, CheckpointError> {
        if files.shards.is_empty() {
            return Err(CheckpointError::Malformed {
                file: "the folder".into(),
                reason: "it has no safetensors file".into(),
            });
        }
        let index = files.index.map(parse_index).transpose()?;
        let mut shards = Vec::new();
        for (name, bytes) in &files.shards {
            shards.push(Shard::open(name, bytes)?);
        }
        let mut seen = BTreeSet::new();
        for name in shards
            .iter()
            .flat_map(|shard: &Shard| shard.header.offset_keys())
        {
            if name.ends_with("_proj.bias") {
                return Err(CheckpointError::Unsupported {
                    what: format!("a bias (tensor `{name}`)"),
                    way_out: "only Llamas without biases run here",
                });
            }
            if index.is_none() && !seen.insert(name.clone()) {
                return Err(CheckpointError::Malformed {
                    file: "the folder".into(),
                    reason: format!("tensor `{name}` is stored in two files and there is no index"),
                });
            }
        }
        Ok(Self { shards, index })
    }
}

/// The name Hugging Face gives a weight.
pub(crate) fn hugging_face_name(weight: Weight) -> String {
    <Folder<'_> as TensorFile<'_>>::name(weight)
}

/// The weight that has this name; `None` for any other name, and for a number written in another way.
pub(crate) fn hugging_face_weight(name: &str) -> Option<Weight> {
    let number = name.strip_prefix("model.layers.");
    let number = number.and_then(|rest| rest.split_once('.')?.0.parse().ok());
    let parts = LayerWeight::ALL.into_iter();
    let of_layer = number.map(|layer| parts.map(move |part| Weight::Layer(layer, part)));
    of_layer
        .into_iter()
        .flatten()
        .chain([Weight::Embedding, Weight::FinalNorm, Weight::Head])
        .find(|weight| hugging_face_name(*weight) == name)
}

impl<'a> TensorFile<'a> for Folder<'a> {
    const DTYPES: &'static str = "F32, F16 and BF16";

    fn name(weight: Weight) -> String {
        let (layer, part) = match weight {
            Weight::Embedding => return "model.embed_tokens.weight".into(),
            Weight::FinalNorm => return "model.norm.weight".into(),
            Weight::Head => return "lm_head.weight".into(),
            Weight::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            LayerWeight::AttentionNorm => "input_layernorm",
            LayerWeight::Query => "self_attn.q_proj",
            LayerWeight::Key => "self_attn.k_proj",
            LayerWeight::Value => "self_attn.v_proj",
            LayerWeight::Output => "self_attn.o_proj",
            LayerWeight::MlpNorm => "post_attention_layernorm",
            LayerWeight::Gate => "mlp.gate_proj",
            LayerWeight::Up => "mlp.up_proj",
            LayerWeight::Down => "mlp.down_proj",
        };
        format!("model.layers.{layer}.{part}.weight")
    }

    fn find(&self, name: &str) -> Result<Option<StoredTensor<'a>>, CheckpointError> {
        let Some(index) = &self.index else {
            return Ok(self.shards.iter().find_map(|shard| shard.tensor(name)));
        };
        let Some(file) = index.get(name) else {
            return Ok(None);
        };
        match self.shards.iter().find(|shard| shard.name == *file) {
            Some(shard) => Ok(shard.tensor(name)),
            None => Err(CheckpointError::MissingShard {
                tensor: name.into(),
                shard: file.clone(),
            }),
        }
    }
}

impl<'a> Shard<'a> {
    fn open(name: &str, bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(CheckpointError::Truncated {
                what: format!("the header length of {name}"),
                needed: 8,
                found: bytes.len() as u64,
            });
        };
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER_BYTES {
            return Err(CheckpointError::TooLarge {
                what: format!("header bytes of {name}"),
                found: length,
                limit: MAX_HEADER_BYTES,
            });
        }
        if length > rest.len() as u64 {
            return Err(CheckpointError::Truncated {
                what: format!("the header of {name}"),
                needed: length,
                found: rest.len() as u64,
            });
        }
        // Checks that offsets, shapes and types agree and cover the file to its last byte, without gap or overlap.
        let (length, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| CheckpointError::Malformed {
                file: name.into(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            name: name.into(),
            header,
            data: &rest[length..],
        })
    }

    fn tensor(&self, name: &str) -> Option<StoredTensor<'a>> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        Some(StoredTensor {
            dtype: match info.dtype {
                StoredDtype::F32 => Ok(Dtype::F32),
                StoredDtype::F16 => Ok(Dtype::F16),
                StoredDtype::BF16 => Ok(Dtype::Bf16),
                other => Err(other.to_string()),
            },
            shape: info.shape.iter().map(|size| *size as u64).collect(),
            bytes: self.data.get(start..end)?,
        })
    }
}

fn parse_index(json: &[u8]) -> Result<BTreeMap<String, String>, CheckpointError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    const FILE: &str = "model.safetensors.index.json";
    let index: Index = parse_json(FILE, json, MAX_INDEX_BYTES)?;
    for name in index.weight_map.values() {
        let plain = name.len() <= 255
            && name.ends_with(".safetensors")
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| !c.is_control() && !matches!(c, '/' | '\\' | ':'));
        if !plain {
            let name: String = name.chars().take(80).collect();
            return Err(CheckpointError::Malformed {
                file: FILE.into(),
                reason: format!("{name:?} is not the plain name of a safetensors file"),
            });
        }
    }
    Ok(index.weight_map)
}

/// What `tokenizer_config.json` says of chat.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    bos_token: Value,
    #[serde(default)]
    eos_token: Value,
    #[serde(default)]
    chat_template: Value,
}

impl TokenizerConfig {
    fn parse(json: Option<&[u8]>) -> Result<Self, CheckpointError> {
        match json {
            Some(json) => parse_json("tokenizer_config.json", json, MAX_TOKENIZER_CONFIG_BYTES),
            None => Ok(Self::default()),
        }
    }

    /// One template, or the one named `default` of several.
    fn chat_template(&self) -> Option<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match &self.chat_template {
            Value::Array(several) => several
                .iter()
                .find(|one| one.get("name").and_then(Value::as_str) == Some("default"))
                .and_then(|one| one.get("template"))
                .and_then(text),
            one => text(one),
        }
    }
}

/// A token as plain text or as an object that holds it.
fn token_text(token: &Value) -> Option<String> {
    token
        .as_str()
        .or_else(|| token.get("content")?.as_str())
        .map(str::to_owned)
}

fn parse_json<T: serde::de::DeserializeOwned>(
    file: &str,
    json: &[u8],
    limit: usize,
) -> Result<T, CheckpointError> {
    if json.len() > limit {
        return Err(CheckpointError::TooLarge {
            what: format!("bytes of {file}"),
            found: json.len() as u64,
            limit: limit as u64,
        });
    }
    serde_json::from_slice(json).map_err(|error| CheckpointError::Malformed {
        file: file.into(),
        reason: error.to_string(),
    })
}

fn utf8<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, CheckpointError> {
    if bytes.len() > MAX_TEMPLATE_BYTES {
        return Err(CheckpointError::TooLarge {
            what: format!("bytes of {file}"),
            found: bytes.len() as u64,
            limit: MAX_TEMPLATE_BYTES as u64,
        });
    }
    std::str::from_utf8(bytes).map_err(|error| CheckpointError::Malformed {
        file: file.into(),
        reason: error.to_string(),
    })
}
