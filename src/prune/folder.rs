//! A cut model as a Hugging Face folder.

use std::borrow::Cow;

use ::safetensors::tensor::Dtype as StoredDtype;
use serde_json::{Map, Value};

use super::hugging_face_config::{cut, from_scratch, pretty};
use super::safetensors_file::{Tensor, write};
use super::{Cut, PruneError, Put, RECORD};
use crate::checkpoint::{
    Checkpoint, Dtype, HuggingFaceFiles, LayerWeight, SafeTensor, Stored, TokenizerSource, Weight,
    hugging_face_name, stored_tensors,
};
use crate::tokenizer::Tokenizer;

/// Bytes of a weight file before another is begun, as transformers long did by default.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// How to write a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderOptions {
    /// Bytes of a weight file before another is begun.
    pub shard_bytes: u64,
}

/// Gives every file that depends on the layers to `put`: configuration, weights, record; from a GGUF file the tokenizer too. Files of
/// a folder that do not (tokenizer, template, licence) are the caller's to copy. `progress` is told how many of how many tensors
/// are written.
///
/// # Errors
/// The format cannot hold what the source has, the source is damaged, or `put` failed.
pub fn write_folder(
    cut: Cut,
    options: FolderOptions,
    put: &mut Put,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    match cut.checkpoint.stored() {
        Stored::HuggingFace(files) => {
            put_text(put, "config.json", &self::cut(files.config, cut)?)?;
            copy_tensors(files, cut, options, put, progress)?;
        }
        Stored::Gguf(_) => {
            convert_tensors(cut, options, put, progress)?;
            for (name, content) in gguf_texts(cut)? {
                put_text(put, name, &content)?;
            }
        }
    }
    put_text(put, RECORD, &cut.record.to_json())
}

fn put_text(put: &mut Put, name: &str, text: &str) -> Result<(), PruneError> {
    put(name, &mut |out| Ok(out.write_all(text.as_bytes())?))
}

/// Every tensor that is not of a dropped layer, known here or not, with its bytes as they are; replaced weights in f32.
fn copy_tensors(
    files: &HuggingFaceFiles,
    cut: Cut,
    options: FolderOptions,
    put: &mut Put,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    let mut kept: Vec<(String, SafeTensor)> = Vec::new();
    for tensor in stored_with_replaced(files, cut.checkpoint)? {
        if let Some(name) = cut.renumbered("model.layers.", &tensor.name) {
            kept.push((name, tensor));
        }
    }
    let tensors: Vec<Tensor> = kept
        .iter()
        .map(|(name, tensor)| Tensor {
            name: name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            bytes: tensor.bytes.len(),
        })
        .collect();
    write(&tensors, options.shard_bytes, put, &mut |index, out| {
        if let Some((_, tensor)) = kept.get(index) {
            out.write_all(tensor.bytes)?;
        }
        progress(index + 1, kept.len());
        Ok(())
    })
}

/// The folder's tensors, those that were replaced as they now are. A tied model whose head was replaced has two tables from now on,
/// whichever name the one was stored under.
fn stored_with_replaced<'c>(
    files: &HuggingFaceFiles<'c>,
    checkpoint: &'c Checkpoint,
) -> Result<Vec<SafeTensor<'c>>, PruneError> {
    let mut tensors = stored_tensors(files)?;
    let names = [Weight::Embedding, Weight::Head].map(hugging_face_name);
    let config = checkpoint.config();
    for (weight, bytes) in checkpoint.replaced() {
        let name = hugging_face_name(weight);
        let (rows, cols) = weight.shape(config);
        let replaced = SafeTensor {
            dtype: StoredDtype::F32,
            shape: if weight.is_norm() {
                vec![cols]
            } else {
                vec![rows, cols]
            },
            bytes,
            name: name.clone(),
        };
        let has_embedding = tensors.iter().any(|tensor| tensor.name == names[0]);
        match tensors.iter_mut().find(|tensor| tensor.name == name) {
            Some(table) if weight == Weight::Head && !has_embedding => {
                table.name.clone_from(&names[0]);
                tensors.push(replaced);
            }
            Some(tensor) => *tensor = replaced,
            None => tensors.push(replaced),
        }
    }
    // A tied table that is stored under both names, or under the head's, is one table.
    if config.tied_head
        && let Some(table) = checkpoint
            .replaced()
            .find(|(weight, _)| *weight == Weight::Embedding)
        && let Some(copy) = tensors.iter_mut().find(|tensor| tensor.name == names[1])
    {
        (copy.dtype, copy.bytes) = (StoredDtype::F32, table.1);
    }
    Ok(tensors)
}

/// The weights of a GGUF file, as far as safetensors have their types, rows of q and k in Hugging Face's order.
fn convert_tensors(
    cut: Cut,
    options: FolderOptions,
    put: &mut Put,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    let (checkpoint, plan) = (cut.checkpoint, cut.plan);
    let mut weights = vec![(Weight::Embedding, Weight::Embedding)];
    for (position, layer) in plan.layers.iter().enumerate() {
        let parts = LayerWeight::ALL.into_iter();
        weights
            .extend(parts.map(|part| (Weight::Layer(position, part), Weight::Layer(*layer, part))));
    }
    weights.push((Weight::FinalNorm, Weight::FinalNorm));
    if !checkpoint.config().tied_head {
        weights.push((Weight::Head, Weight::Head));
    }
    let mut tensors = Vec::new();
    for (new, old) in &weights {
        tensors.push(described(checkpoint, *new, *old)?);
    }
    write(&tensors, options.shard_bytes, put, &mut |index, out| {
        if let Some((_, old)) = weights.get(index) {
            out.write_all(&bytes(checkpoint, *old)?)?;
        }
        progress(index + 1, weights.len());
        Ok(())
    })?;
    let widest = tensors.iter().map(|tensor| tensor.dtype).max();
    let number_type = match widest {
        Some(StoredDtype::F16) => "float16",
        Some(StoredDtype::BF16) => "bfloat16",
        _ => "float32",
    };
    let config = from_scratch(checkpoint.config(), plan.layers.len(), number_type)?;
    put_text(put, "config.json", &config)
}

fn described(checkpoint: &Checkpoint, new: Weight, old: Weight) -> Result<Tensor, PruneError> {
    let name = hugging_face_name(new);
    if old.is_norm() {
        let hidden = checkpoint.config().hidden_size;
        return Ok(Tensor {
            name,
            dtype: StoredDtype::F32,
            shape: vec![hidden],
            bytes: 4 * hidden,
        });
    }
    // q and k are put in order again when they are written: cheaper than to hold them.
    let matrix = checkpoint.matrix(old)?;
    let dtype = match matrix.dtype {
        Dtype::F32 => StoredDtype::F32,
        Dtype::F16 => StoredDtype::F16,
        Dtype::Bf16 => StoredDtype::BF16,
        Dtype::Q8_0 | Dtype::Q4_0 => {
            return Err(PruneError::NoPlace {
                what: format!("tensor `{}` in {}", matrix.name, matrix.dtype.name()),
                format: "safetensors",
                way_out: "write a GGUF file with --to gguf, or begin with a GGUF file in F16 or F32",
            });
        }
    };
    Ok(Tensor {
        name,
        dtype,
        shape: vec![matrix.rows, matrix.cols],
        bytes: matrix.bytes.len(),
    })
}

fn bytes<'c>(checkpoint: &'c Checkpoint, weight: Weight) -> Result<Cow<'c, [u8]>, PruneError> {
    if weight.is_norm() {
        let values = checkpoint.vector(weight)?.into_iter();
        return Ok(values.flat_map(f32::to_le_bytes).collect::<Vec<_>>().into());
    }
    Ok(checkpoint.matrix(weight)?.bytes)
}

/// The tokenizer and what it says of chat.
fn gguf_texts(cut: Cut) -> Result<Vec<(&'static str, String)>, PruneError> {
    let checkpoint = cut.checkpoint;
    let TokenizerSource::Gguf(vocabulary) = checkpoint.tokenizer() else {
        return Ok(Vec::new());
    };
    let mut about = Map::from_iter([
        (
            "tokenizer_class".to_string(),
            Value::from("PreTrainedTokenizerFast"),
        ),
        ("clean_up_tokenization_spaces".to_string(), false.into()),
        (
            "model_max_length".to_string(),
            checkpoint.config().context.into(),
        ),
    ]);
    let special = checkpoint.special();
    for (name, value) in [
        ("bos_token", special.bos.as_deref()),
        ("eos_token", special.eos.as_deref()),
        ("chat_template", checkpoint.chat_template()),
    ] {
        if let Some(value) = value {
            about.insert(name.to_string(), value.into());
        }
    }
    let tokenizer = Tokenizer::from_gguf(vocabulary)?.to_json()?;
    let about = pretty(&Value::Object(about));
    Ok(vec![
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", about),
    ])
}
