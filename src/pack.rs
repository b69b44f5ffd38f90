//! The files a browser (or the command line) fetches instead of a checkpoint: `manifest.json` and one shard a layer,
//! named by its SHA-256; embedding, head and tokenizer apart. Byte layout: docs/format.md.
//! Bytes in, bytes out: who stores or fetches them is the caller's business.

mod document;
mod healed;
mod manifest;
mod random;
mod shard;
mod stream;
mod version1;
mod write;

use crate::config::ConfigError;
use crate::plan::PlanError;
use crate::weights::WeightsError;

pub use self::healed::add_healed;
pub use self::manifest::{
    Evaluation, File, FileInfo, Manifest, PackFormats, Role, Source, VERSION,
};
pub use self::random::write_random;
pub use self::shard::ShardBytes;
pub use self::stream::{FileStream, Piece};
pub use self::write::{PackOptions, write};

/// The manifest's name in every pack.
pub const MANIFEST: &str = "manifest.json";

/// Why a pack cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Too long for a manifest.
    #[error(
        "pack: the manifest has {bytes} bytes, more than the {limit} it may have; is it the right file?"
    )]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Something else than a manifest.
    #[error(
        "pack: this is not the manifest of a Halfdepth pack ({reason}); give the address of a folder made by `halfdepth pack`"
    )]
    NotAPack {
        /// What is there.
        reason: String,
    },
    /// Made for another version of this program.
    #[error("pack: the pack has format version {found}, this program reads version {known}; {}", if found > known { "reload the page or update halfdepth" } else { "make the pack again with `halfdepth pack`" })]
    Version {
        /// Version in the manifest.
        found: u64,
        /// The version this code reads.
        known: u64,
    },
    /// A manifest that contradicts itself.
    #[error("pack: the manifest is damaged: `{field}` {reason}; make the pack again")]
    Manifest {
        /// Where.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// The model's shape is unusable.
    #[error("pack: {0}")]
    Config(#[from] ConfigError),
    /// A plan is unusable.
    #[error("pack: {0}")]
    Plan(#[from] PlanError),
    /// A plan that the pack does not have.
    #[error("pack: there is no plan `{found}`; the pack has: {known}")]
    NoSuchPlan {
        /// The name asked for.
        found: String,
        /// The names there are.
        known: String,
    },
    /// A layer that the pack does not have.
    #[error("pack: there is no layer {layer}; the pack has {layers}")]
    NoSuchLayer {
        /// The layer asked for.
        layer: usize,
        /// Layers there are.
        layers: usize,
    },
    /// A part other than a layer that the pack does not have.
    #[error("pack: there is no {role}; make the pack again")]
    NoSuchPart {
        /// The part.
        role: Role,
    },
    /// Healed weights that cannot be a plan of this pack.
    #[error("pack: the healed plan `{plan}` cannot be added: {reason}")]
    Healed {
        /// Plan name.
        plan: String,
        /// Why not.
        reason: String,
    },
    /// A file shorter or longer than the manifest says.
    #[error(
        "pack: {file} ({role}) has {found} bytes, the manifest says {expected}; download it again"
    )]
    Length {
        /// File name.
        file: String,
        /// What it holds.
        role: Role,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// A file whose content is not what was packed.
    #[error("pack: {file} ({role}) is damaged: its SHA-256 is {found}; download it again")]
    Hash {
        /// File name, which holds the right hash.
        file: String,
        /// What it holds.
        role: Role,
        /// Hash of the bytes given.
        found: String,
    },
    /// A NaN or an infinity.
    #[error(
        "pack: {file} ({role}) holds a value that is not finite in `{section}`; make the pack again from a sound checkpoint"
    )]
    NonFinite {
        /// File name.
        file: String,
        /// What it holds.
        role: Role,
        /// Which part of it.
        section: &'static str,
    },
    /// The checkpoint could not be read or packed.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file could not be stored.
    #[error("pack: {file} could not be written: {source}")]
    Write {
        /// File name.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("pack: {file} could not be read: {source}")]
    Read {
        /// File name.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}
