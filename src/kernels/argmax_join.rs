//! `argmax_join`: the best token of each slice in, the best of all fed back as the next input; the step moves on. The CPU
//! is not asked.

use burn::backend::tensor::IntTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::argmax::{LOWEST, join};
use super::attention::Heads;
use super::feedback::{Feedback, constants, feed_back};
use super::twin::words;
use super::{Shader, WORKGROUP, launch};

/// Picks the largest of `best` (slices, 2), as [`argmax`](super::argmax::argmax) writes it; ties go to the lowest id. The
/// step moves to the position after the pass.
pub fn argmax_join(best: Tensor<1, Int>, feedback: Feedback, heads: Heads) -> Feedback {
    let (ids, step, grid, history) = Dispatch::argmax_join(
        best.into_dispatch(),
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

/// The shader of this op.
pub fn shader(slices: usize, heads: Heads) -> Shader {
    let shader = Shader::new("argmax_join")
        .with("WORKGROUP", WORKGROUP)
        .with("SLICES", slices)
        .with_f32("LOWEST", LOWEST);
    constants(shader, heads, 1)
}

#[backend_extension(Cube, Flex)]
#[allow(
    clippy::type_complexity,
    reason = "the extension macro reads tuples of tensors, not aliases"
)]
pub(crate) trait ArgmaxJoin: Backend {
    fn argmax_join(
        best: IntTensor<Self>,
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

impl ArgmaxJoin for CubeBackend {
    fn argmax_join(
        best: IntTensor<Self>,
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
        let slices = best.meta.shape()[0] / 2;
        launch(
            shader(slices, heads),
            CubeCount::Static(1, 1, 1),
            &[&best, &ids, &step, &grid, &history],
        );
        (ids, step, grid, history)
    }
}

impl ArgmaxJoin for Flex {
    fn argmax_join(
        best: IntTensor<Self>,
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
        let next = join(words(&best));
        feed_back(next, &mut ids, &mut step, &mut grid, &mut history, heads);
        (ids, step, grid, history)
    }
}
