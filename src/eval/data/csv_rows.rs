//! MMLU's CSV files: `question,choice0,choice1,choice2,choice3,answer`, the answer counted from 0.
//!
//! RFC 4180 in forty lines: the `csv` crate would switch on a feature of serde under Burn, and with it build all of Burn again.

use super::{At, EvalError, Question};

const HEADER: [&str; 6] = [
    "question", "choice0", "choice1", "choice2", "choice3", "answer",
];

/// One subject's questions.
///
/// # Errors
/// It is no such CSV.
pub fn mmlu(file: &str, bytes: &[u8]) -> Result<Vec<Question>, EvalError> {
    let at = At { file, unit: "row" };
    let mut rows = rows(at.text(bytes)?).into_iter();
    if rows.next().is_none_or(|header| header != HEADER) {
        return Err(at.whole(format!("it does not begin with `{}`", HEADER.join(","))));
    }
    let mut questions = Vec::new();
    for row in rows {
        let number = questions.len() + 1;
        let fields = row.len();
        let Ok([text, a, b, c, d, answer]) = <[String; 6]>::try_from(row) else {
            return Err(at.error(number, format!("{fields} fields, where 6 belong")));
        };
        let answer = answer.parse();
        questions.push(Question {
            text,
            options: vec![a, b, c, d],
            answer: answer.map_err(|_| at.error(number, "the answer is no number"))?,
        });
    }
    at.checked(questions)
}

/// Rows of fields. A field in quotes may hold commas, line ends, and quotes written twice; a quote that is never closed takes the
/// rest of the text.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field) = (Vec::new(), String::new());
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            ',' if !is_quoted => row.push(std::mem::take(&mut field)),
            '\r' if !is_quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
