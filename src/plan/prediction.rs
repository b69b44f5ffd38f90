//! In: a model's shape and a plan. Out: what is left of its weights, its work and the bytes it reads for a token, beside the whole.

use serde::{Deserialize, Serialize};

use super::SublayerPlan;
use crate::budget::{Budget, CacheNumber, Depth, Storage};
use crate::config::LlamaConfig;

/// A plan beside the whole model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Weights left, norms included.
    pub parameters: u64,
    /// Of the whole model's.
    pub parameters_share: f64,
    /// Of the weights in 16 bits each.
    pub bytes_16_bit: u64,
    /// Of the pack that `halfdepth pack` makes: layers in 4 bits, embedding and head in 8.
    pub bytes_pack: u64,
    /// Operations for a token at the beginning of a text; what attention adds to them is in `halfdepth budget`.
    pub flops_per_token: u64,
    /// Of the whole model's.
    pub flops_share: f64,
    /// Decoding waits for weights to be read: how many times as many bytes of the pack the whole model reads for a token. The cache of
    /// keys and values, and what every token costs whatever the depth, make it less.
    pub speed_at_most: f64,
}

impl Prediction {
    /// Weighs a plan.
    pub fn new(config: &LlamaConfig, plan: &SublayerPlan) -> Self {
        let budget = |depth, storage| Budget::new(config, depth, storage, 0, CacheNumber::F16);
        let pack = budget(Depth::from(plan), &Storage::PACK);
        let whole = budget(Depth::layers(config.layers), &Storage::PACK);
        let share = |left: u64, whole: u64| left as f64 / whole as f64;
        Self {
            parameters: pack.parameters,
            parameters_share: share(pack.parameters, whole.parameters),
            bytes_16_bit: budget(pack.depth, &Storage::F16).weight_bytes,
            bytes_pack: pack.weight_bytes,
            flops_per_token: pack.flops_per_token,
            flops_share: share(pack.flops_per_token, whole.flops_per_token),
            speed_at_most: share(whole.read_bytes_per_token, pack.read_bytes_per_token),
        }
    }
}
