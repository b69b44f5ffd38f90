//! In: a path. Out: a memory-mapped checkpoint or pack: nothing is read before it is needed.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::checkpoint::{Checkpoint, HuggingFaceFiles, TokenizerSource, shard_names};
use halfdepth::pack::Manifest;
use halfdepth::tokenizer::Tokenizer;

/// What lies at a path.
pub(crate) enum Source {
    /// A Hugging Face folder or a GGUF file.
    Checkpoint(Box<Checkpoint<'static>>),
    /// A pack: its folder and its manifest.
    Pack(PathBuf, Box<Manifest>),
}

/// Opens a model folder, a GGUF file, a pack's folder or its manifest.
pub(crate) fn open(path: &Path) -> Result<Source> {
    if !path.exists() {
        bail!(
            "{} does not exist; name a model folder, a .gguf file or a pack",
            path.display()
        );
    }
    if path.is_dir() {
        if path.join("manifest.json").exists() {
            return open_pack(path);
        }
        return open_folder(path)
            .with_context(|| format!("cannot open the model in {}", path.display()));
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gguf") => {
            let checkpoint = Checkpoint::from_gguf(map(path)?)
                .with_context(|| format!("cannot open {}", path.display()))?;
            Ok(Source::Checkpoint(Box::new(checkpoint)))
        }
        Some("json") if path.ends_with("manifest.json") => {
            open_pack(path.parent().unwrap_or(Path::new(".")))
        }
        Some("safetensors") => open_folder(path.parent().unwrap_or(Path::new("."))),
        _ => bail!(
            "{} is no model: expected a folder with config.json, a .gguf file, or a pack's manifest.json",
            path.display()
        ),
    }
}

fn open_pack(folder: &Path) -> Result<Source> {
    let path = folder.join("manifest.json");
    let manifest =
        Manifest::parse(map(&path)?).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Source::Pack(folder.to_path_buf(), Box::new(manifest)))
}

fn open_folder(folder: &Path) -> Result<Source> {
    let optional = |file: &str| -> Result<Option<&'static [u8]>> {
        let path = folder.join(file);
        if path.exists() {
            map(&path).map(Some)
        } else {
            Ok(None)
        }
    };
    let index = optional("model.safetensors.index.json")?;
    let names = match index {
        Some(index) => shard_names(index).context("model.safetensors.index.json")?,
        None => vec!["model.safetensors".to_string()],
    };
    let shards: Result<Vec<_>> = names
        .into_iter()
        .map(|name| Ok((name.clone(), map(&folder.join(&name))?)))
        .collect();
    let files = HuggingFaceFiles {
        config: map(&folder.join("config.json"))?,
        generation_config: optional("generation_config.json")?,
        index,
        shards: shards?,
        tokenizer: optional("tokenizer.json")?,
        tokenizer_config: optional("tokenizer_config.json")?,
        chat_template: optional("chat_template.jinja")?,
    };
    Ok(Source::Checkpoint(Box::new(Checkpoint::from_hugging_face(
        files,
    )?)))
}

/// Maps a file for the life of the process.
#[allow(unsafe_code)]
pub(crate) fn map(path: &Path) -> Result<&'static [u8]> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.metadata()?.len() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the map is read only, and never unmapped. A file that is cut short while it is mapped ends the process
    // with SIGBUS; every tool that maps checkpoints takes that.
    let map = unsafe { memmap2::Mmap::map(&file) }
        .with_context(|| format!("cannot map {}", path.display()))?;
    Ok(&**Box::leak(Box::new(map)))
}

/// The last part of a path; of `..`, nothing.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What a model at a path is called: the name of its folder, or of its file without the ending.
pub(crate) fn model_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    path.file_stem()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A checkpoint's tokenizer.
pub(crate) fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer> {
    match checkpoint.tokenizer() {
        TokenizerSource::Json { tokenizer, .. } => Ok(Tokenizer::from_json(tokenizer)?),
        TokenizerSource::Gguf(vocabulary) => Ok(Tokenizer::from_gguf(vocabulary)?),
        TokenizerSource::Missing => {
            bail!("the model has no tokenizer; put its tokenizer.json beside the weights")
        }
    }
}
