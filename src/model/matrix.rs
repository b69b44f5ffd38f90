//! In: the shape and format of a packed matrix. Out: a Burn module that holds it on a device.

use std::ops::Range;

use burn::module::{Module, Param};

use super::BuildError;
use super::storage::{Allocator, Destination, Words};
use crate::kernels::linear::{Matrix, MatrixShape};

/// A linear layer without bias, or an embedding table, in packed form. Weight (out features, in features).
#[derive(Module, Debug)]
pub struct PackedLinear {
    /// Never empty; one, but for what [`PackedLinear::allocate_in_parts`] made.
    parts: Vec<RowPart>,
    #[module(skip)]
    shape: MatrixShape,
}

/// Some of a matrix's rows, in buffers of their own: a device binds only so many bytes at once.
#[derive(Module, Debug)]
struct RowPart {
    words: Param<Words>,
    scales: Param<Words>,
    #[module(skip)]
    rows: Range<usize>,
}

impl PackedLinear {
    /// Room for a matrix, and where its words and its scales go. `name` is for the error.
    pub(super) fn allocate(
        name: &str,
        shape: MatrixShape,
        allocator: &Allocator,
    ) -> Result<(Self, [Destination; 2]), BuildError> {
        let parts = row_parts(shape, allocator.largest_tensor_bytes);
        match parts.len() {
            1 => Ok(Self::in_parts(shape, parts, allocator)),
            _ => Err(too_large(name, shape, allocator)),
        }
    }

    /// As [`PackedLinear::allocate`], but in as many buffers as the device's limit asks for: for what is used by way of
    /// [`PackedLinear::parts`], the embedding and the head.
    pub(super) fn allocate_in_parts(
        name: &str,
        shape: MatrixShape,
        allocator: &Allocator,
    ) -> Result<(Self, [Destination; 2]), BuildError> {
        let parts = row_parts(shape, allocator.largest_tensor_bytes);
        match parts.is_empty() {
            false => Ok(Self::in_parts(shape, parts, allocator)),
            true => Err(too_large(name, shape, allocator)),
        }
    }

    fn in_parts(
        shape: MatrixShape,
        parts: Vec<Range<usize>>,
        allocator: &Allocator,
    ) -> (Self, [Destination; 2]) {
        let mut row_parts = Vec::new();
        let (mut words_to, mut scales_to) = (Vec::new(), Vec::new());
        for rows in parts {
            let (part, [words, scales]) = RowPart::allocate(shape, rows, allocator);
            row_parts.push(part);
            words_to.push(words);
            scales_to.push(scales);
        }
        let destinations = [words_to, scales_to].map(Destination::joined);
        let linear = Self {
            parts: row_parts,
            shape,
        };
        (linear, destinations)
    }

    /// The tensors and their shape, as ops take them, part by part.
    pub fn parts(&self) -> impl Iterator<Item = Matrix> + '_ {
        self.parts.iter().map(|part| Matrix {
            words: part.words.val(),
            scales: part.scales.val(),
            shape: MatrixShape {
                rows: part.rows.len(),
                ..self.shape
            },
            first_row: part.rows.start,
        })
    }

    /// The tensors and their shape of a matrix that lies in one buffer.
    pub fn matrix(&self) -> Matrix {
        match self.parts().next() {
            Some(matrix) if self.parts.len() == 1 => matrix,
            _ => unreachable!("`allocate` makes one part or refuses"),
        }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let words = |tensor: &Param<Words>| tensor.lazy_shape().num_elements();
        let parts = self.parts.iter();
        4 * parts
            .map(|part| words(&part.words) + words(&part.scales))
            .sum::<usize>()
    }
}

impl RowPart {
    fn allocate(
        shape: MatrixShape,
        rows: Range<usize>,
        allocator: &Allocator,
    ) -> (Self, [Destination; 2]) {
        // Below the limit of one tensor, which `usize` holds.
        let [word_count, scale_count] = [
            shape.format.word_count(rows.len(), shape.cols),
            shape.format.scale_count(rows.len(), shape.cols).div_ceil(2),
        ]
        .map(|words| words as usize);
        let (words, words_to) = allocator.words(word_count);
        // A tensor of nothing has no buffer to bind.
        let (scales, mut scales_to) = allocator.words(scale_count.max(1));
        if scale_count == 0 {
            scales_to = Destination::none();
        }
        let part = Self {
            words,
            scales,
            rows,
        };
        (part, [words_to, scales_to])
    }
}

fn too_large(name: &str, shape: MatrixShape, allocator: &Allocator) -> BuildError {
    BuildError::NeedsRowParts {
        name: name.to_string(),
        bytes: 4 * shape.format.word_count(shape.rows, shape.cols),
        limit: allocator.largest_tensor_bytes,
    }
}

/// Splits a matrix into as few runs of rows as `limit` bytes a tensor ask for; none if not even two rows fit.
fn row_parts(shape: MatrixShape, limit: u64) -> Vec<Range<usize>> {
    // Two scales share a word, so a part begins at an even row. No format has more scale words than weight words.
    let pair = 4 * shape.format.word_count(2, shape.cols);
    let rows = usize::try_from(limit / pair.max(1) * 2).unwrap_or(usize::MAX & !1);
    if rows == 0 {
        return Vec::new();
    }
    (0..shape.rows)
        .step_by(rows)
        .map(|first| first..shape.rows.min(first.saturating_add(rows)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Format, Packed};
    use burn::tensor::Device;

    fn shape(rows: usize, cols: usize, format: Format) -> MatrixShape {
        MatrixShape { rows, cols, format }
    }

    #[test]
    fn row_parts_cover_the_rows_and_stay_below_the_limit() {
        for format in [Format::Q4, Format::Q8, Format::F32] {
            for (rows, cols) in [(1, 1), (7, 33), (64, 64), (1001, 100)] {
                let shape = shape(rows, cols, format);
                let row = 4 * format.word_count(1, cols);
                for limit in [2 * row, 3 * row, 10 * row + 1, 1 << 40, u64::MAX] {
                    let parts = row_parts(shape, limit);
                    let all: Vec<usize> = parts.iter().cloned().flatten().collect();
                    assert_eq!(all, (0..rows).collect::<Vec<_>>(), "{shape:?} {limit}");
                    for part in &parts {
                        assert!(part.start % 2 == 0 && part.len() as u64 * row <= limit);
                    }
                }
                assert!(row_parts(shape, 2 * row - 1).is_empty());
            }
        }
    }

    #[test]
    fn a_matrix_that_needs_row_parts_is_refused_by_name() {
        let device = Device::flex();
        let mut allocator = Allocator::new(&device);
        let shape = shape(100, 64, Format::Q8);
        allocator.largest_tensor_bytes = 6400;
        assert!(PackedLinear::allocate("the head", shape, &allocator).is_ok());
        allocator.largest_tensor_bytes = 6399;
        let refused = PackedLinear::allocate("the head", shape, &allocator).err();
        let expected = BuildError::NeedsRowParts {
            name: "the head".into(),
            bytes: 6400,
            limit: 6399,
        };
        assert_eq!(refused, Some(expected));
    }

    #[test]
    fn what_is_written_reaches_its_row_part() {
        let device = Device::flex();
        let allocator = Allocator::new(&device);
        let values: Vec<f32> = (0..5 * 40).map(|i| i as f32 / 100.0 - 1.0).collect();
        for format in [Format::Q4, Format::Q8, Format::F32] {
            let packed = Packed::quantise(5, 40, format, &values).unwrap();
            let parts = vec![0..2, 2..4, 4..5];
            let (linear, to) =
                PackedLinear::in_parts(shape(5, 40, format), parts.clone(), &allocator);
            let sections = [packed.words.clone(), packed.scale_words()];
            for (to, words) in to.iter().zip(&sections) {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                // Chunks of three words cross the parts' ends.
                for (chunk, bytes) in bytes.chunks(12).enumerate() {
                    to.write(3 * chunk as u64, bytes).unwrap();
                }
            }
            for (part, rows) in linear.parts.iter().zip(parts) {
                let values = &values[rows.start * 40..rows.end * 40];
                let expected = Packed::quantise(rows.len(), 40, format, values).unwrap();
                let read = |tensor: &Param<Words>| -> Vec<u32> {
                    tensor.val().into_data().iter::<u32>().collect()
                };
                assert_eq!(part.rows, rows);
                assert_eq!(read(&part.words), expected.words);
                if format != Format::F32 {
                    assert_eq!(read(&part.scales), expected.scale_words());
                }
            }
        }
    }
}
