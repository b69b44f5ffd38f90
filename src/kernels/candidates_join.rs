//! `candidates_join`: the largest logits of each slice in, the largest of all out, for a sampler to read; the likeliest is fed
//! back and the step moves on. The sampler's choice then takes the likeliest's place.

use burn::backend::tensor::IntTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::argmax::LOWEST;
use super::attention::Heads;
use super::candidates::{KEPT, PARTIAL_WORDS, SoftmaxSum, constants, select_top};
use super::feedback::{self, Feedback, feed_back};
use super::twin::words;
use super::{Shader, launch};

/// Joins `partials`, as [`candidates`](super::candidates::candidates) writes them, into `list`
/// ([`LIST_WORDS`](super::candidates::LIST_WORDS)), which [`Candidates::from_words`](super::candidates::Candidates::from_words)
/// reads. `sampling` as there. The step moves to the position after the pass.
pub fn candidates_join(
    partials: Tensor<1, Int>,
    sampling: Tensor<1, Int>,
    list: Tensor<1, Int>,
    feedback: Feedback,
    heads: Heads,
) -> (Tensor<1, Int>, Feedback) {
    let (list, ids, step, grid, history) = Dispatch::candidates_join(
        partials.into_dispatch(),
        sampling.into_dispatch(),
        list.into_dispatch(),
        feedback.ids.into_dispatch(),
        feedback.step.into_dispatch(),
        feedback.grid.into_dispatch(),
        feedback.history.into_dispatch(),
        heads,
    );
    let feedback = Feedback {
        ids: Tensor::from_dispatch(ids),
        step: Tensor::from_dispatch(step),
        grid: Tensor::from_dispatch(grid),
        history: Tensor::from_dispatch(history),
    };
    (Tensor::from_dispatch(list), feedback)
}

/// The shader of this op.
pub fn shader(slices: usize, heads: Heads) -> Shader {
    let shader = constants(Shader::new("candidates_join")).with("SLICES", slices);
    feedback::constants(shader, heads, 3)
}

#[backend_extension(Cube, Flex)]
#[allow(
    clippy::type_complexity,
    clippy::too_many_arguments,
    reason = "the extension macro reads tensors, not structs or aliases of them"
)]
pub(crate) trait CandidatesJoin: Backend {
    fn candidates_join(
        partials: IntTensor<Self>,
        sampling: IntTensor<Self>,
        list: IntTensor<Self>,
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
        IntTensor<Self>,
    );
}

impl CandidatesJoin for CubeBackend {
    fn candidates_join(
        partials: IntTensor<Self>,
        sampling: IntTensor<Self>,
        list: IntTensor<Self>,
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
        IntTensor<Self>,
    ) {
        let slices = partials.meta.shape()[0] / PARTIAL_WORDS;
        launch(
            shader(slices, heads),
            CubeCount::Static(1, 1, 1),
            &[&partials, &sampling, &list, &ids, &step, &grid, &history],
        );
        (list, ids, step, grid, history)
    }
}

impl CandidatesJoin for Flex {
    fn candidates_join(
        partials: IntTensor<Self>,
        sampling: IntTensor<Self>,
        mut list: IntTensor<Self>,
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
        IntTensor<Self>,
    ) {
        let inverse_temperature = f32::from_bits(words(&sampling)[0]);
        let mut entries = Vec::new();
        let mut all = SoftmaxSum::EMPTY;
        for partial in words(&partials).chunks_exact(PARTIAL_WORDS) {
            let (ids, rest) = partial.split_at(KEPT);
            entries.extend(ids.iter().copied().zip(rest[..KEPT].iter().copied()));
            let part = SoftmaxSum {
                largest: f32::from_bits(rest[KEPT]),
                sum: f32::from_bits(rest[KEPT + 1]),
            };
            all = all.join(part, inverse_temperature);
        }
        let out = list.storage_mut::<u32>();
        let mut likeliest = (LOWEST, 0);
        for (slot, (id, bits)) in select_top(entries).enumerate() {
            out[slot] = id;
            out[KEPT + slot] = bits;
            let logit = f32::from_bits(bits);
            if logit > likeliest.0 {
                likeliest = (logit, id);
            }
        }
        out[2 * KEPT] = all.sum.to_bits();
        feed_back(
            likeliest.1,
            &mut ids,
            &mut step,
            &mut grid,
            &mut history,
            heads,
        );
        (list, ids, step, grid, history)
    }
}
