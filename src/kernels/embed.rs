//! `embed`: token ids in, rows of the embedding table out: the start of the residual stream.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::linear::{Matrix, MatrixShape};
use super::twin::{widen_row, words};
use super::{Shader, WORKGROUP, launch};

/// Looks up `ids` (pass rows) in `table` (vocabulary, hidden) and writes the rows into `out` (pass rows, hidden).
pub fn embed(
    ids: Tensor<1, Int>,
    table: &Matrix,
    out: Tensor<2>,
    step: Tensor<1, Int>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::embed(
        ids.into_dispatch(),
        table.words.clone().into_dispatch(),
        table.scales.clone().into_dispatch(),
        out.into_dispatch(),
        step.into_dispatch(),
        table.shape,
    ))
}

/// The shader of this op for one table.
pub fn shader(table: MatrixShape) -> Shader {
    Shader::new("embed")
        .with("WORKGROUP", WORKGROUP)
        .with("VOCABULARY", table.rows)
        .with("COLS", table.cols)
        .with("PADDED_COLS", table.padded_cols())
        .with("STEP", 2)
        .with_weight(table.format, 3)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait Embed: Backend {
    fn embed(
        ids: IntTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> FloatTensor<Self>;
}

impl Embed for CubeBackend {
    fn embed(
        ids: IntTensor<Self>,
        words: IntTensor<Self>,
        scales: IntTensor<Self>,
        out: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> FloatTensor<Self> {
        let rows = out.meta.shape()[0] as u32;
        let mut buffers = vec![&ids, &out, &step, &words];
        if table.has_scales() {
            buffers.push(&scales);
        }
        launch(shader(table), CubeCount::Static(rows, 1, 1), &buffers);
        out
    }
}

impl Embed for Flex {
    fn embed(
        ids: IntTensor<Self>,
        table_words: IntTensor<Self>,
        scales: IntTensor<Self>,
        mut out: FloatTensor<Self>,
        step: IntTensor<Self>,
        table: MatrixShape,
    ) -> FloatTensor<Self> {
        let rows = words(&step)[1] as usize;
        let ids = words(&ids);
        let out_rows = out.storage_mut::<f32>().chunks_mut(table.cols);
        for (out_row, id) in out_rows.zip(ids).take(rows) {
            let row = (*id as usize).min(table.rows - 1);
            widen_row(
                words(&table_words),
                words(&scales),
                table.format,
                table.padded_cols(),
                row,
                out_row,
            );
        }
        out
    }
}
