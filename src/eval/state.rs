//! Half-done evaluations as text: a line that says of what, then a line an item. Lines are only ever added, so that what was done
//! when a run was killed is there for the next.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Answer, Ask, EvalError, Item};
use crate::checkpoint::hex;

/// The state's `format`.
pub const STATE_FORMAT: &str = "halfdepth-eval-state";
/// The version this code writes and reads.
pub const STATE_VERSION: u64 = 1;

/// Of what an answer is an answer: model, plan, prompts. Two equal keys have equal answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateKey(String);

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    item: usize,
    answer: Answer,
}

impl StateKey {
    /// The key of a task's items asked of `model`: hashes and settings, whatever tells one model at one plan from another.
    pub fn new(model: &[&str], items: &[Item]) -> Self {
        let mut hash = Sha256::new();
        for part in model {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        for item in items {
            // Debug text names every field; when an item's shape changes, so does the key.
            hash.update(format!("{item:?}"));
        }
        Self(hex(&hash.finalize()))
    }

    /// Its first sixteen digits: a file's name.
    pub fn short(&self) -> &str {
        &self.0[..16]
    }
}

/// The first line of a state.
pub fn header(key: &StateKey) -> String {
    let header = Header {
        format: STATE_FORMAT.into(),
        version: STATE_VERSION,
        key: key.0.clone(),
    };
    serde_json::to_string(&header).unwrap_or_default() + "\n"
}

/// The line of an answer.
pub fn record(item: usize, answer: &Answer) -> String {
    let line = Line {
        item,
        answer: answer.clone(),
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// The answers a state holds, one place an item. A last line that was cut off is passed over, as is a whole state that is cut off
/// before its first line ends.
///
/// # Errors
/// It is the state of something else, or a line is not what this code writes.
pub fn parse_state(
    text: &str,
    key: &StateKey,
    items: &[Item],
) -> Result<Vec<Option<Answer>>, EvalError> {
    let wrong = |reason: String| EvalError::State { reason };
    let mut answers = vec![None; items.len()];
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines = whole.lines();
    let Some(first) = lines.next() else {
        return Ok(answers);
    };
    let header: Header =
        serde_json::from_str(first).map_err(|error| wrong(format!("line 1: {error}")))?;
    if header.format != STATE_FORMAT || header.version != STATE_VERSION {
        return Err(wrong("it has another format or version".into()));
    }
    if header.key != key.0 {
        return Err(wrong("it is of another model, plan or data".into()));
    }
    for (number, line) in lines.enumerate() {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| wrong(format!("line {}: {error}", number + 2)))?;
        let fits = items
            .get(line.item)
            .is_some_and(|item| fits(&item.ask, &line.answer));
        if !fits {
            return Err(wrong(format!("line {} answers no item", number + 2)));
        }
        answers[line.item] = Some(line.answer);
    }
    Ok(answers)
}

/// Whether an answer is of the kind that is asked for.
fn fits(ask: &Ask, answer: &Answer) -> bool {
    match (ask, answer) {
        (Ask::Choice { requests, .. }, Answer::Choice { logs, .. }) => {
            logs.len() == requests.len() && logs.iter().all(|log| log.is_finite())
        }
        (Ask::Greedy(_), Answer::Greedy { log, .. }) => log.is_finite(),
        (Ask::Page { .. } | Ask::Window(_), Answer::Log { log, .. }) => log.is_finite(),
        (Ask::Compare(_), Answer::Distance { kl, .. }) => kl.is_finite(),
        (Ask::Number { .. }, Answer::Number { .. })
        | (Ask::Repetition { .. }, Answer::Repetition { .. }) => true,
        _ => false,
    }
}
