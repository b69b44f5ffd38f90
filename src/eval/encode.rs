//! In: a context and a continuation as text. Out: their token ids, split and cut exactly as lm-evaluation-harness does it.

use super::{EvalError, Request};
use crate::config::LlamaConfig;
use crate::tokenizer::Tokenizer;

/// Turns requests into token ids for one model.
#[derive(Clone, Debug)]
pub struct Encoder<'t> {
    tokenizer: &'t Tokenizer,
    prefix: u32,
    /// How the prefix token is spelled: a text that begins with it gets no other.
    prefix_text: String,
    context: usize,
}

/// Token ids of a request: what is read, then what is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// At least one token.
    pub context: Vec<u32>,
    /// At least one token.
    pub continuation: Vec<u32>,
    /// Whether tokens at the left were left out, since the model's context holds no more.
    pub is_cut: bool,
}

impl<'t> Encoder<'t> {
    /// An encoder for a model of this shape.
    ///
    /// # Errors
    /// The model names neither a begin nor an end token, or the tokenizer is another model's.
    pub fn new(tokenizer: &'t Tokenizer, config: &LlamaConfig) -> Result<Self, EvalError> {
        tokenizer.fits(config.vocab_size)?;
        let prefix = config.bos_token.or(config.eos_tokens.first().copied());
        let prefix = prefix.ok_or(EvalError::NoPrefix)?;
        Ok(Self {
            tokenizer,
            prefix,
            prefix_text: tokenizer.id_to_token(prefix).unwrap_or_default(),
            context: config.context,
        })
    }

    /// What a text without context follows: the begin token, else the end token.
    pub fn prefix(&self) -> u32 {
        self.prefix
    }

    /// Positions the model has.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &'t Tokenizer {
        self.tokenizer
    }

    /// A whole text's ids, with the special tokens the model expects around it.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EvalError> {
        let has_prefix = !self.prefix_text.is_empty() && text.starts_with(&self.prefix_text);
        Ok(self.tokenizer.encode(text, !has_prefix)?)
    }

    /// The requests of one item. The context they share is encoded once.
    ///
    /// # Errors
    /// A continuation leaves no token to score.
    pub fn pairs(&self, requests: &[Request]) -> Result<Vec<Pair>, EvalError> {
        let mut known: Option<(&str, Vec<u32>)> = None;
        let mut pairs = Vec::with_capacity(requests.len());
        for request in requests {
            let context: &str = &request.context;
            if context.is_empty() {
                pairs.push(self.after_nothing(request)?);
                continue;
            }
            // Space at the end of the context belongs to the continuation's first token.
            let read = context.trim_end();
            let ids = match known.take() {
                Some((same, ids)) if same == read => ids,
                _ => self.encode(read)?,
            };
            let mut whole = self.encode(&[context, &request.continuation].concat())?;
            // The context stays as it is encoded alone, even where its last token would be another one before the continuation.
            for (whole, alone) in whole.iter_mut().zip(&ids) {
                *whole = *alone;
            }
            let split = ids.len();
            known = Some((read, ids));
            pairs.push(self.cut(whole, split, request)?);
        }
        Ok(pairs)
    }

    fn after_nothing(&self, request: &Request) -> Result<Pair, EvalError> {
        let mut ids = self.tokenizer.encode(&request.continuation, false)?;
        if ids.first() != Some(&self.prefix) {
            ids.insert(0, self.prefix);
        }
        self.cut(ids, 1, request)
    }

    /// Leaves out tokens at the left until the rest fits: the last one is only scored, so one more than the context fits.
    ///
    /// In two places this is not the harness. Of a continuation longer than the context, where the harness ends with an error, the
    /// end is scored. And of one that merges into the context whole, where the harness ends with an error too, or gives an option
    /// the 0 of no token, with which it beats all others, the last token is scored.
    fn cut(&self, mut whole: Vec<u32>, split: usize, request: &Request) -> Result<Pair, EvalError> {
        if split == 0 {
            whole.insert(0, self.prefix);
        }
        let split = split.max(1).min(whole.len().saturating_sub(1));
        if split == 0 {
            return Err(EvalError::NothingToScore {
                continuation: request.continuation.chars().take(40).collect(),
            });
        }
        let excess = whole.len().saturating_sub(self.context + 1);
        let split = split.max(excess + 1);
        Ok(Pair {
            context: whole[excess..split].to_vec(),
            continuation: whole[split..].to_vec(),
            is_cut: excess > 0,
        })
    }
}
