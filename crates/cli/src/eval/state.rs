//! What was answered, on disk: one file for each model, plan and task, to which answers are only ever added.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::eval::{Answer, Item, StateKey, header, parse_state, record};

use crate::journal::{self, Journal};

/// An open state file.
pub(super) struct State {
    journal: Journal,
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
        let text = match fresh {
            true => String::new(),
            false => journal::read(&path)?,
        };
        let answers = parse_state(&text, key, items).with_context(|| path.display().to_string())?;
        let answered = answers.iter().enumerate();
        let kept = answered.filter_map(|(item, answer)| Some(record(item, answer.as_ref()?)));
        let kept = header(key) + &kept.collect::<String>();
        Ok(Self {
            journal: Journal::begin(&path, &kept, "--state")?,
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
        self.journal.add(&lines)?;
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
