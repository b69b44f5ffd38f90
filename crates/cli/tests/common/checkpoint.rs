//! Writes checkpoints of random bf16 weights, a tensor at a time.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, json};

use crate::process::shared;

/// The sizes of a tied Llama with heads of 64.
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) vocabulary: usize,
}

const HEAD_DIM: usize = 64;

impl Shape {
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, wide) = (self.hidden, self.intermediate);
        let (query, kv) = (self.heads * HEAD_DIM, self.kv_heads * HEAD_DIM);
        let mut tensors = vec![
            (
                "model.embed_tokens.weight".to_string(),
                vec![self.vocabulary, hidden],
            ),
            ("model.norm.weight".to_string(), vec![hidden]),
        ];
        for layer in 0..self.layers {
            for (part, shape) in [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![query, hidden]),
                ("self_attn.k_proj", vec![kv, hidden]),
                ("self_attn.v_proj", vec![kv, hidden]),
                ("self_attn.o_proj", vec![hidden, query]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![wide, hidden]),
                ("mlp.up_proj", vec![wide, hidden]),
                ("mlp.down_proj", vec![hidden, wide]),
            ] {
                tensors.push((format!("model.layers.{layer}.{part}.weight"), shape));
            }
        }
        tensors
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        let tensors = self.tensors();
        tensors
            .iter()
            .map(|(_, shape)| 2 * shape.iter().product::<usize>())
            .sum()
    }
}

/// Writes a folder with weights, configuration, and the smallest tokenizer there is.
pub(crate) fn write_random(folder: &Path, shape: &Shape) {
    std::fs::create_dir_all(folder).expect("a folder");
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": HEAD_DIM,
        "vocab_size": shape.vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("writes");
    std::fs::copy(
        shared("models/stories260K/tokenizer.json"),
        folder.join("tokenizer.json"),
    )
    .expect("copies");

    let tensors = shape.tensors();
    let (mut header, mut end) = (Map::new(), 0);
    for (name, dims) in &tensors {
        let begin = end;
        end += 2 * dims.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({ "dtype": "BF16", "shape": dims, "data_offsets": [begin, end] }),
        );
    }
    let header = json!(header).to_string();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).expect("a file"));
    file.write_all(&(header.len() as u64).to_le_bytes())
        .expect("writes");
    file.write_all(header.as_bytes()).expect("writes");
    let mut state = 1_u64;
    for (_, dims) in &tensors {
        for _ in 0..dims.iter().product::<usize>() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Sign and mantissa at random under the exponent of 1/32 (of 1 for a norm, which has no sign).
            let bits = (state >> 48) as u16 & 0x807f;
            let bits = if dims.len() == 1 {
                0x3f80
            } else {
                0x3d00 | bits
            };
            file.write_all(&bits.to_le_bytes()).expect("writes");
        }
    }
    file.flush().expect("writes");
}
