//! In: the bytes of a benchmark's file, hostile until parsed. Out: its questions.

mod csv_rows;
mod hellaswag;
mod instruct;
mod json_rows;

use super::EvalError;

pub use self::csv_rows::mmlu;
pub use self::hellaswag::hellaswag;
pub use self::instruct::{Form, instruct};
pub use self::json_rows::{boolq, gsm8k, lambada};

/// No benchmark's file comes near it.
pub const MAX_FILE_BYTES: usize = 256 << 20;

/// A question with options, one of which is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked, or what is to be continued.
    pub text: String,
    /// Two or more.
    pub options: Vec<String>,
    /// Position of the right one.
    pub answer: usize,
}

/// A question about a passage, answered by yes or no.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct YesNo {
    /// What is to be read.
    pub passage: String,
    /// Without a question mark.
    pub question: String,
    /// Whether yes is right.
    pub answer: bool,
}

/// A problem whose answer is a number.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Problem {
    /// What is asked.
    pub question: String,
    /// The way to the number, and the number after `####`.
    pub answer: String,
}

/// Puts the file and the place to a reason.
#[derive(Clone, Copy)]
struct At<'n> {
    file: &'n str,
    unit: &'static str,
}

impl At<'_> {
    /// The item or line with this number, counted from 1.
    fn error(self, number: usize, reason: impl Into<String>) -> EvalError {
        EvalError::Data {
            file: self.file.into(),
            place: format!("{} {number}", self.unit),
            reason: reason.into(),
        }
    }

    fn whole(self, reason: impl Into<String>) -> EvalError {
        EvalError::Data {
            file: self.file.into(),
            place: "the whole file".into(),
            reason: reason.into(),
        }
    }

    fn text(self, bytes: &[u8]) -> Result<&str, EvalError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(self.whole(format!(
                "it has {} bytes, more than the {MAX_FILE_BYTES} that are read",
                bytes.len()
            )));
        }
        std::str::from_utf8(bytes).map_err(|error| self.whole(format!("it is not UTF-8: {error}")))
    }

    /// Questions of which there is at least one, each with something in every option.
    fn checked(self, questions: Vec<Question>) -> Result<Vec<Question>, EvalError> {
        for (index, question) in questions.iter().enumerate() {
            if question.options.len() < 2 || question.answer >= question.options.len() {
                let reason = format!(
                    "the answer is {} of {} options",
                    question.answer,
                    question.options.len()
                );
                return Err(self.error(index + 1, reason));
            }
            if question.options.iter().any(String::is_empty) {
                return Err(self.error(index + 1, "an option is empty"));
            }
        }
        match questions.is_empty() {
            true => Err(self.whole("it holds no item")),
            false => Ok(questions),
        }
    }
}
