//! What a token's spelling in the vocabulary stands for: the two ways Llama-like tokenizers write bytes.

use std::sync::LazyLock;

/// How the spelling of a token becomes bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pieces {
    /// Every byte is written as one printable character, as GPT-2 does it.
    ByteLevel,
    /// Tokens are text in which a mark stands for a space, and may be bytes written `<0x41>`.
    Marked {
        replace: Vec<(String, String)>, // in order, on every token
        byte_tokens: bool,
        strip: Option<(char, usize)>, // up to so many of these at the beginning of the text are left out
        metaspace: Option<(char, bool)>, // the mark for a space; whether the first token drops its marks
    },
}

impl Pieces {
    /// Appends what a token stands for. `at_start` is true until the text has begun.
    pub(super) fn append(&self, token: &str, at_start: &mut bool, bytes: &mut Vec<u8>) {
        match self {
            Self::ByteLevel => match token.chars().map(byte_of).collect::<Option<Vec<u8>>>() {
                Some(piece) => bytes.extend(piece),
                // Added tokens are spelled as they are.
                None => bytes.extend_from_slice(token.as_bytes()),
            },
            Self::Marked {
                replace,
                byte_tokens,
                strip,
                metaspace,
            } => {
                if let Some(byte) = byte_token(token).filter(|_| *byte_tokens) {
                    *at_start = false;
                    bytes.push(byte);
                    return;
                }
                let mut text = token.to_owned();
                for (from, to) in replace {
                    text = text.replace(from.as_str(), to);
                }
                if let Some((mark, drops)) = metaspace {
                    text = text.replace(*mark, if *at_start && *drops { "" } else { " " });
                    *at_start = false;
                }
                let mut rest = text.as_str();
                if let Some((stripped, most)) = strip.filter(|_| *at_start) {
                    for _ in 0..most {
                        rest = rest.strip_prefix(stripped).unwrap_or(rest);
                    }
                }
                // An empty token leaves the beginning where it is.
                *at_start &= text.is_empty();
                bytes.extend_from_slice(rest.as_bytes());
            }
        }
    }
}

/// The byte that `<0x41>` spells.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    // `from_str_radix` would take a sign as well.
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The byte that a character of GPT-2's alphabet stands for.
fn byte_of(character: char) -> Option<u8> {
    static BYTES: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
        let mut bytes = [None; 0x144];
        let mut stand_in = 0x100; // bytes that do not print take the characters from U+0100 on, in order
        for byte in 0..=255u8 {
            let prints = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let character = if prints { usize::from(byte) } else { stand_in };
            stand_in += usize::from(!prints);
            bytes[character] = Some(byte);
        }
        bytes
    });
    BYTES.get(character as usize).copied().flatten()
}
