//! In: a healing. Out: its folder; and back.

use std::path::Path;

use anyhow::{Context, Result};
use halfdepth::config::LlamaConfig;
use halfdepth::heal::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter, HEALING, Healing, TENSORS};

use crate::conduct::{read_at_most, write_whole};
use crate::open;

/// Reads a healing's folder.
pub(super) fn read(folder: &Path, config: &LlamaConfig) -> Result<Healing> {
    let record = read_at_most(&folder.join(HEALING), 1 << 20)
        .with_context(|| format!("{} is no healing", folder.display()))?;
    let tensors = open::map(&folder.join(TENSORS))?;
    Healing::from_files(&record, tensors, config)
        .with_context(|| format!("cannot use {}", folder.display()))
}

/// Writes a healing's folder. The record comes last: where it stands, all else does.
pub(super) fn write(
    folder: &Path,
    healing: &Healing,
    adapter: Option<&Adapter>,
    config: &LlamaConfig,
) -> Result<()> {
    let files = healing.to_files(config)?;
    write_whole(&folder.join(TENSORS), &files.tensors)?;
    if let Some(adapter) = adapter {
        let folder = folder.join("adapter");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let files = adapter.to_peft(&healing.record.plan()?, config, None)?;
        write_whole(&folder.join(ADAPTER_CONFIG), files.config.as_bytes())?;
        write_whole(&folder.join(ADAPTER_WEIGHTS), &files.weights)?;
    }
    write_whole(&folder.join(HEALING), files.record.as_bytes())
}
