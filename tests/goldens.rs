//! Whole models against reference values made with transformers in float64: dense weights, every plan, CPU and GPU.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::sync::Arc;

use common::shared;
use halfdepth::decode::Lane;
use halfdepth::eval::cross_entropy;
use halfdepth::model::Llama;
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::weights::FormatChoice;
use pollster::block_on;
use serde::Deserialize;

/// Where the reference's best two logits lie closer than this, f32 sums in another order may pick the other one.
const NEAR_TIE: f32 = 1e-3;

#[derive(Deserialize)]
struct Goldens {
    layers: usize,
    plans: std::collections::BTreeMap<String, Golden>,
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
    prompt: String,
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
    logits_after_prompt: Vec<f32>,
}

fn goldens(name: &str) -> Goldens {
    let bytes = std::fs::read(shared(&format!("goldens/{name}.json"))).expect("goldens");
    serde_json::from_slice(&bytes).expect("goldens parse")
}

fn lane(model: &Arc<Llama>, name: &str, layers: usize, golden: &Golden) -> Lane {
    let plan = LayerPlan::without(layers, &golden.dropped).expect("plan");
    block_on(Lane::new(
        model,
        LayerPlan {
            name: name.to_string(),
            ..plan
        },
        512,
    ))
    .expect("lane")
}

#[derive(Default)]
struct Tally {
    steps: usize,
    near_ties: usize,
    worst_logit: f32,
}

/// Greedy decoding, token for token. At a near-tie that fell the other way the reference's token is forced.
fn follow(lane: &mut Lane, case: &Case, label: &str, tally: &mut Tally) {
    lane.truncate(0);
    block_on(lane.prefill(&case.prompt_ids)).expect("prefill");
    let logits = block_on(lane.logits()).expect("logits");
    let worst = logits
        .iter()
        .zip(&case.logits_after_prompt)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    tally.worst_logit = tally.worst_logit.max(worst);
    assert!(
        worst < 1e-3,
        "{label} {:?}: logits differ by {worst}",
        case.prompt
    );
    let mut at = 0;
    let mut picked = vec![block_on(lane.picked()).expect("pick")];
    loop {
        for token in &picked {
            tally.steps += 1;
            let expected = case.greedy_ids[at];
            if *token != expected {
                // Only what was read one by one can be corrected: go back and look at this step's logits.
                let prefix: Vec<u32> = case
                    .prompt_ids
                    .iter()
                    .chain(&case.greedy_ids[..at])
                    .copied()
                    .collect();
                lane.truncate(0);
                block_on(lane.prefill(&prefix)).expect("prefill");
                let logits = block_on(lane.logits()).expect("logits");
                let margin = logits[*token as usize] - logits[expected as usize];
                assert!(
                    margin.abs() < NEAR_TIE,
                    "{label} {:?} step {at}: {token} for {expected}, margin {margin}",
                    case.prompt
                );
                tally.near_ties += 1;
                lane.force(expected);
                at += 1;
                break;
            }
            at += 1;
        }
        if at >= case.greedy_ids.len() {
            return;
        }
        picked = block_on(lane.decode((case.greedy_ids.len() - at).min(16))).expect("decode");
    }
}

fn text_ids(name: &str, count: usize) -> Vec<u32> {
    let tokenizer =
        std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    let mut ids = Tokenizer::from_json(&tokenizer)
        .expect("tokenizer")
        .encode(&text, false)
        .expect("ids");
    ids.truncate(count);
    ids
}

fn check(name: &str) {
    let goldens = goldens(name);
    let checkpoint = model::open(name);
    let bos = checkpoint.config().bos_token.expect("bos");
    for (device_name, device) in model::devices() {
        let model = model::build(&checkpoint, FormatChoice::Dense, &device);
        let mut tally = Tally::default();
        for (plan_name, golden) in &goldens.plans {
            let label = format!("{name} on {device_name}, {plan_name}");
            let mut lane = lane(&model, plan_name, goldens.layers, golden);
            for case in &golden.cases {
                follow(&mut lane, case, &label, &mut tally);
            }
            let text = text_ids(name, golden.ce_tokens);
            // As the goldens define it: disjoint windows, each after the begin token alone.
            let ce = block_on(cross_entropy(&mut lane, &text, golden.ce_window, bos))
                .expect("cross-entropy");
            assert!(
                (ce - golden.ce_nats).abs() < 1e-3,
                "{label}: cross-entropy {ce}, reference {}",
                golden.ce_nats
            );
        }
        model::say(&format!(
            "{name} on {device_name}: {} greedy steps, {} near-ties forced, worst logit off by {:.2e}",
            tally.steps, tally.near_ties, tally.worst_logit
        ));
        assert!(
            tally.near_ties * 100 <= tally.steps,
            "more than 1 % near-ties"
        );
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
