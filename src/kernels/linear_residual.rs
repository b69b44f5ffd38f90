//! `linear_residual`: rows times a packed weight matrix, added to the residual stream; and the stream as the next RMSNorm's
//! product takes it.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};

use super::linear::Matrix;
use super::product::{Input, MatrixShape, Product, Rows};
use super::twin::{Normed, floats, words};
use super::{Shader, Variant, launch};

/// Adds `x` (pass rows, in features) times `weight` to `residual` (pass rows, hidden) in place and writes `normed`, which is
/// [`Input::Normed`] of the sum with `gamma` (hidden).
pub fn linear_residual(
    x: Tensor<2>,
    weight: &Matrix,
    residual: Tensor<2>,
    gamma: Tensor<1>,
    normed: Tensor<2>,
    step: Tensor<1, Int>,
    variant: Variant,
) -> (Tensor<2>, Tensor<2>) {
    let (residual, normed) = Dispatch::linear_residual(
        x.into_dispatch(),
        weight.words.clone().into_dispatch(),
        weight.scales.clone().into_dispatch(),
        residual.into_dispatch(),
        gamma.into_dispatch(),
        normed.into_dispatch(),
        step.into_dispatch(),
        weight.shape,
        variant,
    );
    (
        Tensor::from_dispatch(residual),
        Tensor::from_dispatch(normed),
    )
}

/// The shader of this op for passes of `pass_rows` rows.
pub fn shader(weight: MatrixShape, pass_rows: usize, variant: Variant) -> Shader {
    epilogue(&product(weight, pass_rows, variant))
}

fn product(weight: MatrixShape, pass_rows: usize, variant: Variant) -> Product {
    Product {
        weight,
        parts: 1,
        outputs_by: 4,
        input: Input::Plain,
        rows: Rows::Each,
        x_rows: pass_rows,
        pass_rows,
        variant,
    }
}

fn epilogue(product: &Product) -> Shader {
    product
        .shader()
        .with("OUTPUT_CHUNKS", product.outputs_at_once() / 4)
        .with("NORM", product.extra_binding())
        .choose("epilogue", "epilogue_residual")
}

#[backend_extension(Cube, Flex)]
pub(crate) trait LinearResidual: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each buffer of the shader"
    )]
    fn linear_residual(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        variant: Variant,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl LinearResidual for CubeBackend {
    fn linear_residual(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        variant: Variant,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let product = product(weight, residual.meta.shape()[0], variant);
        let mut buffers = vec![&x, &residual, &step, &words];
        if weight.has_scales() {
            buffers.push(&scales);
        }
        buffers.extend([&gamma, &normed]);
        launch(epilogue(&product), product.count(), &buffers);
        (residual, normed)
    }
}

impl LinearResidual for Flex {
    fn linear_residual(
        x: FloatTensor<Self>,
        weight_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        mut residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mut normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        weight: MatrixShape,
        variant: Variant,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let product = product(weight, residual.layout().shape()[0], variant);
        let (active, hidden) = (words(&step)[1] as usize, weight.rows);
        let stream = residual.storage_mut::<f32>();
        product.sums(
            floats(&x),
            words(&weight_words),
            words(&scales),
            active,
            |row, token, sum| stream[token * hidden + row] += sum,
        );
        let mut normed_rows = Normed::new(normed.storage_mut::<f32>(), hidden);
        for (token, row) in stream.chunks(hidden).take(active).enumerate() {
            normed_rows.write(token, row, floats(&gamma));
        }
        (residual, normed)
    }
}
