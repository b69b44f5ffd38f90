//! `candidates`: logits in, the [`KEPT`] largest of each slice of the vocabulary out, and each slice's part of the softmax's
//! denominator. [`candidates_join`](super::candidates_join) makes one list of them, which a sampler reads.

use std::cmp::Reverse;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::argmax::{LOWEST, sampling_words};
use super::twin::{floats, words};
use super::{Shader, launch};

/// Candidates that a sampler may choose from: 2 KB to read back, whatever the vocabulary.
pub const KEPT: usize = 256;

/// Words of a slice's partial result: ids, bits of logits, bits of the largest and of the sum.
pub const PARTIAL_WORDS: usize = 2 * KEPT + 2;

/// Words of the list: ids, bits of logits, bits of the sum.
pub const LIST_WORDS: usize = 2 * KEPT + 1;

/// Ids of a slice. Of 128k logits, 32 workgroups read 16 a thread, and the one that joins them reads 32 a thread.
const SLICE: usize = 4096;

/// The tokens from which a sampler chooses, as the device found them.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// (id, logit) of the [`KEPT`] largest logits, in the order of their ids; all, where the vocabulary is smaller. Of equals
    /// at the edge, those of the lowest ids. NaN is left out.
    pub tokens: Vec<(u32, f32)>,
    /// The sum of exp((logit - largest logit) / temperature) over the whole vocabulary.
    pub total: f32,
}

impl Candidates {
    /// Reads the words that [`candidates_join`](super::candidates_join) wrote.
    pub fn from_words(words: &[u32]) -> Self {
        let (ids, rest) = words.split_at(KEPT);
        let (logits, total) = rest.split_at(KEPT);
        let tokens = ids.iter().zip(logits);
        Self {
            tokens: tokens
                .map(|(id, bits)| (*id, f32::from_bits(*bits)))
                .filter(|(_, logit)| !logit.is_nan())
                .collect(),
            total: f32::from_bits(total[0]),
        }
    }

    /// The same from logits that are at hand. (vocabulary)
    pub fn from_logits(logits: &[f32], temperature: f32) -> Self {
        let inverse_temperature = f32::from_bits(sampling_words(temperature, 0)[0]);
        let tokens = entries(logits, 0);
        Self {
            tokens: select_top(tokens)
                .map(|(id, bits)| (id, f32::from_bits(bits)))
                .filter(|(_, logit)| !logit.is_nan())
                .collect(),
            total: SoftmaxSum::of(logits, inverse_temperature).sum,
        }
    }
}

/// Slices of a vocabulary.
pub fn slices(vocabulary: usize) -> usize {
    vocabulary.div_ceil(SLICE)
}

/// Keeps the largest of row 0 of `logits` (rows, vocabulary) in each slice. `sampling` (3):
/// [`sampling_words`](super::argmax::sampling_words); `partials` (slices, [`PARTIAL_WORDS`]), flat. As many slices are made as
/// `partials` has room for.
pub fn candidates(
    logits: Tensor<2>,
    sampling: Tensor<1, Int>,
    partials: Tensor<1, Int>,
) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::candidates(
        logits.into_dispatch(),
        sampling.into_dispatch(),
        partials.into_dispatch(),
    ))
}

/// The shader of this op.
pub fn shader(vocabulary: usize, slices: usize) -> Shader {
    constants(Shader::new("candidates"))
        .with("VOCABULARY", vocabulary)
        .with("SLICE", vocabulary.div_ceil(slices.max(1)))
}

/// What both shaders of candidates need.
pub(crate) fn constants(shader: Shader) -> Shader {
    shader
        // A bin of the histogram for each thread.
        .with("WORKGROUP", 256)
        .with("KEPT", KEPT)
        .with_f32("LOWEST", LOWEST)
}

/// The twin of `softmax_sum.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftmaxSum {
    pub(crate) largest: f32,
    pub(crate) sum: f32,
}

impl SoftmaxSum {
    pub(crate) const EMPTY: Self = Self {
        largest: LOWEST,
        sum: 0.0,
    };

    fn of(logits: &[f32], inverse_temperature: f32) -> Self {
        let numbers = logits.iter().filter(|logit| !logit.is_nan());
        numbers.fold(Self::EMPTY, |sum, logit| {
            let one = Self {
                largest: logit.max(LOWEST),
                sum: 1.0,
            };
            sum.join(one, inverse_temperature)
        })
    }

    pub(crate) fn join(self, other: Self, inverse_temperature: f32) -> Self {
        let largest = self.largest.max(other.largest);
        let weighed = |part: Self| {
            let difference = (part.largest - largest) * inverse_temperature;
            part.sum * difference.max(-80.0).exp()
        };
        Self {
            largest,
            sum: weighed(self) + weighed(other),
        }
    }
}

/// Ids and bits of logits, the first of which has the id `first`.
fn entries(logits: &[f32], first: usize) -> Vec<(u32, u32)> {
    (first as u32..)
        .zip(logits)
        .map(|(id, logit)| (id, logit.to_bits()))
        .collect()
}

/// The twin of `select_top.wgsl`: keeps (id, bits of the logit) of the largest, in the order in which they came.
pub(crate) fn select_top(mut entries: Vec<(u32, u32)>) -> impl Iterator<Item = (u32, u32)> {
    const NOTHING: (u32, u32) = (0, 0x7fc0_0000);
    entries.resize(entries.len().max(KEPT), NOTHING);
    let mut ranks: Vec<usize> = (0..entries.len()).collect();
    ranks.select_nth_unstable_by_key(KEPT - 1, |&i| (Reverse(order(entries[i].1)), i));
    ranks.truncate(KEPT);
    ranks.sort_unstable();
    ranks.into_iter().map(move |i| entries[i])
}

/// Orders the bits of floats as their values: 0 for NaN, and -0 equals 0.
pub(crate) fn order(bits: u32) -> u32 {
    const SIGN: u32 = 1 << 31;
    if f32::from_bits(bits).is_nan() {
        0
    } else if bits == SIGN {
        SIGN
    } else if bits & SIGN == 0 {
        bits | SIGN
    } else {
        !bits
    }
}

#[backend_extension(Cube, Flex)]
pub(crate) trait SelectCandidates: Backend {
    fn candidates(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        partials: IntTensor<Self>,
    ) -> IntTensor<Self>;
}

impl SelectCandidates for CubeBackend {
    fn candidates(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        partials: IntTensor<Self>,
    ) -> IntTensor<Self> {
        let vocabulary = logits.meta.shape()[1];
        let slices = partials.meta.shape()[0] / PARTIAL_WORDS;
        launch(
            shader(vocabulary, slices),
            CubeCount::Static(slices as u32, 1, 1),
            &[&logits, &sampling, &partials],
        );
        partials
    }
}

impl SelectCandidates for Flex {
    fn candidates(
        logits: FloatTensor<Self>,
        sampling: IntTensor<Self>,
        mut partials: IntTensor<Self>,
    ) -> IntTensor<Self> {
        let vocabulary = logits.layout().shape()[1];
        let logits = &floats(&logits)[..vocabulary];
        let inverse_temperature = f32::from_bits(words(&sampling)[0]);
        let out = partials.storage_mut::<u32>();
        let slice_len = vocabulary.div_ceil((out.len() / PARTIAL_WORDS).max(1));
        for (slice, out) in out.chunks_exact_mut(PARTIAL_WORDS).enumerate() {
            let first = (slice * slice_len).min(vocabulary);
            let end = (first + slice_len).min(vocabulary);
            for (slot, (id, bits)) in select_top(entries(&logits[first..end], first)).enumerate() {
                out[slot] = id;
                out[KEPT + slot] = bits;
            }
            let sum = SoftmaxSum::of(&logits[first..end], inverse_temperature);
            out[2 * KEPT] = sum.largest.to_bits();
            out[2 * KEPT + 1] = sum.sum.to_bits();
        }
        partials
    }
}
