//! In: the name of what is to be written. Out: a part beside it, which gets the name when it is whole and is gone otherwise.
//!
//! A program that is killed leaves `NAME.part`; the next run that writes to the same name removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::prune::{Content, PruneError, RECORD};

use crate::conduct::{is_full, part_of, write_part};

/// Stands in an unfinished folder, so that no other folder is ever taken for one and removed.
const MARK: &str = ".halfdepth-unfinished";

/// What of a Hugging Face folder does not depend on the layers.
const OTHER_FILES: [&str; 13] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// Refuses a name that is taken.
pub(super) fn refuse_existing(output: &Path) -> Result<()> {
    if output.file_name().is_none() {
        bail!("{} names nothing to write", output.display());
    }
    if output.exists() {
        bail!(
            "{} exists already; give another name, or remove it first",
            output.display()
        );
    }
    Ok(())
}

/// Says what to do where the disk is full.
pub(super) fn say_full(error: anyhow::Error) -> anyhow::Error {
    let is_full = error.chain().any(|cause| {
        let direct = cause.downcast_ref::<std::io::Error>();
        let wrapped = match cause.downcast_ref::<PruneError>() {
            Some(PruneError::Write(error)) => Some(error),
            _ => None,
        };
        direct
            .or(wrapped)
            .is_some_and(|error| is_full(error.kind()))
    });
    match is_full {
        true => {
            error.context("the disk is full: make room and run the command again; nothing was kept")
        }
        false => error,
    }
}

/// A folder that is not finished.
pub(super) struct FolderPart {
    path: PathBuf,
}

impl FolderPart {
    pub(super) fn begin(output: &Path) -> Result<Self> {
        let path = part_of(output);
        if path.join(MARK).exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir(&path).with_context(|| cannot_make(&path))?;
        // From here on the folder is removed whatever happens.
        let part = Self { path };
        File::create(part.path.join(MARK))
            .with_context(|| format!("cannot write to {}", part.path.display()))?;
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn put(&self, name: &str, content: &mut Content) -> Result<(), PruneError> {
        write_part(&self.path.join(name), content)
    }

    /// Copies what does not depend on the layers and was not written.
    pub(super) fn copy_others(&self, from: &Path) -> Result<()> {
        for name in OTHER_FILES {
            let (source, copy) = (from.join(name), self.path.join(name));
            if source.is_file() && !copy.exists() {
                fs::copy(&source, &copy)
                    .with_context(|| format!("cannot copy {}", source.display()))?;
            }
        }
        debug_assert!(!OTHER_FILES.contains(&RECORD));
        Ok(())
    }

    pub(super) fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.path)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }

    pub(super) fn finish(self, output: &Path) -> Result<()> {
        fs::remove_file(self.path.join(MARK))?;
        fs::rename(&self.path, output)
            .with_context(|| format!("cannot name it {}", output.display()))
    }
}

impl Drop for FolderPart {
    fn drop(&mut self) {
        // Not there any more where it was finished.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A file that is not finished.
pub(super) struct FilePart {
    path: PathBuf,
}

impl FilePart {
    pub(super) fn begin(output: &Path) -> Result<Self> {
        let path = part_of(output);
        if path.is_dir() {
            bail!("{} is a folder in the way; move it", path.display());
        }
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, content: &mut Content) -> Result<()> {
        write_part(&self.path, content)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub(super) fn finish(self, output: &Path) -> Result<()> {
        fs::rename(&self.path, output)
            .with_context(|| format!("cannot name it {}", output.display()))
    }
}

impl Drop for FilePart {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn cannot_make(path: &Path) -> String {
    format!(
        "cannot make {}; is its folder there, and is nothing of that name in the way?",
        path.display()
    )
}
