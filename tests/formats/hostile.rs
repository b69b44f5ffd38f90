//! Folders that must be refused: each row changes one thing in a real one and names the error it must give,
//! without a panic and without an allocation beyond what the real files need.

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::files::{Folder, find, safetensors_of, touch};
use crate::memory::peak_bytes;

/// Refusing takes below 50 kB where the real files have a megabyte: what a broken copy claims is never reserved.
pub(crate) const MOST_BYTES: usize = 1 << 20;

type Row = (&'static str, fn(&mut Folder), &'static str);

#[test]
fn broken_configurations_are_named() {
    fn set(folder: &mut Folder, field: &str, value: Value) {
        folder.edit_config(|config| {
            config.insert(field.into(), value);
        });
    }
    fn rope(folder: &mut Folder, value: Value) {
        set(folder, "rope_parameters", value);
    }
    let rows: &[Row] = &[
        (
            "empty",
            |f| f.config.clear(),
            "config.json is not a JSON object",
        ),
        (
            "truncated",
            |f| f.config.truncate(100),
            "config.json is not a JSON object",
        ),
        (
            "a list",
            |f| f.config = b"[1, 2]".to_vec(),
            "config.json is not a JSON object",
        ),
        (
            "not text",
            |f| f.config[5] = 0xff,
            "config.json is not a JSON object",
        ),
        (
            "too deep",
            |f| f.config = [b"{\"a\":".repeat(9000), b"[".repeat(9000)].concat(),
            "not a JSON object",
        ),
        (
            "oversized",
            |f| f.config.resize(2 << 20, b' '),
            "config.json has 2097152 bytes, more than the 1048576",
        ),
        (
            "NaN",
            |f| f.config = b"{\"rms_norm_eps\": NaN}".to_vec(),
            "not a JSON object",
        ),
        (
            "no model type",
            |f| set(f, "model_type", Value::Null),
            "`model_type` is missing",
        ),
        (
            "another model type",
            |f| set(f, "model_type", "gpt2".into()),
            "model_type = \"gpt2\" is not supported",
        ),
        (
            "no hidden size",
            |f| set(f, "hidden_size", Value::Null),
            "`hidden_size` is missing",
        ),
        (
            "a text for a size",
            |f| set(f, "hidden_size", "64".into()),
            "`hidden_size` should be a whole number",
        ),
        (
            "a negative size",
            |f| set(f, "hidden_size", (-64).into()),
            "`hidden_size` should be a whole number",
        ),
        (
            "a fraction",
            |f| set(f, "hidden_size", 64.5.into()),
            "`hidden_size` should be a whole number",
        ),
        (
            "hidden size 0",
            |f| set(f, "hidden_size", 0.into()),
            "`hidden_size` = 0 is out of range",
        ),
        (
            "a huge size",
            |f| set(f, "intermediate_size", u64::MAX.into()),
            "`intermediate_size` = 18446744073709551615",
        ),
        (
            "four billion layers",
            |f| set(f, "num_hidden_layers", 4_000_000_000u64.into()),
            "`layers` = 4000000000",
        ),
        (
            "a huge vocabulary",
            |f| set(f, "vocab_size", (1u64 << 40).into()),
            "`vocab_size` = 1099511627776",
        ),
        (
            "a huge context",
            |f| set(f, "max_position_embeddings", (1u64 << 50).into()),
            "`context` = ",
        ),
        (
            "no heads",
            |f| set(f, "num_attention_heads", 0.into()),
            "`heads` = 0 is out of range",
        ),
        (
            "kv heads that do not divide",
            |f| set(f, "num_key_value_heads", 3.into()),
            "must divide the 8 query heads",
        ),
        (
            "an odd head",
            |f| set(f, "head_dim", 7.into()),
            "must be a multiple of 4",
        ),
        (
            "a large head",
            |f| set(f, "head_dim", 512.into()),
            "must lie between 1 and 256",
        ),
        (
            "a negative eps",
            |f| set(f, "rms_norm_eps", (-1).into()),
            "`rms_norm_eps` = -1 is out of range",
        ),
        (
            "an infinite eps",
            |f| set(f, "rms_norm_eps", 1e300.into()),
            "`rms_norm_eps` = inf is out of range",
        ),
        (
            "theta 0",
            |f| rope(f, json!({ "rope_theta": 0 })),
            "`rope theta` = 0 is out of range",
        ),
        (
            "an unknown rope",
            |f| rope(f, json!({ "rope_type": "yarn" })),
            "rope_type = \"yarn\" is not supported",
        ),
        (
            "rope without factor",
            |f| rope(f, json!({ "rope_type": "llama3" })),
            "`factor` is missing",
        ),
        (
            "rope a layer type",
            |f| rope(f, json!({ "full_attention": {} })),
            "one entry a layer type",
        ),
        (
            "rope of another kind",
            |f| rope(f, json!("llama3")),
            "`rope_parameters` should be an object",
        ),
        (
            "crossed rope factors",
            |f| {
                rope(
                    f,
                    json!({ "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 }),
                );
            },
            "must be above low_freq_factor",
        ),
        (
            "part of a head turns",
            |f| set(f, "partial_rotary_factor", 0.5.into()),
            "partial_rotary_factor = 0.5",
        ),
        (
            "biases",
            |f| set(f, "attention_bias", true.into()),
            "attention_bias = true is not supported",
        ),
        (
            "more biases",
            |f| set(f, "mlp_bias", true.into()),
            "mlp_bias = true is not supported",
        ),
        (
            "another activation",
            |f| set(f, "hidden_act", "gelu".into()),
            "hidden_act = \"gelu\" is not supported",
        ),
        (
            "a window",
            |f| set(f, "sliding_window", 128.into()),
            "sliding_window = 128 is not supported",
        ),
        (
            "quantised",
            |f| set(f, "quantization_config", json!({ "bits": 4 })),
            "quantization_config = an object",
        ),
        (
            "an end token too high",
            |f| set(f, "vocab_size", 2.into()),
            "`eos_tokens` = 2 is out of range",
        ),
        (
            "a text for an end token",
            |f| f.generation_config = Some(br#"{"eos_token_id": "</s>"}"#.to_vec()),
            "`eos_token_id` should be a token id",
        ),
        (
            "a broken generation config",
            |f| f.generation_config = Some(b"{".to_vec()),
            "generation_config.json is not a JSON object",
        ),
        (
            "a layer too many",
            |f| set(f, "num_hidden_layers", 6.into()),
            "`model.layers.5.input_layernorm.weight` is missing",
        ),
        (
            "a wider MLP",
            |f| set(f, "intermediate_size", 176.into()),
            "has shape [172, 64], the configuration implies [176, 64]",
        ),
        (
            "a head that is not there",
            |f| set(f, "tie_word_embeddings", false.into()),
            "`lm_head.weight` is missing",
        ),
    ];
    refuse(rows);
}

#[test]
fn broken_safetensors_are_named() {
    fn bytes(folder: &mut Folder) -> &mut Vec<u8> {
        &mut folder.shards[0].1
    }
    fn tensor(folder: &mut Folder, field: &str, value: Value) {
        folder.edit_header(|header| header["model.layers.0.mlp.down_proj.weight"][field] = value);
    }
    fn rename(folder: &mut Folder, to: &str) {
        folder.edit_header(|header| {
            let info = header
                .remove("model.layers.2.self_attn.v_proj.weight")
                .unwrap();
            header.insert(to.into(), info);
        });
    }
    fn data(folder: &Folder) -> usize {
        8 + u64::from_le_bytes(folder.shards[0].1[..8].try_into().unwrap()) as usize
    }
    let rows: &[Row] = &[
        (
            "no file",
            |f| f.shards.clear(),
            "it has no safetensors file",
        ),
        (
            "empty",
            |f| bytes(f).clear(),
            "truncated: the header length of model.safetensors needs 8 bytes",
        ),
        (
            "four bytes",
            |f| bytes(f).truncate(4),
            "truncated: the header length",
        ),
        (
            "half a header",
            |f| bytes(f).truncate(1000),
            "truncated: the header of model.safetensors needs",
        ),
        (
            "a huge header",
            |f| bytes(f)[..8].fill(0xff),
            "header bytes of model.safetensors = 18446744073709551615",
        ),
        (
            "a large header",
            |f| bytes(f)[..8].copy_from_slice(&(99u64 << 20).to_le_bytes()),
            "over the limit",
        ),
        (
            "a header of nothing",
            |f| bytes(f)[..8].fill(0),
            "model.safetensors is damaged",
        ),
        (
            "a header that is no JSON",
            |f| bytes(f)[8] = b'!',
            "model.safetensors is damaged: invalid",
        ),
        (
            "a header that is no text",
            |f| bytes(f)[9] = 0xff,
            "model.safetensors is damaged: invalid UTF-8",
        ),
        (
            "one byte short",
            |f| bytes(f).truncate(1_044_991),
            "not fully covered",
        ),
        ("one byte more", |f| bytes(f).push(0), "not fully covered"),
        (
            "cut in the middle",
            |f| bytes(f).truncate(300_000),
            "not fully covered",
        ),
        (
            "overlap",
            |f| tensor(f, "data_offsets", json!([131_000, 175_032])),
            "invalid offset",
        ),
        (
            "a gap",
            |f| tensor(f, "data_offsets", json!([131_332, 175_364])),
            "invalid offset",
        ),
        (
            "an offset past the end",
            |f| tensor(f, "data_offsets", json!([131_328, u64::MAX])),
            "model.safetensors is damaged",
        ),
        (
            "ends before it begins",
            |f| tensor(f, "data_offsets", json!([175_360, 131_328])),
            "invalid offset",
        ),
        (
            "another shape",
            |f| tensor(f, "shape", json!([64, 171])),
            "invalid shape",
        ),
        (
            "a shape that overflows",
            |f| tensor(f, "shape", json!([u64::MAX, u64::MAX])),
            "overflow",
        ),
        (
            "a negative shape",
            |f| tensor(f, "shape", json!([-64, 172])),
            "model.safetensors is damaged",
        ),
        (
            "an unknown type",
            |f| tensor(f, "dtype", json!("Q9")),
            "model.safetensors is damaged",
        ),
        (
            "another type",
            |f| tensor(f, "dtype", json!("I32")),
            "is stored as I32; F32, F16 and BF16 can be read",
        ),
        (
            "transposed",
            |f| tensor(f, "shape", json!([172, 64])),
            "has shape [172, 64], the configuration implies [64, 172]",
        ),
        (
            "one dimension",
            |f| tensor(f, "shape", json!([11_008])),
            "has shape [11008]",
        ),
        (
            "three dimensions",
            |f| tensor(f, "shape", json!([1, 64, 172])),
            "has shape [1, 64, 172]",
        ),
        (
            "a tensor missing",
            |f| rename(f, "other"),
            "`model.layers.2.self_attn.v_proj.weight` is missing",
        ),
        (
            "a bias",
            |f| rename(f, "model.layers.2.self_attn.v_proj.bias"),
            "a bias (tensor `model.layers.2.self_attn.v_proj.bias`)",
        ),
        (
            "a NaN in a matrix",
            |f| {
                let at = data(f) + 131_328 + 4 * 172;
                bytes(f)[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            "`model.layers.0.mlp.down_proj.weight` holds a value that is not finite in row 1",
        ),
        (
            "an infinity in a norm",
            |f| {
                let at = bytes(f).len() - 4;
                bytes(f)[at..].copy_from_slice(&f32::INFINITY.to_le_bytes());
            },
            "`model.norm.weight` holds a value that is not finite",
        ),
        (
            "an infinity in half precision",
            |f| {
                let mut tensors = f.tensors();
                let norm = tensors
                    .iter_mut()
                    .find(|(name, ..)| name == "model.norm.weight")
                    .unwrap();
                norm.2[0] = 1e30;
                *bytes(f) = safetensors_of(&tensors, Dtype::F16);
            },
            "`model.norm.weight` holds a value that is not finite",
        ),
    ];
    refuse(rows);
}

#[test]
fn broken_folders_are_named() {
    fn index(folder: &mut Folder, shard: &str) {
        let names = folder
            .tensors()
            .into_iter()
            .map(|(name, ..)| (name, Value::from(shard)));
        let map: serde_json::Map<_, _> = names.collect();
        folder.index = Some(serde_json::to_vec(&json!({ "weight_map": map })).unwrap());
    }
    let rows: &[Row] = &[
        (
            "an index that is no JSON",
            |f| f.index = Some(b"{\"weight_map\":".to_vec()),
            "index.json is damaged",
        ),
        (
            "an index without a map",
            |f| f.index = Some(b"{}".to_vec()),
            "missing field `weight_map`",
        ),
        (
            "an empty index",
            |f| f.index = Some(br#"{"weight_map":{}}"#.to_vec()),
            "`model.embed_tokens.weight` is missing",
        ),
        (
            "an oversized index",
            |f| f.index = Some(vec![b' '; 17 << 20]),
            "over the limit",
        ),
        (
            "a way out",
            |f| index(f, "../../etc/model.safetensors"),
            "is not the plain name of a safetensors file",
        ),
        (
            "an absolute way out",
            |f| index(f, "/model.safetensors"),
            "is not the plain name of a safetensors file",
        ),
        (
            "another drive",
            |f| index(f, "c:model.safetensors"),
            "is not the plain name of a safetensors file",
        ),
        (
            "another ending",
            |f| index(f, "model.bin"),
            "is not the plain name of a safetensors file",
        ),
        (
            "a shard that is not there",
            |f| index(f, "model-2.safetensors"),
            "which is not there; download the missing file",
        ),
        (
            "a shard that does not hold it",
            |f| {
                index(f, "b.safetensors");
                let few = safetensors_of(&f.tensors()[..3], Dtype::F32);
                f.shards.push(("b.safetensors".into(), few));
            },
            "is missing",
        ),
        (
            "a tensor twice",
            |f| {
                let again = ("again.safetensors".to_owned(), f.shards[0].1.clone());
                f.shards.push(again);
            },
            "is stored in two files and there is no index",
        ),
        (
            "a broken tokenizer config",
            |f| f.tokenizer_config = Some(b"[".to_vec()),
            "tokenizer_config.json is damaged",
        ),
        (
            "an oversized tokenizer config",
            |f| f.tokenizer_config = Some(vec![b' '; 17 << 20]),
            "over the limit",
        ),
        (
            "a template that is no text",
            |f| f.chat_template = Some(vec![0xff]),
            "chat_template.jinja is damaged",
        ),
        (
            "an oversized template",
            |f| f.chat_template = Some(vec![b'a'; 2 << 20]),
            "over the limit of 1048576",
        ),
    ];
    refuse(rows);
}

#[test]
fn a_header_may_claim_what_it_likes_and_costs_its_own_length() {
    // The most expensive header allowed: as many tensors as fit, none of them holding anything.
    let mut folder = Folder::of("stories260K");
    let mut header = String::from("{");
    for tensor in 0..20_000 {
        header +=
            &format!("\"{tensor}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}},");
    }
    header.pop();
    header.push('}');
    folder.shards[0].1 = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let (result, peak) = peak_bytes(|| folder.open().err().unwrap().to_string());
    assert!(
        result.contains("`model.embed_tokens.weight` is missing"),
        "{result}"
    );
    assert!(
        peak < 16 * header.len(),
        "{peak} bytes for a header of {}",
        header.len()
    );
}

#[test]
fn the_real_folder_passes_where_the_broken_ones_fail() {
    let folder = Folder::of("stories260K");
    assert!(find(&folder.config, "rope_parameters") > 0);
    touch(&folder.open().unwrap()).unwrap();
}

fn refuse(rows: &[Row]) {
    let real = Folder::of("stories260K");
    let mut largest = 0;
    for (name, change, expected) in rows {
        let mut folder = real.clone();
        change(&mut folder);
        let (result, peak) = peak_bytes(|| folder.open().and_then(|checkpoint| touch(&checkpoint)));
        let error = result.expect_err(name).to_string();
        assert!(
            error.contains(expected),
            "{name}: expected `{expected}` in: {error}"
        );
        assert!(error.len() < 400, "{name}: {error}");
        assert!(peak < MOST_BYTES, "{name}: {peak} bytes at once");
        largest = largest.max(peak);
    }
    println!(
        "{} cases refused; the dearest took {largest} bytes at once",
        rows.len()
    );
}
