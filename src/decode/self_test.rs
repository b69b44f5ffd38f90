//! In: a device. Out: whether it computes. Some drivers answer with zeros or noise instead of an error; a page must not print that.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::DecodeError;
use crate::kernels::Variant;
use crate::kernels::linear::{Epilogue, Input, Linear, Matrix, MatrixShape, Rows, linear};
use crate::model::word_tensor;
use crate::quant::{Format, Packed};

const ROWS: usize = 5;
const COLS: usize = 40;

/// Multiplies a small 4-bit matrix by a vector and compares with plain Rust.
///
/// # Errors
/// The product is wrong, or the device failed.
pub(super) async fn self_test(device: &Device) -> Result<(), DecodeError> {
    let weights: Vec<f32> = (0..ROWS * COLS)
        .map(|i| ((i * 37 % 64) as f32 - 31.5) / 32.0)
        .collect();
    let x: Vec<f32> = (0..COLS)
        .map(|i| ((i * 29 % 32) as f32 - 15.5) / 16.0)
        .collect();
    let packed = Packed::quantise(ROWS, COLS, Format::Q4, &weights).map_err(|error| {
        DecodeError::SelfTest {
            reason: error.to_string(),
        }
    })?;
    let expected: Vec<f32> = packed
        .dequantise()
        .chunks(COLS)
        .map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum())
        .collect();
    let matrix = Matrix {
        shape: MatrixShape {
            rows: ROWS,
            cols: COLS,
            format: Format::Q4,
        },
        scales: word_tensor(packed.scale_words(), device),
        words: word_tensor(packed.words, device),
    };
    let x = Tensor::from_data(TensorData::new(x, [1, COLS]), (device, DType::F32));
    let out = Tensor::from_data(
        TensorData::new(vec![0.0_f32; ROWS], [1, ROWS]),
        (device, DType::F32),
    );
    let product = linear(
        x,
        &matrix,
        out,
        word_tensor(vec![0, 1], device),
        Linear {
            input: Input::Plain,
            rows: Rows::Each,
            epilogue: Epilogue::Store,
            variant: Variant::PLAIN,
        },
    );
    let product = super::lane::read(product).await?;
    // Forty products of f32, each below one. Not a number is wrong, too.
    let wrong = product
        .iter()
        .zip(&expected)
        .find(|(got, expected)| (*got - *expected).abs() >= 1e-4 || got.is_nan());
    match wrong {
        None => Ok(()),
        Some((got, expected)) => Err(DecodeError::SelfTest {
            reason: format!("a product that is {expected} came out as {got}"),
        }),
    }
}
