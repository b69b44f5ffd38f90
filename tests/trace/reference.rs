use std::collections::BTreeMap;

use halfdepth::dense::{Dense, DenseSource};
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::trace::{
    Estimate, Kind, Lens, Occurrence, Question, Settings, Tracer, embedding_deviation, likeliest,
};
use serde::Deserialize;

use crate::common::shared;
use crate::model;

const MODEL: &str = "halfdepth-stories-12L";

#[derive(Deserialize)]
struct Reference {
    prompt: String,
    subject: String,
    answer: String,
    ids: Vec<u32>,
    subject_tokens: Vec<usize>,
    answer_ids: Vec<u32>,
    samples: usize,
    noise: f64,
    seed: u64,
    embedding_deviation: f64,
    clean: f64,
    corrupted: Vec<f64>,
    traces: Vec<TraceReference>,
    lens: LensReference,
}

#[derive(Deserialize)]
struct TraceReference {
    kind: Kind,
    window: usize,
    /// By layer, by token, by sample.
    restored: Vec<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
struct LensReference {
    chosen: Vec<u32>,
    probability: Vec<Vec<f64>>,
    rank: Vec<Vec<usize>>,
    kl: Vec<Vec<f64>>,
    top: Vec<Vec<Vec<u32>>>,
}

fn reference() -> Reference {
    serde_json::from_slice(include_bytes!("reference.json")).expect("the reference parses")
}

fn question(reference: &Reference, source: &dyn DenseSource) -> Question {
    let json = std::fs::read(shared(&format!("models/{MODEL}/tokenizer.json"))).expect("reads");
    let tokenizer = Tokenizer::from_json(&json).expect("a tokenizer");
    Question::with_subject(
        &tokenizer,
        source.config(),
        &reference.prompt,
        (&reference.subject, Occurrence::Only),
        Some(&reference.answer),
    )
    .expect("a question")
}

fn settings(reference: &Reference, kind: Kind, window: usize) -> Settings {
    Settings {
        kind,
        window,
        samples: reference.samples,
        noise: reference.noise,
        seed: reference.seed,
    }
}

fn full<'s>(source: &'s dyn DenseSource, device: &burn::tensor::Device) -> Dense<'s> {
    let plan = LayerPlan::full(source.config().layers).expect("a plan");
    Dense::load(source, plan, device, &mut |_, _| ()).expect("a model")
}

#[test]
fn prompt_subject_and_answer_are_the_tokens_of_the_reference() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let question = question(&reference, &checkpoint);
    let read = &question.answer[..question.answer.len() - 1];
    assert_eq!([&question.prompt, read].concat(), reference.ids);
    assert_eq!(question.subject, reference.subject_tokens);
    assert_eq!(question.answer, reference.answer_ids);
    let deviation = embedding_deviation(&checkpoint, reference.seed).expect("a deviation");
    // One is summed in f64 from f32, the other held in f64: the same numbers in another order.
    assert!((deviation - reference.embedding_deviation).abs() < 1e-12);
}

#[test]
fn whole_maps_equal_the_reference_under_the_same_noise() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let question = question(&reference, &checkpoint);
    for (device_name, device) in model::devices() {
        let dense = full(&checkpoint, &device);
        let mut worst = 0_f64;
        // A GPU in software takes a minute for each.
        let traces = if device_name == "cpu" { 3 } else { 1 };
        for trace in &reference.traces[..traces] {
            let settings = settings(&reference, trace.kind, trace.window);
            let tracer = Tracer::new(&dense, &question, settings).expect("a tracer");
            worst = worst.max((tracer.clean() - reference.clean).abs());
            for (found, expected) in tracer.corrupted().iter().zip(&reference.corrupted) {
                worst = worst.max((found - expected).abs());
            }
            let map = tracer.map(&|_, _| ()).expect("a map");
            for (row, expected) in map.effects.iter().zip(&trace.restored) {
                assert_eq!(row.len(), expected.len());
                for (found, expected) in row.iter().zip(expected) {
                    let draws = expected.iter().zip(&reference.corrupted);
                    let draws: Vec<f64> = draws.map(|(with, without)| with - without).collect();
                    let expected = Estimate::of(&draws);
                    worst = worst.max((found.mean - expected.mean).abs());
                    let (found, expected) = (found.interval, expected.interval);
                    let (found, expected) = (found.expect("three"), expected.expect("three"));
                    worst = worst.max((found.high - expected.high).abs());
                }
            }
            assert_eq!(map.effects.len(), trace.restored.len());
        }
        model::say(&format!("maps on {device_name}: off by {worst:.1e}"));
        // Twelve layers in f32 beside f64: 1e-5 of a probability is seen with intervals, which stretch a difference fourfold.
        assert!(worst < 1e-4, "{device_name}: {worst}");
    }
}

#[test]
fn all_states_put_back_give_the_clean_probability_and_none_the_corrupted_one() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let question = question(&reference, &checkpoint);
    for (device_name, device) in model::devices() {
        let dense = full(&checkpoint, &device);
        for kind in [Kind::State, Kind::Attention, Kind::Mlp] {
            let settings = settings(&reference, kind, 1);
            let tracer = Tracer::new(&dense, &question, settings).expect("a tracer");
            let all: Vec<usize> = (0..tracer.read().len()).collect();
            let layers = tracer.layers();
            let none = tracer.restored(&[], 0..layers).expect("runs");
            assert_eq!(none, tracer.corrupted(), "{device_name} {kind:?}");
            assert!(tracer.clean() - none[0] > 0.3, "the noise does something");
            let whole = tracer.restored(&all, 0..layers).expect("runs");
            for probability in whole {
                let off = (probability - tracer.clean()).abs();
                // Attention alone carries what differs to the last token; the MLPs put back leave it what attention brings.
                assert_eq!(
                    off < 1e-4,
                    kind != Kind::Mlp,
                    "{device_name} {kind:?} {off}"
                );
            }
            for layer in [0, layers / 2, layers - 1] {
                let none = tracer.restored(&[], layer..layer + 1).expect("runs");
                assert_eq!(none, tracer.corrupted(), "{device_name} {kind:?} {layer}");
            }
        }
    }
}

#[test]
fn one_seed_is_one_noise_and_another_seed_another() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let question = question(&reference, &checkpoint);
    let device = halfdepth::decode::cpu();
    let dense = full(&checkpoint, &device);
    let corrupted = |seed| {
        let settings = Settings {
            seed,
            ..settings(&reference, Kind::State, 1)
        };
        let tracer = Tracer::new(&dense, &question, settings).expect("a tracer");
        tracer.corrupted().to_vec()
    };
    assert_eq!(corrupted(1), corrupted(1));
    assert_ne!(corrupted(1), corrupted(2));
}

#[test]
fn the_lens_equals_the_reference_at_every_depth_and_position() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let lens_of = &reference.lens;
    for (device_name, device) in model::devices() {
        let dense = full(&checkpoint, &device);
        let lens = Lens::new(&dense, &reference.ids, 3).expect("a lens");
        assert_eq!(lens.chosen, lens_of.chosen);
        let mut worst = BTreeMap::new();
        for (depth, readings) in lens.readings.iter().enumerate() {
            assert_eq!(readings.len(), reference.ids.len());
            for (at, reading) in readings.iter().enumerate() {
                let mut keep = |what, off: f64| {
                    let worst = worst.entry(what).or_insert(0_f64);
                    *worst = worst.max(off.abs());
                };
                keep("p", reading.probability - lens_of.probability[depth][at]);
                keep("kl", reading.kl - lens_of.kl[depth][at]);
                let expected = lens_of.rank[depth][at];
                // Of 2,048 tokens some lie closer to each other than f32 tells apart; the likeliest do not.
                keep("rank", reading.rank as f64 / expected as f64 - 1.0);
                if expected <= 3 {
                    assert_eq!(reading.rank, expected, "depth {depth}, position {at}");
                }
                let top: Vec<u32> = reading.top.iter().map(|(id, _)| *id).collect();
                assert_eq!(
                    top[0], lens_of.top[depth][at][0],
                    "depth {depth}, position {at}"
                );
            }
        }
        model::say(&format!("lens on {device_name}: off by {worst:?}"));
        // f32 beside f64 on logits of up to 20: 1e-5.
        assert!(
            worst["p"] < 1e-4 && worst["kl"] < 1e-3 && worst["rank"] < 0.02,
            "{worst:?}"
        );
        let last = lens.readings.len() - 1;
        for (at, reading) in lens.readings[last].iter().enumerate() {
            assert_eq!((reading.rank, reading.kl), (1, 0.0));
            let (first, stays) = lens.first_chosen(at);
            assert!(first <= stays && stays <= last);
            let ranks = lens.readings.iter().map(|readings| readings[at].rank);
            let is_top: Vec<bool> = ranks.map(|rank| rank == 1).collect();
            assert!(is_top[first] && !is_top[..first].contains(&true));
            assert!(!is_top[stays..].contains(&false) && (stays == 0 || !is_top[stays - 1]));
        }
    }
}

#[test]
fn the_likeliest_token_is_the_reference_s_last_choice() {
    let (reference, checkpoint) = (reference(), model::open(MODEL));
    let dense = full(&checkpoint, &halfdepth::decode::cpu());
    let found = likeliest(&dense, &reference.ids).expect("a token");
    assert_eq!(Some(&found), reference.lens.chosen.last());
}
