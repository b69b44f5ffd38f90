//! What the plain-Rust twins share: views into CPU tensors.

use burn_flex::FlexTensor;

use super::product::chunks;
use super::variant::CacheFormat;
use crate::quant::{Format, GROUP};

/// Reads a contiguous CPU tensor of floats.
pub(crate) fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.storage::<f32>()
}

/// Reads a contiguous CPU tensor of words.
pub(crate) fn words(tensor: &FlexTensor) -> &[u32] {
    tensor.storage::<u32>()
}

/// Widens one row of a packed matrix into `out`; what lies past `out`'s end is padding.
pub(crate) fn widen_row(
    words: &[u32],
    scales: &[u32],
    format: Format,
    padded_cols: usize,
    row: usize,
    out: &mut [f32],
) {
    let scale = |col: usize| {
        let group = row * (padded_cols / GROUP) + col / GROUP;
        let half = (scales[group / 2] >> (16 * (group % 2))) as u16;
        half::f16::from_bits(half).to_f32()
    };
    match format {
        Format::F32 => {
            for (col, value) in out.iter_mut().enumerate() {
                *value = f32::from_bits(words[row * padded_cols + col]);
            }
        }
        Format::Q8 => {
            for (group, values) in out.chunks_mut(GROUP).enumerate() {
                let scale = scale(group * GROUP);
                let first = row * padded_cols + group * GROUP;
                for (i, value) in values.iter_mut().enumerate() {
                    let byte = (words[(first + i) / 4] >> (8 * (i % 4))) as u8;
                    *value = f32::from(byte as i8) * scale;
                }
            }
        }
        Format::Q4 => {
            for (group, values) in out.chunks_mut(GROUP).enumerate() {
                let scale = scale(group * GROUP);
                let first = row * padded_cols + group * GROUP;
                for (i, value) in values.iter_mut().enumerate() {
                    let nibble = (words[(first + i) / 8] >> (4 * (i % 8))) & 15;
                    *value = (nibble as f32 - 8.0) * scale;
                }
            }
        }
    }
}

/// Rows of [`super::linear::Input::Normed`], as they are written.
pub(crate) struct Normed<'a> {
    values: &'a mut [f32],
    squares: &'a mut [f32],
}

impl<'a> Normed<'a> {
    pub(crate) fn new(all: &'a mut [f32], cols: usize) -> Self {
        let rows = all.len() / (cols + chunks(cols));
        let (values, squares) = all.split_at_mut(rows * cols);
        Self { values, squares }
    }

    /// Writes one row of the residual stream.
    pub(crate) fn write(&mut self, row: usize, stream: &[f32], gamma: &[f32]) {
        let (cols, chunks) = (stream.len(), chunks(stream.len()));
        let values = &mut self.values[row * cols..(row + 1) * cols];
        for ((value, x), gamma) in values.iter_mut().zip(stream).zip(gamma) {
            *value = x * gamma;
        }
        let squares = &mut self.squares[row * chunks..(row + 1) * chunks];
        for (square, four) in squares.iter_mut().zip(stream.chunks(4)) {
            *square = four.iter().map(|x| x * x).sum();
        }
    }
}

/// Stores `vector` as the cache's values from value `at` on.
pub(crate) fn pack_values(vector: &[f32], words: &mut [u32], at: usize, format: CacheFormat) {
    match format {
        CacheFormat::F32 => {
            for (word, value) in words[at..].iter_mut().zip(vector) {
                *word = value.to_bits();
            }
        }
        CacheFormat::F16 => {
            for (word, pair) in words[at / 2..].iter_mut().zip(vector.chunks(2)) {
                let half = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
                *word = half(pair[0]) | half(pair[1]) << 16;
            }
        }
    }
}

/// Reads `out.len()` of the cache's values from value `at` on.
pub(crate) fn unpack_values(words: &[u32], at: usize, format: CacheFormat, out: &mut [f32]) {
    match format {
        CacheFormat::F32 => {
            for (value, word) in out.iter_mut().zip(&words[at..]) {
                *value = f32::from_bits(*word);
            }
        }
        CacheFormat::F16 => {
            for (pair, word) in out.chunks_mut(2).zip(&words[at / 2..]) {
                for (i, value) in pair.iter_mut().enumerate() {
                    *value = half::f16::from_bits((word >> (16 * i)) as u16).to_f32();
                }
            }
        }
    }
}

/// The dot product of two rows, in eight running sums so that it is vectorised.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a_eights, b_eights) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_eights
        .remainder()
        .iter()
        .zip(b_eights.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_eights.zip(b_eights) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}
