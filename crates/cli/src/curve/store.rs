//! Points on disk, and in memory.

use std::path::Path;

use anyhow::{Context, Result};
use halfdepth::curve::{Measured, State, record};

use crate::journal::{self, Journal};

/// What was measured, in memory and on disk.
pub(super) struct Store {
    journal: Journal,
    state: State,
    /// Points that were there already.
    pub(super) found: usize,
}

impl Store {
    /// Opens a store, or begins one. A line that was cut off is left out.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let state =
            State::parse(&journal::read(path)?).with_context(|| path.display().to_string())?;
        Ok(Self {
            journal: Journal::begin(path, &state.to_text(), "--output")?,
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
        self.journal.add(&record(&key, &measured))?;
        self.state.insert(key, measured.clone());
        Ok(measured)
    }
}
