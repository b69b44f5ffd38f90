//! Text to token ids and back: a `tokenizer.json` or a GGUF vocabulary goes in, a [`Tokenizer`] comes out.
//!
//! Encoding is the `tokenizers` crate's. Its reader trusts its input, so files are read by `file` first, looked
//! over by `check` and handed on part by part. Decoding is [`Detokenizer`]'s, for whole texts too: what a stream
//! shows is what the whole decodes to.

mod check;
mod detokenizer;
mod file;
mod gguf;
mod pieces;
mod to_gguf;

use std::collections::HashSet;
use std::ops::Range;

use thiserror::Error;
use tokenizers::Model;

use crate::checkpoint::GgufVocabulary;

pub use detokenizer::Detokenizer;
pub use to_gguf::gguf_vocabulary;

/// The longest `tokenizer.json` that is read, in bytes; Gemma's, the longest known, has 33 MB.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// The most tokens a vocabulary may have; the largest known has 262 thousand.
pub const MAX_TOKENS: usize = 1 << 20;
/// The longest text that is encoded in one piece, in bytes: every token of it takes about a hundred bytes meanwhile.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// Turns text into token ids and back.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: pieces::Pieces,
    special: HashSet<u32>,
    vocab_size: usize,
}

/// Why a tokenizer could not be read, or could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenizerError {
    /// The file or the text is larger than this program takes.
    #[error("tokenizer: {what} has {found}, at most {limit} are taken")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The file is not JSON, or not shaped like a `tokenizer.json`.
    #[error("tokenizer.json, {part}: {message}; is the file complete?")]
    Malformed {
        /// The part of the file.
        part: &'static str,
        /// What the reader said.
        message: String,
    },
    /// The file asks for something this program does not do.
    #[error("tokenizer: {part} {found} is not supported; {help}")]
    Unsupported {
        /// The part of the tokenizer.
        part: &'static str,
        /// What it asks for.
        found: String,
        /// What can be done about it.
        help: &'static str,
    },
    /// A token has an id no vocabulary of this size has.
    #[error("tokenizer: token {token:?} has id {id}; ids end below {limit}")]
    IdTooLarge {
        /// The token.
        token: String,
        /// Its id.
        id: u64,
        /// The first id that is refused.
        limit: usize,
    },
    /// Two tokens share an id, or one token has two.
    #[error("tokenizer: id {id} belongs to {first:?} and to {second:?}")]
    Ambiguous {
        /// The id.
        id: u32,
        /// One claim.
        first: String,
        /// The other.
        second: String,
    },
    /// A merge, a special token or a template names a token the vocabulary does not have.
    #[error("tokenizer: {part} names the token {token:?}, which is not in the vocabulary")]
    UnknownToken {
        /// The part of the tokenizer.
        part: &'static str,
        /// The token.
        token: String,
    },
    /// An id that no token has was to be decoded.
    #[error(
        "tokenizer: id {id} is outside the vocabulary of {vocab_size}; do model and tokenizer belong together?"
    )]
    UnknownId {
        /// The id.
        id: u32,
        /// Ids are below this.
        vocab_size: usize,
    },
    /// The lists of a GGUF vocabulary do not fit one another.
    #[error("GGUF tokenizer: {tokens} tokens but {found} {list}")]
    Lengths {
        /// The list that does not fit.
        list: &'static str,
        /// Its entries.
        found: usize,
        /// The tokens.
        tokens: usize,
    },
    /// The `tokenizers` crate refused the tokenizer or the text.
    #[error("tokenizer: {0}")]
    Refused(String),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its `truncation` and `padding` are left aside: they were for training.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        file::read(json)?.build()
    }

    /// Builds the tokenizer that a GGUF file's vocabulary describes.
    pub fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self, TokenizerError> {
        gguf::read(vocabulary)?.build()
    }

    /// The tokenizer as a `tokenizer.json`.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(false).map_err(refused)
    }

    /// The ids of a text. With `add_special` they begin (and end) as the model expects of a whole sequence.
    ///
    /// Special tokens are also recognised where the text spells them out, as chat templates need.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        within("the text in bytes", text.len(), MAX_TEXT_BYTES)?;
        let encoding = self.inner.encode_fast(text, add_special).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Self::encode`]; with each id the bytes of the text that it stands for. Tokens that the text does not spell, such as a begin
    /// token, stand for none; a letter of several tokens belongs to each of them whole.
    pub fn encode_with_spans(
        &self,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<(u32, Range<usize>)>, TokenizerError> {
        within("the text in bytes", text.len(), MAX_TEXT_BYTES)?;
        let encoding = self.inner.encode(text, add_special).map_err(refused)?;
        let spans = encoding
            .get_offsets()
            .iter()
            .map(|(start, end)| *start..*end);
        Ok(encoding.get_ids().iter().copied().zip(spans).collect())
    }

    /// The text of some ids. With `skip_special` special tokens leave nothing behind.
    ///
    /// Bytes that are no UTF-8 become U+FFFD. Ids below [`Self::vocab_size`] that no token has are passed over.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        let vocab_size = self.vocab_size;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(TokenizerError::UnknownId { id, vocab_size });
        }
        let mut detokenizer = Detokenizer::new(skip_special);
        let mut text: String = ids.iter().map(|&id| detokenizer.push(self, id)).collect();
        text.push_str(&detokenizer.finish());
        Ok(text)
    }

    /// One more than the highest id; a model's embedding may have more rows than that.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token, spelled as in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, spelled as in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        // `tokenizers` would spell an added token as the normaliser leaves it, with a space it does not have.
        match self
            .inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
        {
            Some(added) => Some(added.content.clone()),
            None => self.inner.get_model().id_to_token(id),
        }
    }

    /// Whether an id is a special token, such as the one that ends a turn.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Refuses a tokenizer with ids a model with `rows` embedding rows cannot look up.
    pub fn fits(&self, rows: usize) -> Result<(), TokenizerError> {
        match self.vocab_size.checked_sub(1) {
            Some(highest) if highest >= rows => {
                let token = u32::try_from(highest)
                    .ok()
                    .and_then(|id| self.id_to_token(id))
                    .unwrap_or_default();
                Err(TokenizerError::IdTooLarge {
                    token,
                    id: highest as u64,
                    limit: rows,
                })
            }
            _ => Ok(()),
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), TokenizerError> {
    if found > limit {
        Err(TokenizerError::TooLarge { what, found, limit })
    } else {
        Ok(())
    }
}

fn refused(error: impl std::fmt::Display) -> TokenizerError {
    TokenizerError::Refused(error.to_string())
}
