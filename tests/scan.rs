//! Scans against reference values made with transformers in float64, on every device, and against models in which the answer is
//! known.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::io::Cursor;

use common::shared;
use halfdepth::checkpoint::{Checkpoint, HuggingFaceFiles};
use halfdepth::decode::cpu;
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::plan::LayerPlan;
use halfdepth::scan::{
    Key, Measured, Sampling, Scan, ScanError, ScannedModel, ScannedText, Scanner, draw,
};
use halfdepth::tokenizer::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    similarity: Similarity,
}

#[derive(Deserialize)]
struct Similarity {
    samples: usize,
    tokens_per_sample: usize,
    sample_ids: Vec<Vec<u32>>,
    distance: BTreeMap<usize, Vec<f64>>,
    best_start: BTreeMap<usize, usize>,
    block_influence: Vec<f64>,
}

fn similarity(name: &str) -> Similarity {
    let bytes = std::fs::read(shared(&format!("goldens/{name}.json"))).expect("goldens");
    let goldens: Goldens = serde_json::from_slice(&bytes).expect("goldens parse");
    goldens.similarity
}

fn scan(source: &dyn DenseSource, samples: &[Vec<u32>], device: &burn::tensor::Device) -> Measured {
    let mut scanner = Scanner::new(source, samples, device).expect("a scan");
    while scanner.step().expect("a layer") {}
    scanner.finish()
}

fn document(source: &dyn DenseSource, samples: &[Vec<u32>], measured: Measured) -> Scan {
    let model = ScannedModel {
        name: "test".into(),
        kind: "safetensors".into(),
        sha256: "00".into(),
        config: source.config().clone(),
    };
    let text = ScannedText {
        files: vec!["test".into()],
        sha256: "00".into(),
        tokens: 1,
    };
    Scan::new(model, text, &key(samples), measured)
}

fn key(samples: &[Vec<u32>]) -> Key {
    Key {
        model: "00".into(),
        text: "00".into(),
        sampling: Sampling::Sequential,
        seed: 0,
        samples: samples.len(),
        tokens: samples[0].len(),
    }
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn check(name: &str) {
    let golden = similarity(name);
    let checkpoint = model::open(name);
    for (device_name, device) in model::devices() {
        let measured = scan(&checkpoint, &golden.sample_ids, &device);
        assert!(measured.distance.keys().eq(golden.distance.keys()));
        let rows = measured
            .distance
            .iter()
            .map(|(n, row)| worst(row, &golden.distance[n]));
        let distance = rows.fold(0.0, f64::max);
        let influence = worst(&measured.block_influence, &golden.block_influence);
        model::say(&format!(
            "{name} on {device_name}: distances off by {distance:.1e}, block influence by {influence:.1e}"
        ));
        // f32 streams beside f64 ones: 1e-6 is seen.
        assert!(distance < 1e-5 && influence < 1e-5);
        let scan = document(&checkpoint, &golden.sample_ids, measured);
        assert_eq!(scan.best_start, golden.best_start, "on {device_name}");
        let read = Scan::parse(scan.to_json().as_bytes()).expect("its own file");
        assert_eq!(read.best_start, scan.best_start);
    }
}

#[test]
fn stories260k_equals_the_reference() {
    check("stories260K");
}

#[test]
fn tinystories_656k_equals_the_reference() {
    check("TinyStories-656K");
}

#[test]
fn halfdepth_stories_12l_equals_the_reference() {
    check("halfdepth-stories-12L");
}

#[test]
fn sequential_sampling_reads_what_the_reference_read() {
    for name in model::MODELS {
        let golden = similarity(name);
        let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json")));
        let tokenizer = Tokenizer::from_json(&json.expect("a tokenizer")).expect("a tokenizer");
        let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt"));
        let ids = tokenizer
            .encode(&text.expect("a text"), false)
            .expect("ids");
        let samples = draw(
            &ids,
            golden.samples,
            golden.tokens_per_sample,
            Sampling::Sequential,
            0,
        );
        assert_eq!(samples.expect("samples"), golden.sample_ids, "{name}");
    }
}

/// stories260K with these tensors all zeros.
fn with_zeros(tensors: &[String]) -> Checkpoint<'static> {
    let folder = shared("models/stories260K");
    let mut weights = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let header_len = u64::from_le_bytes(weights[..8].try_into().expect("eight")) as usize;
    let header: serde_json::Value =
        serde_json::from_slice(&weights[8..8 + header_len]).expect("a header");
    for tensor in tensors {
        let offsets = &header[tensor]["data_offsets"];
        let [begin, end] = [0, 1].map(|i| offsets[i].as_u64().expect("an offset") as usize);
        weights[8 + header_len + begin..8 + header_len + end].fill(0);
    }
    Checkpoint::from_hugging_face(HuggingFaceFiles {
        config: model::leak(&folder.join("config.json")).expect("a config"),
        generation_config: None,
        index: None,
        shards: vec![(
            "model.safetensors".into(),
            Box::leak(weights.into_boxed_slice()),
        )],
        tokenizer: None,
        tokenizer_config: None,
        chat_template: None,
    })
    .expect("a checkpoint")
}

fn weights_of(layer: usize, parts: &[&str]) -> Vec<String> {
    let name = |part: &&str| format!("model.layers.{layer}.{part}.weight");
    parts.iter().map(name).collect()
}

#[test]
fn identity_blocks_are_found_exactly() {
    let samples = similarity("stories260K").sample_ids;
    let both = ["self_attn.o_proj", "mlp.down_proj"];
    // At the very first layer, in the midst, at the very last; one layer and blocks of two.
    for identity in [0..1, 2..3, 4..5, 0..2, 1..3, 3..5] {
        let zeros: Vec<_> = identity
            .clone()
            .flat_map(|layer| weights_of(layer, &both))
            .collect();
        let checkpoint = with_zeros(&zeros);
        for (device_name, device) in model::devices() {
            let measured = scan(&checkpoint, &samples, &device);
            for layer in 0..5 {
                assert_eq!(
                    measured.block_influence[layer] == 0.0,
                    identity.contains(&layer),
                    "{identity:?} on {device_name}: {:?}",
                    measured.block_influence
                );
            }
            let scan = document(&checkpoint, &samples, measured);
            let n = identity.len();
            assert_eq!(
                scan.best_start[&n], identity.start,
                "{identity:?} on {device_name}"
            );
            assert_eq!(scan.distance[&n][identity.start], 0.0);
            // Dropping it changes nothing.
            let full = LayerPlan::full(5).expect("a plan");
            let dropped: Vec<usize> = identity.clone().collect();
            let cut = LayerPlan::without(5, &dropped).expect("a plan");
            let full = Dense::load(&checkpoint, full, &device, &mut |_, _| ()).expect("a model");
            let cut = full.with_plan(cut).expect("a model");
            let batch = [samples[0].as_slice()];
            assert_eq!(
                full.logits(&batch).expect("logits"),
                cut.logits(&batch).expect("logits")
            );
        }
    }
}

#[test]
fn attention_and_mlp_are_scored_apart() {
    let samples = similarity("stories260K").sample_ids;
    for (part, attention) in [("self_attn.o_proj", true), ("mlp.down_proj", false)] {
        let measured = scan(&with_zeros(&weights_of(1, &[part])), &samples, &cpu());
        assert_eq!(measured.attention[1] == 0.0, attention);
        assert_eq!(measured.mlp[1] == 0.0, !attention);
        assert!(measured.block_influence.iter().all(|score| *score > 0.0));
    }
}

#[test]
fn a_scan_goes_on_from_any_layer_to_the_same_bits() {
    let checkpoint = model::open("stories260K");
    let samples = similarity("stories260K").sample_ids;
    let whole = scan(&checkpoint, &samples, &cpu());
    for layers in 0..=5 {
        let mut scanner = Scanner::new(&checkpoint, &samples, &cpu()).expect("a scan");
        for _ in 0..layers {
            assert!(scanner.step().expect("a layer"));
        }
        let mut state = Vec::new();
        scanner.save(&key(&samples), &mut state).expect("a state");
        let mut read = Cursor::new(state);
        let mut scanner = Scanner::resume(&checkpoint, &samples, &cpu(), &key(&samples), &mut read)
            .expect("a scan");
        assert_eq!(scanner.done(), layers);
        while scanner.step().expect("a layer") {}
        assert_eq!(scanner.finish(), whole, "from layer {layers}");
    }
}

#[test]
fn a_state_of_another_scan_or_a_damaged_one_is_refused() {
    let checkpoint = model::open("stories260K");
    let samples = similarity("stories260K").sample_ids;
    let mut scanner = Scanner::new(&checkpoint, &samples, &cpu()).expect("a scan");
    scanner.step().expect("a layer");
    let mut state = Vec::new();
    scanner.save(&key(&samples), &mut state).expect("a state");
    let resume = |state: &[u8], key: &Key| {
        Scanner::resume(&checkpoint, &samples, &cpu(), key, &mut Cursor::new(state)).map(|_| ())
    };
    let good = key(&samples);
    let others = [
        (
            "model",
            Key {
                model: "11".into(),
                ..good.clone()
            },
        ),
        (
            "text",
            Key {
                text: "11".into(),
                ..good.clone()
            },
        ),
        (
            "sampling",
            Key {
                sampling: Sampling::Random,
                ..good.clone()
            },
        ),
        (
            "seed",
            Key {
                seed: 1,
                ..good.clone()
            },
        ),
    ];
    for (expected, other) in others {
        let error = resume(&state, &other).expect_err("refused");
        assert!(
            matches!(error, ScanError::OtherScan { what, .. } if what == expected),
            "{error}"
        );
    }
    let line = state
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line");
    let mut longer = state.clone();
    longer.push(0);
    let many = String::from_utf8(state[..=line].to_vec())
        .expect("text")
        .replace("\"done\":1", "\"done\":99999999");
    for damaged in [
        &state[..line],
        &state[..state.len() - 1],
        &longer,
        b"",
        b"\n",
        b"{}\n",
        many.as_bytes(),
    ] {
        let error = resume(damaged, &good).expect_err("refused");
        assert!(matches!(error, ScanError::State { .. }), "{error}");
    }
}

#[test]
fn files_that_are_no_scans_are_refused() {
    let checkpoint = model::open("TinyStories-656K");
    let samples = vec![vec![1, 2, 3], vec![4, 5, 6]];
    let measured = scan(&checkpoint, &samples, &cpu());
    let good = document(&checkpoint, &samples, measured).to_json();
    Scan::parse(good.as_bytes()).expect("a good one");
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let rows = [
        ("halfdepth-scan", "something"),
        ("\"version\": 1", "\"version\": 2"),
        ("\"1\": [", "\"7\": ["),
        ("\"1\": [", "\"1\": [-0.1, "),
        ("\"block_influence\": [", "\"block_influence\": [0.5, "),
        ("\"mlp\": [", "\"mlp\": [3e300, "),
        ("\"layers\": 2", "\"layers\": 1000"),
        ("\"heads\": 8", "\"heads\": 0"),
        ("\"1\": 1", "\"1\": 0"),
        ("\"1\": 1", "\"2\": 1"),
    ];
    for (from, to) in rows {
        let error = Scan::parse(with(from, to).as_bytes())
            .expect_err(to)
            .to_string();
        assert!(error.starts_with("scan:"), "{error}");
    }
    for bytes in [&b""[..], b"[]", b"\xff", &vec![b' '; 1 << 25]] {
        assert!(matches!(
            Scan::parse(bytes),
            Err(ScanError::NotAScan { .. })
        ));
    }
}
