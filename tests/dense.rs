//! The dense model against reference values made with transformers in float64, on every device: logits and likelihoods,
//! every plan, stored weights of every kind.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::Device;
use common::shared;
use halfdepth::checkpoint::Checkpoint;
use halfdepth::decode::{Lane, cpu};
use halfdepth::dense::{Dense, DenseError, DenseSource, PackSource};
use halfdepth::pack::{PackOptions, Source};
use halfdepth::plan::{LayerPlan, PlanEntry, SublayerPlan};
use halfdepth::quant::Format;
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    layers: usize,
    plans: BTreeMap<String, Golden>,
}

#[derive(Deserialize)]
struct Golden {
    dropped: Vec<usize>,
    ce_nats: f64,
    ce_tokens: usize,
    ce_window: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt_ids: Vec<u32>,
    logits_after_prompt: Vec<f32>,
}

fn goldens(name: &str) -> Goldens {
    let bytes = std::fs::read(shared(&format!("goldens/{name}.json"))).expect("goldens");
    serde_json::from_slice(&bytes).expect("goldens parse")
}

fn text_ids(name: &str, count: usize) -> Vec<u32> {
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    let mut ids = tokenizer.encode(&text, false).expect("ids");
    ids.truncate(count);
    ids
}

fn full<'s>(source: &'s dyn DenseSource, device: &Device) -> Dense<'s> {
    let plan = LayerPlan::full(source.config().layers).expect("a plan");
    Dense::load(source, plan, device, &mut |_, _| ()).expect("a model")
}

/// The largest difference between two lists of equal length.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn check(name: &str) {
    let goldens = goldens(name);
    let checkpoint = model::open(name);
    let bos = checkpoint.config().bos_token.expect("bos");
    for (device_name, device) in model::devices() {
        let begun = Instant::now();
        let model = full(&checkpoint, &device);
        let (mut worst_logit, mut worst_ce) = (0_f32, 0_f64);
        for (plan_name, golden) in &goldens.plans {
            let plan = LayerPlan::without(goldens.layers, &golden.dropped).expect("a plan");
            let model = model.with_plan(plan).expect("layers");
            // All prompts at once: their lengths differ, so padding is part of what is held to the reference.
            let prompts: Vec<&[u32]> = golden.cases.iter().map(|c| &c.prompt_ids[..]).collect();
            let logits = model.logits(&prompts).expect("logits");
            for (case, logits) in golden.cases.iter().zip(&logits) {
                worst_logit = worst_logit.max(apart(logits, &case.logits_after_prompt));
            }
            let text = text_ids(name, golden.ce_tokens);
            let ce = model.cross_entropy(&text, golden.ce_window, bos);
            worst_ce = worst_ce.max((ce.expect("cross-entropy") - golden.ce_nats).abs());
            // Sums of f32 in another order than the reference's f64: 1e-5 and less are seen on logits of up to 20.
            assert!(
                worst_logit < 1e-3 && worst_ce < 1e-4,
                "{plan_name}: {worst_logit} {worst_ce}"
            );
        }
        model::say(&format!(
            "{name} on {device_name}: logits off by {worst_logit:.1e}, cross-entropy by {worst_ce:.1e}, {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
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
fn a_gguf_file_gives_the_weights_of_its_safetensors() {
    let safetensors = model::open("stories260K");
    let bytes =
        model::leak(&shared("models/stories260K/stories260K-f32.gguf")).expect("a GGUF file");
    let gguf = Checkpoint::from_gguf(bytes).expect("a checkpoint");
    for layer in 0..safetensors.config().layers {
        assert_eq!(
            DenseSource::layer(&gguf, layer).expect("a layer"),
            DenseSource::layer(&safetensors, layer).expect("a layer"),
        );
    }
    let ids = [0, 7, 511, 7];
    assert_eq!(
        gguf.embed(&ids).expect("rows"),
        safetensors.embed(&ids).expect("rows")
    );
    assert_eq!(
        gguf.head(3..9).expect("rows"),
        DenseSource::head(&safetensors, 3..9).expect("rows")
    );
}

#[test]
fn a_pack_runs_as_its_dequantised_values() {
    let checkpoint = model::open("halfdepth-stories-12L");
    let depth = checkpoint.config().layers;
    let tokenizer = std::fs::read(shared("models/halfdepth-stories-12L/tokenizer.json"));
    let options = PackOptions {
        name: "test".into(),
        source: Source::default(),
        layers: Format::Q4,
        embedding: Format::Q8,
        plans: vec![PlanEntry::new(
            "full",
            "full",
            (0..depth).collect::<Vec<_>>(),
        )],
    };
    let (manifest, files) = model::pack(&checkpoint, &tokenizer.expect("tokenizer"), &options);
    let source = PackSource::new(&manifest, |file: &str| Ok(&files[file])).expect("a source");
    let dense = full(&source, &cpu());
    let ids = text_ids("halfdepth-stories-12L", 40);
    let packed = model::unpack(&manifest, |file| files[file].clone(), &cpu());
    let plan = LayerPlan::full(depth).expect("a plan");
    let mut lane = block_on(Lane::new(&packed, plan, 64)).expect("a lane");
    block_on(lane.prefill(&ids)).expect("prefill");
    let expected = block_on(lane.logits()).expect("logits");
    let logits = dense.logits(&[&ids]).expect("logits");
    // The same values multiplied in another order.
    assert!(apart(&logits[0], &expected) < 1e-4);
}

#[test]
fn muting_both_sublayers_is_dropping_the_layer() {
    let checkpoint = model::open("stories260K");
    let layers = checkpoint.config().layers;
    let ids = text_ids("stories260K", 30);
    for (device_name, device) in model::devices() {
        let model = full(&checkpoint, &device);
        for dropped in [vec![0], vec![1, 3], vec![layers - 1]] {
            let run = |plan: SublayerPlan| {
                let model = model.with_plan(plan).expect("layers");
                model.logits(&[&ids]).expect("logits")
            };
            let whole = LayerPlan::full(layers).expect("a plan");
            let muted = SublayerPlan::new(whole, dropped.clone(), dropped.clone()).expect("a plan");
            let cut = LayerPlan::without(layers, &dropped).expect("a plan");
            assert_eq!(run(muted), run(cut.into()), "{dropped:?} on {device_name}");
        }
    }
}

#[test]
fn likelihoods_do_not_depend_on_what_else_is_asked() {
    let checkpoint = model::open("TinyStories-656K");
    let model = full(&checkpoint, &cpu());
    let ids = text_ids("TinyStories-656K", 700);
    // Contexts and continuations of many lengths, one past a run of queries; choices that share what is read; none at all.
    let cuts = [
        (0, 1, 2),
        (0, 300, 420),
        (5, 9, 10),
        (40, 60, 61),
        (40, 60, 90),
        (0, 699, 700),
        (3, 9, 9),
    ];
    let requests: Vec<(&[u32], &[u32])> = cuts
        .iter()
        .map(|&(begin, middle, end)| (&ids[begin..middle], &ids[middle..end]))
        .collect();
    let together = model.log_likelihoods(&requests).expect("likelihoods");
    for (request, together) in requests.iter().zip(&together) {
        assert_eq!(together.len(), request.1.len());
        let alone = model.log_likelihoods(&[*request]).expect("likelihoods");
        for (alone, together) in alone[0].iter().zip(together) {
            // Batches of another size are summed in another order.
            assert!((alone.logprob - together.logprob).abs() < 1e-4);
            assert_eq!(alone.is_greedy, together.is_greedy);
        }
    }
    let logits = model.logits(&[&ids[..9]]).expect("logits");
    let best = (0..logits[0].len()).max_by(|a, b| logits[0][*a].total_cmp(&logits[0][*b]));
    let target = [best.expect("a token") as u32];
    let greedy = model
        .log_likelihoods(&[(&ids[..9], &target)])
        .expect("likelihoods");
    assert!(greedy[0][0].is_greedy);
}

#[test]
fn a_model_does_not_differ_from_itself() {
    let checkpoint = model::open("stories260K");
    let ids = text_ids("stories260K", 200);
    for (_, device) in model::devices() {
        let model = full(&checkpoint, &device);
        let request = [(&ids[..1], &ids[1..])];
        let same = model.compare(&model, &request).expect("a comparison");
        assert!(
            same[0]
                .iter()
                .all(|token| token.agrees && token.kl.abs() < 1e-6)
        );
        let cut = model
            .with_plan(LayerPlan::simple(5, 2).expect("a plan"))
            .expect("layers");
        let other = cut.compare(&model, &request).expect("a comparison");
        assert!(other[0].iter().map(|token| token.kl).sum::<f32>() / 199.0 > 0.05);
        assert!(other[0].iter().any(|token| !token.agrees));
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let checkpoint = model::open("stories260K");
    let part = LayerPlan::simple(5, 2).expect("a plan");
    let model = Dense::load(&checkpoint, part, &cpu(), &mut |_, _| ()).expect("a model");
    let unknown = |result: Result<Vec<_>, DenseError>| {
        matches!(
            result,
            Err(DenseError::UnknownToken {
                id: 512,
                vocabulary: 512
            })
        )
    };
    assert!(unknown(model.log_likelihoods(&[(&[1], &[512])])));
    assert!(unknown(model.log_likelihoods(&[(&[1, 512], &[1])])));
    let empty = model.log_likelihoods(&[(&[1], &[2]), (&[], &[1])]);
    assert!(matches!(empty, Err(DenseError::Empty { sequence: 1 })));
    let whole = LayerPlan::full(5).expect("a plan");
    let missing = model.with_plan(whole).map(|_| ());
    assert!(matches!(missing, Err(DenseError::NotLoaded { layer: 2 })));
    assert!(DenseSource::layer(&checkpoint, 5).is_err());
}
