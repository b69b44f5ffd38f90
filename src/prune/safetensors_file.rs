//! Safetensors files, written front to back: tensors in, one or several files and their index out.

use std::collections::HashMap;
use std::io::Write;

use ::safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::hugging_face_config::pretty;
use super::{PruneError, Put};

/// A tensor to be written; its bytes are asked for when it is its turn.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: usize,
}

/// Writes the tensors in their order into files of at most `shard_bytes`, a tensor larger than that alone; `content` writes the
/// bytes of the tensor at an index.
pub(super) fn write(
    tensors: &[Tensor],
    shard_bytes: u64,
    put: &mut Put,
    content: &mut dyn FnMut(usize, &mut dyn Write) -> Result<(), PruneError>,
) -> Result<(), PruneError> {
    let shards = shards(tensors, shard_bytes);
    let count = shards.len();
    let name = |shard: usize| match count {
        1 => "model.safetensors".to_string(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", shard + 1),
    };
    let mut weight_map = Map::new();
    for (shard, range) in shards.into_iter().enumerate() {
        let tensors = tensors.get(range.clone()).unwrap_or_default();
        let header = header(tensors)?;
        put(&name(shard), &mut |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            range.clone().try_for_each(|index| content(index, out))
        })?;
        for tensor in tensors {
            weight_map.insert(tensor.name.clone(), name(shard).into());
        }
    }
    if count > 1 {
        let total: u64 = tensors.iter().map(|tensor| tensor.bytes as u64).sum();
        let map = Value::Object(weight_map);
        let index = pretty(&json!({ "metadata": { "total_size": total }, "weight_map": map }));
        put("model.safetensors.index.json", &mut |out| {
            Ok(out.write_all(index.as_bytes())?)
        })?;
    }
    Ok(())
}

fn shards(tensors: &[Tensor], shard_bytes: u64) -> Vec<std::ops::Range<usize>> {
    let mut shards = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        if index > first && bytes + tensor.bytes as u64 > shard_bytes {
            shards.push(first..index);
            (first, bytes) = (index, 0);
        }
        bytes += tensor.bytes as u64;
    }
    shards.push(first..tensors.len());
    shards
}

fn header(tensors: &[Tensor]) -> Result<Vec<u8>, PruneError> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.bytes;
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), info)
    });
    // transformers refuses files that do not say where they come from.
    let about = HashMap::from([("format".to_string(), "pt".to_string())]);
    let damaged = |reason: String| PruneError::Differs { reason };
    let metadata =
        Metadata::new(Some(about), infos.collect()).map_err(|error| damaged(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| damaged(error.to_string()))?;
    // The data begins at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}
