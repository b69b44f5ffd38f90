//! Where a model runs: the GPU through wgpu, with graph capture, or the CPU through Burn's Flex backend.

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::Bytes;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use cubecl::client::Client;

use super::DecodeError;
use super::self_test::self_test;
use crate::kernels::IntSlot;

/// Launches that one submit may hold: more than a batch of tokens needs, so that a batch is one submit.
const TASKS_MAX: usize = 1 << 14;

/// Opens the GPU and has it prove that it computes. In a browser this asks for an adapter; natively it takes the best one.
///
/// # Errors
/// No adapter, or it refused a device, or it computes wrongly.
pub async fn open_gpu() -> Result<(Device, GpuInfo), DecodeError> {
    let (device, setup) = Device::wgpu_options()
        .tasks_max(TASKS_MAX)
        .init_with_setup_async()
        .await
        .map_err(|error| DecodeError::NoGpu {
            reason: error.to_string(),
        })?;
    let info = setup.adapter.get_info();
    let gpu = GpuInfo {
        name: info.name,
        driver: info.driver,
        software: info.device_type == burn::backend::wgpu::wgpu::DeviceType::Cpu,
        largest_binding: setup.device.limits().max_storage_buffer_binding_size,
    };
    self_test(&device).await?;
    Ok((device, gpu))
}

/// What is known about the GPU.
#[derive(Clone, Debug)]
pub struct GpuInfo {
    /// The adapter's name; browsers may hide it.
    pub name: String,
    /// The driver's name; browsers hide it.
    pub driver: String,
    /// Whether the "GPU" is a program on the CPU.
    pub software: bool,
    /// Bytes that one tensor may have.
    pub largest_binding: u64,
}

/// The CPU.
pub fn cpu() -> Device {
    Device::flex()
}

/// Overwrites the first words of a tensor in place.
pub(crate) fn write_words(slot: &mut IntSlot<1>, words: &[u32]) {
    slot.update(
        |tensor| match tensor.clone().try_into_primitive::<CubeBackend>() {
            Ok(primitive) => {
                let handle = primitive.handle.clone();
                primitive
                    .client
                    .write(&handle, Bytes::from_elems(words.to_vec()));
                tensor
            }
            Err(_) => {
                let device = tensor.device();
                let mut all: Vec<u32> = tensor.into_data().iter::<u32>().collect();
                all[..words.len()].copy_from_slice(words);
                let len = all.len();
                Tensor::<1, Int>::from_data(TensorData::new(all, [len]), (&device, DType::U32))
            }
        },
    );
}

/// The GPU's client, or `None` on the CPU.
pub(crate) fn client(tensor: Tensor<1, Int>) -> Option<Client> {
    let primitive: CubeTensor = tensor.try_into_primitive::<CubeBackend>().ok()?;
    Some(primitive.client)
}
