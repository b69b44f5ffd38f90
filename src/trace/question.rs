//! In: a prompt, a subject and an answer as texts. Out: token ids, and which of them are the subject's.

use std::ops::Range;

use super::TraceError;
use crate::config::LlamaConfig;
use crate::tokenizer::Tokenizer;

/// A prompt as the model reads it, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The prompt's tokens, the begin token among them where the model expects one.
    pub prompt: Vec<u32>,
    /// Positions of the subject's tokens in the prompt, rising; none where there is no subject.
    pub subject: Vec<usize>,
    /// The tokens that are expected to follow; none where that is left to the model.
    pub answer: Vec<u32>,
}

/// Which of several places of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// The only one: more are an error.
    Only,
    /// One of them, from 1.
    Nth(usize),
    /// All of them.
    All,
}

impl Question {
    /// Encodes a prompt.
    ///
    /// # Errors
    /// The prompt is empty, or longer than the model's context.
    pub fn new(
        tokenizer: &Tokenizer,
        config: &LlamaConfig,
        prompt: &str,
    ) -> Result<Self, TraceError> {
        let spans = encode(tokenizer, config, prompt)?;
        let question = Self {
            prompt: spans.iter().map(|(id, _)| *id).collect(),
            subject: Vec::new(),
            answer: Vec::new(),
        };
        if prompt.is_empty() || question.prompt.is_empty() {
            return Err(TraceError::Empty { what: "prompt" });
        }
        question.fits(config)
    }

    /// Encodes a prompt, finds the subject in it, and encodes the answer after it.
    ///
    /// # Errors
    /// The subject is not there or is there several times, the answer's first token reaches into the prompt, a text is empty, or all
    /// is longer than the model's context.
    pub fn with_subject(
        tokenizer: &Tokenizer,
        config: &LlamaConfig,
        prompt: &str,
        (subject, occurrence): (&str, Occurrence),
        answer: Option<&str>,
    ) -> Result<Self, TraceError> {
        if prompt.is_empty() {
            return Err(TraceError::Empty { what: "prompt" });
        }
        let places = places(prompt, subject, occurrence)?;
        let whole = [prompt, answer.unwrap_or_default()].concat();
        let spans = encode(tokenizer, config, &whole)?;
        let split = match answer {
            Some(answer) => split(tokenizer, &spans, prompt, answer)?,
            None => spans.len(),
        };
        let is_subject = |span: &Range<usize>| {
            let overlaps = |place: &Range<usize>| span.start < place.end && place.start < span.end;
            places.iter().any(overlaps)
        };
        let (read, expected) = spans.split_at(split);
        let subject = read.iter().enumerate();
        let subject = subject.filter(|(_, (_, span))| is_subject(span));
        Self {
            subject: subject.map(|(at, _)| at).collect(),
            prompt: read.iter().map(|(id, _)| *id).collect(),
            // What a tokenizer puts after a whole text is no part of the answer.
            answer: (expected.iter())
                .filter(|(_, span)| !span.is_empty())
                .map(|(id, _)| *id)
                .collect(),
        }
        .fits(config)
    }

    fn fits(self, config: &LlamaConfig) -> Result<Self, TraceError> {
        // The answer's last token is only expected, never read.
        let tokens = self.prompt.len() + self.answer.len().saturating_sub(1);
        match tokens <= config.context {
            true => Ok(self),
            false => Err(TraceError::TooLong {
                tokens,
                context: config.context,
            }),
        }
    }
}

/// A text that spells its begin token gets no second one.
fn encode(
    tokenizer: &Tokenizer,
    config: &LlamaConfig,
    text: &str,
) -> Result<Vec<(u32, Range<usize>)>, TraceError> {
    tokenizer.fits(config.vocab_size)?;
    let begin = config.bos_token.and_then(|id| tokenizer.id_to_token(id));
    let has_begin = begin.is_some_and(|begin| !begin.is_empty() && text.starts_with(&begin));
    Ok(tokenizer.encode_with_spans(text, !has_begin)?)
}

/// Where the subject stands in the prompt, in bytes.
fn places(
    prompt: &str,
    subject: &str,
    occurrence: Occurrence,
) -> Result<Vec<Range<usize>>, TraceError> {
    if subject.is_empty() {
        return Err(TraceError::Empty { what: "subject" });
    }
    let places = prompt.match_indices(subject);
    let mut places: Vec<_> = places.map(|(at, text)| at..at + text.len()).collect();
    let (subject, found) = (subject.to_string(), places.len());
    match occurrence {
        _ if found == 0 => Err(TraceError::NoSubject { subject }),
        Occurrence::Only if found > 1 => Err(TraceError::SeveralSubjects { subject, found }),
        Occurrence::Only | Occurrence::All => Ok(places),
        Occurrence::Nth(asked) => match (1..=found).contains(&asked) {
            true => Ok(vec![places.swap_remove(asked - 1)]),
            false => Err(TraceError::NoSuchOccurrence {
                subject,
                asked,
                found,
            }),
        },
    }
}

/// The answer's first token.
fn split(
    tokenizer: &Tokenizer,
    spans: &[(u32, Range<usize>)],
    prompt: &str,
    answer: &str,
) -> Result<usize, TraceError> {
    if answer.is_empty() {
        return Err(TraceError::Empty { what: "answer" });
    }
    let end = prompt.len();
    let within = |span: &Range<usize>| span.start < end && span.end > end;
    if let Some((id, _)) = spans.iter().find(|(_, span)| within(span)) {
        let token = tokenizer.id_to_token(*id).unwrap_or_default();
        return Err(TraceError::Merged { token });
    }
    let first = spans
        .iter()
        .position(|(_, span)| span.start >= end && !span.is_empty());
    first.ok_or(TraceError::Empty { what: "answer" })
}
