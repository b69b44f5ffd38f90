//! Where things lie in the repository.

use std::path::{Path, PathBuf};

/// The repository's root; commands work from any folder inside it.
pub(crate) fn root() -> PathBuf {
    // crates/xtask is two levels down; the variable is set by `cargo run`, and right also after the clone has been moved.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.ancestors().nth(2).unwrap_or(&manifest).to_owned()
}

/// `path` below the root, or as it is when absolute.
pub(crate) fn at(path: impl AsRef<Path>) -> PathBuf {
    root().join(path)
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| at("target"), at)
}

/// Our own folder for stamps and reports, inside cargo's, so that `cargo clean` forgets them.
pub(crate) fn scratch() -> PathBuf {
    target().join("xtask")
}
