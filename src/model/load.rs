//! A model from a pack whose files arrive in chunks: allocated first, then filled in place as the bytes come.
//!
//! The model can be given to lanes at once: pipelines are compiled and graphs captured over buffers whose content is still
//! to come. Nothing that such a pass computes may be looked at before [`Loader::holds`] says so.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::Device;
use cubecl::server::ServerError;
use thiserror::Error;

use super::storage::{Allocator, Destination, InUse};
use super::{BuildError, Destinations, Llama};
use crate::pack::{FileStream, Manifest, PackError, Role};
use crate::plan::LanePlan;

/// Takes a pack's files in any order and in chunks of any size, and puts them on the device as they come.
#[derive(Debug)]
pub struct Loader {
    manifest: Manifest,
    model: Arc<Llama>,
    destinations: Destinations,
    files: HashMap<String, FileState>,
    /// Gathered while it arrives, since a tokenizer is made of the whole file.
    tokenizer: Vec<u8>,
}

#[derive(Debug)]
enum FileState {
    Waiting,
    /// One stream for each role: layers of equal content share a file.
    Arriving(Vec<(Role, FileStream)>),
    Verified,
}

/// Why a chunk was not taken. The file it belongs to is to be sent again from its first byte.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The bytes are not those of the pack.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A file that the pack does not have.
    #[error("{file} is no file of this pack; send those that the manifest lists")]
    NoSuchFile {
        /// Its name.
        file: String,
    },
    /// A chunk that does not follow the one before it.
    #[error(
        "{file}: the next byte is {expected}, but the chunk begins at {found}; send what follows, or the file from byte 0"
    )]
    Gap {
        /// File name.
        file: String,
        /// Bytes taken so far.
        expected: u64,
        /// Where the chunk says that it begins.
        found: u64,
    },
    /// The model was run too early.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// The device failed or was lost.
    #[error("the device failed: {reason}; load the model again")]
    Device {
        /// What the driver said.
        reason: String,
    },
}

impl Loader {
    /// Allocates the model of a pack on `device`.
    ///
    /// # Errors
    /// The device cannot hold one of its tensors.
    pub fn new(manifest: &Manifest, device: &Device) -> Result<Self, BuildError> {
        let (model, destinations) = allocate(manifest, &Allocator::new(device))?;
        let files = manifest.files().into_iter();
        Ok(Self {
            manifest: manifest.clone(),
            model: Arc::new(model),
            destinations,
            files: files.map(|info| (info.file, FileState::Waiting)).collect(),
            tokenizer: Vec::new(),
        })
    }

    /// Whether [`Loader::new`] would take this pack, without the memory.
    ///
    /// # Errors
    /// The device cannot hold one of its tensors.
    pub fn fits(manifest: &Manifest, device: &Device) -> Result<(), BuildError> {
        // On the CPU room costs nothing before there are words.
        let cpu = Device::flex();
        let trial = Allocator::new(device).with_limits_only(&cpu);
        allocate(manifest, &trial).map(drop)
    }

    /// The model; how much of it has come is for the loader to say.
    pub fn model(&self) -> &Arc<Llama> {
        &self.model
    }

    /// Takes the bytes of `file` from byte `at` on; byte 0 begins the file anew. Gives whether the file is whole and verified;
    /// once it is, more of it is ignored.
    ///
    /// # Errors
    /// The bytes are not the file's, or a chunk is missing, or the device failed. The file then has to come again from byte 0.
    pub fn load_chunk(&mut self, file: &str, at: u64, bytes: &[u8]) -> Result<bool, LoadError> {
        let Some(state) = self.files.get_mut(file) else {
            return Err(no_such_file(file));
        };
        if matches!(state, FileState::Verified) {
            return Ok(true);
        }
        // Whatever fails below, the file is waited for again.
        let mut streams = match std::mem::replace(state, FileState::Waiting) {
            FileState::Arriving(streams) if at > 0 => streams,
            _ => begin(&self.manifest, file)?,
        };
        for (role, stream) in &mut streams {
            follows(file, stream, at)?;
            self.take(*role, stream, bytes)?;
        }
        let whole = |(_, stream): &(_, FileStream)| stream.received() == stream.expected();
        if !streams.iter().all(whole) {
            self.set(file, FileState::Arriving(streams));
            return Ok(false);
        }
        for (_, stream) in streams {
            stream.finish()?;
        }
        self.set(file, FileState::Verified);
        Ok(true)
    }

    /// Says that a file has ended: a shorter one than the manifest promises is refused, and waited for again.
    ///
    /// # Errors
    /// The file is not whole.
    pub fn end_of(&mut self, file: &str) -> Result<(), LoadError> {
        let streams = match self.files.get_mut(file) {
            Some(FileState::Verified) => return Ok(()),
            Some(state) => match std::mem::replace(state, FileState::Waiting) {
                FileState::Arriving(streams) => streams,
                _ => begin(&self.manifest, file)?,
            },
            None => return Err(no_such_file(file)),
        };
        for (_, stream) in streams {
            stream.finish()?;
        }
        Ok(())
    }

    /// Whether everything that a lane of this plan runs on has come and was verified.
    pub fn holds(&self, plan: &LanePlan) -> bool {
        let mut roles = Role::of_plan(plan).into_iter();
        roles.all(|role| self.is_verified(role))
    }

    /// Whether every file has come and was verified.
    pub fn is_complete(&self) -> bool {
        let mut states = self.files.values();
        states.all(|state| matches!(state, FileState::Verified))
    }

    /// The verified bytes of `tokenizer.json`, handed over once.
    pub fn take_tokenizer(&mut self) -> Option<Vec<u8>> {
        let ready = self.is_verified(Role::Tokenizer) && !self.tokenizer.is_empty();
        ready.then(|| std::mem::take(&mut self.tokenizer))
    }

    fn take(&mut self, role: Role, stream: &mut FileStream, bytes: &[u8]) -> Result<(), LoadError> {
        if role == Role::Tokenizer {
            if stream.received() == 0 {
                self.tokenizer.clear();
            }
            stream.push(bytes, &mut |_| ())?;
            self.tokenizer.extend_from_slice(bytes);
            return Ok(());
        }
        let destinations = self.destinations.get(&role).map_or(&[][..], Vec::as_slice);
        let mut written = Ok(());
        stream.push(bytes, &mut |piece| {
            if let (Ok(()), Some(to)) = (written, destinations.get(piece.section)) {
                written = to.write(piece.first_word, piece.bytes);
            }
        })?;
        written?;
        let first = destinations.first().map(Destination::flush);
        first.unwrap_or(Ok(())).map_err(failed)
    }

    fn is_verified(&self, role: Role) -> bool {
        let of_role = self.manifest.file(role);
        of_role.is_some_and(|file| matches!(self.files.get(file), Some(FileState::Verified)))
    }

    fn set(&mut self, file: &str, state: FileState) {
        if let Some(place) = self.files.get_mut(file) {
            *place = state;
        }
    }
}

fn allocate(
    manifest: &Manifest,
    allocator: &Allocator,
) -> Result<(Llama, Destinations), BuildError> {
    let config = manifest.config().clone();
    Llama::allocate(config, &manifest.model_formats(), allocator)
}

fn begin(manifest: &Manifest, file: &str) -> Result<Vec<(Role, FileStream)>, LoadError> {
    let roles = manifest.roles(file).into_iter();
    roles
        .map(|role| Ok((role, manifest.stream(role)?)))
        .collect()
}

fn follows(file: &str, stream: &FileStream, at: u64) -> Result<(), LoadError> {
    let expected = stream.received();
    if at == expected {
        return Ok(());
    }
    Err(LoadError::Gap {
        file: file.to_owned(),
        expected,
        found: at,
    })
}

fn no_such_file(file: &str) -> LoadError {
    LoadError::NoSuchFile {
        file: file.chars().take(80).collect(),
    }
}

fn failed(error: ServerError) -> LoadError {
    LoadError::Device {
        reason: error.to_string(),
    }
}
