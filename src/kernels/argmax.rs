//! `argmax`: logits in, the best token of each slice of the vocabulary out: the likeliest, or a draw at a temperature.
//! [`argmax_join`](super::argmax_join) picks among them; of many rows, whoever reads them back does.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::feedback::next_position;
use super::gumbel::quad_noise;
use super::twin::{floats, words};
use super::{Shader, launch};

/// Below every logit. Not quite the lowest f32: Chromium refuses that one's decimal form.
pub(crate) const LOWEST: f32 = -3.4e38;

/// Ids of a slice: eight for each thread, so that a vocabulary of 128k is 63 workgroups, and one of 2,048 a single one.
const SLICE: usize = 2048;

/// Words that steer a draw on the device: bits of 1 / temperature, 0 for the likeliest; the seed, low word first.
///
/// They lie in a buffer and not in the shader's text: one captured graph serves every temperature. The likeliest is a
/// setting of it because it costs nothing: a branch that all threads take alike.
pub fn sampling_words(temperature: f32, seed: u64) -> [u32; 3] {
    // Past 2^64 the noise is lost in the logits' last place anyway, and an infinite scale would make all of them equal.
    let inverse = if temperature > 0.0 {
        (1.0 / temperature).min((1u128 << 64) as f32)
    } else {
        0.0
    };
    [inverse.to_bits(), seed as u32, (seed >> 32) as u32]
}

/// Slices of a vocabulary.
pub fn slices(vocabulary: usize) -> usize {
    vocabulary.div_ceil(SLICE)
}

/// Finds the best of row 0 of `logits` (rows, vocabulary) in each slice. `sampling` (3): [`sampling_words`]; `best`
/// (slices, 2), flat: bits of the value, id. As many slices are made as `best` has room for.
///
/// At a temperature the value is logit / temperature + Gumbel noise, keyed by the seed, the position of the token to be
/// picked and the id. So a seed gives the same tokens however many are asked for at a time, and two models with one
/// seed see the same noise: where their answers part, the models differ, not their luck.
pub fn argmax(
    logits: Tensor<2>,
    sampling: Tensor<1, Int>,
    step: Tensor<1, Int>,
    best: Tensor<1, Int>,
) -> Tensor<1, Int> {
    each(logits, sampling, step, best, 1)
}

/// As [`argmax`], for every row of `logits`: the token after each position of the pass. `best` (rows, slices, 2), flat.
pub fn argmax_rows(
    logits: Tensor<2>,
    sampling: Tensor<1, Int>,
    step: Tensor<1, Int>,
    best: Tensor<1, Int>,
) -> Tensor<1, Int> {
    let [rows, _] = logits.dims();
    each(logits, sampling, step, best, rows)
}

fn each(
    logits: Tensor<2>,
    sampling: Tensor<1, Int>,
    step: Tensor<1, Int>,
    best: Tensor<1, Int>,
    rows: usize,
) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::argmax(
        logits.into_dispatch(),
        sampling.into_dispatch(),
        step.into_dispatch(),
        best.into_dispatch(),
        rows,
    ))
}

/// The best of one row's slices: what the device's own join picks. Words as [`argmax`] leaves them.
pub fn join(best: &[u32]) -> u32 {
    let mut pick = (LOWEST, 0);
    for best in best.chunks_exact(2) {
        let value = f32::from_bits(best[0]);
        if value > pick.0 {
            pick = (value, best[1]);
        }
    }
    pick.1
}

/// The shader of this op.
pub fn shader(vocabulary: usize, slices: usize) -> Shader {
    Shader::new("argmax")
        .with("WORKGROUP", 256)
        .with("VOCABULARY", vocabulary)
        .with("SLICE", slice_len(vocabulary, slices))
        .with_f32("LOWEST", LOWEST)
}

/// Ids of each of `slices`: whole quads, because four ids share a counter of the noise.
fn slice_len(vocabulary: usize, slices: usize) -> usize {
    vocabulary.div_ceil(slices.max(1)).next_multiple_of(4)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait Argmax: Backend {
    fn argmax(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        step: IntTensor<Self>,
        best: IntTensor<Self>,
        rows: usize,
    ) -> IntTensor<Self>;
}

impl Argmax for CubeBackend {
    fn argmax(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        step: IntTensor<Self>,
        best: IntTensor<Self>,
        rows: usize,
    ) -> IntTensor<Self> {
        let vocabulary = logits.meta.shape()[1];
        let slices = best.meta.shape()[0] / 2 / rows;
        launch(
            shader(vocabulary, slices),
            CubeCount::Static(slices as u32, rows as u32, 1),
            &[&logits, &sampling, &step, &best],
        );
        best
    }
}

impl Argmax for Flex {
    fn argmax(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        step: IntTensor<Self>,
        mut best: IntTensor<Self>,
        rows: usize,
    ) -> IntTensor<Self> {
        let vocabulary = logits.layout().shape()[1];
        let &[inverse_bits, seed_low, seed_high] = words(&sampling) else {
            unreachable!("sampling is three words")
        };
        let (first_position, after) = (words(&step)[0], next_position(&step));
        let out = best.storage_mut::<u32>();
        let row_words = out.len() / rows;
        let slice_len = slice_len(vocabulary, row_words / 2);
        let rows_of = floats(&logits).chunks_exact(vocabulary);
        for (row, (logits, out)) in rows_of.zip(out.chunks_exact_mut(row_words)).enumerate() {
            let position = match rows {
                1 => after,
                _ => first_position.wrapping_add(row as u32 + 1),
            };
            for (slice, out) in out.chunks_exact_mut(2).enumerate() {
                let first = slice * slice_len;
                let end = (first + slice_len).min(vocabulary);
                let mut best = (LOWEST, first);
                for quad in (first..end).step_by(4) {
                    let (scale, noise) = if inverse_bits == 0 {
                        (1.0, [0.0; 4])
                    } else {
                        let noise = quad_noise(quad / 4, position, [seed_low, seed_high]);
                        (f32::from_bits(inverse_bits), noise)
                    };
                    for id in quad..end.min(quad + 4) {
                        let value = logits[id] * scale + noise[id - quad];
                        if value > best.0 {
                            best = (value, id);
                        }
                    }
                }
                out.copy_from_slice(&[best.0.to_bits(), best.1 as u32]);
            }
        }
        best
    }
}
