//! What was answered, on disk: one file for each model, plan and task, to which answers are only ever added.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::eval::{Answer, Item, StateKey, header, parse_state, record};

use crate::conduct::write_whole_with;

/// An open state file.
pub(super) struct State {
    path: PathBuf,
    file: File,
    /// One place an item.
    pub(super) answers: Vec<Option<Answer>>,
}

impl State {
    /// Opens the state of a key, reads what was answered, and leaves out a line that was cut off.
    pub(super) fn open(folder: &Path, key: &StateKey, items: &[Item], fresh: bool) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| {
            format!(
                "cannot make {}; name another folder with --state",
                folder.display()
            )
        })?;
        let path = folder.join(format!("{}.jsonl", key.short()));
        let text = match std::fs::read(&path) {
            _ if fresh => String::new(),
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let answers = parse_state(&text, key, items).with_context(|| path.display().to_string())?;
        write_whole_with(&path, |file| {
            file.write_all(header(key).as_bytes())?;
            for (item, answer) in answers.iter().enumerate() {
                if let Some(answer) = answer {
                    file.write_all(record(item, answer).as_bytes())?;
                }
            }
            Ok(())
        })?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            file,
            answers,
        })
    }

    /// The numbers of the items not answered yet.
    pub(super) fn open_items(&self) -> Vec<usize> {
        let unanswered =
            |(index, answer): (usize, &Option<Answer>)| answer.is_none().then_some(index);
        self.answers
            .iter()
            .enumerate()
            .filter_map(unanswered)
            .collect()
    }

    /// Notes answers, on disk before in memory.
    pub(super) fn add(&mut self, items: &[usize], answers: Vec<Answer>) -> Result<()> {
        if items.len() != answers.len() {
            bail!("{} items have {} answers", items.len(), answers.len());
        }
        let lines: String = items
            .iter()
            .zip(&answers)
            .map(|(item, answer)| record(*item, answer))
            .collect();
        self.file.write_all(lines.as_bytes()).with_context(|| {
            format!(
                "cannot write {}; make room, or name another folder with --state, and run the command again",
                self.path.display()
            )
        })?;
        for (item, answer) in items.iter().zip(answers) {
            self.answers[*item] = Some(answer);
        }
        Ok(())
    }
}

/// Where states lie unless told otherwise.
pub(super) fn default_folder() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let cache = from("XDG_CACHE_HOME")
        .or_else(|| from("LOCALAPPDATA"))
        .map(PathBuf::from)
        .or_else(|| from("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache =
        cache.context("there is no home folder; name a folder for what is done with --state")?;
    Ok(cache.join("halfdepth/eval"))
}
