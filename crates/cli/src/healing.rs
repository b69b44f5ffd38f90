//! A healing's folder: `healing.json` and `healing.safetensors`, and of a low-rank one PEFT's files in `adapter/`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use halfdepth::config::LlamaConfig;
use halfdepth::heal::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, HEALING, Healing, PeftFiles, Record, TENSORS,
};
use halfdepth::prune::RecordSource;

use crate::conduct::{read_at_most, write_whole};
use crate::dense::Model;
use crate::open;

/// The folder, in a healing's folder, of the adapter in PEFT's files.
pub(crate) const ADAPTER: &str = "adapter";

const MAX_RECORD_BYTES: usize = 1 << 20;

/// Whether a healing lies there.
pub(crate) fn is_healing(path: &Path) -> bool {
    path.join(HEALING).is_file()
}

/// A healing's record, without its weights.
pub(crate) fn read_record(folder: &Path) -> Result<Record> {
    let path = folder.join(HEALING);
    if !path.is_file() {
        bail!(
            "{} is no folder that `halfdepth heal` wrote: there is no {HEALING} in it",
            folder.display()
        );
    }
    Record::parse(&read_at_most(&path, MAX_RECORD_BYTES)?)
        .with_context(|| format!("cannot use {}", path.display()))
}

/// Opens a healing of a model of this shape that has one of these hashes.
pub(crate) fn open(folder: &Path, config: &LlamaConfig, hashes: &[String]) -> Result<Healing> {
    let usable = || format!("cannot use {}", folder.display());
    read_record(folder)?.is_for(hashes).with_context(usable)?;
    let record = read_at_most(&folder.join(HEALING), MAX_RECORD_BYTES)?;
    let tensors = open::map(&folder.join(TENSORS))?;
    Healing::from_files(&record, tensors, config).with_context(usable)
}

/// Refuses a folder that holds a healing or something else.
pub(crate) fn refuse_existing(folder: &Path) -> Result<()> {
    if folder.exists() {
        bail!(
            "{} exists already; give another name, or remove it first",
            folder.display()
        );
    }
    Ok(())
}

/// Writes a healing. The record is last: without it the folder is none.
pub(crate) fn write(
    folder: &Path,
    healing: &Healing,
    config: &LlamaConfig,
    adapter: Option<&PeftFiles>,
) -> Result<()> {
    let files = healing.to_files(config)?;
    let make = |folder: &Path| {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
    };
    make(folder)?;
    if let Some(adapter) = adapter {
        let folder = folder.join(ADAPTER);
        make(&folder)?;
        write_whole(&folder.join(ADAPTER_CONFIG), adapter.config.as_bytes())?;
        write_whole(&folder.join(ADAPTER_WEIGHTS), &adapter.weights)?;
    }
    write_whole(&folder.join(TENSORS), &files.tensors)?;
    write_whole(&folder.join(HEALING), files.record.as_bytes())
}

/// What a healing of this model notes of it.
pub(crate) fn source(model: &Model) -> RecordSource {
    RecordSource {
        name: model.name().to_string(),
        kind: model.kind().to_string(),
        sha256: model.sha256(),
        layers: model.source().config().layers,
    }
}
