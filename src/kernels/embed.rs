//! `embed`: token ids in, rows of the embedding table out: the start of the residual stream, also as the first RMSNorm's product
//! takes it.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::linear::{Matrix, MatrixShape};
use super::twin::{Normed, floats, widen_row, words};
use super::{Shader, WORKGROUP, launch};

/// Looks up `ids` (pass rows) in `table` (vocabulary, hidden), writes the rows into `residual` (pass rows, hidden) and, with `gamma`
/// (hidden), into `normed` ([`super::linear::Input::Normed`]).
pub fn embed(
    ids: Tensor<1, Int>,
    table: &Matrix,
    residual: Tensor<2>,
    gamma: Tensor<1>,
    normed: Tensor<2>,
    step: Tensor<1, Int>,
) -> (Tensor<2>, Tensor<2>) {
    let (residual, normed) = Dispatch::embed(
        ids.into_dispatch(),
        table.words.clone().into_dispatch(),
        table.scales.clone().into_dispatch(),
        residual.into_dispatch(),
        gamma.into_dispatch(),
        normed.into_dispatch(),
        step.into_dispatch(),
        table.shape,
    );
    (
        Tensor::from_dispatch(residual),
        Tensor::from_dispatch(normed),
    )
}

/// The shader of this op for one table and passes of `pass_rows` rows.
pub fn shader(table: MatrixShape, pass_rows: usize) -> Shader {
    Shader::new("embed")
        .with("WORKGROUP", WORKGROUP)
        .with("VOCABULARY", table.rows)
        .with("COLS", table.cols)
        .with("PADDED_COLS", table.padded_cols())
        .with("PASS_ROWS", pass_rows)
        .with("STEP", 2)
        .with_weight(table.format, 3)
        .with("NORM", if table.has_scales() { 5 } else { 4 })
}

#[backend_extension(Cube, Flex)]
pub(crate) trait Embed: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each buffer of the shader"
    )]
    fn embed(
        ids: IntTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl Embed for CubeBackend {
    fn embed(
        ids: IntTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let rows = residual.meta.shape()[0];
        let mut buffers = vec![&ids, &residual, &step, &words];
        if table.has_scales() {
            buffers.push(&scales);
        }
        buffers.extend([&gamma, &normed]);
        let count = CubeCount::Static(rows as u32, 1, 1);
        launch(shader(table, rows), count, &buffers);
        (residual, normed)
    }
}

impl Embed for Flex {
    fn embed(
        ids: IntTensor<Self>,
        table_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        mut residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mut normed: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let active = words(&step)[1] as usize;
        let mut normed_rows = Normed::new(normed.storage_mut::<f32>(), table.cols);
        let rows = residual.storage_mut::<f32>().chunks_mut(table.cols);
        for (token, (row, id)) in rows.zip(words(&ids)).take(active).enumerate() {
            widen_row(
                words(&table_words),
                words(&scales),
                table.format,
                table.padded_cols(),
                (*id as usize).min(table.rows - 1),
                row,
            );
            normed_rows.write(token, row, floats(&gamma));
        }
        (residual, normed)
    }
}
