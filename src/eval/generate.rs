//! Greedy continuations: who writes them, the number found in one, and how much one repeats itself.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

use super::EvalError;
use crate::decode::{Lane, Turn, TurnRequest};
use crate::dense::Dense;
use crate::tokenizer::Tokenizer;

/// What writes greedy continuations.
pub enum Writer<'w> {
    /// A lane: fast, and what the page runs.
    Lane(&'w mut Lane),
    /// The dense model, which reads everything again for every token: for plans that mute sublayers, which no lane knows.
    Dense(&'w Dense<'w>),
}

/// What ends a continuation.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'e> {
    /// Tokens at most.
    pub max_tokens: usize,
    /// Texts that end it and do not appear in it.
    pub stops: &'e [String],
}

impl Writer<'_> {
    /// The likeliest tokens after a prompt, one after the other, and their text.
    ///
    /// # Errors
    /// The prompt is empty or fills the context, or the device failed.
    pub async fn continue_greedily(
        &mut self,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        ends: Ends<'_>,
    ) -> Result<(Vec<u32>, String), EvalError> {
        match self {
            Self::Lane(lane) => from_lane(lane, tokenizer, prompt, ends).await,
            Self::Dense(dense) => from_dense(dense, tokenizer, prompt, ends),
        }
    }
}

async fn from_lane(
    lane: &mut Lane,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    ends: Ends<'_>,
) -> Result<(Vec<u32>, String), EvalError> {
    let request = TurnRequest {
        prompt: prompt.to_vec(),
        max_tokens: ends.max_tokens,
        stop: ends.stops.to_vec(),
        ..TurnRequest::default()
    };
    // Times are not asked for.
    let mut turn = Turn::start(lane, tokenizer, request, || 0.0)?;
    let mut text = String::new();
    loop {
        let step = turn.step(lane, tokenizer).await?;
        text.push_str(&step.text);
        if step.finish.is_some() {
            return Ok((turn.tokens().to_vec(), text));
        }
    }
}

fn from_dense(
    dense: &Dense,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    ends: Ends<'_>,
) -> Result<(Vec<u32>, String), EvalError> {
    let config = dense.config();
    let mut ids = prompt.to_vec();
    loop {
        let written = &ids[prompt.len()..];
        let text = tokenizer.decode(written, true)?;
        let stop = ends.stops.iter().filter_map(|stop| text.find(stop)).min();
        if let Some(stop) = stop {
            return Ok((written.to_vec(), text[..stop].to_string()));
        }
        if written.len() >= ends.max_tokens || ids.len() >= config.context {
            return Ok((written.to_vec(), text));
        }
        let logits = dense.logits(&[&ids])?.concat();
        let next = (0..logits.len()).fold(0, |best, at| match logits[at] > logits[best] {
            true => at,
            false => best,
        });
        if config.eos_tokens.contains(&(next as u32)) {
            return Ok((written.to_vec(), text));
        }
        ids.push(next as u32);
    }
}

/// Tokens of a GSM8K answer at most, as in the harness.
pub(super) const ANSWER_TOKENS: usize = 256;

/// The last number of a text, as the harness's `flexible-extract` finds it; `[invalid]` where there is none.
pub fn extract_number(text: &str) -> String {
    static NUMBER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(-?[$0-9.,]{2,})|(-?[0-9]+)").ok());
    let found = NUMBER
        .as_ref()
        .and_then(|number| number.find_iter(text).last());
    found
        .map_or("[invalid]", |found| found.as_str())
        .to_string()
}

/// Whether two numbers are the same once commas, dollar signs, what stands before `#### ` and a dot at the end are left aside.
pub(super) fn same_number(found: &str, gold: &str) -> bool {
    bare(found) == bare(gold)
}

fn bare(text: &str) -> String {
    let text = text.replace([',', '$'], "");
    let text = text
        .rsplit_once("#### ")
        .map_or(text.as_str(), |(_, number)| number);
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

/// (repeated, all): the 4-grams of a list of tokens that came before in it, and all of them. Their ratio is `seq-rep-4` of
/// Welleck et al. 2020: one less the share of distinct ones.
pub fn repeated_4grams(tokens: &[u32]) -> (usize, usize) {
    let grams = tokens.windows(4);
    let all = grams.len();
    let distinct: HashSet<&[u32]> = grams.collect();
    (all - distinct.len(), all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_found_and_compared() {
        let rows = [
            ("so 3 + 4 = 7 eggs.", "7", "Way\n#### 7", true),
            ("She has $1,200.", "$1,200.", "#### 1200", true),
            ("-5 degrees", "-5", "-5", true),
            ("no number", "[invalid]", "#### 3", false),
            ("12 and 13", "13", "#### 12", false),
        ];
        for (text, number, gold, same) in rows {
            let found = extract_number(text);
            assert_eq!(
                (found.as_str(), same_number(&found, gold)),
                (number, same),
                "{text}"
            );
        }
    }

    #[test]
    fn a_4gram_counts_as_repeated_from_its_second_time_on() {
        assert_eq!(repeated_4grams(&[1, 2, 3]), (0, 0));
        assert_eq!(repeated_4grams(&[1, 2, 3, 4, 5]), (0, 2));
        assert_eq!(repeated_4grams(&[7; 10]), (6, 7));
    }
}
