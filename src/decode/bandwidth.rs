//! In: a device and a number of bytes. Out: how fast it reads that many. A decode step reads every weight once, so its
//! bytes over this bandwidth are the time that no kernel can go below.

use burn::tensor::{DType, Device, Int, Tensor};

use super::device::client;
use super::{Clock, DecodeError};
use crate::kernels::IntSlot;
use crate::kernels::stream_read::{Order, VECTOR, stream_read, threads};

/// What a device reads, at the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// The median of the samples, in the order that is the quickest.
    pub bytes_per_second: f64,
    /// Bytes of the buffer that was read: as many as asked for, or the largest that can be bound.
    pub buffer_bytes: u64,
}

/// A sample takes at least this long, so that the wait for its end hardly counts.
const SAMPLE_MS: f64 = 200.0;
/// Samples; the median is taken.
const SAMPLES: usize = 5;
/// Reads of the whole buffer in one sample, at most.
const MOST_READS: usize = 1 << 10;

/// Reads a buffer of `bytes` again and again and measures how fast. Takes about six seconds.
///
/// # Errors
/// The device failed or has no room for the buffer.
pub async fn read_bandwidth(
    device: &Device,
    bytes: u64,
    largest_binding: u64,
    clock: Clock,
) -> Result<Bandwidth, DecodeError> {
    let vector_bytes = 4 * VECTOR as u64;
    // A buffer that the caches hold would measure them.
    let vectors = (bytes.min(largest_binding) / vector_bytes).max(1);
    let words = usize::try_from(vectors).unwrap_or(usize::MAX / VECTOR) * VECTOR;
    let buffer_bytes = vectors * vector_bytes;
    let data = Tensor::<1, Int>::empty([words], (device, DType::U32));
    let mut sums = IntSlot::new(Tensor::<1, Int>::empty(
        [threads(words)],
        (device, DType::U32),
    ));

    let mut best: f64 = 0.0;
    for order in [Order::Interleaved, Order::ByWorkgroup, Order::ByEight] {
        // The first read compiles the shader and gives the buffer its pages.
        sample(&data, &mut sums, order, 1, clock).await?;
        let mut reads = 1;
        while sample(&data, &mut sums, order, reads, clock).await? < SAMPLE_MS && reads < MOST_READS
        {
            reads *= 2;
        }
        let mut samples_ms = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            samples_ms.push(sample(&data, &mut sums, order, reads, clock).await?);
        }
        samples_ms.sort_by(f64::total_cmp);
        // A clock that stands still must not make the bandwidth infinite.
        let median_ms = samples_ms[SAMPLES / 2].max(1e-3);
        best = best.max(buffer_bytes as f64 * reads as f64 * 1000.0 / median_ms);
    }
    Ok(Bandwidth {
        bytes_per_second: best,
        buffer_bytes,
    })
}

/// Milliseconds of `reads` reads.
async fn sample(
    data: &Tensor<1, Int>,
    sums: &mut IntSlot<1>,
    order: Order,
    reads: usize,
    clock: Clock,
) -> Result<f64, DecodeError> {
    let begun_ms = clock();
    for _ in 0..reads {
        sums.update(|sums| stream_read(data.clone(), sums, order));
    }
    if let Some(client) = client(data.clone()) {
        client.sync().await.map_err(|error| DecodeError::Device {
            reason: error.to_string(),
        })?;
    }
    Ok(clock() - begun_ms)
}
