//! In: a model's shape and a plan. Out: what is left of its weights, its work and the bytes it reads for a token.

use serde::{Deserialize, Serialize};

use super::SublayerPlan;
use crate::config::LlamaConfig;

/// A plan beside the whole model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Weights left, norms included.
    pub parameters: u64,
    /// Of the whole model's.
    pub parameters_share: f64,
    /// Of a checkpoint in 16 bits.
    pub bytes_16_bit: u64,
    /// Of a pack as `halfdepth pack` makes it: layers in 4 bits, embedding and head in 8, a 16-bit scale to 32 weights, norms in f32.
    pub bytes_pack: u64,
    /// Operations for a token at a short context: two for each weight that is multiplied.
    pub flops_per_token: u64,
    /// Of the whole model's.
    pub flops_share: f64,
    /// Decoding waits for weights to be read: the pack's bytes over the plan's, of what a token reads. The cache of keys and values,
    /// and what every token costs whatever its depth, make it less.
    pub speed_at_most: f64,
}

impl Prediction {
    /// Weighs a plan.
    pub fn new(config: &LlamaConfig, plan: &SublayerPlan) -> Self {
        let layers = plan.layers().layers.len() as u64;
        let attentions = layers - plan.mute_attention().len() as u64;
        let mlps = layers - plan.mute_mlp().len() as u64;
        let all = config.layers as u64;
        let (whole, left) = (
            Count::new(config, all, all),
            Count::new(config, attentions, mlps),
        );
        let share = |left: u64, whole: u64| left as f64 / whole as f64;
        Self {
            parameters: left.parameters,
            parameters_share: share(left.parameters, whole.parameters),
            bytes_16_bit: 2 * left.parameters,
            bytes_pack: left.bytes_pack,
            flops_per_token: left.flops,
            flops_share: share(left.flops, whole.flops),
            speed_at_most: share(whole.bytes_read, left.bytes_read),
        }
    }
}

struct Count {
    parameters: u64,
    bytes_pack: u64,
    /// Of the pack, for a token: the embedding's rows are looked up.
    bytes_read: u64,
    flops: u64,
}

impl Count {
    fn new(config: &LlamaConfig, attentions: u64, mlps: u64) -> Self {
        let [hidden, wide, query, kv, vocabulary] = [
            config.hidden_size,
            config.intermediate_size,
            config.query_rows(),
            config.kv_rows(),
            config.vocab_size,
        ]
        .map(|size| size as u64);
        let attention = 2 * (query + kv) * hidden;
        let mlp = 3 * wide * hidden;
        let table = vocabulary * hidden;
        let tables = if config.tied_head { 1 } else { 2 };
        let norms = (attentions + mlps + 1) * hidden;
        let matrices = attentions * attention + mlps * mlp;

        // Columns are filled up to whole groups of 32; a group has a scale of two bytes.
        let groups = |rows: u64, cols: u64| rows * cols.div_ceil(32);
        let attention_groups = groups(query + 2 * kv, hidden) + groups(hidden, query);
        let mlp_groups = groups(2 * wide, hidden) + groups(hidden, wide);
        let layer_bytes = 18 * (attentions * attention_groups + mlps * mlp_groups);
        let table_bytes = 34 * groups(vocabulary, hidden);
        Self {
            parameters: matrices + norms + tables * table,
            bytes_pack: layer_bytes + 4 * norms + tables * table_bytes,
            bytes_read: layer_bytes + 4 * norms + table_bytes,
            flops: 2 * (matrices + table),
        }
    }
}
