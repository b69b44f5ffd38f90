//! In: a packed matrix on the host. Out: a Burn module that holds it on a device.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::kernels::linear::{Matrix, MatrixShape};
use crate::quant::Packed;

/// A linear layer without bias, or an embedding table, in packed form. Weight (out features, in features).
#[derive(Module, Debug)]
pub struct PackedLinear {
    words: Param<Tensor<1, Int>>,
    scales: Param<Tensor<1, Int>>,
    #[module(skip)]
    shape: MatrixShape,
}

impl PackedLinear {
    /// Moves a packed matrix to `device`.
    pub fn new(packed: Packed, device: &Device) -> Self {
        let shape = MatrixShape {
            rows: packed.rows,
            cols: packed.cols,
            format: packed.format,
        };
        let mut scales = packed.scale_words();
        if scales.is_empty() {
            // A tensor of nothing has no buffer to bind.
            scales.push(0);
        }
        Self {
            words: Param::initialized(ParamId::new(), word_tensor(packed.words, device)),
            scales: Param::initialized(ParamId::new(), word_tensor(scales, device)),
            shape,
        }
    }

    /// The tensors and their shape, as ops take them.
    pub fn matrix(&self) -> Matrix {
        Matrix {
            words: self.words.val(),
            scales: self.scales.val(),
            shape: self.shape,
        }
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        4 * (self.words.val().shape().num_elements() + self.scales.val().shape().num_elements())
    }
}

/// Words on a device, in a buffer of exactly their size that stays where it is.
pub(crate) fn word_tensor(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let len = words.len();
    let data = TensorData::new(words, [len]);
    device.memory_persistent_allocations(data, |data| Tensor::from_data(data, (device, DType::U32)))
}

/// Floats on a device, in a buffer of exactly their size that stays where it is.
pub(crate) fn float_tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    let data = TensorData::new(values, [len]);
    device.memory_persistent_allocations(data, |data| Tensor::from_data(data, (device, DType::F32)))
}
