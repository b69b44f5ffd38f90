//! MMLU's CSV files: `question,choice0,choice1,choice2,choice3,answer`, the answer counted from 0.

use serde::Deserialize;

use super::{At, EvalError, Question};

#[derive(Deserialize)]
struct Row {
    question: String,
    choice0: String,
    choice1: String,
    choice2: String,
    choice3: String,
    answer: usize,
}

/// One subject's questions.
///
/// # Errors
/// It is no such CSV.
pub fn mmlu(file: &str, bytes: &[u8]) -> Result<Vec<Question>, EvalError> {
    let at = At { file, unit: "row" };
    let text = at.text(bytes)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut questions = Vec::new();
    for row in reader.deserialize::<Row>() {
        let row = row.map_err(|error| at.error(questions.len() + 1, error.to_string()))?;
        questions.push(Question {
            text: row.question,
            options: vec![row.choice0, row.choice1, row.choice2, row.choice3],
            answer: row.answer,
        });
    }
    at.checked(questions)
}
