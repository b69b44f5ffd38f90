//! In: how many words. Out: a tensor of so many on a device, and the [`Destination`] through which they get there later.
//!
//! A model is allocated before its weights have come, so that lanes can be made meanwhile. On a GPU that is a buffer, empty
//! and exact, that is written in place. On the CPU a tensor cannot be written while anyone else holds it: there the words wait
//! on the host, and become the tensor when it is first read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::module::{Param, ParamId, Parameter};
use burn::tensor::{Bytes, DType, Device, Int, Shape, Tensor, TensorData};
use cubecl::client::Client;
use cubecl::server::ServerError;
use thiserror::Error;

/// A tensor of words.
pub(super) type Words = Tensor<1, Int>;

/// Allocates on one device.
pub(super) struct Allocator<'d> {
    device: &'d Device,
    client: Option<Client>,
    /// Bytes that one tensor may have: what the device allocates and binds at once.
    pub(super) largest_tensor_bytes: u64,
}

impl<'d> Allocator<'d> {
    pub(super) fn new(device: &'d Device) -> Self {
        let probe: Words = Tensor::empty([1], (device, DType::U32));
        let probe = probe.try_into_primitive::<CubeBackend>();
        let client = probe.ok().map(|probe: CubeTensor| probe.client);
        let limit = client
            .as_ref()
            .map_or(u64::MAX, |client| client.properties().memory.max_page_size);
        Self {
            device,
            client,
            largest_tensor_bytes: limit.min(isize::MAX as u64),
        }
    }

    /// One that allocates on the CPU and refuses what this one would.
    pub(super) fn with_limits_only<'c>(&self, cpu: &'c Device) -> Allocator<'c> {
        Allocator {
            device: cpu,
            client: None,
            largest_tensor_bytes: self.largest_tensor_bytes,
        }
    }

    pub(super) fn device(&self) -> &Device {
        self.device
    }

    pub(super) fn words(&self, len: usize) -> (Param<Words>, Destination) {
        if self.client.is_some() {
            let tensor: Words = self.device.memory_persistent_allocations([len], |shape| {
                Tensor::empty(shape, (self.device, DType::U32))
            });
            if let Ok(primitive) = tensor.clone().try_into_primitive::<CubeBackend>() {
                let tensor = Param::initialized(ParamId::new(), tensor);
                return (tensor, Destination::on_device(len, primitive));
            }
        }
        self.later(len, word_tensor)
    }

    pub(super) fn floats(&self, len: usize) -> (Param<Tensor<1>>, Destination) {
        if self.client.is_some() {
            let tensor: Tensor<1> = self.device.memory_persistent_allocations([len], |shape| {
                Tensor::empty(shape, (self.device, DType::F32))
            });
            if let Ok(primitive) = tensor.clone().try_into_primitive::<CubeBackend>() {
                let tensor = Param::initialized(ParamId::new(), tensor);
                return (tensor, Destination::on_device(len, primitive));
            }
        }
        self.later(len, |words, device| {
            float_tensor(words.into_iter().map(f32::from_bits).collect(), device)
        })
    }

    /// A tensor that is made when it is first read.
    fn later<T: Parameter + 'static>(
        &self,
        len: usize,
        make: fn(Vec<u32>, &Device) -> T,
    ) -> (Param<T>, Destination) {
        let host = HostWords::new(len);
        let destination = Destination::one(len, Place::Host(host.clone()));
        let make = move |device: &Device, _| make(host.take(), device);
        let shape = Shape::from([len]);
        let id = ParamId::new();
        let tensor = Param::uninitialized(id, make, self.device.clone(), false, shape);
        (tensor, destination)
    }
}

/// Where the words of one section of a shard go: into one tensor, or into one after the other.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Each with its length in words.
    places: Vec<(u64, Place)>,
}

#[derive(Debug)]
enum Place {
    Device(Box<CubeTensor>),
    Host(HostWords),
}

/// A tensor was read before its words had come, and is what it was then.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the model was run before its weights had come; load it again")]
pub struct InUse;

impl Destination {
    fn one(words: usize, place: Place) -> Self {
        Self {
            places: vec![(words as u64, place)],
        }
    }

    fn on_device(words: usize, tensor: CubeTensor) -> Self {
        Self::one(words, Place::Device(Box::new(tensor)))
    }

    /// For a section without words.
    pub(super) fn none() -> Self {
        Self { places: Vec::new() }
    }

    /// The tensors of several row parts, one after the other.
    pub(super) fn joined(parts: impl IntoIterator<Item = Self>) -> Self {
        let places = parts.into_iter().flat_map(|part| part.places).collect();
        Self { places }
    }

    /// Puts whole little-endian words in their place, from word `first` on. What lies past the end is left out.
    pub(super) fn write(&self, first: u64, bytes: &[u8]) -> Result<(), InUse> {
        let (mut at, mut rest, mut start) = (first, bytes, 0);
        for (words, place) in &self.places {
            let end = start + words;
            if at < end && !rest.is_empty() {
                let bytes = usize::try_from(4 * (end - at)).unwrap_or(usize::MAX);
                let (here, later) = rest.split_at(bytes.min(rest.len()));
                place.write(*words, at - start, here)?;
                at += here.len() as u64 / 4;
                rest = later;
            }
            start = end;
        }
        Ok(())
    }

    /// Puts all words in their place.
    pub(super) fn fill(&self, mut words: Vec<u32>) {
        for (len, place) in &self.places {
            let here = usize::try_from(*len).unwrap_or(usize::MAX).min(words.len());
            let later = words.split_off(here);
            match place {
                Place::Device(to) => to.client.write(&to.handle, Bytes::from_elems(words)),
                Place::Host(host) => host.fill(words),
            }
            words = later;
        }
    }

    /// Hands on to the driver what was written, so that no copy of it stays on the host.
    pub(super) fn flush(&self) -> Result<(), ServerError> {
        // All tensors of a model share a client.
        match self.places.first() {
            Some((_, Place::Device(tensor))) => tensor.client.flush(),
            _ => Ok(()),
        }
    }
}

impl Place {
    fn write(&self, words: u64, first: u64, bytes: &[u8]) -> Result<(), InUse> {
        match self {
            Self::Device(to) => {
                // By way of the client and not of the raw buffer: cubecl may move a buffer until a graph holds it.
                let after = 4 * (words - first) - bytes.len() as u64;
                let here = to.handle.clone().offset_start(4 * first).offset_end(after);
                to.client
                    .write(&here, Bytes::from_bytes_vec(bytes.to_vec()));
                Ok(())
            }
            Self::Host(host) => host.write(first, bytes),
        }
    }
}

/// Words that wait for their tensor. They take memory as they come, not as a manifest promises; none once it was made.
#[derive(Clone, Debug)]
struct HostWords {
    len: usize,
    words: Arc<Mutex<Option<Vec<u32>>>>,
}

impl HostWords {
    fn new(len: usize) -> Self {
        let words = Arc::new(Mutex::new(Some(Vec::new())));
        Self { len, words }
    }

    fn write(&self, first: u64, bytes: &[u8]) -> Result<(), InUse> {
        let mut words = self.lock();
        let words = words.as_mut().ok_or(InUse)?;
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(self.len);
        let end = (first + bytes.len() / 4).min(self.len);
        if words.len() < end {
            words.resize(end, 0);
        }
        for (word, b) in words[first..end].iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
        Ok(())
    }

    fn fill(&self, words: Vec<u32>) {
        *self.lock() = Some(words);
    }

    fn take(&self) -> Vec<u32> {
        let mut words = self.lock().take().unwrap_or_default();
        words.resize(self.len, 0);
        // It grew by doubling.
        words.shrink_to_fit();
        words
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<u32>>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Words on a device, in a buffer of exactly their size that stays where it is.
pub(crate) fn word_tensor(words: Vec<u32>, device: &Device) -> Words {
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
