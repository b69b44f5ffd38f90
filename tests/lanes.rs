//! What lanes do besides answering: run other layers without loading anything, and show what lies between the prompt and the answer.
//! Each is held to the dense model, or to a lane that was made so from the start.

#[path = "common/mod.rs"]
mod common;
#[path = "common/healing.rs"]
mod healing;
#[path = "common/model.rs"]
mod model;

use std::sync::Arc;

use burn::tensor::Device;
use common::shared;
use halfdepth::checkpoint::Checkpoint;
use halfdepth::decode::{Lane, compare, cpu, distribution};
use halfdepth::dense::Dense;
use halfdepth::model::Llama;
use halfdepth::pack::{PackOptions, Source};
use halfdepth::plan::{LanePlan, LayerPlan, PlanEntry, SublayerPlan};
use halfdepth::quant::Format;
use halfdepth::scan::{Scanner, angles};
use halfdepth::tokenizer::Tokenizer;
use halfdepth::trace::{Lens, Reading};
use halfdepth::weights::FormatChoice;
use pollster::block_on;

const NAME: &str = "halfdepth-stories-12L";
const DEPTH: usize = 12;
const PROMPT: [u32; 6] = [1, 403, 407, 261, 378, 33];
const TOKENS: usize = 32;
/// The same weights in f32, multiplied in another order, over twelve layers and logits of about ten.
const TOLERANCE: f32 = 1e-3;

fn full() -> LanePlan {
    LayerPlan::full(DEPTH).expect("a plan").into()
}

fn layers(layers: &[usize]) -> LanePlan {
    LayerPlan::new("test", layers.to_vec(), DEPTH)
        .expect("a plan")
        .into()
}

fn lane(model: &Arc<Llama>, plan: LanePlan) -> Lane {
    block_on(Lane::new(model, plan, 128)).expect("a lane")
}

fn answer(lane: &mut Lane) -> Vec<u32> {
    lane.truncate(0);
    block_on(lane.prefill(&PROMPT)).expect("prefill");
    block_on(lane.decode(TOKENS)).expect("decode")
}

fn logits(lane: &mut Lane) -> Vec<f32> {
    lane.truncate(0);
    block_on(lane.prefill(&PROMPT)).expect("prefill");
    block_on(lane.logits()).expect("logits")
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn dense<'c>(checkpoint: &'c Checkpoint<'c>) -> Dense<'c> {
    let plan = LayerPlan::full(DEPTH).expect("a plan");
    Dense::load(checkpoint, plan, &cpu(), &mut |_, _| ()).expect("a model")
}

fn text(count: usize) -> Vec<u32> {
    let json = std::fs::read(shared(&format!("models/{NAME}/tokenizer.json"))).expect("tokenizer");
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    let mut ids = tokenizer.encode(&text, false).expect("ids");
    ids.truncate(count);
    ids
}

/// Every device, with the model in f32 on it.
fn each(work: impl Fn(&str, &Device, &Arc<Llama>)) {
    let checkpoint = model::open(NAME);
    for (name, device) in model::devices() {
        let model = model::build(&checkpoint, FormatChoice::Dense, &device);
        work(name, &device, &model);
    }
}

#[test]
fn muted_sublayers_add_nothing_and_unmuting_gives_the_plain_answer_again() {
    let checkpoint = model::open(NAME);
    let dense = dense(&checkpoint);
    let rows: [(&[usize], &[usize]); 5] = [
        (&[5], &[]),
        (&[], &[0]),
        (&[0, 11], &[11]),
        (&[2, 3, 4, 5, 6, 7, 8, 9], &[2, 3, 4, 5, 6, 7]),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[4]),
    ];
    each(|name, _, model| {
        let mut lane = lane(model, full());
        let plain = answer(&mut lane);
        for (attention, mlp) in rows {
            let about = format!("attention {attention:?} and MLP {mlp:?} muted on {name}");
            let muted = full()
                .with_muted(attention.to_vec(), mlp.to_vec())
                .expect("a plan");
            block_on(lane.change_plan(muted.clone())).expect("changed");
            let reference = dense.with_plan(muted.sublayers().clone()).expect("a plan");
            let expected = reference.logits(&[&PROMPT]).expect("logits");
            let worst = apart(&logits(&mut lane), &expected[0]);
            assert!(worst < TOLERANCE, "{about}: {worst}");
            block_on(lane.change_plan(full())).expect("changed");
            assert_eq!(answer(&mut lane), plain, "{about}, then nothing");
        }
        let nothing = full().with_muted(vec![], vec![]).expect("a plan");
        block_on(lane.change_plan(nothing)).expect("changed");
        assert_eq!(answer(&mut lane), plain, "nothing muted on {name}");
    });
    let all: Vec<usize> = (0..DEPTH).collect();
    assert!(full().with_muted(all.clone(), all).is_err());
}

#[test]
fn a_lane_runs_any_layers_as_one_made_for_them_does() {
    each(|name, _, model| {
        // Made for few, so that more layers need more room.
        let mut changing = lane(model, layers(&[0, 11]));
        let some: [&[usize]; 4] = [
            &[0, 1, 2, 3, 4, 11],
            &[0],
            &[0, 2, 4, 6, 8, 10, 11],
            &[3, 5],
        ];
        let plans = [full()].into_iter().chain(some.map(layers));
        let bytes = lane(model, full()).bytes();
        // More plans than graphs are kept of, and each again after the others.
        let many = (0..9).map(|left_out| {
            let kept: Vec<usize> = (0..DEPTH).filter(|layer| *layer != left_out).collect();
            layers(&kept)
        });
        let plans: Vec<LanePlan> = plans.chain(many).collect();
        for plan in plans.iter().chain(&plans) {
            let about = format!("{:?} on {name}", plan.layers().layers);
            block_on(changing.change_plan(plan.clone())).expect("changed");
            assert_eq!(changing.plan(), plan);
            let expected = answer(&mut lane(model, plan.clone()));
            assert_eq!(answer(&mut changing), expected, "{about}");
        }
        // Its room grew to what the deepest plan needs, and no further.
        assert_eq!(changing.bytes(), bytes, "{name}");
        let deeper = LayerPlan::new("deep", vec![0, 12], 13).expect("a plan");
        assert!(block_on(changing.change_plan(deeper.into())).is_err());
        assert_eq!(changing.plan(), plans.last().expect("a plan"));
    });
}

#[test]
fn a_healed_lane_keeps_what_healing_replaced_of_the_layers_that_run() {
    let checkpoint = model::open(NAME);
    let json = std::fs::read(shared(&format!("models/{NAME}/tokenizer.json")));
    let options = PackOptions {
        name: "test".into(),
        source: Source::default(),
        layers: Format::Q4,
        embedding: Format::Q8,
        plans: vec![],
    };
    let (mut manifest, mut files) = model::pack(&checkpoint, &json.expect("tokenizer"), &options);
    let changed = healing::of_twelve(&checkpoint);
    let entry = PlanEntry::new("healed", "Healed", [0, 1, 2, 3, 4, 11]);
    healing::add(&mut manifest, &mut files, checkpoint, entry, &changed);
    let healed = manifest.plan("healed").expect("a plan");
    let fewer = LayerPlan::new("healed", vec![0, 3, 11], DEPTH).expect("a plan");
    let fewer = healed.with_layers(fewer);
    assert_eq!(fewer.replaced().keys().collect::<Vec<_>>(), [&3, &11]);
    assert_eq!(fewer.head(), healed.head());
    for (name, device) in model::devices() {
        let model = model::unpack(&manifest, |file| files[file].clone(), &device);
        let mut changing = lane(&model, healed.clone());
        let before = answer(&mut changing);
        block_on(changing.change_plan(fewer.clone())).expect("changed");
        assert_eq!(
            answer(&mut changing),
            answer(&mut lane(&model, fewer.clone())),
            "{name}"
        );
        block_on(changing.change_plan(healed.clone())).expect("changed");
        assert_eq!(answer(&mut changing), before, "{name}");
    }
}

#[test]
fn two_lanes_are_as_far_apart_as_the_dense_models_are() {
    let checkpoint = model::open(NAME);
    let whole = dense(&checkpoint);
    let half = LayerPlan::simple(DEPTH, 6).expect("a plan");
    // Longer than what is scored at once, with a remainder.
    let ids = text(75);
    let (prompt, answer) = ids.split_at(5);
    let expected = whole.with_plan(half.clone()).expect("a plan");
    let expected = expected
        .compare(&whole, &[(prompt, answer)])
        .expect("distances");
    each(|name, _, model| {
        let (mut full, mut half) = (lane(model, full()), lane(model, half.clone().into()));
        for _ in 0..2 {
            let rows = block_on(compare(&mut full, &mut half, prompt, answer)).expect("rows");
            assert_eq!(rows.len(), answer.len());
            for ((row, token), expected) in rows.iter().zip(answer).zip(&expected[0]) {
                assert_eq!(row.token, *token);
                assert!(
                    (row.kl - f64::from(expected.kl)).abs() < 1e-3,
                    "{name}: {row:?} {expected:?}"
                );
                assert_eq!(row.agrees(), expected.agrees, "{name}: {row:?}");
            }
        }
        // It costs the lanes nothing but what they had read.
        assert_eq!(
            self::answer(&mut full),
            self::answer(&mut lane(model, self::full()))
        );
    });
    each(|_, _, model| {
        let (mut a, mut b) = (lane(model, full()), lane(model, full()));
        let rows = block_on(compare(&mut a, &mut b, prompt, answer)).expect("rows");
        assert!(rows.iter().all(|row| row.agrees() && row.kl == 0.0));
        assert!(block_on(compare(&mut a, &mut b, &[], answer)).is_err());
        assert_eq!(
            block_on(compare(&mut a, &mut b, prompt, &[])).expect("rows"),
            []
        );
    });
}

#[test]
fn the_streams_of_a_lane_turn_as_a_scan_says() {
    let checkpoint = model::open(NAME);
    let samples: Vec<Vec<u32>> = text(3 * 70).chunks(70).map(<[u32]>::to_vec).collect();
    let mut scanner = Scanner::new(&checkpoint, &samples, &cpu()).expect("a scan");
    while scanner.step().expect("a layer") {}
    let expected = scanner.finish().distance;
    each(|name, _, model| {
        let mut lane = lane(model, full());
        let turned: Vec<_> = samples
            .iter()
            .map(|ids| angles(&block_on(lane.streams(ids)).expect("streams")))
            .collect();
        assert_eq!(expected.len(), DEPTH);
        for (n, row) in &expected {
            assert_eq!(row.len(), turned[0][n - 1].len());
            for (l, expected) in row.iter().enumerate() {
                let sum: f64 = turned.iter().map(|rows| rows[n - 1][l]).sum();
                let mean = sum / samples.len() as f64;
                assert!(
                    (mean - expected).abs() < 1e-4,
                    "{name}, n {n}, l {l}: {mean} {expected}"
                );
            }
        }
        assert!(block_on(lane.streams(&[])).is_err());
        assert_eq!(
            block_on(lane.streams(&[1])).expect("streams").len(),
            DEPTH + 1
        );
    });
}

#[test]
fn a_lane_says_at_every_depth_what_the_lens_reads() {
    let checkpoint = model::open(NAME);
    let ids = text(20);
    let expected = Lens::new(&dense(&checkpoint), &ids, 3).expect("a lens");
    each(|name, _, model| {
        let mut lane = lane(model, full());
        let logits = block_on(lane.logits_by_depth(&ids)).expect("logits");
        let logprobs: Vec<Vec<f64>> = logits
            .iter()
            .map(|row| distribution::log_softmax(row))
            .collect();
        let chosen = distribution::likeliest(&logits[DEPTH]) as usize;
        assert_eq!(chosen as u32, expected.chosen[ids.len() - 1]);
        assert_eq!(logprobs.len(), expected.readings.len());
        for (depth, (here, expected)) in logprobs.iter().zip(&expected.readings).enumerate() {
            let about = format!("{name}, depth {depth}");
            let (reading, expected) = (
                Reading::new(here, &logprobs[DEPTH], chosen, 3),
                &expected[ids.len() - 1],
            );
            assert_eq!(reading.top[0].0, expected.top[0].0, "{about}");
            assert!(
                (reading.probability - expected.probability).abs() < 1e-4,
                "{about}"
            );
            assert!((reading.kl - expected.kl).abs() < 1e-3, "{about}");
        }
        // And the next answer is none the worse.
        assert_eq!(
            answer(&mut lane),
            answer(&mut self::lane(model, full())),
            "{name}"
        );
    });
}

#[test]
fn plans_of_sublayers_become_plans_of_lanes() {
    let plan = LayerPlan::full(DEPTH).expect("a plan");
    let sublayers = SublayerPlan::new(plan, vec![1], vec![2]).expect("a plan");
    assert_eq!(LanePlan::from(sublayers.clone()).sublayers(), &sublayers);
}
