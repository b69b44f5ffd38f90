//! GGUF files that must be refused, in the manner of `hostile.rs`.

use half::f16;
use halfdepth::checkpoint::{Checkpoint, GgufVocabulary};

use crate::checkpoints::tensor_data;
use crate::files::{find, gguf, touch};
use crate::hostile::MOST_BYTES;
use crate::memory::peak_bytes;

type Row = (&'static str, fn(&mut Vec<u8>), &'static str);

#[test]
fn broken_headers_are_named() {
    fn u64_at(bytes: &mut [u8], at: usize, value: u64) {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let rows: &[Row] = &[
        ("empty", |b| b.clear(), "not a GGUF file"),
        ("two bytes", |b| b.truncate(2), "not a GGUF file"),
        (
            "another file",
            |b| b[..4].copy_from_slice(b"GGML"),
            "not a GGUF file (it begins with [47, 47, 4d, 4c])",
        ),
        (
            "only the letters",
            |b| b.truncate(4),
            "truncated: the version needs 4 bytes, 0 are left",
        ),
        ("version 0", |b| b[4] = 0, "GGUF version 0 is not known"),
        ("version 1", |b| b[4] = 1, "GGUF version 1 is not known"),
        ("version 4", |b| b[4] = 4, "GGUF version 4 is not known"),
        (
            "big-endian",
            |b| b[4..8].copy_from_slice(&[0, 0, 0, 3]),
            "GGUF version 50331648 is not known",
        ),
        ("no counts", |b| b.truncate(12), "truncated"),
        ("cut in the metadata", |b| b.truncate(200), "truncated"),
        ("cut in the tokens", |b| b.truncate(4000), "truncated"),
        (
            "cut in the tensor list",
            |b| b.truncate(13_000),
            "truncated",
        ),
        (
            "cut in the data",
            |b| b.truncate(500_000),
            "truncated: tensor `blk.1.ffn_down.weight`",
        ),
        (
            "one byte short",
            |b| b.truncate(1_054_335),
            "truncated: tensor `blk.4.ffn_down.weight`",
        ),
        (
            "bytes behind the end",
            |b| b.extend([0; 4096]),
            "4096 bytes follow the last tensor",
        ),
        (
            "a number of tensors",
            |b| u64_at(b, 8, u64::MAX),
            "the number of tensors = 18446744073709551615 is over the limit",
        ),
        ("more tensors than listed", |b| u64_at(b, 8, 48), "damaged"),
        (
            "fewer tensors than listed",
            |b| u64_at(b, 8, 46),
            "44096 bytes follow the last tensor",
        ),
        (
            "a number of keys",
            |b| u64_at(b, 16, 1 << 60),
            "the number of metadata keys = 1152921504606846976",
        ),
        (
            "more keys than listed",
            |b| u64_at(b, 16, 60_000),
            "damaged",
        ),
        (
            "a long key",
            |b| u64_at(b, 24, 1 << 62),
            "the length of a metadata key = 4611686018427387904 is over",
        ),
        (
            "a key that is no text",
            |b| b[33] = 0xff,
            "a metadata key is not UTF-8",
        ),
        (
            "a long text",
            |b| {
                let at = find(b, "general.architecture") + 20 + 4;
                u64_at(b, at, u64::MAX);
            },
            "truncated: general.architecture needs 18446744073709551615 bytes",
        ),
    ];
    refuse("f32", rows);
}

#[test]
fn broken_metadata_is_named() {
    let rows: &[Row] = &[
        (
            "another architecture",
            |b| rename(b, "general.architecture", "general.architectura"),
            "`general.architecture` is missing",
        ),
        (
            "Qwen",
            |b| {
                let at = find(b, "general.architecture") + 20 + 4 + 8;
                b[at..at + 5].copy_from_slice(b"qwen2");
            },
            "general.architecture = qwen2 is not supported",
        ),
        (
            "an unknown type",
            |b| kind(b, "llama.block_count", 99),
            "`llama.block_count` has the unknown value type 99",
        ),
        (
            "a flag that is 7",
            |b| set(b, "tokenizer.ggml.add_bos_token", &[7]),
            "is neither true nor false but 7",
        ),
        (
            "a float for a size",
            |b| kind(b, "llama.block_count", 6),
            "`llama.block_count` should be a whole number",
        ),
        (
            "a negative size",
            |b| {
                kind(b, "llama.block_count", 5);
                set(b, "llama.block_count", &[0xff; 4]);
            },
            "found -1",
        ),
        (
            "a key twice",
            |b| rename(b, "llama.embedding_length", "llama.feed_forward_len"),
            "`llama.embedding_length` is missing",
        ),
        (
            "the same key again",
            |b| insert(b, "llama.block_count", 4, &5u32.to_le_bytes()),
            "metadata key `llama.block_count` is listed twice",
        ),
        (
            "a thousand layers",
            |b| set(b, "llama.block_count", &1000u32.to_le_bytes()),
            "`blk.5.attn_norm.weight` is missing",
        ),
        (
            "four billion layers",
            |b| set(b, "llama.block_count", &[0xff; 4]),
            "`layers` = 4294967295 is out of range",
        ),
        (
            "no layers",
            |b| set(b, "llama.block_count", &[0; 4]),
            "`layers` = 0 is out of range",
        ),
        (
            "no heads",
            |b| set(b, "llama.attention.head_count", &[0; 4]),
            "is not supported",
        ),
        (
            "kv heads that do not divide",
            |b| set(b, "llama.attention.head_count_kv", &3u32.to_le_bytes()),
            "must divide the 8",
        ),
        (
            "another width",
            |b| set(b, "llama.feed_forward_length", &171u32.to_le_bytes()),
            "implies [171, 64]",
        ),
        (
            "another vocabulary",
            |b| set(b, "llama.vocab_size", &511u32.to_le_bytes()),
            "implies [511, 64]",
        ),
        (
            "part of a head turns",
            |b| set(b, "llama.rope.dimension_count", &4u32.to_le_bytes()),
            "llama.rope.dimension_count = 4",
        ),
        (
            "a NaN for eps",
            |b| {
                set(
                    b,
                    "llama.attention.layer_norm_rms_epsilon",
                    &f32::NAN.to_le_bytes(),
                )
            },
            "`rms_norm_eps` = NaN",
        ),
        (
            "an infinite theta",
            |b| set(b, "llama.rope.freq_base", &f32::INFINITY.to_le_bytes()),
            "`rope theta` = inf",
        ),
        (
            "a first token too high",
            |b| set(b, "tokenizer.ggml.bos_token_id", &600u32.to_le_bytes()),
            "`bos_token` = 600 is out of range",
        ),
        (
            "an end token too high",
            |b| set(b, "tokenizer.ggml.eos_token_id", &512u32.to_le_bytes()),
            "`eos_tokens` = 512 is out of range",
        ),
        (
            "an odd alignment",
            |b| {
                rename(b, "general.file_type", "general.alignment");
                set(b, "general.alignment", &[3, 0, 0, 0]);
            },
            "no power of two",
        ),
        (
            "alignment 0",
            |b| rename(b, "general.file_type", "general.alignment"),
            "general.alignment = 0",
        ),
        (
            "a huge alignment",
            |b| {
                rename(b, "general.file_type", "general.alignment");
                set(b, "general.alignment", &[0, 0, 0, 128]);
            },
            "general.alignment = 2147483648",
        ),
        (
            "split",
            |b| insert(b, "split.count", 2, &2u16.to_le_bytes()),
            "a GGUF split over several files is not supported",
        ),
        (
            "experts",
            |b| insert(b, "llama.expert_count", 4, &8u32.to_le_bytes()),
            "llama.expert_count = 8 is not supported",
        ),
        (
            "a window",
            |b| {
                insert(
                    b,
                    "llama.attention.sliding_window",
                    4,
                    &128u32.to_le_bytes(),
                )
            },
            "sliding_window = 128",
        ),
        (
            "yarn",
            |b| insert(b, "llama.rope.scaling.type", 8, b"\x04\0\0\0\0\0\0\0yarn"),
            "llama.rope.scaling.type = yarn",
        ),
        (
            "heads of each layer",
            |b| {
                insert(
                    b,
                    "llama.attention.key_length",
                    9,
                    b"\x04\0\0\0\x01\0\0\0\0\0\0\0\x08\0\0\0",
                )
            },
            "found a list of 1",
        ),
        (
            "a list of lists",
            |b| insert(b, "x", 9, b"\x09\0\0\0\x01\0\0\0\0\0\0\0"),
            "`x` is a list of the unknown type 9",
        ),
        (
            "a list of 2^63 numbers",
            |b| insert(b, "x", 9, b"\x0a\0\0\0\0\0\0\0\0\0\0\x80"),
            "truncated: x needs 18446744073709551615 bytes",
        ),
        (
            "a list of 2^63 texts",
            |b| insert(b, "x", 9, b"\x08\0\0\0\0\0\0\0\0\0\0\x80"),
            "truncated",
        ),
        (
            "tokens of numbers",
            |b| list(b, "tokenizer.ggml.scores", 4),
            "`tokenizer.ggml.scores` should be a list of 32-bit numbers",
        ),
        (
            "a NaN score",
            |b| {
                let at = find(b, "tokenizer.ggml.scores") + 21 + 16;
                b[at..at + 4].fill(0xff);
            },
            "tokenizer.ggml.scores holds a NaN",
        ),
    ];
    refuse("f32", rows);
}

#[test]
fn broken_tensors_are_named() {
    let rows: &[Row] = &[
        (
            "no dimensions",
            |b| tensor(b, 0, &[0; 4]),
            "`blk.1.ffn_up.weight` has 0 dimensions",
        ),
        (
            "nine dimensions",
            |b| tensor(b, 0, &[9, 0, 0, 0]),
            "`blk.1.ffn_up.weight` has 9 dimensions",
        ),
        (
            "a shape that overflows",
            |b| tensor(b, 4, &[0xff; 16]),
            "`blk.1.ffn_up.weight` of shape",
        ),
        (
            "another shape",
            |b| tensor(b, 4, &63u64.to_le_bytes()),
            "`blk.1.ffn_up.weight` has shape [172, 63]",
        ),
        (
            "no rows",
            |b| tensor(b, 12, &[0; 8]),
            "`blk.1.ffn_up.weight` has shape [0, 64]",
        ),
        (
            "Q4_K",
            |b| tensor(b, 20, &[12, 0, 0, 0]),
            "is stored as Q4_K (ggml type 12); F32, F16, BF16, Q8_0 and Q4_0 can be read",
        ),
        (
            "Q6_K",
            |b| tensor(b, 20, &[14, 0, 0, 0]),
            "is stored as Q6_K (ggml type 14)",
        ),
        (
            "Q5_1",
            |b| tensor(b, 20, &[7, 0, 0, 0]),
            "is stored as Q5_1 (ggml type 7)",
        ),
        (
            "F64",
            |b| tensor(b, 20, &[28, 0, 0, 0]),
            "is stored as F64 (ggml type 28)",
        ),
        (
            "an unknown type",
            |b| tensor(b, 20, &[0xff; 4]),
            "an unknown type (ggml type 4294967295)",
        ),
        (
            "an offset off the alignment",
            |b| tensor(b, 24, &[1]),
            "no multiple of 32",
        ),
        (
            "an offset far away",
            |b| tensor(b, 24, &(1u64 << 62).to_le_bytes()),
            "truncated: tensor `blk.1.ffn_up.weight`",
        ),
        (
            "an offset at the end of numbers",
            |b| tensor(b, 24, &(u64::MAX - 31).to_le_bytes()),
            "truncated: tensor `blk.1.ffn_up.weight`",
        ),
        (
            "over another tensor",
            |b| tensor(b, 24, &0u64.to_le_bytes()),
            "inside the one before it",
        ),
        (
            "a tensor twice",
            |b| rename(b, "blk.1.ffn_up.weight", "blk.0.ffn_up.weight"),
            "`blk.0.ffn_up.weight` is listed twice",
        ),
        (
            "a tensor missing",
            |b| rename(b, "blk.1.ffn_up.weight", "blk.1.ffn_UP.weight"),
            "`blk.1.ffn_up.weight` is missing",
        ),
        (
            "a bias",
            |b| rename(b, "blk.1.ffn_up.weight", "blk.1.attn_qkv.bias"),
            "a bias (tensor `blk.1.attn_qkv.bias`)",
        ),
        (
            "a name that is no text",
            |b| {
                let at = find(b, "blk.1.ffn_up.weight");
                b[at] = 0xff;
            },
            "a tensor name is not UTF-8",
        ),
        (
            "a NaN",
            |b| value(b, "blk.1.ffn_up.weight", 64 * 4, &f32::NAN.to_le_bytes()),
            "`blk.1.ffn_up.weight` holds a value that is not finite in row 1",
        ),
        (
            "an infinity in a norm",
            |b| value(b, "output_norm.weight", 0, &f32::INFINITY.to_le_bytes()),
            "`output_norm.weight` holds",
        ),
    ];
    refuse("f32", rows);
}

#[test]
fn broken_blocks_are_named() {
    let infinite: &[Row] = &[
        (
            "an infinite scale",
            |b| value(b, "blk.0.attn_q.weight", 0, &f16::INFINITY.to_le_bytes()),
            "`blk.0.attn_q.weight` holds",
        ),
        (
            "a scale that is no number",
            |b| value(b, "token_embd.weight", 0, &f16::NAN.to_le_bytes()),
            "`token_embd.weight` holds",
        ),
        (
            "an infinite half",
            |b| value(b, "blk.4.ffn_down.weight", 0, &f16::INFINITY.to_le_bytes()),
            "`blk.4.ffn_down.weight` holds",
        ),
        (
            "a norm in blocks",
            |b| {
                let at = find(b, "blk.3.ffn_norm.weight") + 21 + 4 + 8;
                b[at] = 8;
            },
            "is stored as Q8_0 (a norm)",
        ),
        (
            "rows that fill no blocks",
            |b| {
                let at = find(b, "blk.3.ffn_down.weight") + 21 + 4 + 16;
                b[at] = 2;
            },
            "of shape [64, 172] cannot be Q4_0",
        ),
    ];
    refuse("q8_0", infinite);
    refuse("q4_0", infinite);
}

#[test]
fn repacking_names_broken_blocks_too() {
    use halfdepth::weights::{FormatChoice, embedding_from_checkpoint};
    for file in ["q8_0", "q4_0"] {
        let mut bytes = gguf(file);
        value(&mut bytes, "token_embd.weight", 0, &f16::NAN.to_le_bytes());
        let checkpoint = Checkpoint::from_gguf(&bytes).unwrap();
        let error = embedding_from_checkpoint(&checkpoint, FormatChoice::Native)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`token_embd.weight` holds a value that is not finite in row 0"),
            "{error}"
        );
    }
}

#[test]
fn the_vocabulary_alone_is_refused_by_name_too() {
    let mut bytes = gguf("f32");
    let at = find(&bytes, "tokenizer.ggml.tokens") + 21 + 4 + 4;
    bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let (result, peak) = peak_bytes(|| GgufVocabulary::from_gguf(&bytes));
    assert!(result.unwrap_err().to_string().contains("truncated") && peak < MOST_BYTES);
}

/// Overwrites the value of a key; the new value has the old one's length.
fn set(bytes: &mut [u8], key: &str, value: &[u8]) {
    let at = find(bytes, key) + key.len() + 4;
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Overwrites the type of a key's value.
fn kind(bytes: &mut [u8], key: &str, kind: u8) {
    let at = find(bytes, key) + key.len();
    bytes[at] = kind;
}

/// Overwrites the type of a list's elements.
fn list(bytes: &mut [u8], key: &str, kind: u8) {
    let at = find(bytes, key) + key.len() + 4;
    bytes[at] = kind;
}

/// Overwrites a name with another of the same length.
fn rename(bytes: &mut [u8], name: &str, to: &str) {
    assert_eq!(name.len(), to.len());
    let at = find(bytes, name);
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// Puts another key before the first.
fn insert(bytes: &mut Vec<u8>, key: &str, kind: u8, value: &[u8]) {
    let last = "blk.4.ffn_down.weight";
    let header_end = find(bytes, last) + last.len() + 4 + 16 + 4 + 8;
    let data = bytes.split_off(header_end.next_multiple_of(32));
    bytes.truncate(header_end);
    bytes[16] += 1;
    let entry = [
        &(key.len() as u64).to_le_bytes()[..],
        key.as_bytes(),
        &[kind, 0, 0, 0],
        value,
    ]
    .concat();
    bytes.splice(24..24, entry);
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(data);
}

/// Overwrites part of the entry of one tensor: 0 dimensions, 4 and 12 its two sizes, 20 type, 24 offset.
fn tensor(bytes: &mut [u8], field: usize, value: &[u8]) {
    let name = "blk.1.ffn_up.weight";
    let at = find(bytes, name) + name.len() + field;
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Overwrites bytes of a tensor's data.
fn value(bytes: &mut [u8], name: &str, offset: usize, value: &[u8]) {
    let at = tensor_data(bytes, name) + offset;
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn refuse(file: &str, rows: &[Row]) {
    let real = gguf(file);
    touch(&Checkpoint::from_gguf(&real).unwrap()).unwrap();
    let mut largest = 0;
    for (name, change, expected) in rows {
        let mut bytes = real.clone();
        change(&mut bytes);
        let (result, peak) =
            peak_bytes(|| Checkpoint::from_gguf(&bytes).and_then(|checkpoint| touch(&checkpoint)));
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
        "{} cases of {file} refused; the dearest took {largest} bytes at once",
        rows.len()
    );
}
