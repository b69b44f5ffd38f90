//! A GGUF file's vocabulary in, the parts of the `tokenizers` tokenizer that does the same out.

use std::collections::HashMap;

use super::file::{
    AddedToken, Behavior, Decoder, File, Model, Normalizer, Pattern, PostProcessor, PreTokenizer,
    SequenceId, TemplatePiece, TemplateToken,
};
use super::{MAX_TOKENS, TokenizerError, within};
use crate::checkpoint::GgufVocabulary;

/// What SentencePiece writes for a space.
pub(super) const MARK: &str = "\u{2581}";
/// The sum of the squares of the tokens' lengths: what the search for merges costs. Real vocabularies stay below 2^26.
const MAX_MERGE_WORK: usize = 1 << 30;

// `tokenizer.ggml.token_type`
pub(super) const NORMAL: i32 = 1;
pub(super) const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;
pub(super) const BYTE: i32 = 6;

// How texts are split before merging.
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(super) const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The parts of a tokenizer, to be checked as those of a `tokenizer.json` are.
pub(super) fn read(vocabulary: &GgufVocabulary) -> Result<File, TokenizerError> {
    let tokens = vocabulary.tokens.len();
    within("the GGUF vocabulary in tokens", tokens, MAX_TOKENS)?;
    if !vocabulary.token_types.is_empty() && vocabulary.token_types.len() != tokens {
        return Err(TokenizerError::Lengths {
            list: "token types",
            found: vocabulary.token_types.len(),
            tokens,
        });
    }
    let vocab = ids_by_token(vocabulary)?;
    match vocabulary.model.as_str() {
        "llama" => sentencepiece(vocabulary, vocab),
        "gpt2" => byte_level(vocabulary, vocab),
        other => Err(TokenizerError::Unsupported {
            part: "GGUF tokenizer model",
            found: format!("{other:?}"),
            help: "only \"llama\" and \"gpt2\" belong to Llama-like models",
        }),
    }
}

fn ids_by_token(vocabulary: &GgufVocabulary) -> Result<HashMap<String, u32>, TokenizerError> {
    let mut vocab = HashMap::with_capacity(vocabulary.tokens.len());
    for (id, token) in (0u32..).zip(&vocabulary.tokens) {
        if let Some(other) = vocab.insert(token.clone(), id) {
            let [first, second] = [other, id].map(|id| format!("{token} ({id})"));
            return Err(TokenizerError::Ambiguous { id, first, second });
        }
    }
    Ok(vocab)
}

/// SentencePiece's BPE merges the neighbours whose union scores highest; the merges that leads to are written out.
fn sentencepiece(
    vocabulary: &GgufVocabulary,
    vocab: HashMap<String, u32>,
) -> Result<File, TokenizerError> {
    let GgufVocabulary { tokens, scores, .. } = vocabulary;
    if scores.len() != tokens.len() {
        return Err(TokenizerError::Lengths {
            list: "scores",
            found: scores.len(),
            tokens: tokens.len(),
        });
    }
    let work = tokens
        .iter()
        .map(|token| token.len().saturating_mul(token.len()));
    within(
        "the search for merges",
        work.fold(0, usize::saturating_add),
        MAX_MERGE_WORK,
    )?;
    let mergeable = |id: u32| matches!(type_of(vocabulary, id), 1 | USER_DEFINED);
    let mut ranked = Vec::new();
    for ((id, token), &score) in (0u32..)
        .zip(tokens)
        .zip(scores)
        .filter(|((id, _), _)| mergeable(*id))
    {
        // A NaN ranks last.
        let score = if score.is_nan() {
            f32::NEG_INFINITY
        } else {
            score
        };
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left), Some(&right)) = (vocab.get(left), vocab.get(right)) {
                ranked.push((score, id, left, right));
            }
        }
    }
    ranked.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
    });
    let text = |id: u32| tokens.get(id as usize).cloned().unwrap_or_default();
    let merges = ranked
        .into_iter()
        .map(|(_, _, left, right)| (text(left), text(right)))
        .collect();

    let prefix = vocabulary.add_space_prefix.unwrap_or(true);
    let replace = |from: &str, to: &str| (Pattern::String(from.to_owned()), to.to_owned());
    let (pattern, content) = replace(" ", MARK);
    let mark = Normalizer::Replace { pattern, content };
    let normalizer = if prefix {
        Normalizer::Sequence {
            normalizers: vec![
                Normalizer::Prepend {
                    prepend: MARK.to_owned(),
                },
                mark,
            ],
        }
    } else {
        mark
    };
    let (pattern, content) = replace(MARK, " ");
    let mut decoders = vec![
        Decoder::Replace { pattern, content },
        Decoder::ByteFallback,
        Decoder::Fuse,
    ];
    if prefix {
        decoders.push(Decoder::Strip {
            content: ' ',
            start: 1,
            stop: 0,
        });
    }
    let unknown = vocabulary.unknown.or_else(|| {
        (0u32..)
            .zip(tokens)
            .map(|(id, _)| id)
            .find(|&id| type_of(vocabulary, id) == UNKNOWN)
    });
    Ok(File {
        model: Model {
            vocab,
            merges,
            unk_token: unknown
                .map(|id| token_of(vocabulary, "unknown_token_id", id))
                .transpose()?,
            fuse_unk: true,
            byte_fallback: true,
            ignore_merges: false,
            dropout: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
        },
        added_tokens: added_tokens(vocabulary),
        normalizer: Some(normalizer),
        pre_tokenizer: None,
        post_processor: post_processor(vocabulary, true)?,
        decoder: Decoder::Sequence { decoders },
    })
}

fn byte_level(
    vocabulary: &GgufVocabulary,
    vocab: HashMap<String, u32>,
) -> Result<File, TokenizerError> {
    let merges = vocabulary.merges.iter().map(|merge| {
        let pair = merge
            .split_once(' ')
            .map(|(left, right)| (left.to_owned(), right.to_owned()));
        pair.ok_or_else(|| TokenizerError::UnknownToken {
            part: "a merge",
            token: merge.clone(),
        })
    });
    let merges = merges.collect::<Result<_, _>>()?;
    let style = Style::of(vocabulary.pre.as_deref().unwrap_or("default"))?;
    let split = |regex: &&str| PreTokenizer::Split {
        pattern: Pattern::Regex((*regex).to_owned()),
        behavior: Behavior::Isolated,
        invert: false,
    };
    let alphabet = PreTokenizer::ByteLevel {
        add_prefix_space: false,
        trim_offsets: true,
        use_regex: false,
    };
    Ok(File {
        model: Model {
            vocab,
            merges,
            unk_token: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: style.whole_words,
            dropout: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
        },
        added_tokens: added_tokens(vocabulary),
        normalizer: None,
        pre_tokenizer: Some(PreTokenizer::Sequence {
            pretokenizers: style.splits.iter().map(split).chain([alphabet]).collect(),
        }),
        post_processor: post_processor(vocabulary, style.adds_bos)?,
        decoder: Decoder::ByteLevel {
            add_prefix_space: true,
            trim_offsets: true,
            use_regex: true,
        },
    })
}

/// What `tokenizer.ggml.pre` stands for. The patterns are those the models were trained with.
struct Style {
    splits: &'static [&'static str],
    whole_words: bool, // a word that is a token is not merged from its parts
    adds_bos: bool,    // where the file does not say
}

impl Style {
    fn of(pre: &str) -> Result<Self, TokenizerError> {
        let plain = |splits| Self {
            splits,
            whole_words: false,
            adds_bos: false,
        };
        Ok(match pre {
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" => plain(&[GPT_2]),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => Self {
                splits: &[LLAMA_3],
                whole_words: true,
                adds_bos: true,
            },
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone"
            | "minerva-7b" => plain(&[r"\p{N}", GPT_2]),
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "hunyuan" => plain(&[QWEN_2]),
            "default" => plain(&[r"[\p{P}\$\+<=>\^~\|]+", GPT_2, r"\p{N}+", "[0-9][0-9][0-9]"]),
            other => {
                return Err(TokenizerError::Unsupported {
                    part: "GGUF pre-tokenizer",
                    found: format!("{other:?}"),
                    help: "use the model's Hugging Face folder, whose tokenizer.json spells the rules out",
                });
            }
        })
    }
}

/// Control and user-defined tokens, and the unknown token, are found in the text before the model sees it.
fn added_tokens(vocabulary: &GgufVocabulary) -> Vec<AddedToken> {
    let tokens = (0u32..)
        .zip(&vocabulary.tokens)
        .filter_map(|(id, content)| {
            let kind = type_of(vocabulary, id);
            let named = [vocabulary.bos, vocabulary.eos, vocabulary.unknown].contains(&Some(id));
            let special = kind == CONTROL || (named && kind != USER_DEFINED);
            let content = content.clone();
            let token = || AddedToken {
                id,
                content,
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special,
            };
            (special || kind == USER_DEFINED).then(token)
        });
    tokens.collect()
}

fn post_processor(
    vocabulary: &GgufVocabulary,
    adds_bos: bool,
) -> Result<Option<PostProcessor>, TokenizerError> {
    let chosen = |wanted: bool, id: Option<u32>| id.filter(|_| wanted);
    let bos = chosen(vocabulary.add_bos.unwrap_or(adds_bos), vocabulary.bos);
    let eos = chosen(vocabulary.add_eos.unwrap_or(false), vocabulary.eos);
    let bos = bos
        .map(|id| Ok((id, token_of(vocabulary, "bos_token_id", id)?)))
        .transpose()?;
    let eos = eos
        .map(|id| Ok((id, token_of(vocabulary, "eos_token_id", id)?)))
        .transpose()?;
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let around = |id: SequenceId| {
        let token = |special: &Option<(u32, String)>| {
            special
                .as_ref()
                .map(|(_, text)| TemplatePiece::SpecialToken {
                    id: text.clone(),
                    type_id: 0,
                })
        };
        let text = TemplatePiece::Sequence { id, type_id: 0 };
        token(&bos)
            .into_iter()
            .chain([text])
            .chain(token(&eos))
            .collect::<Vec<_>>()
    };
    let single = around(SequenceId::A);
    let pair = single
        .iter()
        .cloned()
        .chain(around(SequenceId::B))
        .collect();
    let special_tokens = bos.into_iter().chain(eos).map(|(id, text)| {
        (
            text.clone(),
            TemplateToken {
                id: text.clone(),
                ids: vec![id],
                tokens: vec![text],
            },
        )
    });
    let special_tokens = special_tokens.collect();
    Ok(Some(PostProcessor::TemplateProcessing {
        single,
        pair,
        special_tokens,
    }))
}

fn type_of(vocabulary: &GgufVocabulary, id: u32) -> i32 {
    vocabulary
        .token_types
        .get(id as usize)
        .copied()
        .unwrap_or(1)
}

fn token_of(
    vocabulary: &GgufVocabulary,
    part: &'static str,
    id: u32,
) -> Result<String, TokenizerError> {
    let token = vocabulary.tokens.get(id as usize).cloned();
    token.ok_or_else(|| TokenizerError::UnknownToken {
        part,
        token: format!("#{id}"),
    })
}
