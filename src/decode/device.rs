//! Where a model runs: the GPU through wgpu, with graph capture, or the CPU through Burn's Flex backend.

use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::Bytes;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use cubecl::client::Client;

use super::DecodeError;
use super::lane::{Reading, lost, refused};
use super::self_test::self_test;
use crate::kernels::{IntSlot, Prefill, SHARING, Variant};

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
        // In browsers wgpu does not know the feature; who asked for it knows.
        subgroup: setup
            .device
            .features()
            .contains(burn::backend::wgpu::wgpu::Features::SUBGROUP)
            .then_some(info.subgroup_min_size as usize)
            .filter(|size| size.is_power_of_two()),
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
    /// The least size of a subgroup, where the device has subgroups.
    pub subgroup: Option<usize>,
    /// Bytes that one tensor may have.
    pub largest_binding: u64,
}

impl GpuInfo {
    /// The CPU backend, where one of these is asked for.
    pub fn cpu() -> Self {
        Self {
            name: "cpu".to_string(),
            driver: "Burn Flex".to_string(),
            software: true,
            subgroup: None,
            largest_binding: isize::MAX as u64,
        }
    }

    /// A variant, if the device has what it needs.
    ///
    /// # Errors
    /// It exchanges values within subgroups that the device does not have.
    pub fn checked(&self, variant: Variant) -> Result<Variant, DecodeError> {
        match variant.subgroup() {
            Some(size) if self.subgroup.is_none_or(|least| least < size) => {
                Err(DecodeError::Request {
                    reason: format!(
                        "{variant} needs subgroups of {size}, which {} does not offer",
                        self.name
                    ),
                })
            }
            _ => Ok(variant),
        }
    }

    /// The kernels to begin with, before any trial.
    pub fn variant(&self) -> Variant {
        if !self.software {
            return Variant::PLAIN;
        }
        let prefill = match self.subgroup {
            Some(least) if least >= SHARING => Prefill::Shared,
            _ => Prefill::Direct,
        };
        Variant {
            prefill,
            ..Variant::SOFTWARE
        }
    }
}

/// The CPU.
pub fn cpu() -> Device {
    Device::flex()
}

/// The GPU for the crate's own tests, which run side by side in a process where Burn registers it once; `None`, with a line that is
/// counted, where there is no adapter.
#[cfg(test)]
pub(crate) fn test_gpu(test: &str) -> Option<Device> {
    use std::sync::OnceLock;
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| Some(pollster::block_on(open_gpu()).ok()?.0));
    if gpu.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no GPU adapter; install mesa-vulkan-drivers"
        );
        eprintln!("halfdepth-skip: {test}: no adapter");
    }
    gpu.clone()
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

/// Asks for a tensor's words as they are now, after all that was launched before; what is launched later does not show. On the GPU
/// the copy is on its way when this returns; on the CPU it is made when the answer is awaited.
pub(super) fn read_words_ahead(tensor: Tensor<1, Int>) -> Reading {
    match tensor.clone().try_into_primitive::<CubeBackend>() {
        Ok(primitive) => begun(Box::pin(async move {
            let copy = primitive.client.read_async(vec![primitive.handle.clone()]);
            let bytes = copy.await.map_err(refused)?;
            let words = bytes.iter().flat_map(|bytes| bytes.chunks_exact(4));
            Ok(words
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect())
        })),
        Err(_) => Box::pin(async move {
            let data = tensor.into_data_async().await.map_err(lost)?;
            Ok(data.iter::<u32>().collect())
        }),
    }
}

/// Polls a future once, so that what it asks of the device is asked now; whoever awaits it later is woken as usual.
fn begun<T: Send + 'static>(
    mut future: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(done) => Box::pin(ready(done)),
        Poll::Pending => future,
    }
}

/// The GPU's client, or `None` on the CPU.
pub(crate) fn client(tensor: Tensor<1, Int>) -> Option<Client> {
    let primitive: CubeTensor = tensor.try_into_primitive::<CubeBackend>().ok()?;
    Some(primitive.client)
}
