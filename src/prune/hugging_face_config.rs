//! `config.json` of a cut model: the source's with fewer layers; or a new one, where the source is a GGUF file.

use serde_json::{Map, Value, json};

use super::{Cut, PruneError};
use crate::checkpoint::Weight;
use crate::config::{LlamaConfig, RopeScaling};

/// Lists of one entry a layer.
const LAYER_LISTS: [&str; 5] = [
    "layer_types",
    "no_rope_layers",
    "mlp_layer_types",
    "layers_block_type",
    "attention_layers",
];

/// Numbers of layers that stand at the beginning.
const LAYER_COUNTS: [&str; 1] = ["max_window_layers"];

/// The source's configuration with the plan's layers; what is not about single layers stays as it is, known or not.
pub(super) fn cut(config_json: &[u8], cut: Cut) -> Result<String, PruneError> {
    let plan = cut.plan;
    let bad = |reason: String| PruneError::Config { reason };
    let mut config: Map<String, Value> =
        serde_json::from_slice(config_json).map_err(|error| bad(error.to_string()))?;
    let layers = config.get("num_hidden_layers").and_then(Value::as_u64);
    let layers = layers.ok_or_else(|| bad("`num_hidden_layers` is missing".into()))?;
    for name in LAYER_LISTS {
        let Some(list) = config.get_mut(name).and_then(Value::as_array_mut) else {
            continue;
        };
        if list.len() as u64 != layers {
            let found = list.len();
            return Err(bad(format!(
                "`{name}` has {found} entries for {layers} layers"
            )));
        }
        let kept = plan
            .layers
            .iter()
            .filter_map(|layer| list.get(*layer).cloned());
        *list = kept.collect();
    }
    for name in LAYER_COUNTS {
        if let Some(count) = config.get(name).and_then(Value::as_u64) {
            let kept = plan.layers.iter().filter(|layer| (**layer as u64) < count);
            config.insert(name.into(), kept.count().into());
        }
    }
    config.insert("num_hidden_layers".into(), plan.layers.len().into());
    let mut replaced = cut.checkpoint.replaced();
    if replaced.any(|(weight, _)| weight == Weight::Head) {
        config.insert("tie_word_embeddings".into(), false.into());
    }
    Ok(pretty(&Value::Object(config)))
}

/// A configuration for a model that had none.
pub(super) fn from_scratch(
    config: &LlamaConfig,
    layers: usize,
    number_type: &str,
) -> Result<String, PruneError> {
    let mut rope = json!({ "rope_theta": config.rope.theta, "rope_type": "default" });
    match &config.rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            rope["rope_type"] = "linear".into();
            rope["factor"] = json!(factor);
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            rope = json!({
                "rope_theta": config.rope.theta, "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor, "original_max_position_embeddings": original_context,
            });
        }
        RopeScaling::Factors(_) => {
            return Err(PruneError::NoPlace {
                what: "a rotary embedding given by its frequencies (rope_freqs.weight)".into(),
                format: "a Hugging Face configuration",
                way_out: "write a GGUF file, or begin with the model's Hugging Face folder",
            });
        }
    }
    let ends: Value = match config.eos_tokens.as_slice() {
        [] => Value::Null,
        [one] => (*one).into(),
        several => json!(several),
    };
    // Both spellings of the rotary embedding: older readers know the second only.
    let scaling = match config.rope.scaling {
        RopeScaling::None => Value::Null,
        _ => rope.clone(),
    };
    Ok(pretty(&json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "bos_token_id": config.bos_token,
        "dtype": number_type,
        "eos_token_id": ends,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.context,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": config.heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": config.kv_heads,
        // As text first: the f32's own digits, not those of its f64.
        "rms_norm_eps": config.rms_norm_eps.to_string().parse::<f64>().unwrap_or_default(),
        "rope_parameters": rope,
        "rope_scaling": scaling,
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": config.tied_head,
        "torch_dtype": number_type,
        "use_cache": true,
        "vocab_size": config.vocab_size,
    })))
}

pub(super) fn pretty(value: &Value) -> String {
    // A value always has a text.
    let mut json = serde_json::to_string_pretty(value).unwrap_or_default();
    json.push('\n');
    json
}
