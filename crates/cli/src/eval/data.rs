//! In: jobs and paths. Out: their items; files are read, unpacked and handed to the library's parsers.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::eval::data::MAX_FILE_BYTES;
use halfdepth::eval::{Files, Item, Task};
use halfdepth::tokenizer::Tokenizer;

use super::{Args, Job};
use crate::open::file_name;

/// The items of a job.
pub(super) fn items(args: &Args, job: &Job, tokenizer: &Tokenizer) -> Result<Vec<Item>> {
    match job {
        Job::Bench(task) => {
            let files = files(*task, args.data.as_deref())?;
            Ok(task.items(&files, args.limit, args.conduct.seed)?)
        }
        Job::Text(measure, path) => {
            let bytes = read(path)?;
            let text = String::from_utf8(bytes)
                .with_context(|| format!("{} is not UTF-8 text", path.display()))?;
            let ids = tokenizer.encode(&text, false)?;
            Ok(measure.items(&file_name(path), &ids, args.window, args.limit)?)
        }
    }
}

/// The files of a benchmark.
pub(crate) fn files(task: Task, folder: Option<&Path>) -> Result<Files> {
    let mut files = Files::new();
    for name in task.files() {
        let folder = folder.context("benchmarks need --data FOLDER, where their files are")?;
        let path = find(folder, &name).with_context(|| {
            format!(
                "{task} needs {}, which is not there",
                folder.join(&name).display()
            )
        })?;
        files.insert(name, read(&path)?);
    }
    Ok(files)
}

/// A file of the folder, packed or not; a text may also lie in the folder `text` beside it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let beside = folder.join("../text").join(name);
    let packed = folder.join(format!("{name}.bz2"));
    [folder.join(name), packed, beside]
        .into_iter()
        .find(|path| path.is_file())
}

/// A file's bytes, unpacked where its name ends in `.bz2`, and never more than the parsers take.
fn read(path: &Path) -> Result<Vec<u8>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    let read = match path.extension().is_some_and(|ending| ending == "bz2") {
        true => bzip2::read::MultiBzDecoder::new(file)
            .take(limit)
            .read_to_end(&mut bytes),
        false => file.take(limit).read_to_end(&mut bytes),
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > MAX_FILE_BYTES {
        bail!(
            "{} holds more than the {MAX_FILE_BYTES} bytes that are read; give a smaller file",
            path.display()
        );
    }
    Ok(bytes)
}
