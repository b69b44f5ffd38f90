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

/// In which order the vectors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// All threads go through memory side by side, as a GPU likes it.
    Interleaved,
    /// Each workgroup has a stretch of its own, through which its threads go side by side.
    ByWorkgroup,
    /// Each [`EIGHT`] threads have a stretch of their own. Where the "GPU" is a program on the CPU, they are one vector of it, which
    /// runs to its end before the next begins: so it reads on, and its caches can tell what comes.
    ByEight,
}

/// Threads that share a stretch in [`Order::ByEight`].
const EIGHT: usize = 8;

/// Threads that read `word_count` words, and sums that come out.
pub fn threads(word_count: usize) -> usize {
    let workgroups = word_count / VECTOR / (READS * WORKGROUP);
    workgroups.clamp(1, MOST_WORKGROUPS) * WORKGROUP
}

/// Adds up `data` (words, a multiple of [`VECTOR`]) into `sums` ([`threads`]), wrapping.
///
/// Every thread takes as many vectors. Interleaved, thread `i` of `n` takes `i`, `i + n`, `i + 2 n`, ...; else the threads that share a
/// stretch do so within it. What is left over goes to the first threads, a vector each.
pub fn stream_read(data: Tensor<1, Int>, sums: Tensor<1, Int>, order: Order) -> Tensor<1, Int> {
    Tensor::from_dispatch(Dispatch::stream_read(
        data.into_dispatch(),
        sums.into_dispatch(),
        order,
    ))
}

/// The shader of this op over `word_count` words.
pub fn shader(word_count: usize, order: Order) -> Shader {
    let (threads, vectors) = (threads(word_count), word_count / VECTOR);
    let team = team(threads, order);
    Shader::new("stream_read")
        .with("WORKGROUP", WORKGROUP)
        .with("THREADS", threads)
        .with("VECTORS", vectors)
        .with("TEAM", team)
}

/// Threads that go through one stretch side by side.
fn team(threads: usize, order: Order) -> usize {
    match order {
        Order::Interleaved => threads,
        Order::ByWorkgroup => WORKGROUP,
        Order::ByEight => EIGHT,
    }
}

#[backend_extension(Cube, Flex)]
pub(crate) trait StreamRead: Backend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>, order: Order) -> IntTensor<Self>;
}

impl StreamRead for CubeBackend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>, order: Order) -> IntTensor<Self> {
        let word_count = data.meta.shape()[0];
        launch(
            shader(word_count, order),
            CubeCount::Static((threads(word_count) / WORKGROUP) as u32, 1, 1),
            &[&data, &sums],
        );
        sums
    }
}

impl StreamRead for Flex {
    fn stream_read(
        data: IntTensor<Self>,
        mut sums: IntTensor<Self>,
        order: Order,
    ) -> IntTensor<Self> {
        let data = words(&data);
        let threads = threads(data.len());
        let out = sums.storage_mut::<u32>();
        out.fill(0);
        let (turns, team) = (data.len() / VECTOR / threads, team(threads, order));
        for (at, vector) in data.chunks_exact(VECTOR).enumerate() {
            let thread = if at < turns * threads {
                at / (turns * team) * team + at % team
            } else {
                at - turns * threads
            };
            let sum = &mut out[thread];
            *sum = vector
                .iter()
                .fold(*sum, |sum, word| sum.wrapping_add(*word));
        }
        sums
    }
}
