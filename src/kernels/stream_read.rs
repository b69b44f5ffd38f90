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
/// Workgroups: enough to fill the largest GPU several times over.
const WORKGROUPS: usize = 1024;
/// Sums that come out.
pub const SUMS: usize = WORKGROUPS * WORKGROUP;
/// Words that a thread reads at once.
pub const VECTOR: usize = 4;

/// Adds up `data` (a multiple of [`VECTOR`] words) into `sums` ([`SUMS`]), wrapping: thread `i` takes the vectors `i`, `i + SUMS`, ...
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
        .with("WORKGROUPS", WORKGROUPS)
        .with("VECTORS", word_count / VECTOR)
}

#[backend_extension(Cube, Flex)]
pub(crate) trait StreamRead: Backend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>) -> IntTensor<Self>;
}

impl StreamRead for CubeBackend {
    fn stream_read(data: IntTensor<Self>, sums: IntTensor<Self>) -> IntTensor<Self> {
        launch(
            shader(data.meta.shape()[0]),
            CubeCount::Static(WORKGROUPS as u32, 1, 1),
            &[&data, &sums],
        );
        sums
    }
}

impl StreamRead for Flex {
    fn stream_read(data: IntTensor<Self>, mut sums: IntTensor<Self>) -> IntTensor<Self> {
        let out = sums.storage_mut::<u32>();
        out.fill(0);
        for (at, vector) in words(&data).chunks_exact(VECTOR).enumerate() {
            let sum = &mut out[at % SUMS];
            *sum = vector
                .iter()
                .fold(*sum, |sum, word| sum.wrapping_add(*word));
        }
        sums
    }
}
