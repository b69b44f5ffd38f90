//! In: a checkpoint and a plan of whole layers. Out: the files of a model that has those layers and no others: a Hugging Face
//! folder or a GGUF file, written tensor by tensor through the caller's `put`, and a [`Record`] of where each layer came from.
//!
//! Nothing is computed but what another format asks for: tensors keep their type and their bytes. [`verify`] then runs what was
//! written beside the source.

mod encode;
mod folder;
mod gguf;
mod gguf_file;
mod gguf_metadata;
mod hugging_face_config;
mod record;
mod safetensors_file;
mod verify;

use std::io::Write;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::dense::DenseError;
use crate::plan::LayerPlan;
use crate::tokenizer::TokenizerError;
use crate::weights::WeightsError;

pub use self::encode::NumberType;
pub use self::folder::{FolderOptions, SHARD_BYTES, write_folder};
pub use self::gguf::{recorded_layers, write_gguf};
pub use self::record::{RECORD, Record, RecordSource};
pub use self::verify::{Expected, Verified, verify};

/// What is to be cut out of what.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'c> {
    /// The whole model.
    pub checkpoint: &'c Checkpoint<'c>,
    /// The layers that stay.
    pub plan: &'c LayerPlan,
    /// Where they come from.
    pub record: &'c Record,
}

impl Cut<'_> {
    /// `PREFIX` + `N.…` under the layer's new number; `None` for a layer that is left out. Other names stay.
    fn renumbered(&self, prefix: &str, name: &str) -> Option<String> {
        let Some(rest) = name.strip_prefix(prefix) else {
            return Some(name.to_string());
        };
        let (number, rest) = rest.split_once('.')?;
        let number: usize = number.parse().ok()?;
        let layers = &self.plan.layers;
        let position = layers.iter().position(|layer| *layer == number)?;
        Some(format!("{prefix}{position}.{rest}"))
    }
}

/// Writes a file's content, once, to where the caller says.
pub type Content<'w> = dyn FnMut(&mut dyn Write) -> Result<(), PruneError> + 'w;

/// Takes one file: its name, and what writes its content.
pub type Put<'p> = dyn FnMut(&str, &mut Content) -> Result<(), PruneError> + 'p;

/// Why a model cannot be cut, written or verified.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its weights cannot be converted.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer cannot be converted.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// What was written cannot be run.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// Something that the format asked for cannot hold.
    #[error("prune: {what} cannot be written to {format}; {way_out}")]
    NoPlace {
        /// What.
        what: String,
        /// Where to.
        format: &'static str,
        /// What to do instead.
        way_out: &'static str,
    },
    /// `config.json` is not what it was when the checkpoint was opened, or a list in it has another length than the layers.
    #[error("prune: config.json: {reason}; is the folder complete?")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// A number that the type asked for cannot hold.
    #[error(
        "prune: tensor `{tensor}` holds {value:e}, which {number_type} cannot; ask for a wider type"
    )]
    TooLarge {
        /// Its name.
        tensor: String,
        /// The value.
        value: f32,
        /// The type.
        number_type: &'static str,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Write(#[from] std::io::Error),
    /// What was written is another model.
    #[error(
        "prune: what was written does not do what the source does: {reason}; nothing was kept. Check the disk, and report this if it is sound"
    )]
    Differs {
        /// How.
        reason: String,
    },
    /// A record that cannot be read.
    #[error("prune: {RECORD} cannot be read ({reason}); remove it to go on without")]
    BadRecord {
        /// Why.
        reason: String,
    },
}
