//! `stream_read`: words in, one sum a thread out. It reads as fast as the device can, which is what decoding is measured by.

use burn::backend::tensor::IntTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor};
use cubecl::prelude::CubeCount;

use super::twin::words;
use super::{Shader, launch};

/// Threads of a workgroup: the most that every device has.
const WORKGROUP: usize = 256;
/// Workgroups at most: enough to fill the largest GPU several times over.
const MOST_WORKGROUPS: usize = 1024;
/// Vectors that a thread reads at least, where there are enough of them: to start a thread must not cost more than its reads.
const READS: usize = 32;
/// Words that a thread reads at once.
pub const VECTOR: usize = 4;

/// Threads that read `word_count` words, and sums that come out.
pub fn threads(word_count: usize) -> usize {
    let workgroups = word_count / VECTOR / (READS * WORKGROUP);
    workgroups.clamp(1, MOST_WORKGROUPS) * WORKGROUP
}

/// Adds up `data` (words, a multiple of [`VECTOR`]) into `sums` ([`threads`]), wrapping: of `n` threads, thread `i` takes the
/// vectors `i`, `i + n`, `i + 2 n`, ...
pub fn stream_read(data: Tensor<1, Int>, sums: Tensor<1, Int>) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::stream_read(
        data.into_dispatch(),
        sums.into_dispatch(),
    ))
}

/// The shader of this op over `word_count` words.
pub fn shader(word_count: usize) -> Shader {
    Shader::new("stream_read")
        .with("WORKGROUP", WORKGROUP)
        .with("THREADS", threads(word_count))
        .with("VECTORS", word_count / VECTOR)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait StreamRead: Backend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>) -> IntTensor<Self>;
}

impl StreamRead for CubeBackend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>) -> IntTensor<Self> {
        let word_count = data.meta.shape()[0];
        launch(
            shader(word_count),
            CubeCount::Static((threads(word_count) / WORKGROUP) as u32, 1, 1),
            &[&data, &sums],
        );
        sums
    }
}

impl StreamRead for Flex {
    fn stream_read(data: IntTensor<Self>, mut sums: IntTensor<Self>) -> IntTensor<Self> {
        let data = words(&data);
        let threads = threads(data.len());
        let out = sums.storage_mut::<u32>();
        out.fill(0);
        for (at, vector) in data.chunks_exact(VECTOR).enumerate() {
            let sum = &mut out[at % threads];
            *sum = vector
                .iter()
                .fold(*sum, |sum, word| sum.wrapping_add(*word));
        }
        sums
    }
}
