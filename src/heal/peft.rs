//! An [`Adapter`] as PEFT's files, `adapter_config.json` and `adapter_model.safetensors`: the layers have the numbers of the pruned
//! folder, which a plan turns into those of the model that was never cut.

use std::collections::BTreeMap;

use ::safetensors::tensor::{Dtype as StoredDtype, TensorView};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::healing::{parse_tensors, write_tensors};
use super::{Adapter, Factors, HealError};
use crate::checkpoint::{
    Dtype, LayerWeight, Weight, hugging_face_name, hugging_face_weight, widen,
};
use crate::config::LlamaConfig;
use crate::plan::LayerPlan;

/// The name of an adapter's configuration.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The name of an adapter's weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

const MAX_CONFIG_BYTES: usize = 1 << 20;
/// More than any rank in use; it bounds what a file's claims can reserve.
const MAX_RANK: usize = 1 << 14;

/// An adapter's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeftFiles {
    /// [`ADAPTER_CONFIG`].
    pub config: String,
    /// [`ADAPTER_WEIGHTS`].
    pub weights: Vec<u8>,
}

impl Adapter {
    /// The adapter in PEFT's files, for the folder that `halfdepth prune` writes of this plan. PEFT is
    /// told where that folder is by whoever loads the adapter.
    ///
    /// # Errors
    /// Factors do not fit the model, or are of a layer that the plan leaves out.
    pub fn to_peft(&self, plan: &LayerPlan, config: &LlamaConfig) -> Result<PeftFiles, HealError> {
        self.check(config)?;
        let mut named = Vec::new();
        for ((layer, part), factors) in &self.factors {
            let position = plan.layers.iter().position(|kept| kept == layer);
            let position = position.ok_or_else(|| {
                bad_weights(format!("layer {layer} is left out by plan `{}`", plan.name))
            })?;
            let (rows, cols) = part.shape(config);
            let module = module(position, *part);
            named.push((module.clone(), "A", vec![self.rank, cols], &factors.a));
            named.push((module, "B", vec![rows, self.rank], &factors.b));
        }
        let weights = write_tensors(named.iter().map(|(module, factor, shape, values)| {
            let name = format!("{PREFIX}{module}.lora_{factor}.weight");
            (name, shape.clone(), values.as_slice())
        }));
        let config = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": null,
            "r": self.rank, "lora_alpha": number(self.alpha), "lora_dropout": number(self.dropout),
            "target_modules": self.target_modules(plan), "bias": "none", "fan_in_fan_out": false,
            "init_lora_weights": true, "inference_mode": true, "layers_to_transform": null, "modules_to_save": null,
            "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": false, "use_dora": false,
        });
        Ok(PeftFiles {
            config: crate::header::pretty(&config),
            weights: weights.map_err(bad_weights)?,
        })
    }

    /// Reads an adapter that was trained on the folder of this plan.
    ///
    /// # Errors
    /// The files are damaged, do something beside LoRA on the matrices of layers, or are for another model or plan.
    pub fn from_peft(
        config_json: &[u8],
        weights: &[u8],
        plan: &LayerPlan,
        config: &LlamaConfig,
    ) -> Result<Self, HealError> {
        let about = PeftConfig::parse(config_json)?;
        let mut modules: BTreeMap<(usize, LayerWeight), [Option<Stored>; 2]> = BTreeMap::new();
        for (name, view) in &parse_tensors(weights).map_err(bad_weights)? {
            let (position, part, factor) = parse_name(name)?;
            let Some(&layer) = plan.layers.get(position) else {
                let kept = plan.layers.len();
                return Err(bad_weights(format!(
                    "it has a layer {position}, plan `{}` keeps {kept}: it is for another plan",
                    plan.name
                )));
            };
            let shape = <[usize; 2]>::try_from(view.shape())
                .map_err(|_| bad_weights(format!("tensor `{name}` is no matrix")))?;
            let stored = Stored {
                shape,
                values: widened(name, view)?,
            };
            modules.entry((layer, part)).or_default()[factor] = Some(stored);
        }
        about.adapter(modules, plan, config)
    }

    /// Names of modules, as short as they can be: one name for all layers where all of them have it.
    fn target_modules(&self, plan: &LayerPlan) -> Vec<String> {
        let mut parts: Vec<LayerWeight> = self.factors.keys().map(|(_, part)| *part).collect();
        parts.sort_unstable();
        parts.dedup();
        let everywhere = self.factors.len() == parts.len() * plan.layers.len();
        if everywhere {
            let short = |part: &LayerWeight| {
                let module = module(0, *part);
                module.rsplit('.').next().unwrap_or_default().to_string()
            };
            return parts.iter().map(short).collect();
        }
        let positions = plan.layers.iter().enumerate();
        let number: BTreeMap<usize, usize> = positions.map(|(at, layer)| (*layer, at)).collect();
        let full = |(layer, part): &(usize, LayerWeight)| Some(module(*number.get(layer)?, *part));
        self.factors.keys().filter_map(full).collect()
    }
}

/// What PEFT puts before the names of the model it wraps.
const PREFIX: &str = "base_model.model.";

/// A factor as it is stored.
struct Stored {
    shape: [usize; 2],
    values: Vec<f32>,
}

/// `adapter_config.json`, as far as it says what is computed.
#[derive(Deserialize)]
struct PeftConfig {
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    alpha_pattern: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Fields that change nothing of what a finished adapter computes: how it was begun or is kept, and which modules it is for, which
/// its tensors say too. `rank_pattern` is among them, since a tensor has its rank.
const INERT: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "rank_pattern",
    "revision",
    "target_modules",
];

impl PeftConfig {
    fn parse(json: &[u8]) -> Result<Self, HealError> {
        if json.len() > MAX_CONFIG_BYTES {
            return Err(bad_config(format!("it has {} bytes", json.len())));
        }
        let about: Self = serde_json::from_slice(json).map_err(bad_config)?;
        if about.r == 0
            || about.r > MAX_RANK
            || !(about.lora_alpha.is_finite() && about.lora_alpha > 0.0)
        {
            let (r, alpha) = (about.r, about.lora_alpha);
            return Err(bad_config(format!(
                "r = {r} with lora_alpha = {alpha} is no low-rank change; train it again"
            )));
        }
        for (field, value) in &about.rest {
            let plain = match (field.as_str(), value) {
                ("peft_type", value) => value == "LORA",
                ("task_type", value) => value.is_null() || value == "CAUSAL_LM",
                ("bias", value) => value == "none",
                // Others set out from other weights than the folder's, and count from those.
                ("init_lora_weights", value) => {
                    value.is_boolean()
                        || value == "gaussian"
                        || value == "orthogonal"
                        || value == "eva"
                }
                (field, value) => INERT.contains(&field) || is_off(value),
            };
            if !plain {
                let value: String = value.to_string().chars().take(80).collect();
                return Err(bad_config(format!(
                    "`{field}` is {value}, which is not taken up here; train plain LoRA, or merge with PEFT's merge_and_unload and use the folder it saves"
                )));
            }
        }
        Ok(about)
    }

    /// Brings all factors to one rank, by zeros, and to one scale, which is what an [`Adapter`] has.
    fn adapter(
        &self,
        modules: BTreeMap<(usize, LayerWeight), [Option<Stored>; 2]>,
        plan: &LayerPlan,
        config: &LlamaConfig,
    ) -> Result<Adapter, HealError> {
        let patterns = self.patterns()?;
        let scale_of = |alpha: f64, rank: usize| match self.use_rslora {
            true => alpha / (rank as f64).sqrt(),
            false => alpha / rank as f64,
        };
        let scale = scale_of(self.lora_alpha, self.r);
        let mut whole = Vec::new();
        for ((layer, part), factors) in modules {
            let position = plan.layers.iter().position(|kept| *kept == layer);
            let module = module(position.unwrap_or_default(), part);
            let [Some(a), Some(b)] = factors else {
                return Err(bad_weights(format!("`{module}` has one factor of two")));
            };
            let (rows, cols) = part.shape(config);
            let rank = a.shape[0];
            if rank == 0
                || rank > rows.min(cols)
                || a.shape != [rank, cols]
                || b.shape != [rows, rank]
            {
                return Err(bad_weights(format!(
                    "`{module}` has factors {:?} and {:?}; the model's matrix is {rows} x {cols}: it is for another model",
                    a.shape, b.shape
                )));
            }
            let matching = patterns
                .iter()
                .find(|(pattern, _)| pattern.is_match(&module));
            let alpha = matching.map_or(self.lora_alpha, |(_, alpha)| *alpha);
            whole.push((
                (layer, part),
                rank,
                scale_of(alpha, rank) / scale,
                a.values,
                b.values,
            ));
        }
        let rank = whole.iter().map(|(_, rank, ..)| *rank).max();
        let rank = rank.ok_or_else(|| bad_weights("it has no tensors"))?;
        let one_rank = |(key, own, factor, mut a, b): (_, usize, f64, Vec<f32>, Vec<f32>)| {
            a.resize(a.len() / own * rank, 0.0);
            let widened = b.chunks_exact(own).flat_map(|row| {
                let row = row.iter().map(|value| (f64::from(*value) * factor) as f32);
                row.chain(std::iter::repeat_n(0.0, rank - own))
            });
            let b = widened.collect();
            (key, Factors { a, b })
        };
        let adapter = Adapter {
            rank,
            alpha: (scale * rank as f64) as f32,
            dropout: self.lora_dropout as f32,
            factors: whole.into_iter().map(one_rank).collect(),
        };
        adapter.check(config)?;
        Ok(adapter)
    }

    /// `alpha_pattern`, matched as PEFT matches it.
    fn patterns(&self) -> Result<Vec<(Regex, f64)>, HealError> {
        let pattern = |(key, alpha): (&String, &Value)| {
            let alpha = alpha.as_f64().filter(|alpha| *alpha > 0.0);
            let bad = || {
                bad_config(format!(
                    "`alpha_pattern`: {key:.80?} is no pattern with a number"
                ))
            };
            let regex = Regex::new(&format!(r"^(.*\.)?({key})$")).map_err(|_| bad())?;
            Ok((regex, alpha.ok_or_else(bad)?))
        };
        self.alpha_pattern.iter().map(pattern).collect()
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The module of a weight: its name without `.weight`.
fn module(position: usize, part: LayerWeight) -> String {
    let name = hugging_face_name(Weight::Layer(position, part));
    name.trim_end_matches(".weight").to_string()
}

/// Position in the pruned folder, matrix, and 0 for A or 1 for B.
fn parse_name(name: &str) -> Result<(usize, LayerWeight, usize), HealError> {
    let parsed = || {
        let module = name.strip_prefix(PREFIX)?;
        let (module, factor) = match module.strip_suffix(".lora_A.weight") {
            Some(module) => (module, 0),
            None => (module.strip_suffix(".lora_B.weight")?, 1),
        };
        match hugging_face_weight(&format!("{module}.weight"))? {
            Weight::Layer(position, part) if !part.is_norm() => Some((position, part, factor)),
            _ => None,
        }
    };
    parsed().ok_or_else(|| {
        let name: String = name.chars().take(120).collect();
        bad_weights(format!(
            "tensor {name:?} is no low-rank factor of a layer's matrix, which is all that is taken up here; merge with PEFT's merge_and_unload and use the folder it saves"
        ))
    })
}

fn widened(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, HealError> {
    let name: String = name.chars().take(120).collect();
    let dtype = match view.dtype() {
        StoredDtype::F32 => Dtype::F32,
        StoredDtype::F16 => Dtype::F16,
        StoredDtype::BF16 => Dtype::Bf16,
        other => {
            return Err(bad_weights(format!(
                "tensor `{name}` is {other}; F32, F16 and BF16 can be read"
            )));
        }
    };
    let mut values = vec![0.0; view.shape().iter().product()];
    widen(view.data(), dtype, &mut values);
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(bad_weights(format!(
            "tensor `{name}` holds a value that is not finite"
        ))),
    }
}

/// A float as PEFT writes it: whole ones without a point, others as few digits as tell it from its neighbours.
fn number(value: f32) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e9 {
        true => json!(value as i64),
        false => json!(value.to_string().parse::<f64>().unwrap_or_default()),
    }
}

fn bad_config(reason: impl ToString) -> HealError {
    HealError::Adapter {
        file: ADAPTER_CONFIG,
        reason: reason.to_string(),
    }
}

fn bad_weights(reason: impl ToString) -> HealError {
    HealError::Adapter {
        file: ADAPTER_WEIGHTS,
        reason: reason.to_string(),
    }
}
