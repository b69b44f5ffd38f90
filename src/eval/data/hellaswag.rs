//! HellaSwag's text form, six lines an item: context, label, four endings.
//!
//! The form joined the two parts of a context. lm-evaluation-harness writes the second one with a capital and the rest of it
//! small; where that part can be told (a last sentence begun in lower case and not ended, as all captions have it), so does this.

use super::super::prompt::hellaswag_cleaned;
use super::{At, EvalError, Question};

const LINES: usize = 6;

/// HellaSwag's items, cleaned as the harness cleans them.
///
/// # Errors
/// It is no such text.
pub fn hellaswag(file: &str, bytes: &[u8]) -> Result<Vec<Question>, EvalError> {
    let at = At { file, unit: "item" };
    let lines: Vec<&str> = at.text(bytes)?.lines().collect();
    if lines.len() % LINES != 0 {
        return Err(at.whole(format!("{} lines are no multiple of {LINES}", lines.len())));
    }
    let mut questions = Vec::new();
    for item in lines.chunks_exact(LINES) {
        let number = questions.len() + 1;
        let (activity, context) = item[0]
            .split_once(": ")
            .ok_or_else(|| at.error(number, "the context names no activity"))?;
        let context = format!("{activity}: {}", with_capital(context));
        let answer = item[1].parse();
        questions.push(Question {
            text: hellaswag_cleaned(&context),
            options: item[2..]
                .iter()
                .map(|line| hellaswag_cleaned(line))
                .collect(),
            answer: answer.map_err(|_| at.error(number, "the label is no number"))?,
        });
    }
    at.checked(questions)
}

/// The context with its unfinished last sentence written as Python's `capitalize` does.
fn with_capital(context: &str) -> String {
    let Some(end) = context.rfind(['.', '!', '?']) else {
        return context.to_string();
    };
    let (before, last) = context.split_at(end + 1);
    match last.strip_prefix(' ') {
        Some(last) if last.starts_with(|c: char| c.is_ascii_lowercase()) => {
            let (first, rest) = last.split_at(1);
            format!("{before} {}{}", first.to_uppercase(), rest.to_lowercase())
        }
        _ => context.to_string(),
    }
}
