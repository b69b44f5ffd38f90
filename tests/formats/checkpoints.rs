//! Checkpoints that open: both formats, both rope spellings, every number type, and what they say.

use half::{bf16, f16};
use halfdepth::checkpoint::{
    Checkpoint, CheckpointError, Dtype, GgufVocabulary, LayerWeight, TokenizerSource, Weight,
    shard_names,
};
use halfdepth::config::{LlamaConfig, RopeScaling};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::shared;
use crate::files::{Folder, find, gguf, matrices, read, safetensors_of, touch, vectors};

#[test]
fn the_three_models_open_with_their_shapes() {
    // hidden, intermediate, layers, heads, kv heads, head dim, vocab, context, eps
    let rows = [
        ("stories260K", [64, 172, 5, 8, 4, 8, 512, 512], 1e-5),
        ("TinyStories-656K", [128, 384, 2, 8, 4, 16, 2048, 512], 1e-6),
        (
            "halfdepth-stories-12L",
            [128, 384, 12, 4, 2, 32, 2048, 512],
            1e-5,
        ),
    ];
    for (model, sizes, eps) in rows {
        let folder = Folder::of(model);
        let checkpoint = folder.open().unwrap();
        let c = checkpoint.config();
        let found = [
            c.hidden_size,
            c.intermediate_size,
            c.layers,
            c.heads,
            c.kv_heads,
            c.head_dim,
            c.vocab_size,
            c.context,
        ];
        assert_eq!(
            (found, c.rms_norm_eps, c.tied_head),
            (sizes, eps, true),
            "{model}"
        );
        assert_eq!(
            (c.rope.theta, &c.rope.scaling),
            (10_000.0, &RopeScaling::None),
            "{model}"
        );
        assert_eq!(
            (c.bos_token, &c.eos_tokens[..]),
            (Some(1), &[2][..]),
            "{model}"
        );
        let stored: usize = folder
            .tensors()
            .iter()
            .map(|(_, _, values)| values.len())
            .sum();
        assert_eq!(c.parameters(), stored as u64, "{model}");
        assert_eq!(checkpoint.kind(), "safetensors");
        assert!(matches!(
            checkpoint.tokenizer(),
            TokenizerSource::Json { .. }
        ));
        touch(&checkpoint).unwrap();
    }
}

#[test]
fn a_table_stored_as_head_only_is_the_embedding_too() {
    let folder = Folder::of("TinyStories-656K");
    assert!(
        !folder
            .tensors()
            .iter()
            .any(|(name, ..)| name == "model.embed_tokens.weight")
    );
    let checkpoint = folder.open().unwrap();
    let [embedding, head] = [Weight::Embedding, Weight::Head]
        .map(|weight| checkpoint.matrix(weight).unwrap().to_f32().unwrap());
    assert_eq!(embedding, head);
}

#[test]
fn a_separate_head_is_read_as_such() {
    let mut folder = Folder::of("stories260K");
    let mut tensors = folder.tensors();
    let (_, shape, values) = tensors
        .iter()
        .find(|(name, ..)| name.contains("embed"))
        .unwrap()
        .clone();
    tensors.push((
        "lm_head.weight".into(),
        shape,
        values.iter().map(|value| value + 1.0).collect(),
    ));
    folder.shards[0].1 = safetensors_of(&tensors, safetensors::Dtype::F32);
    // Tied by configuration: what is stored under the head's name does not count, as in transformers.
    for (tied, offset) in [(true, 0.0), (false, 1.0)] {
        folder.edit_config(|config| {
            config.insert("tie_word_embeddings".into(), tied.into());
        });
        let checkpoint = folder.open().unwrap();
        let head = checkpoint.matrix(Weight::Head).unwrap().to_f32().unwrap();
        assert!(
            head.iter()
                .zip(&values)
                .all(|(head, value)| *head == value + offset)
        );
        assert_eq!(checkpoint.config().tied_head, tied);
    }
}

#[test]
fn half_precision_widens_exactly() {
    let mut folder = Folder::of("stories260K");
    let tensors = folder.tensors();
    let f16_rounded = |value: f32| f16::from_f32(value).to_f32();
    let bf16_rounded = |value: f32| bf16::from_f32(value).to_f32();
    let rows: [(_, _, &dyn Fn(f32) -> f32); 2] = [
        (safetensors::Dtype::F16, Dtype::F16, &f16_rounded),
        (safetensors::Dtype::BF16, Dtype::Bf16, &bf16_rounded),
    ];
    for (stored, dtype, rounded) in rows {
        folder.shards[0].1 = safetensors_of(&tensors, stored);
        let checkpoint = folder.open().unwrap();
        let down = checkpoint
            .matrix(Weight::Layer(3, LayerWeight::Down))
            .unwrap();
        let original = tensors
            .iter()
            .find(|(name, ..)| name == "model.layers.3.mlp.down_proj.weight")
            .unwrap();
        let expected: Vec<f32> = original.2.iter().map(|value| rounded(*value)).collect();
        assert_eq!((down.dtype, down.to_f32().unwrap()), (dtype, expected));
        let norm = checkpoint.vector(Weight::FinalNorm).unwrap();
        let original = tensors
            .iter()
            .find(|(name, ..)| name == "model.norm.weight")
            .unwrap();
        assert_eq!(
            norm,
            original
                .2
                .iter()
                .map(|value| rounded(*value))
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn two_shards_with_an_index_equal_one_file() {
    let whole = Folder::of("halfdepth-stories-12L");
    let tensors = whole.tensors();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let mut map = serde_json::Map::new();
    for (part, name) in [first, second].into_iter().zip(names) {
        map.extend(
            part.iter()
                .map(|(tensor, ..)| (tensor.clone(), Value::from(name))),
        );
    }
    let mut parts = whole.clone();
    parts.shards = [second, first]
        .into_iter()
        .zip([names[1], names[0]])
        .map(|(part, name)| {
            (
                name.to_owned(),
                safetensors_of(part, safetensors::Dtype::F32),
            )
        })
        .collect();
    let index = serde_json::to_vec(&json!({ "metadata": {}, "weight_map": map })).unwrap();
    assert_eq!(shard_names(&index).unwrap(), names);

    let expected = whole.open().unwrap();
    for index in [None, Some(index)] {
        parts.index = index;
        let found = parts.open().unwrap();
        for weight in matrices(12) {
            let [a, b] = [&expected, &found]
                .map(|checkpoint| checkpoint.matrix(weight).unwrap().to_f32().unwrap());
            assert!(a == b, "{weight:?}");
        }
    }
}

#[test]
fn rope_spellings_old_and_new_mean_the_same() {
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    let fields = json!({ "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192 });
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    let new = |object: &Value, kind: &str| {
        let object = with(object.clone(), "rope_type", kind.into());
        json!({ "rope_parameters": with(object, "rope_theta", 5e5.into()) })
    };
    let old = |object: &Value, key: &str, kind: &str| json!({ "rope_theta": 5e5, "rope_scaling": with(object.clone(), key, kind.into()) });
    let rows = [
        (json!({ "rope_theta": 5e5 }), RopeScaling::None),
        (
            json!({ "rope_theta": 500_000, "rope_scaling": null }),
            RopeScaling::None,
        ),
        (
            json!({ "rope_theta": 1.0, "rope_parameters": { "rope_theta": 5e5 } }),
            RopeScaling::None,
        ),
        (new(&json!({}), "default"), RopeScaling::None),
        (
            new(&json!({ "factor": 2.0 }), "linear"),
            RopeScaling::Linear { factor: 2.0 },
        ),
        (
            old(&json!({ "factor": 2.0 }), "type", "linear"),
            RopeScaling::Linear { factor: 2.0 },
        ),
        (new(&fields, "llama3"), llama3.clone()),
        (old(&fields, "rope_type", "llama3"), llama3),
    ];
    for (rope, scaling) in rows {
        let mut folder = Folder::of("stories260K");
        folder.edit_config(|config| {
            config.remove("rope_parameters");
            config.extend(rope.as_object().unwrap().clone());
        });
        let checkpoint = folder.open().unwrap();
        let found = &checkpoint.config().rope;
        assert_eq!((found.theta, &found.scaling), (5e5, &scaling), "{rope}");
    }
}

#[test]
fn inverse_frequencies_are_those_of_transformers() {
    // transformers 5, LlamaRotaryEmbedding of Llama 3.2 1B (theta 500000, head 64, factor 32, 1, 4, 8192).
    let config = json!({
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
        "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "rope_theta": 500_000.0,
        "rope_scaling": { "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3" },
        "bos_token_id": 128_000, "eos_token_id": [128_001, 128_008, 128_009],
    });
    let config = LlamaConfig::from_hugging_face(config.to_string().as_bytes(), None).unwrap();
    assert_eq!(config.parameters(), 1_235_814_400);
    assert_eq!(config.eos_tokens, [128_001, 128_008, 128_009]);
    let found = config.rope.inverse_frequencies(64);
    assert_eq!(found.len(), 32);
    let plain = |i: i32| 500_000f64.powf(-f64::from(i) / 32.0);
    // Wavelengths below 2048 are kept, above 8192 divided by 32, between them mixed.
    for (i, frequency) in found.iter().enumerate() {
        let unscaled = plain(i as i32);
        let wavelength = std::f64::consts::TAU / unscaled;
        let share = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
        let expected = (1.0 - share) * unscaled / 32.0 + share * unscaled;
        assert!((frequency - expected).abs() <= 1e-15 * expected, "{i}");
        match wavelength {
            short if short < 2048.0 => assert_eq!(*frequency, unscaled),
            long if long > 8192.0 => assert!((frequency * 32.0 / unscaled - 1.0).abs() < 1e-12),
            _ => assert!(*frequency < unscaled && *frequency > unscaled / 32.0),
        }
    }
}

#[test]
fn end_tokens_come_from_the_generation_config_first() {
    let rows = [
        (
            json!(2),
            json!({ "eos_token_id": [2, 7, 9], "bos_token_id": 3 }),
            Some(3),
            vec![2, 7, 9],
        ),
        (json!([4, 5]), json!({}), Some(1), vec![4, 5]),
        (
            json!([4, 5]),
            json!({ "eos_token_id": null }),
            Some(1),
            vec![4, 5],
        ),
        (json!(null), json!({ "eos_token_id": 6 }), Some(1), vec![6]),
        (json!(null), json!({}), Some(1), vec![]),
    ];
    for (config, generation, bos, eos) in rows {
        let mut folder = Folder::of("stories260K");
        folder.edit_config(|fields| {
            fields.insert("eos_token_id".into(), config.clone());
        });
        folder.generation_config = Some(generation.to_string().into_bytes());
        let checkpoint = folder.open().unwrap();
        let found = checkpoint.config();
        assert_eq!(
            (found.bos_token, &found.eos_tokens),
            (bos, &eos),
            "{config} {generation}"
        );
    }
}

#[test]
fn configurations_of_published_models_are_read_or_refused_by_name() {
    let smol = read("tokenizers/smollm2/smollm2-135m-instruct-config.json");
    let smol = LlamaConfig::from_hugging_face(&smol, None).unwrap();
    assert_eq!(
        (smol.head_dim, smol.kv_heads, smol.rope.theta),
        (64, 3, 100_000.0)
    );
    assert_eq!(smol.parameters(), 134_515_008);

    let mistral = read("tokenizers/llama-spm-32k/config.json");
    let error = LlamaConfig::from_hugging_face(&mistral, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("sliding_window = 1024"), "{error}");
    for window in [Value::Null, 2048.into()] {
        // Without a width of its own, its heads would be 26 wide, which the cache cannot hold.
        for head_dim in [Value::Null, 32.into()] {
            let open = crate::files::edit_object(&mistral, |config| {
                config.insert("sliding_window".into(), window.clone());
                config.insert("head_dim".into(), head_dim.clone());
            });
            match LlamaConfig::from_hugging_face(&open, None) {
                Ok(config) => assert_eq!((config.head_dim, config.tied_head), (32, false)),
                Err(error) => {
                    assert_eq!(head_dim, Value::Null);
                    assert!(error.to_string().contains("`head_dim` = 26"), "{error}");
                }
            }
        }
    }
}

#[test]
fn chat_template_and_special_tokens_are_found_wherever_they_stand() {
    let mut folder = Folder::of("halfdepth-stories-12L");
    let special = folder.open().unwrap().special().clone();
    assert_eq!(
        (special.bos.as_deref(), special.eos.as_deref()),
        (Some("<|begin|>"), Some("<|end|>"))
    );
    assert!(
        folder
            .open()
            .unwrap()
            .chat_template()
            .unwrap()
            .contains("<|assistant|>")
    );
    folder.chat_template = Some(b"from the file".to_vec());
    assert_eq!(
        folder.open().unwrap().chat_template(),
        Some("from the file")
    );
    folder.chat_template = None;
    let several = json!({ "bos_token": { "content": "<s>" }, "eos_token": null, "chat_template": [
        { "name": "tool_use", "template": "tools" }, { "name": "default", "template": "plain" }] });
    folder.tokenizer_config = Some(several.to_string().into_bytes());
    let checkpoint = folder.open().unwrap();
    assert_eq!(checkpoint.chat_template(), Some("plain"));
    assert_eq!(
        (
            checkpoint.special().bos.as_deref(),
            &checkpoint.special().eos
        ),
        (Some("<s>"), &None)
    );
}

#[test]
fn gguf_floats_equal_the_safetensors_tensor_for_tensor() {
    let (folder, bytes) = (Folder::of("stories260K"), gguf("f32"));
    let (expected, found) = (
        folder.open().unwrap(),
        Checkpoint::from_gguf(&bytes).unwrap(),
    );
    assert_eq!(found.config(), expected.config());
    assert_eq!(found.kind(), "gguf");
    for weight in matrices(5) {
        let [a, b] = [&expected, &found].map(|checkpoint| checkpoint.matrix(weight).unwrap());
        assert_eq!((a.rows, a.cols), (b.rows, b.cols), "{weight:?}");
        assert!(a.to_f32().unwrap() == b.to_f32().unwrap(), "{weight:?}");
    }
    for weight in vectors(5) {
        let [a, b] = [&expected, &found].map(|checkpoint| checkpoint.vector(weight).unwrap());
        assert_eq!(a, b, "{weight:?}");
    }
    let q = LayerWeight::Query;
    let raw = &bytes[tensor_data(&bytes, "blk.2.attn_q.weight")..][..64 * 64 * 4];
    let in_order = found.matrix(Weight::Layer(2, q)).unwrap();
    assert!(
        *in_order.bytes != *raw,
        "the rows of q are stored in another order, or this test proves nothing"
    );
}

#[test]
fn gguf_version_2_reads_as_version_3() {
    let mut bytes = gguf("q8_0");
    assert_eq!(bytes[4..8], 3u32.to_le_bytes());
    let expected = Checkpoint::from_gguf(&bytes)
        .unwrap()
        .matrix(Weight::Embedding)
        .unwrap()
        .to_f32()
        .unwrap();
    bytes[4] = 2;
    let checkpoint = Checkpoint::from_gguf(&bytes).unwrap();
    assert!(
        checkpoint
            .matrix(Weight::Embedding)
            .unwrap()
            .to_f32()
            .unwrap()
            == expected
    );
}

#[test]
fn gguf_metadata_gives_tokenizer_and_special_tokens() {
    let bytes = gguf("q4_0");
    let checkpoint = Checkpoint::from_gguf(&bytes).unwrap();
    let TokenizerSource::Gguf(vocabulary) = checkpoint.tokenizer() else {
        panic!("no vocabulary")
    };
    assert_eq!(vocabulary.model, "llama");
    assert_eq!(
        (
            vocabulary.tokens.len(),
            vocabulary.scores.len(),
            vocabulary.token_types.len()
        ),
        (512, 512, 512)
    );
    assert_eq!(vocabulary.tokens[..4], ["<unk>", "<s>", "</s>", "<0x00>"]);
    assert_eq!(
        (vocabulary.bos, vocabulary.eos, vocabulary.unknown),
        (Some(1), Some(2), Some(0))
    );
    assert_eq!(
        (vocabulary.add_bos, vocabulary.add_space_prefix),
        (Some(true), Some(true))
    );
    assert_eq!(checkpoint.special().eos.as_deref(), Some("</s>"));
    assert_eq!(checkpoint.chat_template(), None);
}

#[test]
fn vocabulary_only_files_give_their_vocabulary() {
    let rows = [
        ("gpt-2", "gpt2", 50_257, 50_000),
        ("llama-spm", "llama", 32_000, 0),
        ("phi-3", "llama", 32_064, 0),
    ];
    for (file, model, tokens, merges) in rows {
        let bytes = std::fs::read(shared(&format!(
            "tokenizers/gguf-vocab/ggml-vocab-{file}.gguf"
        )))
        .unwrap();
        let vocabulary = GgufVocabulary::from_gguf(&bytes).unwrap();
        assert_eq!(vocabulary.model, model);
        assert_eq!(
            (vocabulary.tokens.len(), vocabulary.merges.len()),
            (tokens, merges),
            "{file}"
        );
        assert!(
            Checkpoint::from_gguf(&bytes).is_err(),
            "{file} holds no weights"
        );
    }
}

#[test]
fn the_source_hash_is_the_files() {
    let bytes = gguf("q4_0");
    let found = Checkpoint::from_gguf(&bytes).unwrap().sha256();
    let of_file: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(found, of_file);
    let mut folder = Folder::of("stories260K");
    let whole = folder.open().unwrap().sha256();
    assert_ne!(whole, found);
    let last = folder.shards[0].1.len() - 1;
    folder.shards[0].1[last] ^= 1;
    assert_ne!(folder.open().unwrap().sha256(), whole);
}

#[test]
fn weights_that_are_not_there_are_named() {
    let folder = Folder::of("stories260K");
    let checkpoint = folder.open().unwrap();
    let missing = Weight::Layer(5, LayerWeight::Query);
    assert!(matches!(
        checkpoint.matrix(missing),
        Err(CheckpointError::NoSuchWeight { layers: 5, .. })
    ));
    assert!(checkpoint.matrix(Weight::FinalNorm).is_err());
    assert!(checkpoint.vector(Weight::Embedding).is_err());
}

/// Where a tensor's data begins in one of the real GGUF files, found without the reader under test.
pub(crate) fn tensor_data(bytes: &[u8], name: &str) -> usize {
    let after = |name: &str| {
        let at = find(bytes, name) + name.len();
        let dimensions = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        at + 4 + 8 * dimensions + 4
    };
    let offset = u64::from_le_bytes(bytes[after(name)..][..8].try_into().unwrap()) as usize;
    (after("blk.4.ffn_down.weight") + 8).next_multiple_of(32) + offset
}
