//! Rows of floats in, the bytes of a ggml type out.

use half::{bf16, f16};

use super::PruneError;
use crate::checkpoint::{Dtype, widen};
use crate::quant::{Format, Packed, QuantError};

/// What the matrices of a GGUF file are stored in. Norms are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// As in the source, bit for bit.
    Stored,
    /// This one; rows that its blocks do not fill become F16, as in llama.cpp.
    As(Dtype),
}

impl NumberType {
    /// What a matrix becomes.
    pub fn of(self, stored: Dtype, cols: usize) -> Dtype {
        match self {
            Self::Stored => stored,
            Self::As(dtype) if cols.is_multiple_of(dtype.block()) => dtype,
            Self::As(_) => Dtype::F16,
        }
    }
}

/// One row in a type; scales of blocks are searched for the least squared error, as in packs.
pub(super) fn encode(name: &str, values: &[f32], dtype: Dtype) -> Result<Vec<u8>, PruneError> {
    let too_large = |value: f32| PruneError::TooLarge {
        tensor: name.to_string(),
        value,
        number_type: dtype.name(),
    };
    let format = match dtype {
        Dtype::F32 => {
            return Ok(values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect());
        }
        Dtype::F16 | Dtype::Bf16 => {
            let mut bytes = Vec::with_capacity(2 * values.len());
            for value in values {
                let (half, brain) = (f16::from_f32(*value), bf16::from_f32(*value));
                let (stored, is_finite) = match dtype {
                    Dtype::F16 => (half.to_le_bytes(), half.is_finite()),
                    _ => (brain.to_le_bytes(), brain.is_finite()),
                };
                if !is_finite {
                    return Err(too_large(*value));
                }
                bytes.extend(stored);
            }
            return Ok(bytes);
        }
        Dtype::Q8_0 => Format::Q8,
        Dtype::Q4_0 => Format::Q4,
    };
    let packed = Packed::quantise(1, values.len(), format, values);
    let packed = packed.map_err(|error| match error {
        QuantError::TooLarge { value, .. } => too_large(value),
        _ => too_large(f32::NAN),
    })?;
    packed.row_to_blocks(0).ok_or_else(|| PruneError::NoPlace {
        what: format!("tensor `{name}` with rows of {}", values.len()),
        format: dtype.name(),
        way_out: "ask for a type without blocks",
    })
}

/// What becomes of a matrix (rows, cols) that is written in a type and read again.
pub(super) fn round_trip(
    name: &str,
    values: &mut [f32],
    cols: usize,
    dtype: Dtype,
) -> Result<(), PruneError> {
    for row in values.chunks_exact_mut(cols) {
        widen(&encode(name, row, dtype)?, dtype, row);
    }
    Ok(())
}
