//! The whole page in one folder, which works from any path of any static host.

use crate::{bundle, npm, wasm};
use anyhow::Result;
use std::path::Path;

/// How a page is built.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct SiteOptions {
    /// Leave out wasm-opt: minutes faster to build, three times as large to load
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Builds the page into `out`; steps whose inputs did not change are left out.
pub(crate) fn build(out: &Path, options: &SiteOptions) -> Result<()> {
    npm::install()?;
    wasm::build(!options.quick)?;
    bundle::build(out)?;
    eprintln!("page: {}", out.display());
    Ok(())
}
