//! Random tensors, and the comparison of a GPU with the CPU twin.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use halfdepth::kernels::CacheFormat;
use halfdepth::kernels::linear::{Matrix, MatrixShape};
use halfdepth::quant::{Format, Packed};

pub(crate) use crate::variants::VARIANTS;

/// Rows of a residual stream times gamma, then their sums of squares: what an op that reads a norm takes.
pub(crate) fn normed_rows(stream: &[f32], gamma: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let scaled = stream.iter().zip(gamma.iter().cycle()).map(|(x, g)| x * g);
    let squares = stream.chunks(cols).take(rows).flat_map(|row| {
        row.chunks(4)
            .map(|four| four.iter().map(|x| x * x).sum::<f32>())
    });
    scaled.chain(squares).collect()
}

/// Random normed rows; those that take no part are not numbers.
pub(crate) fn normed(
    seed: u64,
    rows: usize,
    active: usize,
    cols: usize,
    device: &Device,
) -> Tensor<2> {
    let mut stream = random(seed, rows * cols);
    stream[active * cols..].fill(f32::NAN);
    let all = normed_rows(&stream, &random(seed + 100, cols), rows, cols);
    floats(all, [rows, cols + cols.div_ceil(4)], device)
}

/// The values that lie in a cache's words.
pub(crate) fn cache_values(words: &[u32], format: CacheFormat) -> Vec<f32> {
    match format {
        CacheFormat::F32 => words.iter().map(|word| f32::from_bits(*word)).collect(),
        CacheFormat::F16 => words
            .iter()
            .flat_map(|word| [*word as u16, (*word >> 16) as u16])
            .map(|bits| half::f16::from_bits(bits).to_f32())
            .collect(),
    }
}

/// The words of a cache that holds `values`.
pub(crate) fn cache_words(values: &[f32], format: CacheFormat) -> Vec<u32> {
    let half = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
    match format {
        CacheFormat::F32 => values.iter().map(|value| value.to_bits()).collect(),
        CacheFormat::F16 => values
            .chunks(2)
            .map(|pair| half(pair[0]) | half(pair[1]) << 16)
            .collect(),
    }
}

/// Numbers in -1..1 that are the same on every machine.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn floats<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

pub(crate) fn words(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::U32))
}

pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub(crate) fn read_words(tensor: Tensor<1, Int>) -> Vec<u32> {
    tensor.into_data().iter::<u32>().collect()
}

/// A packed matrix of random weights.
pub(crate) fn matrix(
    seed: u64,
    rows: usize,
    cols: usize,
    format: Format,
    device: &Device,
) -> Matrix {
    let packed = Packed::quantise(rows, cols, format, &random(seed, rows * cols)).expect("finite");
    let mut scales = packed.scale_words();
    if scales.is_empty() {
        scales.push(0);
    }
    Matrix {
        words: words(packed.words, device),
        scales: words(scales, device),
        shape: MatrixShape { rows, cols, format },
    }
}

/// Runs `op` on the CPU and on every other device and compares; `tolerance` is relative to the largest value.
pub(crate) fn same_everywhere(label: &str, tolerance: f32, op: impl Fn(&Device) -> Vec<f32>) {
    let mut devices = crate::model::devices().into_iter();
    let (_, cpu) = devices.next().expect("a CPU");
    let twin = op(&cpu);
    assert!(
        twin.iter().all(|value| value.is_finite()),
        "{label}: the twin is not finite"
    );
    let scale = twin
        .iter()
        .fold(1e-6_f32, |max, value| max.max(value.abs()));
    for (name, device) in devices {
        let values = op(&device);
        assert_eq!(values.len(), twin.len(), "{label} on {name}: length");
        for (i, (value, twin)) in values.iter().zip(&twin).enumerate() {
            let off = (value - twin).abs() / scale;
            assert!(
                off <= tolerance,
                "{label} on {name}: value {i} is {value}, the twin says {twin}"
            );
        }
    }
}
