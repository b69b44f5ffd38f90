//! Whatever the bytes: an answer or an error, never a panic, never a large allocation.

use halfdepth::checkpoint::{Checkpoint, GgufVocabulary, HuggingFaceFiles, shard_names};
use halfdepth::config::LlamaConfig;
use halfdepth::pack::{MANIFEST, Manifest, Role};
use halfdepth::quant::{Format, Packed};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::files::{Folder, gguf, touch};
use crate::memory::peak_bytes;
use crate::packs::pack;

// A few seconds in all; a failure is written to no file, its input is printed.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const MOST_BYTES: usize = 32 << 20;

/// Where and how to change a byte: positions are shares of the length, most of them in the first 16 kB (the header).
fn changes() -> impl Strategy<Value = Vec<(bool, u32, u8)>> {
    vec((prop::bool::weighted(0.8), any::<u32>(), any::<u8>()), 1..6)
}

fn apply(bytes: &mut [u8], changes: &[(bool, u32, u8)]) {
    for (near, position, value) in changes {
        let length = if *near {
            bytes.len().min(16 << 10)
        } else {
            bytes.len()
        };
        if length > 0 {
            bytes[*position as usize % length] = *value;
        }
    }
}

fn open_gguf(bytes: &[u8]) {
    let (_, peak) = peak_bytes(|| {
        let _ = GgufVocabulary::from_gguf(bytes);
        Checkpoint::from_gguf(bytes).and_then(|checkpoint| touch(&checkpoint))
    });
    assert!(peak < MOST_BYTES, "{peak} bytes at once");
}

fn open_folder(folder: &Folder) {
    let (_, peak) = peak_bytes(|| folder.open().and_then(|checkpoint| touch(&checkpoint)));
    assert!(peak < MOST_BYTES, "{peak} bytes at once");
}

#[test]
fn arbitrary_bytes_never_panic() {
    let config = Folder::of("stories260K").config;
    proptest!(cases(400), |(bytes in vec(any::<u8>(), 0..600), version in 0u8..5, counts in vec(0u8..4, 2))| {
        open_gguf(&bytes);
        let [tensors, keys] = [counts[0], counts[1]].map(|count| u64::from(count).to_le_bytes());
        open_gguf(&[&b"GGUF"[..], &[version, 0, 0, 0], &tensors, &keys, &bytes].concat());
        let _ = Manifest::parse(&bytes);
        let _ = LlamaConfig::from_hugging_face(&bytes, Some(&bytes));
        let _ = shard_names(&bytes);
        let header = [&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat();
        for shard in [&bytes, &header] {
            let _ = Checkpoint::from_hugging_face(HuggingFaceFiles {
                config: &config,
                shards: vec![("model.safetensors".into(), shard)],
                ..HuggingFaceFiles::default()
            });
        }
    });
}

#[test]
fn changed_gguf_files_never_panic() {
    let real = ["f32", "q8_0", "q4_0"].map(gguf);
    proptest!(cases(600), |(file in 0usize..3, changes in changes(), cut in prop::option::weighted(0.2, any::<u32>()))| {
        let mut bytes = real[file].clone();
        apply(&mut bytes, &changes);
        if let Some(cut) = cut {
            bytes.truncate(cut as usize % bytes.len());
        }
        open_gguf(&bytes);
    });
}

#[test]
fn changed_folders_never_panic() {
    let real = Folder::of("stories260K");
    proptest!(cases(400), |(changes in changes(), other in changes(), cut in prop::option::weighted(0.2, any::<u32>()))| {
        let mut folder = real.clone();
        apply(&mut folder.shards[0].1, &changes);
        if let Some(cut) = cut {
            let length = folder.shards[0].1.len();
            folder.shards[0].1.truncate(cut as usize % length);
        }
        open_folder(&folder);
        let mut folder = real.clone();
        apply(&mut folder.config, &other);
        open_folder(&folder);
        let mut folder = real.clone();
        apply(folder.tokenizer_config.as_mut().unwrap(), &other);
        open_folder(&folder);
    });
}

#[test]
fn changed_headers_that_are_still_json_never_panic() {
    // Byte changes mostly break the JSON; these keep it and change its numbers.
    let real = Folder::of("stories260K");
    let number = prop_oneof![
        Just(0u64),
        Just(1),
        Just(u64::MAX),
        Just(i64::MAX as u64),
        any::<u64>(),
        0u64..2_000_000
    ];
    proptest!(cases(300), |(tensor in 0usize..47, field in 0usize..2, index in 0usize..2, number in number)| {
        let mut folder = real.clone();
        folder.edit_header(|header| {
            let names: Vec<String> = header.keys().filter(|name| *name != "__metadata__").cloned().collect();
            let field = ["shape", "data_offsets"][field];
            if let Some(value) = header[&names[tensor]][field].get_mut(index) {
                *value = number.into();
            }
        });
        open_folder(&folder);
    });
}

#[test]
fn changed_packs_never_panic_and_changed_shards_are_never_taken() {
    let bytes = gguf("q4_0");
    let stored = pack(
        &Checkpoint::from_gguf(&bytes).unwrap(),
        Format::Q4,
        Format::Q8,
    );
    let shard = stored.file(Role::Layer(1));
    proptest!(cases(600), |(changes in changes(), layer in 0usize..7)| {
        let mut json = stored.files[MANIFEST].clone();
        apply(&mut json, &changes);
        let (manifest, peak) = peak_bytes(|| Manifest::parse(&json));
        prop_assert!(peak < MOST_BYTES, "{} bytes at once", peak);
        if let Ok(manifest) = manifest {
            manifest.files();
            let _ = manifest.read_layer(layer, shard);
        }
        let mut changed = shard.to_vec();
        apply(&mut changed, &changes);
        prop_assert_eq!(stored.manifest.read_layer(1, &changed).is_ok(), changed == shard);
    });
}

#[test]
fn finite_values_of_any_shape_pack_within_a_step() {
    let value = prop_oneof![-1.0f32..1.0, -1e-4f32..1e-4, -1e4f32..1e4, Just(0.0)];
    proptest!(cases(300), |(rows in 1usize..4, cols in 1usize..100, seed in vec(value, 1..50))| {
        let values: Vec<f32> = (0..rows * cols).map(|i| seed[i % seed.len()]).collect();
        // A step is at most a 6.5th (a 120th) of the group's largest magnitude, a clipped value up to 2.2 steps off:
        // 10 levels' worth of range on 7.
        for (format, share) in [(Format::Q4, 0.36), (Format::Q8, 0.03), (Format::F32, 0.0)] {
            let packed = Packed::quantise(rows, cols, format, &values).unwrap();
            let found = packed.dequantise();
            for (row, found) in values.chunks(cols).zip(found.chunks(cols)) {
                for (group, found) in row.chunks(32).zip(found.chunks(32)) {
                    let largest = group.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                    for (value, found) in group.iter().zip(found) {
                        let most = (share * largest).max(if share > 0.0 { 6.2e-5 } else { 0.0 });
                        prop_assert!((value - found).abs() <= most, "{} {} {}", format_args!("{format:?}"), value, found);
                    }
                }
            }
        }
    });
}
