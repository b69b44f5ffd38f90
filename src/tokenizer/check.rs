//! A tokenizer in parts in, a working one out: every part is checked before `tokenizers` sees it.
//!
//! Each check keeps reading and, later, encoding to a small multiple of the input: no normaliser that multiplies
//! text, no regular expression that unrolls into millions of states, no id or name that leads nowhere.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokenizers::models::bpe::{BpeBuilder, Vocab};

use super::file::{
    AddedToken, Decoder, File, HELP_CONVERT, Model, Normalizer, Pattern, PostProcessor,
    PreTokenizer, PrependScheme, SequenceId, TemplatePiece,
};
use super::pieces::Pieces;
use super::{MAX_TOKENS, Tokenizer, TokenizerError, refused, within};

/// Steps of a normaliser or pre-tokeniser, counted through all nesting.
const MAX_STEPS: usize = 32;
/// How many times longer the normaliser may make a text.
const MAX_GROWTH: usize = 64;
const MAX_REGEX_BYTES: usize = 4096;
/// The product of all repetition counts of one regular expression.
const MAX_REPETITION: usize = 1000;

impl File {
    /// Checks every part and builds the tokenizer.
    pub(super) fn build(self) -> Result<Tokenizer, TokenizerError> {
        let Self {
            mut model,
            added_tokens,
            normalizer,
            pre_tokenizer,
            post_processor,
            decoder,
        } = self;
        let vocab_size = check_vocabulary(&mut model, &added_tokens)?;
        check_model(&model)?;
        if let Some(normalizer) = &normalizer {
            check_normalizer(normalizer, &mut MAX_STEPS.clone(), &mut 1)?;
        }
        if let Some(pre_tokenizer) = &pre_tokenizer {
            check_pre_tokenizer(pre_tokenizer, &mut MAX_STEPS.clone())?;
        }
        if let Some(post_processor) = &post_processor {
            check_post_processor(post_processor, vocab_size, &mut MAX_STEPS.clone())?;
        }
        let pieces = pieces(&decoder)?;

        let mut builder = BpeBuilder::new()
            .fuse_unk(model.fuse_unk)
            .byte_fallback(model.byte_fallback)
            .ignore_merges(model.ignore_merges)
            .vocab_and_merges::<Vocab>(model.vocab.into_iter().collect(), model.merges);
        if let Some(token) = model.unk_token {
            builder = builder.unk_token(token);
        }
        let mut inner = tokenizers::Tokenizer::new(builder.build().map_err(refused)?);
        inner
            .with_normalizer(hand_on::<_, tokenizers::NormalizerWrapper>(normalizer)?)
            .map_err(refused)?;
        inner.with_pre_tokenizer(hand_on::<_, tokenizers::PreTokenizerWrapper>(
            pre_tokenizer,
        )?);
        inner.with_post_processor(hand_on::<_, tokenizers::PostProcessorWrapper>(
            post_processor,
        )?);
        inner.with_decoder(hand_on::<_, tokenizers::DecoderWrapper>(Some(decoder))?);
        let special = added_tokens
            .iter()
            .filter(|token| token.special)
            .map(|token| token.id)
            .collect();
        let added = added_tokens
            .into_iter()
            .filter(|token| !token.content.is_empty())
            .map(|token| {
                tokenizers::AddedToken::from(token.content, token.special)
                    .single_word(token.single_word)
                    .lstrip(token.lstrip)
                    .rstrip(token.rstrip)
                    .normalized(token.normalized)
            });
        inner.add_tokens(added).map_err(refused)?;
        Ok(Tokenizer {
            inner,
            pieces,
            special,
            vocab_size,
        })
    }
}

/// Gives a checked part to `tokenizers` in the one form it reads. Its readers panic on JSON that is not whole, and
/// this is.
fn hand_on<P: Serialize, T: DeserializeOwned>(
    part: Option<P>,
) -> Result<Option<T>, TokenizerError> {
    let Some(part) = part else { return Ok(None) };
    let value = serde_json::to_value(part).map_err(refused)?;
    serde_json::from_value(value).map(Some).map_err(refused)
}

/// Puts the added tokens into the vocabulary, where their ids are certain, and returns the size of it.
fn check_vocabulary(
    model: &mut Model,
    added_tokens: &[AddedToken],
) -> Result<usize, TokenizerError> {
    for token in added_tokens
        .iter()
        .filter(|token| !token.content.is_empty())
    {
        let id = *model.vocab.entry(token.content.clone()).or_insert(token.id);
        if id != token.id {
            let ids = (
                format!("{} ({id})", token.content),
                format!("{} (added)", token.content),
            );
            return Err(TokenizerError::Ambiguous {
                id: token.id,
                first: ids.0,
                second: ids.1,
            });
        }
    }
    let mut owners: HashMap<u32, &str> = HashMap::with_capacity(model.vocab.len());
    for (token, &id) in &model.vocab {
        if id as usize >= MAX_TOKENS {
            return Err(TokenizerError::IdTooLarge {
                token: token.clone(),
                id: id.into(),
                limit: MAX_TOKENS,
            });
        }
        if let Some(other) = owners.insert(id, token) {
            let mut both = [other.to_owned(), token.clone()];
            both.sort();
            let [first, second] = both;
            return Err(TokenizerError::Ambiguous { id, first, second });
        }
    }
    Ok(owners.into_keys().max().map_or(0, |id| id as usize + 1))
}

fn check_model(model: &Model) -> Result<(), TokenizerError> {
    let unsupported = |part, found: &dyn fmt::Debug| {
        Err(TokenizerError::Unsupported {
            part,
            found: format!("{found:?}"),
            help: HELP_CONVERT,
        })
    };
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return unsupported("dropout", &model.dropout);
    }
    if let Some(prefix) = model
        .continuing_subword_prefix
        .as_ref()
        .filter(|prefix| !prefix.is_empty())
    {
        return unsupported("continuing_subword_prefix", prefix);
    }
    if let Some(suffix) = model
        .end_of_word_suffix
        .as_ref()
        .filter(|suffix| !suffix.is_empty())
    {
        return unsupported("end_of_word_suffix", suffix);
    }
    let known = |part, token: &String| match model.vocab.contains_key(token) {
        true => Ok(()),
        false => Err(TokenizerError::UnknownToken {
            part,
            token: token.clone(),
        }),
    };
    if let Some(token) = &model.unk_token {
        known("unk_token", token)?;
    }
    let mut merged = String::new();
    for (left, right) in &model.merges {
        merged.clear();
        merged.push_str(left);
        merged.push_str(right);
        // The builder copies pairs into a buffer as long as the longest token, without a look.
        for token in [left, right, &merged] {
            known("a merge", token)?;
        }
    }
    Ok(())
}

fn check_normalizer(
    normalizer: &Normalizer,
    steps: &mut usize,
    growth: &mut usize,
) -> Result<(), TokenizerError> {
    take_step("normalizer steps", steps)?;
    let factor = match normalizer {
        Normalizer::Sequence { normalizers } => {
            return normalizers
                .iter()
                .try_for_each(|inner| check_normalizer(inner, steps, growth));
        }
        Normalizer::Prepend { prepend } => 1 + prepend.len() / 16,
        Normalizer::Replace {
            pattern: Pattern::String(from),
            content,
        } => content.len().div_ceil(from.len().max(1)),
        Normalizer::Replace {
            pattern: Pattern::Regex(regex),
            content,
        } => {
            check_regex(regex)?;
            content.len() + 1 // it may match between any two characters
        }
        // One character may become eighteen, of three bytes each, under compatibility decomposition.
        Normalizer::NFKC | Normalizer::NFKD => 18,
        Normalizer::NFC | Normalizer::NFD | Normalizer::Lowercase => 3,
        Normalizer::Strip { .. } => 1,
    };
    *growth = growth.saturating_mul(factor.max(1));
    within("the growth of text by the normalizer", *growth, MAX_GROWTH)
}

fn check_pre_tokenizer(
    pre_tokenizer: &PreTokenizer,
    steps: &mut usize,
) -> Result<(), TokenizerError> {
    take_step("pre-tokenizer steps", steps)?;
    match pre_tokenizer {
        PreTokenizer::Sequence { pretokenizers } => pretokenizers
            .iter()
            .try_for_each(|inner| check_pre_tokenizer(inner, steps)),
        PreTokenizer::Split {
            pattern: Pattern::Regex(regex),
            ..
        } => check_regex(regex),
        _ => Ok(()),
    }
}

fn check_post_processor(
    post_processor: &PostProcessor,
    vocab_size: usize,
    steps: &mut usize,
) -> Result<(), TokenizerError> {
    take_step("post-processor steps", steps)?;
    match post_processor {
        PostProcessor::Sequence { processors } => processors
            .iter()
            .try_for_each(|inner| check_post_processor(inner, vocab_size, steps)),
        PostProcessor::ByteLevel { .. } => Ok(()),
        PostProcessor::TemplateProcessing {
            single,
            pair,
            special_tokens,
        } => {
            let malformed = |message: &str| {
                Err(TokenizerError::Malformed {
                    part: "post_processor",
                    message: message.to_owned(),
                })
            };
            let count = |template: &[TemplatePiece], wanted: SequenceId| {
                let is_wanted = |piece: &&TemplatePiece| match piece {
                    TemplatePiece::Sequence { id, .. } => *id == wanted,
                    TemplatePiece::SpecialToken { .. } => false,
                };
                template.iter().filter(is_wanted).count()
            };
            if count(single, SequenceId::A) != 1 || count(single, SequenceId::B) != 0 {
                return malformed("the template for one text must hold that text once");
            }
            if count(pair, SequenceId::A) != 1 || count(pair, SequenceId::B) != 1 {
                return malformed("the template for two texts must hold each once");
            }
            within("the template's pieces", single.len() + pair.len(), 64)?;
            for piece in single.iter().chain(pair) {
                if let TemplatePiece::SpecialToken { id, .. } = piece
                    && !special_tokens.contains_key(id)
                {
                    return Err(TokenizerError::UnknownToken {
                        part: "post_processor",
                        token: id.clone(),
                    });
                }
            }
            for (name, token) in special_tokens {
                if token.ids.len() != token.tokens.len() || token.ids.len() > 64 {
                    return malformed(
                        "a special token needs as many ids as tokens, and at most 64",
                    );
                }
                if let Some(&id) = token.ids.iter().find(|&&id| id as usize >= vocab_size) {
                    return Err(TokenizerError::IdTooLarge {
                        token: name.clone(),
                        id: id.into(),
                        limit: vocab_size,
                    });
                }
            }
            Ok(())
        }
    }
}

/// What the decoder says about spelling. Its parts may come in one order only, which is the one in use.
fn pieces(decoder: &Decoder) -> Result<Pieces, TokenizerError> {
    let single = std::slice::from_ref(decoder);
    let steps = if let Decoder::Sequence { decoders } = decoder {
        decoders.as_slice()
    } else {
        single
    };
    if matches!(steps, [Decoder::ByteLevel { .. }]) {
        return Ok(Pieces::ByteLevel);
    }
    within("decoder steps", steps.len(), MAX_STEPS)?;
    let (mut replace, mut byte_tokens, mut fused, mut strip, mut metaspace) =
        (Vec::new(), false, false, None, None);
    for step in steps {
        match step {
            Decoder::Replace {
                pattern: Pattern::String(from),
                content,
            } if !byte_tokens && !fused && !from.is_empty() => {
                within("a decoder's replacement in bytes", content.len(), 16)?;
                within("decoder replacements", replace.len(), 4)?;
                replace.push((from.clone(), content.clone()));
            }
            Decoder::Metaspace(mark)
                if !byte_tokens && !fused && metaspace.is_none() && replace.is_empty() =>
            {
                let kept = mark.prepend_scheme == Some(PrependScheme::Never)
                    || mark.add_prefix_space == Some(false);
                metaspace = Some((mark.replacement, !kept));
            }
            Decoder::ByteFallback if !fused => byte_tokens = true,
            Decoder::Fuse if strip.is_none() => fused = true,
            Decoder::Strip {
                content,
                start,
                stop: 0,
            } if fused && strip.is_none() && metaspace.is_none() => {
                within("a decoder's strip", *start, 16)?;
                strip = Some((*content, *start));
            }
            _ => {
                let found = serde_json::to_string(steps)
                    .unwrap_or_default()
                    .chars()
                    .take(200)
                    .collect();
                return Err(TokenizerError::Unsupported {
                    part: "decoder",
                    found,
                    help: HELP_CONVERT,
                });
            }
        }
    }
    Ok(Pieces::Marked {
        replace,
        byte_tokens,
        strip,
        metaspace,
    })
}

fn take_step(what: &'static str, steps: &mut usize) -> Result<(), TokenizerError> {
    match steps.checked_sub(1) {
        Some(left) => *steps = left,
        None => {
            return Err(TokenizerError::TooLarge {
                what,
                found: MAX_STEPS + 1,
                limit: MAX_STEPS,
            });
        }
    }
    Ok(())
}

/// Bounds what a regular expression unrolls to: its length times the product of its `{n,m}` counts.
fn check_regex(regex: &str) -> Result<(), TokenizerError> {
    within(
        "a regular expression in bytes",
        regex.len(),
        MAX_REGEX_BYTES,
    )?;
    let mut product = 1usize;
    for (at, _) in regex.match_indices('{') {
        let escaped = ["\\x", "\\u", "\\p", "\\P"]
            .iter()
            .any(|escape| regex[..at].ends_with(escape));
        let inside = regex[at + 1..].split('}').next().unwrap_or_default();
        let counts = inside
            .split(',')
            .map(|count| count.trim().parse::<usize>().ok());
        if let Some(most) = counts.flatten().max().filter(|_| !escaped) {
            product = product.saturating_mul(most.max(1));
        }
    }
    within(
        "the repetitions of a regular expression",
        product,
        MAX_REPETITION,
    )
}
