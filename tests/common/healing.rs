//! A healing that nobody trained: weights changed at random by an amount that changes answers, for tests of what runs them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::collections::BTreeMap;

use halfdepth::checkpoint::{Checkpoint, HuggingFaceFiles, LayerWeight, Weight};
use halfdepth::pack::{Manifest, add_healed};
use halfdepth::plan::PlanEntry;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

use crate::common::shared;

/// Whole weights, by their place.
pub type Changed = BTreeMap<Weight, Vec<f32>>;

/// Other values for these weights, each a little off its own.
pub fn perturbed(checkpoint: &Checkpoint, weights: &[Weight]) -> Changed {
    let mut state = 0x2545_f491_u32;
    let mut off = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let own = |weight: Weight| match checkpoint.vector(weight) {
        Ok(values) => values,
        Err(_) => {
            let matrix = checkpoint.matrix(weight).expect("a weight");
            matrix.to_f32().expect("finite")
        }
    };
    let changed = weights.iter().map(|weight| {
        let mut values = own(*weight);
        for value in &mut values {
            *value += 0.5 * *value * off();
        }
        (*weight, values)
    });
    changed.collect()
}

/// Every kind of weight that a healing may change, in a few layers of a half of twelve.
pub fn of_twelve(checkpoint: &Checkpoint) -> Changed {
    use LayerWeight::{AttentionNorm, Down, Gate, Key, MlpNorm, Output, Query, Up, Value};
    let layer = |layer, part| Weight::Layer(layer, part);
    perturbed(
        checkpoint,
        &[
            layer(3, Query),
            layer(3, Key),
            layer(3, Value),
            layer(3, Output),
            layer(4, Gate),
            layer(4, Up),
            layer(4, Down),
            layer(11, AttentionNorm),
            layer(11, MlpNorm),
            Weight::FinalNorm,
            Weight::Head,
        ],
    )
}

/// Adds a healed plan to a pack in memory; gives the files that were written for it.
pub fn add(
    manifest: &mut Manifest,
    files: &mut BTreeMap<String, Vec<u8>>,
    checkpoint: Checkpoint,
    entry: PlanEntry,
    weights: &Changed,
) -> Vec<String> {
    let mut written = Vec::new();
    let mut put = |file: &str, bytes: &[u8]| {
        written.push(file.to_string());
        files.insert(file.to_string(), bytes.to_vec());
        Ok(())
    };
    let healed = checkpoint.replacing(weights).expect("weights of its shape");
    add_healed(manifest, &healed, entry, &mut put).expect("a plan");
    written
}

/// A model's folder cut to some layers and with changed weights, as if it had been published so.
pub struct Plain {
    config: Vec<u8>,
    weights: Vec<u8>,
    tokenizer: Vec<u8>,
}

impl Plain {
    pub fn of(name: &str, layers: &[usize], changed: &Changed) -> Self {
        let read = |file: &str| std::fs::read(shared(&format!("models/{name}/{file}")));
        let mut config: Value =
            serde_json::from_slice(&read("config.json").expect("config")).expect("JSON");
        config["num_hidden_layers"] = layers.len().into();
        if changed.contains_key(&Weight::Head) {
            config["tie_word_embeddings"] = false.into();
        }
        let bytes = read("model.safetensors").expect("weights");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            assert_eq!(view.dtype(), Dtype::F32);
            let (place, name) = match place(name) {
                Some((Weight::Layer(layer, part), rest)) => {
                    let Some(at) = layers.iter().position(|kept| *kept == layer) else {
                        continue;
                    };
                    let name = format!("model.layers.{at}.{rest}");
                    (Some(Weight::Layer(layer, part)), name)
                }
                other => (other.map(|(weight, _)| weight), name.to_string()),
            };
            let data = match place.and_then(|weight| changed.get(&weight)) {
                Some(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                None => view.data().to_vec(),
            };
            tensors.push((name, view.shape().to_vec(), data));
        }
        if let Some(head) = changed.get(&Weight::Head)
            && !tensors.iter().any(|(name, ..)| name == "lm_head.weight")
        {
            let shape = file.tensor("model.embed_tokens.weight").expect("embedding");
            let data: Vec<u8> = head.iter().flat_map(|v| v.to_le_bytes()).collect();
            tensors.push(("lm_head.weight".into(), shape.shape().to_vec(), data));
        }
        let views = tensors.iter().map(|(name, shape, data)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), data).expect("a tensor");
            (name, view)
        });
        Self {
            config: serde_json::to_vec(&config).expect("JSON"),
            weights: safetensors::serialize(views, None).expect("safetensors"),
            tokenizer: read("tokenizer.json").expect("tokenizer"),
        }
    }

    pub fn open(&self) -> Checkpoint<'_> {
        Checkpoint::from_hugging_face(HuggingFaceFiles {
            config: &self.config,
            generation_config: None,
            index: None,
            shards: vec![("model.safetensors".into(), &self.weights[..])],
            tokenizer: Some(&self.tokenizer),
            tokenizer_config: None,
            chat_template: None,
        })
        .expect("a good checkpoint")
    }
}

/// Which weight a tensor of a Hugging Face folder is, and its name within its layer.
fn place(name: &str) -> Option<(Weight, &str)> {
    match name {
        "model.norm.weight" => return Some((Weight::FinalNorm, name)),
        "lm_head.weight" => return Some((Weight::Head, name)),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let part = match rest {
        "input_layernorm.weight" => LayerWeight::AttentionNorm,
        "self_attn.q_proj.weight" => LayerWeight::Query,
        "self_attn.k_proj.weight" => LayerWeight::Key,
        "self_attn.v_proj.weight" => LayerWeight::Value,
        "self_attn.o_proj.weight" => LayerWeight::Output,
        "post_attention_layernorm.weight" => LayerWeight::MlpNorm,
        "mlp.gate_proj.weight" => LayerWeight::Gate,
        "mlp.up_proj.weight" => LayerWeight::Up,
        "mlp.down_proj.weight" => LayerWeight::Down,
        _ => return None,
    };
    Some((Weight::Layer(layer.parse().ok()?, part), rest))
}
