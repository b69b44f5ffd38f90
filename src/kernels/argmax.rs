//! `argmax`: logits in, the likeliest token out, fed back as the next input; the step moves on. The CPU is not asked.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::attention::{Heads, split_count};
use super::twin::{floats, words};
use super::{RING, Shader, TILE, launch};

/// What a decode step changes besides activations and cache.
#[derive(Debug)]
pub struct Feedback {
    /// Inputs of the pass; row 0 becomes the next token. (rows)
    pub ids: Tensor<1, Int>,
    /// Position of the first row, rows of the pass. (2)
    pub step: Tensor<1, Int>,
    /// Workgroups of the next decode step's attention. (3)
    pub grid: Tensor<1, Int>,
    /// The token at position p lies at p % [`RING`]. ([`RING`])
    pub history: Tensor<1, Int>,
}

/// Picks the largest of row 0 of `logits` (rows, vocabulary); ties go to the lowest id. The step moves to the position after the pass.
pub fn argmax(logits: Tensor<2>, feedback: Feedback, heads: Heads) -> Feedback {
    let (ids, step, grid, history) = Dispatch::argmax(
        logits.into_dispatch(),
        feedback.ids.into_dispatch(),
        feedback.step.into_dispatch(),
        feedback.grid.into_dispatch(),
        feedback.history.into_dispatch(),
        heads,
    );
    Feedback {
        ids: Tensor::from_dispatch(ids),
        step: Tensor::from_dispatch(step),
        grid: Tensor::from_dispatch(grid),
        history: Tensor::from_dispatch(history),
    }
}

/// Below every logit. Not quite the lowest f32: Chromium refuses that one's decimal form.
const LOWEST: f32 = -3.4e38;

/// The shader of this op.
pub fn shader(vocabulary: usize, heads: Heads) -> Shader {
    Shader::new("argmax")
        // One workgroup reads all logits, so it is as large as every device allows.
        .with("WORKGROUP", 256)
        .with("VOCABULARY", vocabulary)
        .with("RING", RING)
        .with("TILE", TILE)
        .with("MAX_SPLITS", heads.max_splits(1))
        .with("KV_HEADS", heads.kv_heads)
        .with("CONTEXT", heads.context)
        .with_f32("LOWEST", LOWEST)
}

#[backend_extension(Cube, Flex)]
#[allow(
    clippy::type_complexity,
    reason = "the extension macro reads tuples of tensors, not aliases"
)]
pub(crate) trait Argmax: Backend {
    fn argmax(
        logits: FloatTensor<Self>,
        ids: IntTensor<Self>,
        step: IntTensor<Self>,
        grid: IntTensor<Self>,
        history: IntTensor<Self>,
        heads: Heads,
    ) -> (
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
    );
}

impl Argmax for CubeBackend {
    fn argmax(
        logits: FloatTensor<Self>,
        ids: IntTensor<Self>,
        step: IntTensor<Self>,
        grid: IntTensor<Self>,
        history: IntTensor<Self>,
        heads: Heads,
    ) -> (
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
    ) {
        let vocabulary = logits.meta.shape()[1];
        launch(
            shader(vocabulary, heads),
            CubeCount::Static(1, 1, 1),
            &[&logits, &ids, &step, &grid, &history],
        );
        (ids, step, grid, history)
    }
}

impl Argmax for Flex {
    fn argmax(
        logits: FloatTensor<Self>,
        mut ids: IntTensor<Self>,
        mut step: IntTensor<Self>,
        mut grid: IntTensor<Self>,
        mut history: IntTensor<Self>,
        heads: Heads,
    ) -> (
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
        IntTensor<Self>,
    ) {
        let vocabulary = logits.layout().shape()[1];
        let mut best = (0, LOWEST);
        for (id, logit) in floats(&logits)[..vocabulary].iter().enumerate() {
            if *logit > best.1 {
                best = (id, *logit);
            }
        }
        let next = best.0 as u32;
        let position = words(&step)[0] + words(&step)[1];
        ids.storage_mut::<u32>()[0] = next;
        history.storage_mut::<u32>()[position as usize % RING] = next;
        step.storage_mut::<u32>().copy_from_slice(&[position, 1]);
        let splits = split_count(position as usize + 1, heads, heads.max_splits(1));
        grid.storage_mut::<u32>()[..3].copy_from_slice(&[heads.kv_heads as u32, splits as u32, 1]);
        (ids, step, grid, history)
    }
}
