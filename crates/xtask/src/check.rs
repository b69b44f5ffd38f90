//! The quick checks: formatting, clippy, and the page's types and lints.

use crate::process::{self, command};
use crate::{npm, wasm};
use anyhow::{Context, Result};

/// Runs all of them; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    wasm::install_target()?;
    npm::install()?;
    format()?;
    clippy_native()?;
    clippy_wasm()?;
    page()
}

/// rustfmt, changing nothing.
pub(crate) fn format() -> Result<()> {
    process::run(command("cargo").args(["fmt", "--all", "--check"]))
        .context("some Rust is not formatted; `cargo fmt --all` does it")
}

/// What is built together natively: the workspace's default members, then xtask. One selection of both would give
/// shared dependencies another set of features, and Burn would be compiled again.
pub(crate) const NATIVE: &[&[&str]] = &[&[], &["-p", "xtask"]];

/// Clippy over everything that runs natively.
pub(crate) fn clippy_native() -> Result<()> {
    NATIVE
        .iter()
        .try_for_each(|selection| clippy(&[*selection, &["--all-targets"]].concat()))
        .context("clippy")
}

/// Clippy over the page's engine.
pub(crate) fn clippy_wasm() -> Result<()> {
    clippy(&["-p", "halfdepth-wasm", "--target", wasm::TARGET]).context("clippy for wasm")
}

/// TypeScript, eslint and prettier.
pub(crate) fn page() -> Result<()> {
    process::run(&mut npm::script("check")).context("the page's types, lints or layout")
}

fn clippy(what: &[&str]) -> Result<()> {
    process::run(
        command("cargo")
            .arg("clippy")
            .args(what)
            .args(["--", "-D", "warnings"]),
    )
}
