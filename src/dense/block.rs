//! In: the residual stream before a layer, (batch, positions, hidden_size). Out: the stream between its attention and its
//! MLP, and after it.

use burn::module::{Module, Param};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::DenseLayer;
use crate::checkpoint::LayerWeight;
use crate::config::LlamaConfig;

/// One transformer layer in f32: grouped-query attention and a SwiGLU feed-forward network, each behind an RMSNorm.
#[derive(Module, Debug)]
pub struct Block {
    attention_norm: Param<Tensor<1>>,
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
    value: Param<Tensor<2>>,
    output: Param<Tensor<2>>,
    mlp_norm: Param<Tensor<1>>,
    gate: Param<Tensor<2>>,
    up: Param<Tensor<2>>,
    down: Param<Tensor<2>>,
    #[module(skip)]
    heads: Heads,
}

/// What a layer has to know of its shape beside its weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    kv_heads: usize,
    head_dim: usize,
    eps: f32,
}

impl Heads {
    pub(crate) fn new(config: &LlamaConfig) -> Self {
        Self {
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            eps: config.rms_norm_eps,
        }
    }
}

/// A layer's weights, however they are kept: whole, or with something beside them that is being trained.
pub(crate) trait Weights {
    /// The gains of a norm: (1, hidden_size).
    fn gains(&self, part: LayerWeight) -> Tensor<2>;
    /// (rows, in) in, (rows, out) out.
    fn product(&self, part: LayerWeight, x: Tensor<2>) -> Tensor<2>;
}

/// What a layer has to know of the positions it runs over: rotations and the causal mask, shared by all layers.
#[derive(Clone, Debug)]
pub struct Positions {
    /// (1, positions, 1, head_dim / 2).
    cos: Tensor<4>,
    /// As `cos`.
    sin: Tensor<4>,
    /// For each run of queries: how many there are before it, and (1, 1, queries, keys up to its last) of 0 and [`HIDDEN`].
    runs: Vec<(usize, Tensor<4>)>,
}

/// Queries whose scores are computed at once: their memory grows with the length of the sequence, not with its square.
const QUERIES: usize = 256;

/// Added to the scores of later keys: its exponential is 0, and it stays finite where drivers assume that all numbers are.
const HIDDEN: f32 = -1e30;

impl Positions {
    /// Positions 0 to `positions - 1`.
    pub fn new(config: &LlamaConfig, positions: usize, device: &Device) -> Self {
        let frequencies = config.rope.inverse_frequencies(config.head_dim);
        let table = |of: fn(f64) -> f64| {
            let angles =
                (0..positions).flat_map(|at| frequencies.iter().map(move |f| at as f64 * f));
            let values: Vec<f32> = angles.map(|angle| of(angle) as f32).collect();
            tensor(values, [1, positions, 1, frequencies.len()], device)
        };
        let runs = (0..positions).step_by(QUERIES).map(|first| {
            let last = (first + QUERIES).min(positions);
            let row = |query| (0..last).map(move |key| if key > query { HIDDEN } else { 0.0 });
            let mask: Vec<f32> = (first..last).flat_map(row).collect();
            (first, tensor(mask, [1, 1, last - first, last], device))
        });
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
            runs: runs.collect(),
        }
    }

    /// The heads of q or k, rotated: (batch, positions, heads, head_dim), the halves of a head turn together.
    fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        let half = heads.dims()[3] / 2;
        let first = heads.clone().narrow(3, 0, half);
        let second = heads.narrow(3, half, half);
        let turned = first.clone() * self.cos.clone() - second.clone() * self.sin.clone();
        let other = second * self.cos.clone() + first * self.sin.clone();
        Tensor::cat(vec![turned, other], 3)
    }
}

impl Block {
    /// A layer's weights on a device.
    pub fn new(weights: DenseLayer, config: &LlamaConfig, device: &Device) -> Self {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let (query, kv) = (config.query_rows(), config.kv_rows());
        let matrix = |values, rows, cols| Param::from_tensor(tensor(values, [rows, cols], device));
        let vector = |values| Param::from_tensor(tensor(values, [hidden], device));
        Self {
            attention_norm: vector(weights.attention_norm),
            query: matrix(weights.query, query, hidden),
            key: matrix(weights.key, kv, hidden),
            value: matrix(weights.value, kv, hidden),
            output: matrix(weights.output, hidden, query),
            mlp_norm: vector(weights.mlp_norm),
            gate: matrix(weights.gate, intermediate, hidden),
            up: matrix(weights.up, intermediate, hidden),
            down: matrix(weights.down, hidden, intermediate),
            heads: Heads::new(config),
        }
    }

    /// The stream after the layer.
    pub fn forward(&self, x: Tensor<3>, positions: &Positions) -> Tensor<3> {
        self.streams(x, positions).1
    }

    /// The stream between attention and MLP, and the stream after the layer.
    pub fn streams(&self, x: Tensor<3>, positions: &Positions) -> (Tensor<3>, Tensor<3>) {
        let between = x.clone() + self.attention(x, positions);
        let after = between.clone() + self.mlp(between.clone());
        (between, after)
    }

    /// What attention adds to the stream.
    pub fn attention(&self, x: Tensor<3>, positions: &Positions) -> Tensor<3> {
        attention(self, self.heads, x, positions)
    }

    /// What the MLP adds to the stream.
    pub fn mlp(&self, x: Tensor<3>) -> Tensor<3> {
        mlp(self, self.heads, x)
    }

    /// What the MLP's last matrix reads: (batch * positions, intermediate_size).
    pub(crate) fn gated(&self, x: Tensor<3>) -> Tensor<2> {
        gated(self, self.heads, x)
    }

    /// The same layer with another last matrix of its MLP: (hidden_size, intermediate_size). The rest is shared.
    pub(crate) fn with_down(&self, down: Vec<f32>) -> Self {
        let old = self.down.val();
        let down = tensor(down, old.dims(), &old.device());
        Self {
            down: Param::from_tensor(down),
            ..self.clone()
        }
    }

    /// A weight as it is kept; a norm is one row.
    pub(crate) fn weight(&self, part: LayerWeight) -> Tensor<2> {
        match part {
            LayerWeight::AttentionNorm => self.attention_norm.val().unsqueeze(),
            LayerWeight::Query => self.query.val(),
            LayerWeight::Key => self.key.val(),
            LayerWeight::Value => self.value.val(),
            LayerWeight::Output => self.output.val(),
            LayerWeight::MlpNorm => self.mlp_norm.val().unsqueeze(),
            LayerWeight::Gate => self.gate.val(),
            LayerWeight::Up => self.up.val(),
            LayerWeight::Down => self.down.val(),
        }
    }
}

impl Weights for Block {
    fn gains(&self, part: LayerWeight) -> Tensor<2> {
        self.weight(part)
    }

    fn product(&self, part: LayerWeight, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight(part).transpose())
    }
}

/// What attention adds to the stream.
pub(crate) fn attention(
    weights: &impl Weights,
    heads: Heads,
    x: Tensor<3>,
    positions: &Positions,
) -> Tensor<3> {
    let [batch, length, hidden] = x.dims();
    let dim = heads.head_dim;
    let x = rms_norm(
        rows(x),
        weights.gains(LayerWeight::AttentionNorm),
        heads.eps,
    );
    let split = |part| {
        let y = weights.product(part, x.clone());
        let heads = y.dims()[1] / dim;
        y.reshape([batch, length, heads, dim])
    };
    let query = positions.rotate(split(LayerWeight::Query)) * (dim as f32).powf(-0.5);
    let query = query.swap_dims(1, 2);
    let key = positions.rotate(split(LayerWeight::Key)).swap_dims(1, 2);
    let value = split(LayerWeight::Value).swap_dims(1, 2);
    let mixed = mix(heads, query, key, value, positions);
    let query_rows = mixed.dims()[1] * dim;
    let mixed = mixed.swap_dims(1, 2).reshape([batch * length, query_rows]);
    weights
        .product(LayerWeight::Output, mixed)
        .reshape([batch, length, hidden])
}

/// What the MLP adds to the stream.
pub(crate) fn mlp(weights: &impl Weights, heads: Heads, x: Tensor<3>) -> Tensor<3> {
    let shape = x.dims();
    let inner = gated(weights, heads, x);
    weights.product(LayerWeight::Down, inner).reshape(shape)
}

fn gated(weights: &impl Weights, heads: Heads, x: Tensor<3>) -> Tensor<2> {
    let x = rms_norm(rows(x), weights.gains(LayerWeight::MlpNorm), heads.eps);
    let gate = silu(weights.product(LayerWeight::Gate, x.clone()));
    gate * weights.product(LayerWeight::Up, x)
}

/// Values weighted by attention: all (batch, heads, positions, head_dim).
fn mix(
    heads: Heads,
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    at: &Positions,
) -> Tensor<4> {
    let [batch, query_heads, _, dim] = query.dims();
    let (kv_heads, group) = (heads.kv_heads, query_heads / heads.kv_heads);
    let run = |(first, mask): &(usize, Tensor<4>)| {
        let [_, _, queries, keys] = mask.dims();
        // The query heads of one key-value head lie under each other, so that nothing of k and v is repeated.
        let stacked = [batch, kv_heads, group * queries, dim];
        let query = query.clone().narrow(2, *first, queries).reshape(stacked);
        let key = key.clone().narrow(2, 0, keys).swap_dims(2, 3);
        let scores = query
            .matmul(key)
            .reshape([batch, query_heads, queries, keys]);
        let weights = softmax(scores + mask.clone(), 3);
        weights
            .reshape([batch, kv_heads, group * queries, keys])
            .matmul(value.clone().narrow(2, 0, keys))
            .reshape([batch, query_heads, queries, dim])
    };
    let mut runs: Vec<_> = at.runs.iter().map(run).collect();
    match runs.len() {
        1 => runs.remove(0),
        _ => Tensor::cat(runs, 2),
    }
}

/// x over the root of its mean square, times gamma: (rows, hidden_size).
pub(crate) fn rms_norm(x: Tensor<2>, gamma: Tensor<2>, eps: f32) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1);
    x / (mean_square + eps).sqrt() * gamma
}

/// Values of this shape on the device, in f32 whatever the device would choose.
pub(crate) fn tensor<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

fn rows(x: Tensor<3>) -> Tensor<2> {
    let [batch, length, hidden] = x.dims();
    x.reshape([batch * length, hidden])
}
