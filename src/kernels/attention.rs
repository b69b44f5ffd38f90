//! `attention` and `attention_combine`: rotated queries and the cache in, softmax(q k^T) v out, by way of one partial
//! result for each split of the context.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::twin::{dot, floats, unpack_values, words};
use super::variant::{CacheFormat, Prefill, SHARING, Variant};
use super::{Shader, TILE, WORKGROUP, launch};
use crate::config::{WORKGROUP_BYTES, attention_bytes};

/// The shape of grouped-query attention over a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// Positions that the cache holds.
    pub context: usize,
}

/// The two texts of `attention`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A thread a position, then a thread four dimensions; a workgroup's threads meet at barriers.
    Plain,
    /// [`SHARING`] threads go through positions on their own.
    Shared,
}

impl Heads {
    /// Workgroups that may share one head's context in a decode step: enough to fill a large GPU, few enough to join cheaply.
    const DECODE_SPLITS: usize = 16;

    /// Splits for passes of `pass_rows` rows. A prefill has rows enough to fill the device, so it needs none.
    pub fn max_splits(&self, pass_rows: usize) -> usize {
        if pass_rows > 1 {
            1
        } else {
            self.context.div_ceil(TILE).min(Self::DECODE_SPLITS)
        }
    }

    /// The shape of `attention`'s partial results: (rows * heads * splits, head size + 2).
    pub fn partials_shape(&self, pass_rows: usize) -> [usize; 2] {
        [
            pass_rows * self.heads * self.max_splits(pass_rows),
            self.head_dim + 2,
        ]
    }

    pub(crate) fn constants(&self, shader: Shader) -> Shader {
        shader
            .with("HEADS", self.heads)
            .with("KV_HEADS", self.kv_heads)
            .with("HEAD_DIM", self.head_dim)
            .with("CONTEXT", self.context)
    }

    /// The shader of `attention` for passes of `pass_rows` rows.
    pub fn attention_shader(&self, pass_rows: usize, variant: Variant) -> Shader {
        let tokens = self.tokens(pass_rows, variant.prefill);
        let queries = tokens * self.heads / self.kv_heads;
        let form = self.form(variant.prefill);
        let shader = self
            .constants(Shader::new(match form {
                Form::Plain => "attention",
                Form::Shared => "attention_shared",
            }))
            .with("WORKGROUP", WORKGROUP)
            .with("TILE", TILE)
            .with("TOKENS", tokens)
            .with("QUERIES", queries)
            .with("MAX_SPLITS", self.max_splits(pass_rows))
            .with_f32("SCORE_SCALE", self.score_scale())
            .with("STEP", 4)
            .choose(
                "cache_read",
                match variant.cache {
                    CacheFormat::F32 => "cache_read_f32",
                    CacheFormat::F16 => "cache_read_f16",
                },
            );
        match form {
            Form::Plain => shader.with("ROW_TEAMS", queries.next_power_of_two()),
            Form::Shared => shader.with("PIECES", self.pieces()),
        }
    }

    /// Threads of a subgroup load keys, values and queries for each other where that was found quicker, a head splits into theirs
    /// evenly, and a workgroup's memory holds it.
    fn form(&self, prefill: Prefill) -> Form {
        let even = self.head_dim.is_multiple_of(4 * SHARING);
        if prefill == Prefill::Shared && even && self.fits(1, Form::Shared) {
            Form::Shared
        } else {
            Form::Plain
        }
    }

    /// Whether a workgroup's memory holds what `tokens` rows of a pass need.
    fn fits(&self, tokens: usize, form: Form) -> bool {
        let queries = tokens * self.heads / self.kv_heads;
        let bytes = match form {
            Form::Plain => attention_bytes(queries, self.head_dim),
            // The queries, and one output, a maximum and a sum for each eight threads.
            Form::Shared => {
                let eights = WORKGROUP / SHARING;
                4 * (queries * self.head_dim + eights * (self.head_dim + 2))
            }
        };
        bytes <= WORKGROUP_BYTES
    }

    /// Rows of a pass that one workgroup takes, so that they share its loads: as many as keep their queries in its memory and its
    /// registers.
    fn tokens(&self, pass_rows: usize, prefill: Prefill) -> usize {
        let (group, form) = (self.heads / self.kv_heads, self.form(prefill));
        let most = match form {
            Form::Plain => most_queries(prefill),
            Form::Shared => most_queries(prefill).min(MOST_PIECES / self.pieces()),
        };
        [8, 4, 2]
            .into_iter()
            .filter(|tokens| *tokens <= pass_rows)
            .find(|tokens| tokens * group <= most && self.fits(*tokens, form))
            .unwrap_or(1)
    }

    /// Times four dimensions of a head that each of eight threads takes.
    fn pieces(&self) -> usize {
        self.head_dim / (4 * SHARING)
    }

    /// The shader of `attention_combine` for passes of `pass_rows` rows.
    pub fn combine_shader(&self, pass_rows: usize) -> Shader {
        self.constants(Shader::new("attention_combine").with("WORKGROUP", WORKGROUP))
            .with("TILE", TILE)
            .with("MAX_SPLITS", self.max_splits(pass_rows))
            .with("STEP", 2)
    }

    fn score_scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Queries whose outputs a thread holds, five registers each, where there is a choice. The text grows with them, and a program that
/// plays GPU takes seconds to compile a long one.
fn most_queries(prefill: Prefill) -> usize {
    match prefill {
        Prefill::Tile => 16,
        Prefill::Direct => 4,
        Prefill::Shared => 12,
    }
}

/// Pieces of output that a thread of the shared form holds, four registers each, where there is a choice.
const MOST_PIECES: usize = 24;

/// Causal attention of the pass's rows over the cache, one partial result for each split.
///
/// `queries` (pass rows, heads * head size), `keys` and `values`: words of (kv heads, context, head size) values, as the variant
/// stores them, `partials` as [`Heads::partials_shape`] says. `grid` (3): the workgroups of a decode step, written on the GPU.
#[allow(
    clippy::too_many_arguments,
    reason = "one for each buffer of the shader"
)]
pub fn attention(
    queries: Tensor<2>,
    keys: Tensor<1, Int>,
    values: Tensor<1, Int>,
    partials: Tensor<2>,
    step: Tensor<1, Int>,
    grid: Tensor<1, Int>,
    heads: Heads,
    variant: Variant,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention(
        queries.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        partials.into_dispatch(),
        step.into_dispatch(),
        grid.into_dispatch(),
        heads,
        variant,
    ))
}

/// Joins `partials` into `out` (pass rows, heads * head size).
pub fn attention_combine(
    partials: Tensor<2>,
    out: Tensor<2>,
    step: Tensor<1, Int>,
    heads: Heads,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::attention_combine(
        partials.into_dispatch(),
        out.into_dispatch(),
        step.into_dispatch(),
        heads,
    ))
}

#[backend_extension(Cube, Flex)]
pub(crate) trait Attention: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each buffer of the shader"
    )]
    fn attention(
        queries: FloatTensor<Self>,
        keys: IntTensor<Self>,
        values: IntTensor<Self>,
        partials: FloatTensor<Self>,
        step: IntTensor<Self>,
        grid: IntTensor<Self>,
        heads: Heads,
        variant: Variant,
    ) -> FloatTensor<Self>;

    fn attention_combine(
        partials: FloatTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;
}

impl Attention for CubeBackend {
    fn attention(
        queries: FloatTensor<Self>,
        keys: IntTensor<Self>,
        values: IntTensor<Self>,
        partials: FloatTensor<Self>,
        step: IntTensor<Self>,
        grid: IntTensor<Self>,
        heads: Heads,
        variant: Variant,
    ) -> FloatTensor<Self> {
        let pass_rows = queries.meta.shape()[0];
        let count = if pass_rows == 1 {
            CubeCount::Dynamic(grid.handle.binding())
        } else {
            let blocks = pass_rows.div_ceil(heads.tokens(pass_rows, variant.prefill));
            CubeCount::Static(heads.kv_heads as u32, 1, blocks as u32)
        };
        launch(
            heads.attention_shader(pass_rows, variant),
            count,
            &[&queries, &keys, &values, &partials, &step],
        );
        partials
    }

    fn attention_combine(
        partials: FloatTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let pass_rows = out.meta.shape()[0];
        launch(
            heads.combine_shader(pass_rows),
            CubeCount::Static(heads.heads as u32, pass_rows as u32, 1),
            &[&partials, &out, &step],
        );
        out
    }
}

impl Attention for Flex {
    fn attention(
        queries: FloatTensor<Self>,
        keys: IntTensor<Self>,
        values: IntTensor<Self>,
        mut partials: FloatTensor<Self>,
        step: IntTensor<Self>,
        _grid: IntTensor<Self>,
        heads: Heads,
        variant: Variant,
    ) -> FloatTensor<Self> {
        let pass_rows = queries.layout().shape()[0];
        let (position, rows) = (words(&step)[0] as usize, words(&step)[1] as usize);
        let (queries, keys, values) = (floats(&queries), words(&keys), words(&values));
        let (size, group) = (heads.head_dim, heads.heads / heads.kv_heads);
        let row_len = heads.heads * size;
        let max_splits = heads.max_splits(pass_rows);
        let splits = split_count(position + rows, heads, max_splits);
        let partials_out = partials.storage_mut::<f32>();
        for token in 0..rows {
            let visible = (position + token + 1).min(heads.context);
            for head in 0..heads.heads {
                let query = &queries[token * row_len + head * size..][..size];
                let first = head / group * heads.context * size;
                for split in 0..splits {
                    let at = ((token * heads.heads + head) * max_splits + split) * (size + 2);
                    let positions = (split * TILE..visible)
                        .step_by(splits * TILE)
                        .flat_map(|tile| tile..(tile + TILE).min(visible));
                    let mut vector = vec![0.0; size];
                    let scores: Vec<(usize, f32)> = positions
                        .map(|p| {
                            unpack_values(keys, first + p * size, variant.cache, &mut vector);
                            (p, dot(query, &vector) * heads.score_scale())
                        })
                        .collect();
                    // As in the shader: finite, so that a split without positions weighs nothing and is a number.
                    let maximum = scores
                        .iter()
                        .fold(-1e30_f32, |max, (_, score)| max.max(*score));
                    let partial = &mut partials_out[at..at + size + 2];
                    partial.fill(0.0);
                    partial[size] = maximum;
                    for (p, score) in scores {
                        let weight = (score - maximum).exp();
                        unpack_values(values, first + p * size, variant.cache, &mut vector);
                        for (out, value) in partial.iter_mut().zip(&vector) {
                            *out += weight * value;
                        }
                        partial[size + 1] += weight;
                    }
                }
            }
        }
        partials
    }

    fn attention_combine(
        partials: FloatTensor<Self>,
        mut out: FloatTensor<Self>,
        step: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let pass_rows = out.layout().shape()[0];
        let (position, rows) = (words(&step)[0] as usize, words(&step)[1] as usize);
        let max_splits = heads.max_splits(pass_rows);
        let splits = split_count(position + rows, heads, max_splits);
        let size = heads.head_dim;
        let partials = floats(&partials).chunks(max_splits * (size + 2));
        let outs = out.storage_mut::<f32>().chunks_mut(size);
        for (partials, out) in partials.zip(outs).take(rows * heads.heads) {
            let splits = || partials.chunks(size + 2).take(splits);
            let maximum = splits().map(|split| split[size]).fold(f32::MIN, f32::max);
            let sum: f32 = splits()
                .map(|split| (split[size] - maximum).exp() * split[size + 1])
                .sum();
            out.fill(0.0);
            for split in splits() {
                let weight = (split[size] - maximum).exp() / sum;
                for (out, partial) in out.iter_mut().zip(split) {
                    *out += weight * partial;
                }
            }
        }
        out
    }
}

/// As `shaders/shared/splits.wgsl`.
pub(crate) fn split_count(visible: usize, heads: Heads, max_splits: usize) -> usize {
    visible
        .min(heads.context)
        .div_ceil(TILE)
        .clamp(1, max_splits)
}
