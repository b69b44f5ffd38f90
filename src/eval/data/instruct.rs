//! ARC, OpenBookQA, PIQA and WinoGrande in the form of an instruction, taken apart again: question, options, answer.

use serde::Deserialize;

use super::{At, EvalError, Question};

/// How a file names and parts the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Answer1: … Answer2: …`: ARC, OpenBookQA.
    Answer,
    /// `Solution1: …`, an empty line, `Solution2: …`: PIQA.
    Solution,
    /// `Option1: … Option2: …`: WinoGrande.
    Option,
}

#[derive(Deserialize)]
struct Row {
    instruction: String,
    answer: String,
}

impl Form {
    fn label(self) -> &'static str {
        match self {
            Self::Answer => "Answer",
            Self::Solution => "Solution",
            Self::Option => "Option",
        }
    }

    /// What stands before the question ends with this.
    fn lead(self) -> &'static str {
        match self {
            Self::Answer | Self::Solution => "to the question: ",
            Self::Option => "the given sentence: ",
        }
    }

    /// What stands between two options. Options keep all other space: it is the data set's own, and is scored.
    fn gap(self) -> &'static str {
        match self {
            Self::Answer | Self::Option => " ",
            Self::Solution => "\n\n",
        }
    }
}

/// The questions of a file in instruct form.
///
/// # Errors
/// It is no such JSON, or an instruction is not of the form.
pub fn instruct(file: &str, bytes: &[u8], form: Form) -> Result<Vec<Question>, EvalError> {
    let at = At { file, unit: "item" };
    let rows: Vec<Row> =
        serde_json::from_str(at.text(bytes)?).map_err(|error| at.whole(error.to_string()))?;
    let mut questions = Vec::new();
    for row in &rows {
        let question = take_apart(row, form).map_err(|part| {
            at.error(
                questions.len() + 1,
                format!("the instruction has no {part}"),
            )
        })?;
        questions.push(question);
    }
    at.checked(questions)
}

/// The question, or what was looked for in vain.
fn take_apart(row: &Row, form: Form) -> Result<Question, String> {
    let label = form.label();
    let part = |text: &str| format!("`{text}`");
    let (body, format) =
        (row.instruction.rsplit_once("Answer format: ")).ok_or_else(|| part("Answer format: "))?;
    let count = format.split('/').count();
    let first = format!("\n\n{label}1: ");
    let (question, mut rest) = body.split_once(&first).ok_or_else(|| part(&first))?;
    let (_, question) = question
        .split_once(form.lead())
        .ok_or_else(|| part(form.lead()))?;
    let mut options = Vec::new();
    for number in 2..=count {
        let next = format!("{}{label}{number}: ", form.gap());
        let (option, after) = rest.split_once(&next).ok_or_else(|| part(&next))?;
        options.push(option.to_string());
        rest = after;
    }
    let end = match form {
        Form::Answer | Form::Solution => "\n\n",
        Form::Option => " ",
    };
    options.push(rest.strip_suffix(end).unwrap_or(rest).to_string());
    let answer = row.answer.strip_prefix(&label.to_lowercase());
    let answer: usize = answer
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| part("answer"))?;
    Ok(Question {
        text: question.to_string(),
        options,
        answer: answer.checked_sub(1).ok_or_else(|| part("answer"))?,
    })
}
