//! `linear`: rows in, rows times a packed weight matrix out; the epilogue stores, adds to the residual stream or joins gate and up.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::twin::{dot, floats, widen_row, words};
use super::{Shader, WORKGROUP, launch};
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

/// A packed weight matrix on a device.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Weights, as [`crate::quant::Packed::words`] lays them out.
    pub words: Tensor<1, Int>,
    /// Scales, two f16 in a word; one unused word where the format has none.
    pub scales: Tensor<1, Int>,
    /// Shape and format.
    pub shape: MatrixShape,
}

/// What is done with a finished sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `out = W x`
    Store,
    /// `out += W x`, the residual stream in place
    Residual,
    /// `out = silu(G x) * (U x)`: the first half of the matrix's rows is the gate G, the second the up projection U
    SwiGlu,
}

impl Epilogue {
    /// Weight rows that make one output.
    fn parts(self) -> usize {
        match self {
            Self::Store | Self::Residual => 1,
            Self::SwiGlu => 2,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Store => "epilogue_store",
            Self::Residual => "epilogue_residual",
            Self::SwiGlu => "epilogue_swiglu",
        }
    }
}

/// `x` (pass rows, in features) times `weight`, by way of `epilogue`, into `out` (pass rows, out features).
pub fn linear(
    x: Tensor<2>,
    weight: &Matrix,
    out: Tensor<2>,
    step: Tensor<1, Int>,
    epilogue: Epilogue,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear(
        x.into_dispatch(),
        weight.words.clone().into_dispatch(),
        weight.scales.clone().into_dispatch(),
        out.into_dispatch(),
        step.into_dispatch(),
        weight.shape,
        epilogue,
    ))
}

/// The shader of this op for passes of `pass_rows` rows.
pub fn shader(weight: MatrixShape, epilogue: Epilogue, pass_rows: usize) -> Shader {
    let tokens = tokens(pass_rows);
    Shader::new("linear")
        .with("WORKGROUP", WORKGROUP)
        .with("MAX_WORKGROUPS", MAX_WORKGROUPS)
        .with("LANES", lanes(weight.cols))
        .with("ROWS", ROWS)
        .with("PARTS", epilogue.parts())
        .with("TOKENS", tokens)
        .with("SUMS", ROWS * epilogue.parts() * tokens)
        .with("OUT_ROWS", weight.rows / epilogue.parts())
        .with("COLS", weight.cols)
        .with("PADDED_COLS", weight.padded_cols())
        .with("STEP", 2)
        .with_weight(weight.format, 3)
        .choose("epilogue", epilogue.text())
}

/// Rows that one group of threads takes: with two, each loaded input serves twice.
const ROWS: usize = 2;

/// Workgroups along one dimension of a dispatch that WebGPU promises; a vocabulary may need more, and goes on along another.
const MAX_WORKGROUPS: usize = 65_535;

/// Threads that share a row: as many as there are eights of columns, so that small models keep all threads busy.
fn lanes(cols: usize) -> usize {
    cols.div_ceil(8).next_power_of_two().min(WORKGROUP)
}

/// Tokens that share one read of the weights. Eight keep the sums in registers and 8 KB of workgroup memory.
fn tokens(pass_rows: usize) -> usize {
    if pass_rows == 1 { 1 } else { 8 }
}

#[backend_extension(Cube, Flex)]
pub(crate) trait Linear: Backend {
    fn linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        epilogue: Epilogue,
    ) -> FloatTensor<Self>;
}

impl Linear for CubeBackend {
    fn linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let pass_rows = out.meta.shape()[0];
        let rows_per_workgroup = WORKGROUP / lanes(weight.cols) * ROWS;
        let workgroups = (weight.rows / epilogue.parts()).div_ceil(rows_per_workgroup);
        let count = CubeCount::Static(
            workgroups.min(MAX_WORKGROUPS) as u32,
            pass_rows.div_ceil(tokens(pass_rows)) as u32,
            workgroups.div_ceil(MAX_WORKGROUPS) as u32,
        );
        let mut buffers = vec![&x, &out, &step, &words];
        if weight.has_scales() {
            buffers.push(&scales);
        }
        launch(shader(weight, epilogue, pass_rows), count, &buffers);
        out
    }
}

impl Linear for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        mut out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        epilogue: Epilogue,
    ) -> FloatTensor<Self> {
        let pass_rows = out.layout().shape()[0];
        let active = (words(&step)[1] as usize).min(pass_rows);
        let (x, weight_words, scales) = (floats(&x), words(&weight_words), words(&scales));
        let out_cols = weight.rows / epilogue.parts();
        let values = out.storage_mut::<f32>();
        let mut row = vec![0.0; weight.cols];
        let mut up = vec![0.0; weight.cols];
        let widen = |r: usize, into: &mut [f32]| {
            widen_row(
                weight_words,
                scales,
                weight.format,
                weight.padded_cols(),
                r,
                into,
            );
        };
        for r in 0..out_cols {
            widen(r, &mut row);
            if epilogue == Epilogue::SwiGlu {
                widen(r + out_cols, &mut up);
            }
            for token in 0..active {
                let x = &x[token * weight.cols..(token + 1) * weight.cols];
                let sum = dot(&row, x);
                let value = &mut values[token * out_cols + r];
                match epilogue {
                    Epilogue::Store => *value = sum,
                    Epilogue::Residual => *value += sum,
                    Epilogue::SwiGlu => *value = sum / (1.0 + (-sum).exp()) * dot(&up, x),
                }
            }
        }
        out
    }
}
