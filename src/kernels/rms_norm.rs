//! `rms_norm`: rows of the residual stream in, normalised and scaled rows out.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::twin::{floats, words};
use super::{Shader, WORKGROUP, launch};

/// Which rows of the pass are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Every row, each into its own place.
    Each,
    /// The last row of the pass, into row 0: all that the head needs to name the next token.
    Last,
}

/// `x / rms(x) * gamma` over the last dimension: `x` (pass rows, hidden), `gamma` (hidden), `out` (pass rows or 1, hidden).
pub fn rms_norm(
    x: Tensor<2>,
    gamma: Tensor<1>,
    out: Tensor<2>,
    step: Tensor<1, Int>,
    epsilon: f32,
    rows: Rows,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::rms_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        out.into_dispatch(),
        step.into_dispatch(),
        epsilon,
        rows,
    ))
}

/// The shader of this op for rows of `cols` values.
pub fn shader(cols: usize, epsilon: f32, rows: Rows) -> Shader {
    Shader::new("rms_norm")
        .with("WORKGROUP", WORKGROUP)
        .with("LANES", WORKGROUP)
        .with("SUMS", 1)
        .with("COLS", cols)
        .with_f32("EPSILON", epsilon)
        .with("LAST_ROW_ONLY", usize::from(rows == Rows::Last))
        .with("STEP", 3)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait RmsNorm: Backend {
    fn rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        epsilon: f32,
        rows: Rows,
    ) -> FloatTensor<Self>;
}

impl RmsNorm for CubeBackend {
    fn rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        epsilon: f32,
        rows: Rows,
    ) -> FloatTensor<Self> {
        let cols = x.meta.shape()[1];
        let count = match rows {
            Rows::Each => x.meta.shape()[0] as u32,
            Rows::Last => 1,
        };
        launch(
            shader(cols, epsilon, rows),
            CubeCount::Static(count, 1, 1),
            &[&x, &gamma, &out, &step],
        );
        out
    }
}

impl RmsNorm for Flex {
    fn rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mut out: FloatTensor<Self>,
        step: IntTensor<Self>,
        epsilon: f32,
        rows: Rows,
    ) -> FloatTensor<Self> {
        let active = words(&step)[1] as usize;
        let (x, gamma) = (floats(&x), floats(&gamma));
        let cols = gamma.len();
        let x_rows = match rows {
            Rows::Each => &x[..active * cols],
            Rows::Last => &x[(active - 1) * cols..active * cols],
        };
        let out_rows = out.storage_mut::<f32>().chunks_mut(cols);
        for (x, out) in x_rows.chunks(cols).zip(out_rows) {
            let mean_square = x.iter().map(|x| x * x).sum::<f32>() / cols as f32;
            let scale = 1.0 / (mean_square + epsilon).sqrt();
            for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
                *out = x * scale * gamma;
            }
        }
        out
    }
}
