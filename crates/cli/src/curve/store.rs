//! Points on disk: one file, to which points are only ever added.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use halfdepth::curve::{Measured, State, record};

use crate::conduct::write_whole;

/// What was measured, in memory and on disk.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    state: State,
    /// Points that were there already.
    pub(super) found: usize,
}

impl Store {
    /// Opens a store, or begins one. A line that was cut off is left out.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let state = State::parse(&text).with_context(|| path.display().to_string())?;
        write_whole(path, state.to_text().as_bytes())?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_path_buf(),
            file: file.with_context(|| format!("cannot write {}", path.display()))?,
            state,
            found: 0,
        })
    }

    /// A point: taken from the store, or measured and noted, on disk before in memory.
    pub(super) fn point(
        &mut self,
        key: String,
        measure: impl FnOnce() -> Result<Measured>,
    ) -> Result<Measured> {
        if let Some(known) = self.state.get(&key) {
            self.found += 1;
            return Ok(known.clone());
        }
        let measured = measure()?;
        let line = record(&key, &measured);
        self.file.write_all(line.as_bytes()).with_context(|| {
            format!(
                "cannot write {}; make room, or name another folder with --output, and run the command again",
                self.path.display()
            )
        })?;
        self.state.insert(key, measured.clone());
        Ok(measured)
    }
}
