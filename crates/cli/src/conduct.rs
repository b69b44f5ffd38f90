//! How every verb behaves: flags they share, and files written whole or not at all.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Flags of every verb that measures or makes something.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Conduct {
    /// One JSON object on standard output instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Whatever is drawn at random is drawn from this
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Writes a file whole or not at all: under its name stands the old content or the new, never a part. A program that is killed
/// meanwhile leaves `NAME.part` beside it; the name is fixed, so that the next run overwrites and removes it.
///
/// # Errors
/// The disk is full, or the folder cannot be written to.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole_with(path, |file| file.write_all(bytes))
}

/// As [`write_whole`], for content that is not in memory as a whole.
///
/// # Errors
/// As [`write_whole`]; or what `content` returns.
pub(crate) fn write_whole_with(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    if path.file_name().is_none() {
        bail!("{} names no file to write", path.display());
    }
    let part = part_of(path);
    let done = write_part(&part, content).and_then(|()| std::fs::rename(&part, path));
    done.map_err(|error| {
        let _ = std::fs::remove_file(&part);
        let way_out = match error.kind() {
            kind if is_full(kind) => "; the disk is full: make room and run the command again",
            ErrorKind::NotFound => "; make the folder first",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot write {}{way_out}", path.display()))
    })
}

/// Reads a file that a person or a verb made, which is never large.
///
/// # Errors
/// It cannot be read, or is larger than any real one.
pub(crate) fn read_at_most(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > limit {
        bail!(
            "{} has more than {limit} bytes; is it the right file?",
            path.display()
        );
    }
    Ok(bytes)
}

/// Makes the folder that a file is to be written to.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display())),
        _ => Ok(()),
    }
}

/// Where what is to be named `path` is written.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// Whether there was no room.
pub(crate) fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Writes a file to the disk itself.
///
/// # Errors
/// It cannot be written; or what `content` returns.
pub(crate) fn write_part<E: From<std::io::Error>>(
    part: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = BufWriter::new(File::create(part)?);
    content(&mut file)?;
    // Before it gets its name: a name must not survive a power cut that the bytes do not.
    let file = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_written_leaves_the_old_one_and_no_part() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scan.json");
        write_whole(&path, b"old").expect("writes");
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let error = write_whole_with(&path, |file| {
                file.write_all(b"half of the n")?;
                Err(kind.into())
            });
            let message = error.expect_err("fails").to_string();
            assert_eq!(
                message.contains("the disk is full"),
                kind == ErrorKind::StorageFull,
                "{message}"
            );
            assert_eq!(std::fs::read(&path).expect("reads"), b"old");
            assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1);
        }
        write_whole(&path, b"new").expect("writes");
        assert_eq!(std::fs::read(&path).expect("reads"), b"new");
    }

    #[test]
    fn a_full_disk_is_named() {
        // The device that is always full; only Linux has it.
        if !Path::new("/dev/full").exists() {
            return;
        }
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let error = full.and_then(|mut file| file.write_all(b"x"));
        assert_eq!(error.expect_err("full").kind(), ErrorKind::StorageFull);
    }
}
