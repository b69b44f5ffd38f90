//! What the three products share: `linear`, `linear_residual` and `linear_qkv` differ in what they do with the sums. In: a
//! product's shape and a device's variant. Out: the shader, its grid, and the plain-Rust sums.

use cubecl::prelude::CubeCount;

use super::twin::{dot, widen_row};
use super::variant::{Prefill, Reduction, SHARING, Variant};
use super::{Shader, WORKGROUP};
use crate::quant::{Format, GROUP};

/// A weight matrix's shape and storage: (out features, in features).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatrixShape {
    /// Out features.
    pub rows: usize,
    /// In features.
    pub cols: usize,
    /// How the weights are stored.
    pub format: Format,
}

impl MatrixShape {
    /// Columns as stored, zero-padded to whole groups.
    pub fn padded_cols(&self) -> usize {
        self.cols.next_multiple_of(GROUP)
    }

    /// Whether scales are bound beside the weights.
    pub fn has_scales(&self) -> bool {
        self.format != Format::F32
    }
}

/// What the rows of x are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// (rows, in features).
    Plain,
    /// A residual stream times a norm's gamma, (rows, in features), and behind all rows the sums of squares of every four
    /// values of the stream, (rows, [`chunks`]): the product is that of the RMSNorm with this epsilon.
    Normed {
        /// Added to the mean square.
        epsilon: f32,
    },
}

/// Which rows of x are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Every row, each into its own place.
    Each,
    /// The last active row, into row 0: all that names the next token.
    Last,
}

/// Sums of squares that a residual stream of `cols` values leaves.
pub fn chunks(cols: usize) -> usize {
    cols.div_ceil(4)
}

/// The shape of [`Input::Normed`]: rows, and the values and sums that belong to each.
pub fn normed_shape(rows: usize, cols: usize) -> [usize; 2] {
    [rows, cols + chunks(cols)]
}

/// One product as its shader's key needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) weight: MatrixShape,
    /// Weight rows that make one output: two for SwiGLU (gate and up) and for rotated pairs.
    pub(super) parts: usize,
    /// The epilogue takes outputs by so many.
    pub(super) outputs_by: usize,
    pub(super) input: Input,
    pub(super) rows: Rows,
    /// Rows of x, and of the output.
    pub(super) x_rows: usize,
    pub(super) pass_rows: usize,
    pub(super) variant: Variant,
}

/// Workgroups along one dimension of a dispatch that WebGPU promises; a vocabulary may need more, and goes on along another. The
/// crate's own tests pretend that it promises few: a matrix that fills 65,535 has a quarter of a billion weights.
const MAX_WORKGROUPS: usize = if cfg!(test) { 2 } else { 65_535 };
/// Rows of x, and weight rows, of a tile.
const TILE_ROWS: usize = 64;

/// How a product is cut up.
struct Cut {
    shader: &'static str,
    weight_rows: usize,
    lanes: usize,
    tokens: usize,
    /// Threads of a workgroup.
    threads: usize,
}

impl Product {
    fn cut(&self) -> Cut {
        let v = self.variant;
        let groups = self.weight.padded_cols() / GROUP;
        match self.pass_rows {
            1 => Cut {
                shader: "linear",
                weight_rows: v.weight_rows,
                lanes: v.lanes_for(groups),
                tokens: 1,
                threads: WORKGROUP,
            },
            // A few drafts to verify: weights are read once for all of them.
            2..=8 => Cut {
                shader: "linear",
                weight_rows: 4,
                lanes: v.lanes_for(groups),
                tokens: self.pass_rows.next_power_of_two(),
                threads: WORKGROUP,
            },
            _ => match v.prefill {
                // 4 by 4 a thread, so 16 threads beside each other and 16 below.
                Prefill::Tile => Cut {
                    shader: "linear_tile",
                    weight_rows: 4,
                    lanes: 1,
                    tokens: TILE_ROWS,
                    threads: TILE_ROWS / 4,
                },
                Prefill::Direct => Cut {
                    shader: "linear",
                    weight_rows: 4,
                    lanes: 1,
                    tokens: 4,
                    threads: WORKGROUP,
                },
                // One subgroup a workgroup: what divides few rows leaves few threads idle. Six weight rows share the loads of x best,
                // where the epilogue takes what they make.
                Prefill::Shared => Cut {
                    shader: "linear_shared",
                    weight_rows: if (6 / self.parts).is_multiple_of(self.outputs_by) {
                        6
                    } else {
                        4
                    },
                    lanes: 1,
                    tokens: 4,
                    threads: SHARING,
                },
            },
        }
    }

    /// Outputs of the matrix.
    pub(super) fn outputs(&self) -> usize {
        self.weight.rows / self.parts
    }

    /// The shader, still without its epilogue. Bindings: x, output, step, words, scales where there are any, then the epilogue's,
    /// from [`Product::extra_binding`] on.
    pub(super) fn shader(&self) -> Shader {
        let cut = self.cut();
        let normed = match self.input {
            Input::Plain => 0,
            Input::Normed { .. } => 1,
        };
        let shader = Shader::new(cut.shader)
            .with("MAX_WORKGROUPS", MAX_WORKGROUPS)
            .with("WEIGHT_ROWS", cut.weight_rows)
            .with("PARTS", self.parts)
            .with("OUTPUTS", cut.weight_rows / self.parts)
            .with("OUT_ROWS", self.outputs())
            .with("COLS", self.weight.cols)
            .with("PADDED_COLS", self.weight.padded_cols())
            .with("X_ROWS", self.x_rows)
            .with("PASS_ROWS", self.pass_rows)
            .with("NORMED", normed)
            .with("STEP", 2)
            .with_weight(self.weight.format, 3)
            .choose(
                "input",
                // By fours, the sums of squares too, which are a fourth as many.
                if self.weight.cols.is_multiple_of(GROUP) {
                    "input_vec4"
                } else {
                    "input_scalar"
                },
            );
        let shader = match self.input {
            Input::Plain => shader,
            Input::Normed { epsilon } => shader.with_f32("EPSILON", epsilon),
        };
        match cut.shader {
            "linear_tile" => return shader,
            "linear_shared" => {
                return shader
                    .with("WORKGROUP", cut.threads)
                    .with("TOKENS", cut.tokens);
            }
            _ => {}
        }
        let shader = shader
            .with("WORKGROUP", cut.threads)
            .with("LANES", cut.lanes)
            .with("TOKENS", cut.tokens)
            .with("LAST_ROW", usize::from(self.rows == Rows::Last))
            .with("SUMS", (cut.weight_rows + normed) * cut.tokens);
        match self.variant.reduction {
            _ if cut.lanes == 1 => shader
                .choose("reduction", "reduction_none")
                .choose("reduce_rows", "reduce_rows_none"),
            Reduction::Tree => shader
                .choose("reduction", "reduction_tree")
                .choose("reduce_rows", "reduce_rows_tree"),
            Reduction::Subgroup(smallest) => shader
                .with("SUBGROUP", smallest)
                .with("SPANNING", usize::from(cut.lanes > smallest))
                .choose("reduction", "reduction_subgroup")
                .choose("reduce_rows", "reduce_rows_subgroup"),
        }
    }

    /// Where the epilogue's own buffers begin.
    pub(super) fn extra_binding(&self) -> usize {
        if self.weight.has_scales() { 5 } else { 4 }
    }

    /// Outputs that a team, or a thread of a tile, writes.
    pub(super) fn outputs_at_once(&self) -> usize {
        self.cut().weight_rows / self.parts
    }

    /// The grid.
    pub(super) fn count(&self) -> CubeCount {
        let cut = self.cut();
        let outputs = cut.threads / cut.lanes * cut.weight_rows / self.parts;
        let workgroups = self.outputs().div_ceil(outputs);
        CubeCount::Static(
            workgroups.min(MAX_WORKGROUPS) as u32,
            self.pass_rows.div_ceil(cut.tokens) as u32,
            workgroups.div_ceil(MAX_WORKGROUPS) as u32,
        )
    }

    /// The same sums in plain Rust: calls `found(weight row, row of the pass, sum)` for every active row.
    pub(super) fn sums(
        &self,
        x: &[f32],
        words: &[u32],
        scales: &[u32],
        active: usize,
        mut found: impl FnMut(usize, usize, f32),
    ) {
        let cols = self.weight.cols;
        let active = active.min(self.x_rows);
        let tokens: Vec<usize> = match self.rows {
            Rows::Each => (0..active.min(self.pass_rows)).collect(),
            Rows::Last => vec![active.saturating_sub(1)],
        };
        let factors: Vec<f32> = tokens
            .iter()
            .map(|token| match self.input {
                Input::Plain => 1.0,
                Input::Normed { epsilon } => {
                    let from = self.x_rows * cols + token * chunks(cols);
                    let squares: f32 = x[from..from + chunks(cols)].iter().sum();
                    1.0 / (squares / cols as f32 + epsilon).sqrt()
                }
            })
            .collect();
        let mut row = vec![0.0; cols];
        for r in 0..self.weight.rows {
            widen_row(
                words,
                scales,
                self.weight.format,
                self.weight.padded_cols(),
                r,
                &mut row,
            );
            for (to, (token, factor)) in tokens.iter().zip(&factors).enumerate() {
                let sum = dot(&row, &x[token * cols..(token + 1) * cols]) * factor;
                found(r, to, sum);
            }
        }
    }
}
