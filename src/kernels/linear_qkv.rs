//! `linear_qkv`: a normed residual stream in; rotated queries out, rotated keys and values appended to the cache.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

use super::attention::Heads;
use super::linear::Matrix;
use super::product::{Input, MatrixShape, Product, Rows};
use super::twin::{floats, pack_values, words};
use super::variant::CacheFormat;
use super::{Shader, Variant, launch};

/// What `linear_qkv` writes.
#[derive(Debug)]
pub struct QkvOutputs {
    /// (pass rows, heads * head size).
    pub queries: Tensor<2>,
    /// Words of (kv heads, context, head size) values, as the variant's [`CacheFormat`] stores them.
    pub keys: Tensor<1, Int>,
    /// As the keys.
    pub values: Tensor<1, Int>,
}

/// What `linear_qkv` computes, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Qkv {
    /// Heads and context.
    pub heads: Heads,
    /// The norm's epsilon.
    pub epsilon: f32,
    /// The device's choice of kernels.
    pub variant: Variant,
}

/// `x` ([`Input::Normed`]) times `weight`, whose rows are q, then k, then v. `rotations` (context * head size): cosine and sine of
/// each position and frequency.
pub fn linear_qkv(
    x: Tensor<2>,
    weight: &Matrix,
    rotations: Tensor<1>,
    outputs: QkvOutputs,
    step: Tensor<1, Int>,
    spec: Qkv,
) -> QkvOutputs {
    let (queries, keys, values) = Dispatch::linear_qkv(
        x.into_dispatch(),
        weight.words.clone().into_dispatch(),
        weight.scales.clone().into_dispatch(),
        rotations.into_dispatch(),
        outputs.queries.into_dispatch(),
        outputs.keys.into_dispatch(),
        outputs.values.into_dispatch(),
        step.into_dispatch(),
        weight.shape,
        spec,
    );
    QkvOutputs {
        queries: Tensor::from_dispatch(queries),
        keys: Tensor::from_dispatch(keys),
        values: Tensor::from_dispatch(values),
    }
}

/// The shader of this op for passes of `pass_rows` rows.
pub fn shader(weight: MatrixShape, pass_rows: usize, spec: Qkv) -> Shader {
    spec.shader(&spec.product(weight, pass_rows))
}

impl Qkv {
    fn product(&self, weight: MatrixShape, pass_rows: usize) -> Product {
        Product {
            weight,
            parts: 2,
            outputs_by: 2,
            input: Input::Normed {
                epsilon: self.epsilon,
            },
            rows: Rows::Each,
            x_rows: pass_rows,
            pass_rows,
            variant: self.variant,
        }
    }

    fn shader(&self, product: &Product) -> Shader {
        let first = product.extra_binding();
        self.heads
            .constants(product.shader())
            .with("OUTPUT_PAIRS", product.outputs_at_once() / 2)
            .with("ROTATIONS", first)
            .with("CACHE", first + 1)
            .choose("epilogue", "epilogue_qkv")
            .choose(
                "cache_write",
                match self.variant.cache {
                    CacheFormat::F32 => "cache_write_f32",
                    CacheFormat::F16 => "cache_write_f16",
                },
            )
    }
}

#[backend_extension(Cube, Flex)]
pub(crate) trait LinearQkv: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each buffer of the shader"
    )]
    fn linear_qkv(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        rotations: FloatTensor<Self>,
        queries: FloatTensor<Self>,
        keys: IntTensor<Self>,
        values: IntTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        spec: Qkv,
    ) -> (FloatTensor<Self>, IntTensor<Self>, IntTensor<Self>);
}

impl LinearQkv for CubeBackend {
    fn linear_qkv(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        rotations: FloatTensor<Self>,
        queries: FloatTensor<Self>,
        keys: IntTensor<Self>,
        values: IntTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        spec: Qkv,
    ) -> (FloatTensor<Self>, IntTensor<Self>, IntTensor<Self>) {
        let product = spec.product(weight, queries.meta.shape()[0]);
        let mut buffers = vec![&x, &queries, &step, &words];
        if weight.has_scales() {
            buffers.push(&scales);
        }
        buffers.extend([&rotations, &keys, &values]);
        launch(spec.shader(&product), product.count(), &buffers);
        (queries, keys, values)
    }
}

impl LinearQkv for Flex {
    fn linear_qkv(
        x: FloatTensor<Self>,
        weight_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        rotations: FloatTensor<Self>,
        mut queries: FloatTensor<Self>,
        mut keys: IntTensor<Self>,
        mut values: IntTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        spec: Qkv,
    ) -> (FloatTensor<Self>, IntTensor<Self>, IntTensor<Self>) {
        let heads = spec.heads;
        let product = spec.product(weight, queries.layout().shape()[0]);
        let (position, active) = (words(&step)[0] as usize, words(&step)[1] as usize);
        let room = heads.context.saturating_sub(position);
        let mut rows = vec![vec![0.0_f32; weight.rows]; active];
        product.sums(
            floats(&x),
            words(&weight_words),
            words(&scales),
            active,
            |row, token, sum| rows[token][row] = sum,
        );
        let size = heads.head_dim;
        let rotations = floats(&rotations);
        let queries_out = queries.storage_mut::<f32>();
        let (keys_out, values_out) = (keys.storage_mut::<u32>(), values.storage_mut::<u32>());
        for (token, row) in rows.iter_mut().take(room).enumerate() {
            let at = position + token;
            let turns = &rotations[at * size..(at + 1) * size];
            for (head, vector) in row.chunks_mut(size).enumerate() {
                let kv_head = head.saturating_sub(heads.heads) % heads.kv_heads;
                let cached = (kv_head * heads.context + at) * size;
                if head < heads.heads {
                    rotate(vector, turns);
                    let to = (token * heads.heads + head) * size;
                    queries_out[to..to + size].copy_from_slice(vector);
                } else if head < heads.heads + heads.kv_heads {
                    rotate(vector, turns);
                    pack_values(vector, keys_out, cached, spec.variant.cache);
                } else {
                    pack_values(vector, values_out, cached, spec.variant.cache);
                }
            }
        }
        (queries, keys, values)
    }
}

/// Turns the pairs (i, i + half) of one head.
fn rotate(vector: &mut [f32], turns: &[f32]) {
    let half = vector.len() / 2;
    for i in 0..half {
        let (cosine, sine) = (turns[2 * i], turns[2 * i + 1]);
        let (a, b) = (vector[i], vector[i + half]);
        vector[i] = a * cosine - b * sine;
        vector[i + half] = b * cosine + a * sine;
    }
}
