//! Weights in blocks: `f32` rows or a checkpoint's own blocks in, [`Packed`] words and scales out, as the GPU reads them.
//! Groups of 32 along the columns, symmetric, one f16 scale a group. Byte layout: docs/format.md.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointError, Dtype, Matrix};

/// Columns that share one scale.
pub const GROUP: usize = 32;

/// How a matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One float a word, no scales.
    F32,
    /// Four signed bytes a word.
    Q8,
    /// Eight nibbles a word.
    Q4,
}

/// A matrix of shape (rows, cols), columns zero-padded to a multiple of [`GROUP`].
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// Output features.
    pub rows: usize,
    /// Input features, before padding.
    pub cols: usize,
    /// How `words` is to be read.
    pub format: Format,
    /// (rows, padded_cols / 8 | 4 | 1) for Q4 (low nibble first, minus 8), Q8 (low byte first, two's complement), F32 (bits).
    pub words: Vec<u32>,
    /// (rows, padded_cols / 32); empty for F32.
    pub scales: Vec<f16>,
}

/// Why values cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum QuantError {
    /// The slice does not have the shape it is said to have.
    #[error("quantise: a {rows} x {cols} matrix needs as many values, found {found}")]
    Length {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// Values given.
        found: usize,
    },
    /// A NaN or an infinity.
    #[error(
        "quantise: the value at row {row}, column {col} is not finite; the checkpoint is damaged"
    )]
    NonFinite {
        /// Row of the first one.
        row: usize,
        /// Its column.
        col: usize,
    },
    /// A group whose scale would not fit in f16.
    #[error(
        "quantise: row {row} holds {value:e}, too large for a 16-bit scale; keep this matrix as f32"
    )]
    TooLarge {
        /// Row of the group.
        row: usize,
        /// Its largest magnitude.
        value: f32,
    },
    /// Matrices that cannot be stacked.
    #[error("quantise: matrices to be stacked must have equal columns and format ({reason})")]
    Stack {
        /// What differs.
        reason: String,
    },
    /// The checkpoint's matrix could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Format {
    /// Weights in one u32.
    pub fn weights_per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Q8 => 4,
            Self::Q4 => 8,
        }
    }

    /// Words of a (rows, cols) matrix; `u64`, since on wasm32 the sizes of a large model pass 32 bits.
    pub fn word_count(self, rows: usize, cols: usize) -> u64 {
        rows as u64 * (cols as u64).next_multiple_of(GROUP as u64) / self.weights_per_word() as u64
    }

    /// Scales of a (rows, cols) matrix.
    pub fn scale_count(self, rows: usize, cols: usize) -> u64 {
        match self {
            Self::F32 => 0,
            Self::Q8 | Self::Q4 => rows as u64 * (cols as u64).div_ceil(GROUP as u64),
        }
    }
}

impl Packed {
    /// Packs `values` of shape (rows, cols); scales are searched for the least squared error of each group.
    pub fn quantise(
        rows: usize,
        cols: usize,
        format: Format,
        values: &[f32],
    ) -> Result<Self, QuantError> {
        if rows.checked_mul(cols) != Some(values.len()) {
            return Err(QuantError::Length {
                rows,
                cols,
                found: values.len(),
            });
        }
        let mut packed = Self::with_capacity(rows, cols, format);
        for row in 0..rows {
            packed.push_row(row, &values[row * cols..(row + 1) * cols])?;
        }
        Ok(packed)
    }

    /// Packs a checkpoint's matrix: Q4_0 to Q4 and Q8_0 to Q8 bit for bit, all else widened and packed one row at a time.
    pub fn from_matrix(matrix: &Matrix, format: Format) -> Result<Self, QuantError> {
        let mut packed = Self::with_capacity(matrix.rows, matrix.cols, format);
        if Self::native_format(matrix.dtype) == format && format != Format::F32 {
            for row in 0..matrix.rows {
                matrix.check_row(row)?;
                packed.push_blocks(matrix.row_bytes(row), matrix.dtype);
            }
            return Ok(packed);
        }
        let mut values = vec![0.0; matrix.cols];
        for row in 0..matrix.rows {
            matrix.row_to_f32(row, &mut values)?;
            packed.push_row(row, &values)?;
        }
        Ok(packed)
    }

    /// The format that holds a checkpoint's type without loss.
    pub fn native_format(dtype: Dtype) -> Format {
        match dtype {
            Dtype::Q4_0 => Format::Q4,
            Dtype::Q8_0 => Format::Q8,
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Format::F32,
        }
    }

    /// The stored weights, padding left out: (rows, cols).
    pub fn dequantise(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows * self.cols];
        for (row, values) in values.chunks_exact_mut(self.cols.max(1)).enumerate() {
            self.dequantise_row(row, values);
        }
        values
    }

    /// One row of [`Packed::dequantise`] into `values`, of at most `cols` numbers.
    pub fn dequantise_row(&self, row: usize, values: &mut [f32]) {
        let per_word = self.format.weights_per_word();
        let words = &self.words[row * self.padded_cols() / per_word..];
        let scales = &self.scales[(row * self.padded_cols() / GROUP).min(self.scales.len())..];
        for (col, value) in values.iter_mut().enumerate() {
            let word = words[col / per_word];
            *value = match self.format {
                Format::F32 => f32::from_bits(word),
                Format::Q8 => {
                    f32::from((word >> (col % 4 * 8)) as u8 as i8) * scales[col / GROUP].to_f32()
                }
                Format::Q4 => {
                    let nibble = (word >> (col % 8 * 4)) & 15;
                    (nibble as f32 - 8.0) * scales[col / GROUP].to_f32()
                }
            };
        }
    }

    /// Columns as stored.
    pub fn padded_cols(&self) -> usize {
        self.cols.next_multiple_of(GROUP)
    }

    /// The scales as the GPU and the file hold them: two a word, low half first, an odd last one beside a zero.
    pub fn scale_words(&self) -> Vec<u32> {
        self.scales
            .chunks(2)
            .map(|pair| {
                let high = pair.get(1).map_or(0, |scale| scale.to_bits());
                u32::from(pair[0].to_bits()) | u32::from(high) << 16
            })
            .collect()
    }

    /// Bytes on the GPU: words and scale words.
    pub fn bytes(&self) -> usize {
        4 * (self.words.len() + self.scales.len().div_ceil(2))
    }

    /// Puts matrices under each other: the rows of the first, then of the second, and so on.
    pub fn stack(parts: Vec<Self>) -> Result<Self, QuantError> {
        let mut parts = parts.into_iter();
        let Some(mut whole) = parts.next() else {
            return Err(QuantError::Stack {
                reason: "nothing to stack".into(),
            });
        };
        for part in parts {
            if (part.cols, part.format) != (whole.cols, whole.format) {
                let reason = format!(
                    "{} {:?} beside {} {:?}",
                    whole.cols, whole.format, part.cols, part.format
                );
                return Err(QuantError::Stack { reason });
            }
            whole.rows += part.rows;
            whole.words.extend(part.words);
            whole.scales.extend(part.scales);
        }
        Ok(whole)
    }

    fn with_capacity(rows: usize, cols: usize, format: Format) -> Self {
        // The caller holds the values already, so these sizes are real; were they not to fit, the vectors grow instead.
        let words = usize::try_from(format.word_count(rows, cols)).unwrap_or(0);
        let scales = usize::try_from(format.scale_count(rows, cols)).unwrap_or(0);
        Self {
            rows,
            cols,
            format,
            words: Vec::with_capacity(words),
            scales: Vec::with_capacity(scales),
        }
    }

    fn push_row(&mut self, row: usize, values: &[f32]) -> Result<(), QuantError> {
        if let Some(col) = values.iter().position(|value| !value.is_finite()) {
            return Err(QuantError::NonFinite { row, col });
        }
        for part in values.chunks(GROUP) {
            let mut group = [0.0; GROUP];
            group[..part.len()].copy_from_slice(part);
            match self.format {
                Format::F32 => self.words.extend(group.map(f32::to_bits)),
                Format::Q8 => {
                    let fit = best_fit(&group, &Q8_LEVELS).ok_or_else(|| too_large(row, &group))?;
                    self.scales.push(fit.scale);
                    self.words.extend(fit.levels.chunks_exact(4).map(|four| {
                        four.iter()
                            .rev()
                            .fold(0, |word, level| word << 8 | u32::from(*level as i8 as u8))
                    }));
                }
                Format::Q4 => {
                    let fit = best_fit(&group, &Q4_LEVELS).ok_or_else(|| too_large(row, &group))?;
                    self.scales.push(fit.scale);
                    self.words.extend(fit.levels.chunks_exact(8).map(|eight| {
                        eight
                            .iter()
                            .rev()
                            .fold(0, |word, level| word << 4 | (level + 8) as u32)
                    }));
                }
            }
        }
        Ok(())
    }

    /// One row as ggml's blocks, Q8_0 or Q4_0 by format; the inverse of what [`Packed::from_matrix`] does to them. Rows of floats,
    /// and rows that groups do not fill, have none.
    pub fn row_to_blocks(&self, row: usize) -> Option<Vec<u8>> {
        if self.format == Format::F32 || !self.cols.is_multiple_of(GROUP) {
            return None;
        }
        let (groups, per_group) = (self.cols / GROUP, GROUP / self.format.weights_per_word());
        let words = self
            .words
            .get(row * groups * per_group..)?
            .chunks(per_group);
        let scales = self.scales.get(row * groups..(row + 1) * groups)?;
        let mut bytes = Vec::new();
        for (scale, words) in scales.iter().zip(words) {
            bytes.extend(scale.to_le_bytes());
            match self.format {
                Format::Q4 => {
                    // Byte j holds columns j and j + 16: the first two words' nibbles low, the last two's high.
                    let nibble = |col: usize| (words[col / 8] >> (col % 8 * 4) & 15) as u8;
                    bytes.extend((0..GROUP / 2).map(|j| nibble(j) | nibble(j + GROUP / 2) << 4));
                }
                _ => bytes.extend(words.iter().flat_map(|word| word.to_le_bytes())),
            }
        }
        Some(bytes)
    }

    /// ggml's blocks of one row: an f16 scale, then 32 bytes (Q8_0) or 16 (Q4_0: byte j holds columns j and j + 16).
    fn push_blocks(&mut self, bytes: &[u8], dtype: Dtype) {
        for block in bytes.chunks_exact(dtype.block_bytes()) {
            self.scales.push(f16::from_le_bytes([block[0], block[1]]));
            let levels = &block[2..];
            if dtype == Dtype::Q8_0 {
                self.words.extend(
                    levels
                        .chunks_exact(4)
                        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])),
                );
            } else {
                for word in 0..4 {
                    let (bytes, shift) = (&levels[word % 2 * 8..][..8], word / 2 * 4);
                    self.words.push(
                        bytes
                            .iter()
                            .rev()
                            .fold(0, |word, byte| word << 4 | u32::from(byte >> shift & 15)),
                    );
                }
            }
        }
    }
}

/// The integers of a format and the scales worth a try, as divisors of a group's largest magnitude.
struct Levels {
    lowest: f32,
    highest: f32,
    first_divisor: f32,
    divisor_step: f32,
    divisors: usize,
}

// 7 is plain min-max, 8 is Q4_0's rule: with both among the candidates no group comes out worse than by either. On the
// layers of the three test models the squared error is 0.881 to 0.886 of Q4_0's; 1,200 divisors from 4 to 16 reach 0.880
// to 0.885 at eighty times the price.
const Q4_LEVELS: Levels = Levels {
    lowest: -8.0,
    highest: 7.0,
    first_divisor: 6.5,
    divisor_step: 0.25,
    divisors: 15,
};
// Clipping never pays at 8 bits, but a finer scale that suits the values (and f16's rounding) takes a quarter off Q8_0's error.
const Q8_LEVELS: Levels = Levels {
    lowest: -128.0,
    highest: 127.0,
    first_divisor: 120.0,
    divisor_step: 0.5,
    divisors: 18,
};

// GPUs may flush smaller halves to zero.
const SMALLEST_SCALE: f32 = 6.103_515_6e-5; // 2^-14

struct Fit {
    scale: f16,
    levels: [i32; GROUP],
    error: f32,
}

/// The scale and levels with the least squared error; `None` when no f16 scale reaches the group's largest value.
fn best_fit(group: &[f32; GROUP], levels: &Levels) -> Option<Fit> {
    let largest = group
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    if largest == 0.0 {
        return Some(Fit {
            scale: f16::ZERO,
            levels: [0; GROUP],
            error: 0.0,
        });
    }
    let mut best: Option<Fit> = None;
    for divisor in 0..levels.divisors {
        let magnitude = largest / (levels.first_divisor + divisor as f32 * levels.divisor_step);
        // A negative scale gives the side with one more level to the positive values.
        for scale in [magnitude, -magnitude] {
            let Some(first) = fit(group, levels, scale) else {
                continue;
            };
            let refined = least_squares_scale(group, &first.levels)
                .and_then(|scale| fit(group, levels, scale));
            for candidate in [Some(first), refined].into_iter().flatten() {
                if best
                    .as_ref()
                    .is_none_or(|best| candidate.error < best.error)
                {
                    best = Some(candidate);
                }
            }
        }
    }
    // Levels that are all zero need no scale; one form for one meaning keeps packs reproducible.
    best.map(|fit| {
        if fit.levels == [0; GROUP] {
            Fit {
                scale: f16::ZERO,
                ..fit
            }
        } else {
            fit
        }
    })
}

fn fit(group: &[f32; GROUP], limits: &Levels, scale: f32) -> Option<Fit> {
    let stored = f16::from_f32(scale.abs().max(SMALLEST_SCALE).copysign(scale));
    if !stored.is_finite() {
        return None;
    }
    let (scale, inverse) = (stored.to_f32(), 1.0 / stored.to_f32());
    let mut levels = [0; GROUP];
    let mut error = 0.0;
    for (level, value) in levels.iter_mut().zip(group) {
        // Shifted to be positive, so that truncation rounds; a vector instruction everywhere, unlike `round`.
        let shifted =
            (value * inverse - limits.lowest + 0.5).clamp(0.0, limits.highest - limits.lowest);
        *level = shifted as i32 + limits.lowest as i32;
        let residual = value - *level as f32 * scale;
        error += residual * residual;
    }
    Some(Fit {
        scale: stored,
        levels,
        error,
    })
}

fn least_squares_scale(group: &[f32; GROUP], levels: &[i32; GROUP]) -> Option<f32> {
    let (mut dot, mut squares) = (0.0, 0.0);
    for (value, level) in group.iter().zip(levels) {
        let level = *level as f32;
        dot += value * level;
        squares += level * level;
    }
    (squares > 0.0 && dot != 0.0).then(|| dot / squares)
}

fn too_large(row: usize, group: &[f32; GROUP]) -> QuantError {
    let value = group
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    QuantError::TooLarge { row, value }
}
