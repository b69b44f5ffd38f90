//! Remembers what a step was made from, so that it can be left out while nothing changed.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The inputs of a step, boiled down.
#[derive(Default)]
pub(crate) struct Inputs(Sha256);

impl Inputs {
    /// A version, a flag, a folder's name: anything that changes the output.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.part(text.as_bytes());
        self
    }

    /// A file's contents, or every file's below a folder, with their names; a missing path counts as such.
    pub(crate) fn path(mut self, path: &Path) -> Result<Self> {
        for file in files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file);
            self.part(name.as_os_str().as_encoded_bytes());
            self.part(
                &std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?,
            );
        }
        self.part(path.exists().to_string().as_bytes());
        Ok(self)
    }

    fn part(&mut self, bytes: &[u8]) {
        // Lengths keep two parts from being taken for one.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn digest(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Runs `make` unless `outputs` all exist and were made from the same inputs; says which.
pub(crate) fn unless_fresh(
    stamp: &Path,
    inputs: Inputs,
    outputs: &[PathBuf],
    make: impl FnOnce() -> Result<()>,
) -> Result<bool> {
    let digest = inputs.digest();
    let known = std::fs::read_to_string(stamp).unwrap_or_default();
    if known == digest && outputs.iter().all(|output| output.exists()) {
        return Ok(false);
    }
    // A step that is interrupted half way must not look done.
    let _ = std::fs::remove_file(stamp);
    make()?;
    if let Some(folder) = stamp.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(stamp, digest).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(true)
}

/// Every file at or below `path`, sorted; none if there is nothing.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        for entry in entries {
            found.extend(files(
                &entry
                    .with_context(|| format!("reading {}", path.display()))?
                    .path(),
            )?);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_runs_again_only_when_an_input_or_an_output_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("in/sub")).unwrap();
        std::fs::write(at("in/sub/a"), "1").unwrap();
        let made = |version: &str| {
            let inputs = Inputs::default().text(version).path(&at("in")).unwrap();
            unless_fresh(&at("stamps/step"), inputs, &[at("out")], || {
                Ok(std::fs::write(at("out"), "made")?)
            })
            .unwrap()
        };
        assert!(made("v1"), "never made");
        assert!(!made("v1"), "nothing changed");
        std::fs::write(at("in/sub/a"), "2").unwrap();
        assert!(made("v1"), "contents changed");
        std::fs::rename(at("in/sub/a"), at("in/sub/b")).unwrap();
        assert!(made("v1"), "a name changed");
        assert!(made("v2"), "the version changed");
        std::fs::remove_file(at("out")).unwrap();
        assert!(made("v2"), "the output is gone");
        assert!(!made("v2"), "nothing changed again");
    }

    #[test]
    fn a_step_that_failed_is_not_taken_for_done() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = dir.path().join("stamp");
        let inputs = || Inputs::default().text("x");
        assert!(unless_fresh(&stamp, inputs(), &[], || anyhow::bail!("half way")).is_err());
        assert!(unless_fresh(&stamp, inputs(), &[], || Ok(())).unwrap());
    }
}
