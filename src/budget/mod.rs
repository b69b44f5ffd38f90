//! In: a shape, how many of its layers run, how they are stored. Out: parameters, bytes, FLOPs a token, and the bound on speed.
//!
//! Nothing is measured here and no weight is read: everything follows from the configuration.

mod article;
mod cards;
mod storage;

use serde::Serialize;

use crate::config::LlamaConfig;
use crate::plan::{LayerPlan, SublayerPlan};

pub use self::article::{ArticleClaim, article_claims};
pub use self::cards::{CARDS, Card};
pub use self::storage::{Coding, STORAGES, Storage};

/// How much of a model runs, in sublayers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Attentions that run.
    pub attentions: usize,
    /// MLPs that run.
    pub mlps: usize,
}

impl Depth {
    /// So many whole layers.
    pub fn layers(layers: usize) -> Self {
        Self {
            attentions: layers,
            mlps: layers,
        }
    }
}

impl From<&LayerPlan> for Depth {
    fn from(plan: &LayerPlan) -> Self {
        Self::layers(plan.layers.len())
    }
}

impl From<&SublayerPlan> for Depth {
    fn from(plan: &SublayerPlan) -> Self {
        let layers = plan.layers().layers.len();
        Self {
            attentions: layers - plan.mute_attention().len(),
            mlps: layers - plan.mute_mlp().len(),
        }
    }
}

/// The parameters of a shape, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// (vocab_size, hidden_size).
    pub embedding: u64,
    /// q, k, v and output of one layer, and the norm before them.
    pub attention: u64,
    /// gate, up and down of one layer, and the norm before them.
    pub mlp: u64,
    /// The norm before the head.
    pub final_norm: u64,
    /// (vocab_size, hidden_size); 0 where the embedding is the head.
    pub head: u64,
}

impl Parameters {
    /// Of this shape.
    pub fn of(config: &LlamaConfig) -> Self {
        let [hidden, intermediate, vocab] = [
            config.hidden_size,
            config.intermediate_size,
            config.vocab_size,
        ]
        .map(|n| n as u64);
        let rows = (config.query_rows() + config.kv_rows()) as u64;
        Self {
            embedding: vocab * hidden,
            attention: 2 * rows * hidden + hidden,
            mlp: 3 * intermediate * hidden + hidden,
            final_norm: hidden,
            head: if config.tied_head { 0 } else { vocab * hidden },
        }
    }

    /// Of one layer.
    pub fn layer(&self) -> u64 {
        self.attention + self.mlp
    }

    /// Of a model of this depth.
    pub fn total(&self, depth: Depth) -> u64 {
        self.embedding + self.layers(depth) + self.final_norm + self.head
    }

    /// Of what runs between embedding and final norm.
    pub fn layers(&self, depth: Depth) -> u64 {
        depth.attentions as u64 * self.attention + depth.mlps as u64 * self.mlp
    }
}

/// What a number in the cache of keys and values is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheNumber {
    /// Two bytes.
    F16,
    /// Four bytes.
    F32,
}

impl CacheNumber {
    fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// The reckoning of one model at one depth in one storage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// What runs.
    pub depth: Depth,
    /// Weights in all; a tied head counts once.
    pub parameters: u64,
    /// Bytes of the stored weights.
    pub weight_bytes: u64,
    /// Bits a weight, scales and padding included.
    pub bits_per_weight: f64,
    /// See [`flops_per_token`].
    pub flops_per_token: u64,
    /// Keys and values of one position.
    pub cache_bytes_per_position: u64,
    /// Keys and values of `context` positions.
    pub cache_bytes: u64,
    /// What decoding one token at the end of the context reads: every weight that takes part, and the cache.
    pub read_bytes_per_token: u64,
    /// Positions in the cache.
    pub context: usize,
}

impl Budget {
    /// Reckons a model of this shape and depth.
    pub fn new(
        config: &LlamaConfig,
        depth: Depth,
        storage: &Storage,
        context: usize,
        cache: CacheNumber,
    ) -> Self {
        let parameters = Parameters::of(config).total(depth);
        let bytes = storage.part_bytes(config);
        let layers = depth.attentions as u64 * bytes.attention + depth.mlps as u64 * bytes.mlp;
        let weight_bytes = bytes.embedding + layers + bytes.head;
        // One row of the embedding is looked up; the whole of it is read only where it is the head.
        let head = match config.tied_head {
            true => bytes.head + bytes.embedding,
            false => bytes.head,
        };
        let row = bytes.embedding.div_ceil(config.vocab_size as u64);
        let cache_bytes_per_position = cache_bytes_per_position(config, depth, cache);
        let cache_bytes = cache_bytes_per_position * context as u64;
        Self {
            depth,
            parameters,
            weight_bytes,
            bits_per_weight: 8.0 * weight_bytes as f64 / parameters as f64,
            flops_per_token: flops_per_token(config, depth, context),
            cache_bytes_per_position,
            cache_bytes,
            read_bytes_per_token: layers + head + row + cache_bytes,
            context,
        }
    }

    /// Weights and cache together.
    pub fn memory_bytes(&self) -> u64 {
        self.weight_bytes + self.cache_bytes
    }

    /// The most tokens a second that one sequence can be decoded at, when every byte comes from memory once.
    pub fn tokens_per_second(&self, bytes_per_second: f64) -> f64 {
        bytes_per_second / self.read_bytes_per_token as f64
    }
}

/// The formula of [`flops_per_token`], for people.
pub const FLOPS_FORMULA: &str = "2 x (weights of the layers' matrices + weights of the head) + 4 x attentions x heads x head_dim x context";

/// Floating-point operations to decode one token at the end of `context` positions: two for every weight a matrix product
/// takes, and two each for every product of a query with a key and of a share with a value. Norms, rotation and activations are
/// left out: below a thousandth in any Llama.
pub fn flops_per_token(config: &LlamaConfig, depth: Depth, context: usize) -> u64 {
    let parameters = Parameters::of(config);
    let hidden = config.hidden_size as u64;
    let layers = depth.attentions as u64 * (parameters.attention - hidden)
        + depth.mlps as u64 * (parameters.mlp - hidden);
    // The head is a product also where its weights are the embedding's; looking up a row of the embedding is none.
    let head = config.vocab_size as u64 * hidden;
    let attended = depth.attentions as u64 * config.query_rows() as u64 * context as u64;
    2 * (layers + head) + 4 * attended
}

/// Bytes of the keys and values of one position.
pub fn cache_bytes_per_position(config: &LlamaConfig, depth: Depth, cache: CacheNumber) -> u64 {
    depth.attentions as u64 * 2 * config.kv_rows() as u64 * cache.bytes()
}
