//! BoolQ (a JSON array), LAMBADA and GSM8K (an object a line).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{At, EvalError, Problem, YesNo};

/// BoolQ's questions.
///
/// # Errors
/// It is no such JSON.
pub fn boolq(file: &str, bytes: &[u8]) -> Result<Vec<YesNo>, EvalError> {
    let at = At { file, unit: "item" };
    let items: Vec<YesNo> =
        serde_json::from_str(at.text(bytes)?).map_err(|error| at.whole(error.to_string()))?;
    not_empty(at, items)
}

/// LAMBADA's passages: at least two words each, the last of which is to be found.
///
/// # Errors
/// It is no such file.
pub fn lambada(file: &str, bytes: &[u8]) -> Result<Vec<String>, EvalError> {
    #[derive(Deserialize)]
    struct Row {
        text: String,
    }
    let at = At { file, unit: "line" };
    let rows: Vec<Row> = lines(at, bytes)?;
    for (index, row) in rows.iter().enumerate() {
        if row
            .text
            .rsplit_once(' ')
            .is_none_or(|(_, last)| last.is_empty())
        {
            return Err(at.error(index + 1, "there is no last word after a space"));
        }
    }
    Ok(rows.into_iter().map(|row| row.text).collect())
}

/// GSM8K's problems.
///
/// # Errors
/// It is no such file.
pub fn gsm8k(file: &str, bytes: &[u8]) -> Result<Vec<Problem>, EvalError> {
    let at = At { file, unit: "line" };
    let problems: Vec<Problem> = lines(at, bytes)?;
    for (index, problem) in problems.iter().enumerate() {
        if !problem.answer.contains("#### ") {
            return Err(at.error(index + 1, "the answer has no number after `####`"));
        }
    }
    Ok(problems)
}

fn lines<T: DeserializeOwned>(at: At, bytes: &[u8]) -> Result<Vec<T>, EvalError> {
    let mut rows = Vec::new();
    for (index, line) in at.text(bytes)?.lines().enumerate() {
        let row = serde_json::from_str(line);
        rows.push(row.map_err(|error| at.error(index + 1, error.to_string()))?);
    }
    not_empty(at, rows)
}

fn not_empty<T>(at: At, items: Vec<T>) -> Result<Vec<T>, EvalError> {
    match items.is_empty() {
        true => Err(at.whole("it holds no item")),
        false => Ok(items),
    }
}
