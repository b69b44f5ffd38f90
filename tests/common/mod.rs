//! What the tests share.

use std::path::{Path, PathBuf};

/// A file or folder of the shared data. That it is missing fails the test.
pub(crate) fn shared(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(path);
    assert!(path.exists(), "{} is missing", path.display());
    path
}
