//! Token ids in, one at a time; text out as soon as it is certain.

use super::Tokenizer;

/// Decodes a stream of ids. The pieces it gives, joined, are what [`Tokenizer::decode`] gives for all of them.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    skip_special: bool,
    at_start: bool,
    undecided: Vec<u8>, // at most three bytes: a UTF-8 character that has begun
}

impl Detokenizer {
    /// A decoder at the beginning of a text. With `skip_special` special tokens leave nothing behind.
    pub fn new(skip_special: bool) -> Self {
        Self {
            skip_special,
            at_start: true,
            undecided: Vec::new(),
        }
    }

    /// A decoder for ids that go on where `context` ends: a space between the two is kept.
    pub fn after(tokenizer: &Tokenizer, context: &[u32], skip_special: bool) -> Self {
        let mut detokenizer = Self::new(skip_special);
        for &id in context {
            detokenizer.push(tokenizer, id);
        }
        detokenizer
    }

    /// Takes the next id and gives the text that it completes; an id without a token gives none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.skip_special && tokenizer.is_special(id) {
            return String::new();
        }
        let Some(token) = tokenizer.id_to_token(id) else {
            return String::new();
        };
        tokenizer
            .pieces
            .append(&token, &mut self.at_start, &mut self.undecided);
        take_certain(&mut self.undecided)
    }

    /// What is left at the end of the text: U+FFFD if it broke off inside a character.
    pub fn finish(&mut self) -> String {
        self.at_start = true;
        String::from_utf8_lossy(&std::mem::take(&mut self.undecided)).into_owned()
    }
}

impl Default for Detokenizer {
    /// Special tokens leave nothing behind.
    fn default() -> Self {
        Self::new(true)
    }
}

/// Takes out all but the beginning of a character at the end; bytes that can begin none become U+FFFD.
fn take_certain(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    loop {
        let rest = &bytes[taken..];
        let (valid, skipped) = match std::str::from_utf8(rest) {
            Ok(all) => (all.len(), None),
            Err(error) => (error.valid_up_to(), error.error_len()),
        };
        text.push_str(&String::from_utf8_lossy(&rest[..valid]));
        taken += valid;
        match skipped {
            Some(length) => {
                text.push(char::REPLACEMENT_CHARACTER);
                taken += length;
            }
            None => break,
        }
    }
    bytes.drain(..taken);
    text
}
