//! Lines on disk, to which lines are only ever added, so that what was done when a run was ended is there for the next.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::conduct::write_whole;

/// A journal that is open for more.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    flag: &'static str,
}

/// What an earlier run left; nothing where there was none. Bytes that are no UTF-8 are for the parser to refuse.
pub(crate) fn read(path: &Path) -> Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Journal {
    /// Begins anew with `kept`: what was read, but for a line that was cut off. `flag` is what names another place for it.
    pub(crate) fn begin(path: &Path, kept: &str, flag: &'static str) -> Result<Self> {
        write_whole(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_path_buf(),
            file: file.with_context(|| format!("cannot write {}", path.display()))?,
            flag,
        })
    }

    /// Adds whole lines.
    pub(crate) fn add(&mut self, lines: &str) -> Result<()> {
        self.file.write_all(lines.as_bytes()).with_context(|| {
            format!(
                "cannot write {}; make room, or name another folder with {}, and run the command again",
                self.path.display(),
                self.flag
            )
        })
    }
}
