//! What a GGUF file says of a model: written anew for a Hugging Face folder, copied and cut for a GGUF file.

use super::gguf_file::{ARRAY, Metadata, U32};
use super::{Cut, PruneError, Record};
use crate::checkpoint::{Dtype, GgufParts, GgufVocabulary, TokenizerSource};
use crate::config::{LlamaConfig, RopeScaling};
use crate::tokenizer::gguf_vocabulary;

const BLOCK_COUNT: &str = "llama.block_count";

/// Every value of the source but the number of layers, lists of one entry a layer cut; and the record.
pub(super) fn copied(parts: &GgufParts, cut: Cut) -> Metadata {
    let (layers, kept) = (cut.checkpoint.config().layers, &cut.plan.layers);
    let mut metadata = Metadata::default();
    for (key, kind, value) in &parts.metadata {
        if *key == BLOCK_COUNT {
            metadata.u32(key, kept.len() as u32);
        } else if key.starts_with("halfdepth.") {
            // The record says it anew.
        } else if *kind == ARRAY && key.starts_with("llama.") {
            match cut_list(value, layers, kept) {
                Some(list) => metadata.raw(key, *kind, &list),
                None => metadata.raw(key, *kind, value),
            }
        } else {
            metadata.raw(key, *kind, value);
        }
    }
    record(&mut metadata, cut.record);
    metadata
}

/// A list of one number a layer, with the kept layers' only; `None` where it is another kind of list.
fn cut_list(value: &[u8], layers: usize, kept: &[usize]) -> Option<Vec<u8>> {
    let (kind, rest) = value.split_first_chunk::<4>()?;
    let (count, elements) = rest.split_first_chunk::<8>()?;
    let size = match u32::from_le_bytes(*kind) {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    };
    if u64::from_le_bytes(*count) != layers as u64 || elements.len() != layers * size {
        return None;
    }
    let mut list = kind.to_vec();
    list.extend((kept.len() as u64).to_le_bytes());
    for layer in kept {
        list.extend_from_slice(elements.get(layer * size..(layer + 1) * size)?);
    }
    Some(list)
}

/// A folder's configuration and tokenizer, as llama.cpp's converter names them.
pub(super) fn from_folder(cut: Cut, matrices: Dtype) -> Result<Metadata, PruneError> {
    let (checkpoint, record) = (cut.checkpoint, cut.record);
    let config = checkpoint.config();
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", "llama");
    metadata.text("general.type", "model");
    metadata.text(
        "general.name",
        &format!("{} ({})", record.source.name, record.plan),
    );
    metadata.u32("general.file_type", file_type(matrices));
    if matrices.block() > 1 {
        metadata.u32("general.quantization_version", 2);
    }
    shape(&mut metadata, config, cut.plan.layers.len());
    self::record(&mut metadata, record);
    let TokenizerSource::Json { tokenizer, .. } = checkpoint.tokenizer() else {
        return Err(PruneError::NoPlace {
            what: "a model without tokenizer.json".into(),
            format: "a GGUF file",
            way_out: "put its tokenizer.json beside the weights",
        });
    };
    let eos = config.eos_tokens.first().copied();
    let vocabulary = gguf_vocabulary(tokenizer, config.vocab_size, config.bos_token, eos)?;
    tokens(&mut metadata, &vocabulary, config);
    if let Some(template) = checkpoint.chat_template() {
        metadata.text("tokenizer.chat_template", template);
    }
    Ok(metadata)
}

/// llama.cpp's number for the type of most matrices.
fn file_type(matrices: Dtype) -> u32 {
    match matrices {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Q4_0 => 2,
        Dtype::Q8_0 => 7,
        Dtype::Bf16 => 32,
    }
}

fn shape(metadata: &mut Metadata, config: &LlamaConfig, layers: usize) {
    for (key, value) in [
        ("context_length", config.context),
        ("embedding_length", config.hidden_size),
        ("block_count", layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
        ("vocab_size", config.vocab_size),
    ] {
        // A checked configuration's sizes fit.
        metadata.u32(&format!("llama.{key}"), value as u32);
    }
    metadata.f32("llama.rope.freq_base", config.rope.theta as f32);
    metadata.f32(
        "llama.attention.layer_norm_rms_epsilon",
        config.rms_norm_eps,
    );
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        metadata.text("llama.rope.scaling.type", "linear");
        metadata.f32("llama.rope.scaling.factor", factor as f32);
    }
}

fn record(metadata: &mut Metadata, record: &Record) {
    let numbers: Vec<u32> = record
        .original_layers
        .iter()
        .map(|layer| *layer as u32)
        .collect();
    metadata.u32s("halfdepth.original_layers", &numbers);
    metadata.text("halfdepth.plan", &record.plan);
    metadata.text("halfdepth.program", &record.program);
    metadata.text("halfdepth.source.name", &record.source.name);
    metadata.text("halfdepth.source.sha256", &record.source.sha256);
    metadata.u32("halfdepth.source.layers", record.source.layers as u32);
    if let Some(healing) = &record.healing {
        metadata.text("halfdepth.healing.method", &healing.method);
        metadata.text("halfdepth.healing.sha256", &healing.sha256);
    }
}

/// The layers' numbers in the model that was never cut, where a file says so.
pub(super) fn original_layers(parts: &GgufParts) -> Option<Vec<usize>> {
    let mut entries = parts.metadata.iter();
    let (_, _, value) =
        entries.find(|(key, kind, _)| *key == "halfdepth.original_layers" && *kind == ARRAY)?;
    let (kind, rest) = value.split_first_chunk::<4>()?;
    let (_, elements) = rest.split_first_chunk::<8>()?;
    if u32::from_le_bytes(*kind) != U32 {
        return None;
    }
    let numbers = elements.chunks_exact(4);
    Some(
        numbers
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
            .collect(),
    )
}

fn tokens(metadata: &mut Metadata, vocabulary: &GgufVocabulary, config: &LlamaConfig) {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    metadata.text(&key("model"), &vocabulary.model);
    if let Some(pre) = &vocabulary.pre {
        metadata.text(&key("pre"), pre);
    }
    metadata.texts(&key("tokens"), &vocabulary.tokens);
    if !vocabulary.scores.is_empty() {
        metadata.f32s(&key("scores"), &vocabulary.scores);
    }
    metadata.i32s(&key("token_type"), &vocabulary.token_types);
    if !vocabulary.merges.is_empty() {
        metadata.texts(&key("merges"), &vocabulary.merges);
    }
    for (name, id) in [
        ("bos_token_id", vocabulary.bos),
        ("eos_token_id", vocabulary.eos),
        // Further tokens that end an answer.
        ("eot_token_id", config.eos_tokens.get(1).copied()),
        ("eom_token_id", config.eos_tokens.get(2).copied()),
        ("unknown_token_id", vocabulary.unknown),
    ] {
        if let Some(id) = id {
            metadata.u32(&key(name), id);
        }
    }
    for (name, flag) in [
        ("add_bos_token", vocabulary.add_bos),
        ("add_eos_token", vocabulary.add_eos),
        ("add_space_prefix", vocabulary.add_space_prefix),
    ] {
        if let Some(flag) = flag {
            metadata.flag(&key(name), flag);
        }
    }
}
