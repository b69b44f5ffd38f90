//! The parts of a tokenizer, and how a `tokenizer.json` that nobody vouches for spells them: bytes in, a [`File`]
//! out, which `check` looks over and builds.
//!
//! Only what Llama-like tokenizers use is taken, and no list without a limit on its length.

use std::collections::HashMap;
use std::fmt;

use serde::de::{
    DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_FILE_BYTES, MAX_TOKENS, TokenizerError, within};

const MAX_MERGES: usize = 8 * MAX_TOKENS;
const MAX_ADDED_TOKENS: usize = 1 << 16;

pub(super) const HELP_CONVERT: &str =
    "save it with transformers' LlamaTokenizerFast or another byte-level or SentencePiece BPE";

/// A tokenizer in parts, none of which is checked yet.
pub(super) struct File {
    pub(super) model: Model,
    pub(super) added_tokens: Vec<AddedToken>,
    pub(super) normalizer: Option<Normalizer>,
    pub(super) pre_tokenizer: Option<PreTokenizer>,
    pub(super) post_processor: Option<PostProcessor>,
    pub(super) decoder: Decoder,
}

/// A byte-pair encoding.
#[derive(Deserialize)]
pub(super) struct Model {
    #[serde(deserialize_with = "vocabulary")]
    pub(super) vocab: HashMap<String, u32>,
    #[serde(deserialize_with = "merges")]
    pub(super) merges: Vec<(String, String)>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(default)]
    pub(super) dropout: Option<f32>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
}

/// A token that is found in the text before the model sees it.
#[derive(Clone, Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
#[allow(clippy::upper_case_acronyms)] // as the file spells them
pub(super) enum Normalizer {
    Sequence { normalizers: Vec<Normalizer> },
    Prepend { prepend: String },
    Replace { pattern: Pattern, content: String },
    NFC,
    NFD,
    NFKC,
    NFKD,
    Lowercase,
    Strip { strip_left: bool, strip_right: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default = "yes")]
        trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Split {
        pattern: Pattern,
        behavior: Behavior,
        #[serde(default)]
        invert: bool,
    },
    Metaspace(Metaspace),
    Digits {
        individual_digits: bool,
    },
    Punctuation {
        #[serde(default = "isolated")]
        behavior: Behavior,
    },
    Whitespace,
    WhitespaceSplit,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Metaspace {
    pub(super) replacement: char,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prepend_scheme: Option<PrependScheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) add_prefix_space: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PrependScheme {
    First,
    Never,
    Always,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Pattern {
    String(String),
    Regex(String),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum PostProcessor {
    Sequence {
        processors: Vec<PostProcessor>,
    },
    /// Only moves offsets, which nobody asks for here.
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    TemplateProcessing {
        single: Vec<TemplatePiece>,
        pair: Vec<TemplatePiece>,
        special_tokens: HashMap<String, TemplateToken>,
    },
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum TemplatePiece {
    Sequence { id: SequenceId, type_id: u32 },
    SpecialToken { id: String, type_id: u32 },
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum SequenceId {
    A,
    B,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TemplateToken {
    pub(super) id: String,
    pub(super) ids: Vec<u32>,
    pub(super) tokens: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Decoder {
    Sequence {
        decoders: Vec<Decoder>,
    },
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    ByteFallback,
    Fuse,
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Metaspace(Metaspace),
}

/// Reads a file; nothing is checked yet that JSON types do not check.
pub(super) fn read(json: &[u8]) -> Result<File, TokenizerError> {
    within("tokenizer.json in bytes", json.len(), MAX_FILE_BYTES)?;
    // The first pass sees to it that the JSON is whole and names the model, the second keeps the model's tables.
    let outline: Outline = parse("the file", json)?;
    if let Some(kind) = outline.model.kind.filter(|kind| kind != "BPE") {
        return Err(TokenizerError::Unsupported {
            part: "model",
            found: kind,
            help: HELP_CONVERT,
        });
    }
    within(
        "the list of added tokens",
        outline.added_tokens.len(),
        MAX_ADDED_TOKENS,
    )?;
    let Whole { model } = parse("model", json)?;
    Ok(File {
        model,
        added_tokens: outline
            .added_tokens
            .into_iter()
            .map(|token| part("added_tokens", Some(token)))
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?,
        normalizer: part("normalizer", outline.normalizer)?,
        pre_tokenizer: part("pre_tokenizer", outline.pre_tokenizer)?,
        post_processor: part("post_processor", outline.post_processor)?,
        decoder: part("decoder", outline.decoder)?.ok_or(TokenizerError::Unsupported {
            part: "decoder",
            found: "null".to_owned(),
            help: HELP_CONVERT,
        })?,
    })
}

#[derive(Deserialize)]
struct Outline {
    model: OutlineModel,
    #[serde(default)]
    added_tokens: Vec<Value>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
}

#[derive(Deserialize)]
struct OutlineModel {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default, rename = "vocab")]
    _vocab: IgnoredAny,
}

#[derive(Deserialize)]
struct Whole {
    model: Model,
}

fn parse<T: DeserializeOwned>(part: &'static str, json: &[u8]) -> Result<T, TokenizerError> {
    serde_json::from_slice(json).map_err(|error| TokenizerError::Malformed {
        part,
        message: error.to_string(),
    })
}

fn part<T: DeserializeOwned>(
    part: &'static str,
    value: Option<Value>,
) -> Result<Option<T>, TokenizerError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match serde_json::from_value(value) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.to_string().starts_with("unknown variant") => {
            Err(TokenizerError::Unsupported {
                part,
                found: error.to_string(),
                help: HELP_CONVERT,
            })
        }
        Err(error) => Err(TokenizerError::Malformed {
            part,
            message: error.to_string(),
        }),
    }
}

/// Reads the vocabulary, which may not have more entries than [`MAX_TOKENS`].
fn vocabulary<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<HashMap<String, u32>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = HashMap<String, u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from tokens to ids")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut vocab = HashMap::new();
            while let Some((token, id)) = map.next_entry()? {
                if vocab.len() >= MAX_TOKENS {
                    return Err(A::Error::custom(format!("more than {MAX_TOKENS} tokens")));
                }
                vocab.insert(token, id);
            }
            Ok(vocab)
        }
    }
    deserializer.deserialize_map(Entries)
}

/// Reads merges, written `"a b"` or `["a", "b"]`.
fn merges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of merges")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut merges = Vec::new();
            while let Some(Merge(left, right)) = list.next_element()? {
                if merges.len() >= MAX_MERGES {
                    return Err(A::Error::custom(format!("more than {MAX_MERGES} merges")));
                }
                merges.push((left, right));
            }
            Ok(merges)
        }
    }
    deserializer.deserialize_seq(Pairs)
}

struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: two tokens")
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Merge, E> {
                let pair = line
                    .split_once(' ')
                    .filter(|(left, right)| !left.is_empty() && !right.is_empty());
                let (left, right) =
                    pair.ok_or_else(|| E::custom(format!("the merge {line:?} is not two tokens")))?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let missing = || A::Error::custom("a merge needs two tokens");
                let left = list.next_element()?.ok_or_else(missing)?;
                let right = list.next_element()?.ok_or_else(missing)?;
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(Merge(left, right)),
                    Some(_) => Err(A::Error::custom("a merge has two tokens, not more")),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}

fn yes() -> bool {
    true
}

fn isolated() -> Behavior {
    Behavior::Isolated
}
