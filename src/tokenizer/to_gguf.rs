//! A `tokenizer.json` in, the vocabulary that makes llama.cpp do the same out.

use std::collections::HashMap;

use super::file::{
    self, AddedToken, Behavior, File, Normalizer, Pattern, PostProcessor, PreTokenizer,
    PrependScheme, TemplatePiece,
};
use super::gguf::{BYTE, CONTROL, LLAMA_3, MARK, NORMAL, QWEN_2, UNKNOWN, UNUSED, USER_DEFINED};
use super::{MAX_TOKENS, TokenizerError, within};
use crate::checkpoint::GgufVocabulary;

/// The vocabulary of a model with `rows` rows in its embedding and these tokens at the ends of a text.
///
/// A SentencePiece-style tokenizer becomes scores: llama.cpp joins the neighbours whose union scores highest, whichever way the union
/// is cut, where a `tokenizer.json` lists the cuts that it joins. For tokenizers converted from SentencePiece the two are one; for
/// one that was trained as a BPE over spaces texts can come apart differently, so compare them with [`super::Tokenizer::from_gguf`].
///
/// # Errors
/// llama.cpp has no such tokenizer, or the file is damaged.
pub fn gguf_vocabulary(
    tokenizer_json: &[u8],
    rows: usize,
    bos: Option<u32>,
    eos: Option<u32>,
) -> Result<GgufVocabulary, TokenizerError> {
    within("the embedding in rows", rows, MAX_TOKENS)?;
    let file = file::read(tokenizer_json)?;
    let (tokens, mut token_types) = tokens(&file, rows)?;
    let id = |text: &str| file.model.vocab.get(text).copied();
    let unknown = file.model.unk_token.as_deref().and_then(id);
    let first = file.post_processor.as_ref().and_then(begin_token);
    let common = GgufVocabulary {
        bos: first.or(bos),
        eos,
        unknown,
        add_bos: Some(first.is_some()),
        add_eos: Some(false),
        ..GgufVocabulary::default()
    };
    if file.model.byte_fallback {
        let prefix = sentencepiece_prefix(&file)?;
        for (kind, token) in token_types.iter_mut().zip(&tokens) {
            if *kind == NORMAL && is_byte(token) {
                *kind = BYTE;
            }
        }
        if let Some(kind) = unknown.and_then(|id| token_types.get_mut(id as usize)) {
            *kind = UNKNOWN;
        }
        return Ok(GgufVocabulary {
            model: "llama".into(),
            pre: Some("default".into()),
            scores: scores(&file, &tokens),
            tokens,
            token_types,
            add_space_prefix: Some(prefix),
            ..common
        });
    }
    let pre = byte_level_name(&file)?;
    let merges = file.model.merges.iter();
    Ok(GgufVocabulary {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        merges: merges
            .map(|(left, right)| format!("{left} {right}"))
            .collect(),
        tokens,
        token_types,
        ..common
    })
}

/// Texts and types by id; ids without a token are filled with names that no text holds.
fn tokens(file: &File, rows: usize) -> Result<(Vec<String>, Vec<i32>), TokenizerError> {
    let mut tokens: Vec<String> = (0..rows).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; rows];
    let added = file.added_tokens.iter().map(
        |AddedToken {
             content,
             id,
             special,
             ..
         }| { (content, *id, if *special { CONTROL } else { USER_DEFINED }) },
    );
    let plain = file
        .model
        .vocab
        .iter()
        .map(|(text, id)| (text, *id, NORMAL));
    // Added tokens last: most are in the vocabulary too, and what they are there for counts.
    for (text, id, kind) in plain.chain(added) {
        let place = tokens.get_mut(id as usize).zip(types.get_mut(id as usize));
        let Some((token, known)) = place else {
            return Err(TokenizerError::IdTooLarge {
                token: text.clone(),
                id: u64::from(id),
                limit: rows,
            });
        };
        (*token, *known) = (text.clone(), kind);
    }
    Ok((tokens, types))
}

/// The earlier a token is merged, the higher it scores; tokens that no merge makes come after all that some merge makes.
fn scores(file: &File, tokens: &[String]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, (left, right)) in file.model.merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let last = file.model.merges.len();
    let score = |token| -(ranks.get(token).copied().unwrap_or(last) as f32);
    tokens.iter().map(|token: &String| score(token)).collect()
}

/// Whether a space goes before the first word.
fn sentencepiece_prefix(file: &File) -> Result<bool, TokenizerError> {
    let is_mark = |pattern: &Pattern, content: &str| {
        matches!(pattern, Pattern::String(from) if from == " ") && content == MARK
    };
    let normalizers: &[Normalizer] = match &file.normalizer {
        None => &[],
        Some(Normalizer::Sequence { normalizers }) => normalizers,
        Some(one) => std::slice::from_ref(one),
    };
    match (normalizers, &file.pre_tokenizer) {
        (
            [
                Normalizer::Prepend { prepend },
                Normalizer::Replace { pattern, content },
            ],
            None,
        ) if prepend == MARK && is_mark(pattern, content) => Ok(true),
        ([Normalizer::Replace { pattern, content }], None) if is_mark(pattern, content) => {
            Ok(false)
        }
        ([], Some(PreTokenizer::Metaspace(space))) if space.replacement.to_string() == MARK => {
            let scheme = space.prepend_scheme.unwrap_or(PrependScheme::Always);
            Ok(space.add_prefix_space.unwrap_or(true) && scheme != PrependScheme::Never)
        }
        _ => Err(unsupported(
            "normalizer",
            "a SentencePiece-style one of another kind",
        )),
    }
}

/// llama.cpp's name for the way a byte-level tokenizer splits texts.
fn byte_level_name(file: &File) -> Result<&'static str, TokenizerError> {
    let plain = match &file.normalizer {
        None => true,
        // llama.cpp leaves texts as they are; of composed texts, which most are, this does too.
        Some(Normalizer::NFC) => true,
        Some(_) => false,
    };
    let steps: &[PreTokenizer] = match &file.pre_tokenizer {
        Some(PreTokenizer::Sequence { pretokenizers }) => pretokenizers,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let bytes = |step: &PreTokenizer, with_regex| {
        matches!(step, PreTokenizer::ByteLevel { add_prefix_space: false, use_regex, .. }
            if *use_regex == with_regex)
    };
    let name = match steps {
        _ if !plain => None,
        [step] if bytes(step, true) => Some("gpt-2"),
        [
            PreTokenizer::Digits {
                individual_digits: true,
            },
            step,
        ] if bytes(step, true) => Some("smollm"),
        [
            PreTokenizer::Split {
                pattern: Pattern::Regex(regex),
                behavior: Behavior::Isolated,
                invert: false,
            },
            step,
        ] if bytes(step, false) => match regex.as_str() {
            LLAMA_3 => Some("llama-bpe"),
            QWEN_2 => Some("qwen2"),
            _ => None,
        },
        _ => None,
    };
    name.ok_or_else(|| {
        unsupported(
            "pre-tokenizer",
            "a byte-level one that splits in a way of its own",
        )
    })
}

/// What the post-processor puts before a text.
fn begin_token(post_processor: &PostProcessor) -> Option<u32> {
    match post_processor {
        PostProcessor::Sequence { processors } => processors.iter().find_map(begin_token),
        PostProcessor::ByteLevel { .. } => None,
        PostProcessor::TemplateProcessing {
            single,
            special_tokens,
            ..
        } => match single.first() {
            Some(TemplatePiece::SpecialToken { id, .. }) => {
                special_tokens.get(id)?.ids.first().copied()
            }
            _ => None,
        },
    }
}

/// `<0x0A>`.
fn is_byte(token: &str) -> bool {
    let digits = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

fn unsupported(part: &'static str, found: &str) -> TokenizerError {
    TokenizerError::Unsupported {
        part,
        found: found.into(),
        help: "llama.cpp knows none like it; write a Hugging Face folder instead",
    }
}
