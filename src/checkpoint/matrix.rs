//! One matrix of a checkpoint, still in the bytes and the type it is stored in; widened row by row on demand.

use std::borrow::Cow;

use half::{bf16, f16};

use super::CheckpointError;
use crate::quant::GROUP;

/// How a checkpoint stores numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// ggml: 32 signed bytes under one f16 scale.
    Q8_0,
    /// ggml: 32 nibbles under one f16 scale.
    Q4_0,
}

/// A matrix of shape (rows, cols) = (out_features, in_features), row-major.
#[derive(Clone, Debug)]
pub struct Matrix<'a> {
    /// The tensor's name in its file, for messages.
    pub name: Cow<'a, str>,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// Type of the bytes.
    pub dtype: Dtype,
    /// `rows` times [`Matrix::row_bytes`]; unaligned.
    pub bytes: Cow<'a, [u8]>,
}

impl Dtype {
    /// Numbers in one block; 1 for floats.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 => GROUP,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 2 + GROUP,
            Self::Q4_0 => 2 + GROUP / 2,
        }
    }

    /// Bytes of `count` numbers; `None` when they do not fill whole blocks or the sum leaves 64 bits.
    pub fn byte_count(self, count: u64) -> Option<u64> {
        let block = self.block() as u64;
        if !count.is_multiple_of(block) {
            return None;
        }
        (count / block).checked_mul(self.block_bytes() as u64)
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
        }
    }
}

impl Matrix<'_> {
    /// The stored bytes of one row.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let bytes = self.cols / self.dtype.block() * self.dtype.block_bytes();
        &self.bytes[row * bytes..(row + 1) * bytes]
    }

    /// One row as floats into `values` (cols,); a NaN or an infinity is an error that names the tensor.
    pub fn row_to_f32(&self, row: usize, values: &mut [f32]) -> Result<(), CheckpointError> {
        widen(self.row_bytes(row), self.dtype, values);
        if values.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(self.non_finite(row))
        }
    }

    /// Everything as floats: (rows, cols).
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let mut values = vec![0.0; self.rows * self.cols];
        for (row, values) in values.chunks_exact_mut(self.cols.max(1)).enumerate() {
            self.row_to_f32(row, values)?;
        }
        Ok(values)
    }

    /// Refuses a row of blocks with a scale that is not finite, without widening it.
    pub(crate) fn check_row(&self, row: usize) -> Result<(), CheckpointError> {
        let finite = match self.dtype {
            Dtype::Q8_0 | Dtype::Q4_0 => self
                .row_bytes(row)
                .chunks_exact(self.dtype.block_bytes())
                .all(|block| f16::from_le_bytes([block[0], block[1]]).is_finite()),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => {
                return self.row_to_f32(row, &mut vec![0.0; self.cols]);
            }
        };
        if finite {
            Ok(())
        } else {
            Err(self.non_finite(row))
        }
    }

    fn non_finite(&self, row: usize) -> CheckpointError {
        CheckpointError::NonFinite {
            tensor: self.name.to_string(),
            row,
        }
    }
}

/// Widens stored numbers exactly as ggml and PyTorch do.
pub(crate) fn widen(bytes: &[u8], dtype: Dtype, values: &mut [f32]) {
    match dtype {
        Dtype::F32 => {
            for (value, b) in values.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        Dtype::F16 => {
            for (value, b) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                *value = f16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        Dtype::Bf16 => {
            for (value, b) in values.iter_mut().zip(bytes.chunks_exact(2)) {
                *value = bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        Dtype::Q8_0 => {
            for (values, b) in values
                .chunks_exact_mut(GROUP)
                .zip(bytes.chunks_exact(2 + GROUP))
            {
                let scale = f16::from_le_bytes([b[0], b[1]]).to_f32();
                for (value, level) in values.iter_mut().zip(&b[2..]) {
                    *value = f32::from(*level as i8) * scale;
                }
            }
        }
        Dtype::Q4_0 => {
            for (values, b) in values
                .chunks_exact_mut(GROUP)
                .zip(bytes.chunks_exact(2 + GROUP / 2))
            {
                let scale = f16::from_le_bytes([b[0], b[1]]).to_f32();
                // Byte j holds columns j and j + 16.
                let (first, second) = values.split_at_mut(GROUP / 2);
                for ((low, high), byte) in first.iter_mut().zip(second).zip(&b[2..]) {
                    *low = (f32::from(byte & 15) - 8.0) * scale;
                    *high = (f32::from(byte >> 4) - 8.0) * scale;
                }
            }
        }
    }
}
