//! The real files, held in memory so that a test can change them.

use std::fs;

use half::{bf16, f16};
use halfdepth::checkpoint::{Checkpoint, CheckpointError, HuggingFaceFiles, LayerWeight, Weight};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};

use crate::common::shared;

/// The three trained models.
pub(crate) const MODELS: [&str; 3] = ["stories260K", "TinyStories-656K", "halfdepth-stories-12L"];

pub(crate) fn read(path: &str) -> Vec<u8> {
    fs::read(shared(path)).unwrap()
}

pub(crate) fn gguf(kind: &str) -> Vec<u8> {
    read(&format!("models/stories260K/stories260K-{kind}.gguf"))
}

/// A Hugging Face folder that owns its bytes.
#[derive(Clone, Default)]
pub(crate) struct Folder {
    pub(crate) config: Vec<u8>,
    pub(crate) generation_config: Option<Vec<u8>>,
    pub(crate) index: Option<Vec<u8>>,
    pub(crate) shards: Vec<(String, Vec<u8>)>,
    pub(crate) tokenizer: Option<Vec<u8>>,
    pub(crate) tokenizer_config: Option<Vec<u8>>,
    pub(crate) chat_template: Option<Vec<u8>>,
}

impl Folder {
    pub(crate) fn of(model: &str) -> Self {
        let file = |name: &str| read(&format!("models/{model}/{name}"));
        Self {
            config: file("config.json"),
            generation_config: Some(file("generation_config.json")),
            index: None,
            shards: vec![("model.safetensors".into(), file("model.safetensors"))],
            tokenizer: Some(file("tokenizer.json")),
            tokenizer_config: Some(file("tokenizer_config.json")),
            chat_template: None,
        }
    }

    pub(crate) fn open(&self) -> Result<Checkpoint<'_>, CheckpointError> {
        Checkpoint::from_hugging_face(HuggingFaceFiles {
            config: &self.config,
            generation_config: self.generation_config.as_deref(),
            index: self.index.as_deref(),
            shards: self
                .shards
                .iter()
                .map(|(name, bytes)| (name.clone(), &bytes[..]))
                .collect(),
            tokenizer: self.tokenizer.as_deref(),
            tokenizer_config: self.tokenizer_config.as_deref(),
            chat_template: self.chat_template.as_deref(),
        })
    }

    /// Changes the first shard's header, with its data left as it is.
    pub(crate) fn edit_header(&mut self, edit: impl FnOnce(&mut Map<String, Value>)) {
        let bytes = &mut self.shards[0].1;
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = edit_object(&bytes[8..8 + length], edit);
        let mut edited = (header.len() as u64).to_le_bytes().to_vec();
        edited.extend(header);
        edited.extend(&bytes[8 + length..]);
        *bytes = edited;
    }

    pub(crate) fn edit_config(&mut self, edit: impl FnOnce(&mut Map<String, Value>)) {
        self.config = edit_object(&self.config, edit);
    }

    /// All tensors of the first shard, named, as floats.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let file = SafeTensors::deserialize(&self.shards[0].1).unwrap();
        file.iter()
            .map(|(name, view)| {
                assert_eq!(view.dtype(), Dtype::F32);
                let values = view.data().chunks_exact(4);
                let values = values
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                (name.to_owned(), view.shape().to_vec(), values)
            })
            .collect()
    }
}

/// A safetensors file of these tensors, stored as `dtype`.
pub(crate) fn safetensors_of(tensors: &[(String, Vec<usize>, Vec<f32>)], dtype: Dtype) -> Vec<u8> {
    let stored: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, values)| {
            let bytes = match dtype {
                Dtype::F16 => values
                    .iter()
                    .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                    .collect(),
                Dtype::BF16 => values
                    .iter()
                    .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                    .collect(),
                _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            (name, shape, bytes)
        })
        .collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(dtype, shape.to_vec(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

pub(crate) fn edit_object(json: &[u8], edit: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
    let mut object: Map<String, Value> = serde_json::from_slice(json).unwrap();
    edit(&mut object);
    serde_json::to_vec(&object).unwrap()
}

/// Every matrix of a model.
pub(crate) fn matrices(layers: usize) -> Vec<Weight> {
    let parts = LayerWeight::ALL.into_iter().filter(|part| !is_norm(*part));
    let of_layers = parts.flat_map(|part| (0..layers).map(move |layer| Weight::Layer(layer, part)));
    [Weight::Embedding, Weight::Head]
        .into_iter()
        .chain(of_layers)
        .collect()
}

/// Every norm of a model.
pub(crate) fn vectors(layers: usize) -> Vec<Weight> {
    let parts = LayerWeight::ALL.into_iter().filter(|part| is_norm(*part));
    let of_layers = parts.flat_map(|part| (0..layers).map(move |layer| Weight::Layer(layer, part)));
    [Weight::FinalNorm].into_iter().chain(of_layers).collect()
}

fn is_norm(part: LayerWeight) -> bool {
    matches!(part, LayerWeight::AttentionNorm | LayerWeight::MlpNorm)
}

/// Widens every weight, as packing does: what is not finite shows up here.
pub(crate) fn touch(checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let layers = checkpoint.config().layers;
    for weight in vectors(layers) {
        checkpoint.vector(weight)?;
    }
    for weight in matrices(layers) {
        let matrix = checkpoint.matrix(weight)?;
        let mut values = vec![0.0; matrix.cols];
        for row in 0..matrix.rows {
            matrix.row_to_f32(row, &mut values)?;
        }
    }
    Ok(())
}

/// Where `needle` begins; it must be there.
pub(crate) fn find(bytes: &[u8], needle: &str) -> usize {
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle.as_bytes());
    at.unwrap_or_else(|| panic!("`{needle}` is not in the file"))
}
