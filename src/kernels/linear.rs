//! `linear`: rows in, rows times a packed weight matrix out, as they are or with gate and up joined.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

use super::product::Product;
pub use super::product::{Input, MatrixShape, Rows, chunks, normed_shape};
use super::twin::{floats, words};
use super::{Shader, Variant, launch};

/// A packed weight matrix on a device.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Weights, as [`crate::quant::Packed::words`] lays them out.
    pub words: Tensor<1, Int>,
    /// Scales, two f16 in a word; one unused word where the format has none.
    pub scales: Tensor<1, Int>,
    /// Shape and format.
    pub shape: MatrixShape,
    /// The row of a larger matrix with which this one begins: a vocabulary may be too large for one buffer.
    pub first_row: usize,
}

/// What is done with a finished sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `out = W x`
    Store,
    /// `out = silu(G x) * (U x)`: the first half of the matrix's rows is the gate G, the second the up projection U
    SwiGlu,
}

/// What `linear` multiplies, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// What the rows of x are.
    pub input: Input,
    /// Which of them.
    pub rows: Rows,
    /// What is done with a sum.
    pub epilogue: Epilogue,
    /// The device's choice of kernels.
    pub variant: Variant,
}

/// `x` (rows as `spec.input` says) times `weight` into `out` (pass rows, outputs), from the output on that is the weight's
/// first row.
pub fn linear(
    x: Tensor<2>,
    weight: &Matrix,
    out: Tensor<2>,
    step: Tensor<1, Int>,
    spec: Linear,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear(
        x.into_dispatch(),
        weight.words.clone().into_dispatch(),
        weight.scales.clone().into_dispatch(),
        out.into_dispatch(),
        step.into_dispatch(),
        weight.shape,
        weight.first_row,
        spec,
    ))
}

/// The shader of this op for `x_rows` rows of x and `pass_rows` rows of output.
pub fn shader(weight: MatrixShape, x_rows: usize, pass_rows: usize, spec: Linear) -> Shader {
    let product = spec.product(weight, x_rows, pass_rows);
    let outputs = product.outputs();
    spec.shader(&product, outputs, 0)
}

impl Linear {
    fn product(&self, weight: MatrixShape, x_rows: usize, pass_rows: usize) -> Product {
        Product {
            weight,
            parts: match self.epilogue {
                Epilogue::Store => 1,
                Epilogue::SwiGlu => 2,
            },
            outputs_by: 1,
            input: self.input,
            rows: self.rows,
            x_rows,
            pass_rows,
            variant: self.variant,
        }
    }

    /// `out_cols`: outputs of a whole row, of which this product's begin at `first_out`.
    fn shader(&self, product: &Product, out_cols: usize, first_out: usize) -> Shader {
        let shader = product
            .shader()
            .with("OUT_COLS", out_cols)
            .with("FIRST_OUT", first_out);
        shader.choose(
            "epilogue",
            match self.epilogue {
                Epilogue::Store => "epilogue_store",
                Epilogue::SwiGlu => "epilogue_swiglu",
            },
        )
    }
}

#[backend_extension(Cube, Flex)]
pub(crate) trait LinearOp: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each buffer of the shader"
    )]
    fn linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        first_row: usize,
        spec: Linear,
    ) -> FloatTensor<Self>;
}

impl LinearOp for CubeBackend {
    fn linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        first_row: usize,
        spec: Linear,
    ) -> FloatTensor<Self> {
        let product = spec.product(weight, x.meta.shape()[0], out.meta.shape()[0]);
        let mut buffers = vec![&x, &out, &step, &words];
        if weight.has_scales() {
            buffers.push(&scales);
        }
        let shader = spec.shader(&product, out.meta.shape()[1], first_row);
        launch(shader, product.count(), &buffers);
        out
    }
}

impl LinearOp for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        mut out: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        first_row: usize,
        spec: Linear,
    ) -> FloatTensor<Self> {
        let (x_rows, pass_rows) = (x.layout().shape()[0], out.layout().shape()[0]);
        let product = spec.product(weight, x_rows, pass_rows);
        let (outputs, out_cols) = (product.outputs(), out.layout().shape()[1]);
        let active = words(&step)[1] as usize;
        let values = out.storage_mut::<f32>();
        product.sums(
            floats(&x),
            words(&weight_words),
            words(&scales),
            active,
            |row, token, sum| {
                let value = &mut values[token * out_cols + first_row + row % outputs];
                match (spec.epilogue, row < outputs) {
                    (Epilogue::Store, _) => *value = sum,
                    // The gate's row comes first and waits in the output for the up projection's.
                    (Epilogue::SwiGlu, true) => *value = sum / (1.0 + (-sum).exp()),
                    (Epilogue::SwiGlu, false) => *value *= sum,
                }
            },
        );
        out
    }
}
