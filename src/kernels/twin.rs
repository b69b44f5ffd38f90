//! What the plain-Rust twins share: views into CPU tensors.

use burn_flex::FlexTensor;

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
