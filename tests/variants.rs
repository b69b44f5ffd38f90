//! Every choice of kernels runs the same model: f32 variants pick the CPU twin's ids, token for token; f16 variants stay within a
//! stated distance of its logits.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;
#[path = "common/variants.rs"]
mod variants;

use std::sync::Arc;

use common::shared;
use halfdepth::decode::{Lane, LaneOptions};
use halfdepth::kernels::{CacheFormat, Variant};
use halfdepth::model::Llama;
use halfdepth::plan::LayerPlan;
use halfdepth::quant::Format;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::weights::FormatChoice;
use pollster::block_on;
use variants::VARIANTS;

const NAME: &str = "halfdepth-stories-12L";
const TOKENS: usize = 64;
const PROMPTS: [&str; 3] = [
    "Once upon a time",
    "The cat was very happy because",
    // Longer than eight tokens and than one tile of attention, so that prompts meet every kernel.
    "One day, a little boy named Tim went to the park with his mother. They saw a big dog and a small bird. The dog ran to \
     the bird, but the bird flew up into a tree. Tim laughed and said that the bird was very smart. His mother gave him an \
     apple and they sat down under the tree to eat it. Then it began to rain, so they",
];

/// Where the best two logits lie closer than this, f32 sums in another order may pick the other one.
const NEAR_TIE: f32 = 1e-3;
/// Keys and values in f16 are off by up to 2^-11 each. Twelve layers of them moved no logit of this model, whose logits reach 20,
/// further than this.
const F16_LOGITS: f32 = 0.1;
/// So where the best two lie closer than twice that, f16 may pick the other one.
const F16_NEAR_TIE: f32 = 2.0 * F16_LOGITS;

fn lane(model: &Arc<Llama>, plan: LayerPlan, variant: Variant) -> Lane {
    let options = LaneOptions {
        context: 256,
        variant,
    };
    block_on(Lane::with(model, plan, options)).expect("lane")
}

/// The twin's pick after every prefix, with its logits.
struct Step {
    token: u32,
    logits: Vec<f32>,
}

impl Step {
    fn margin(&self) -> f32 {
        let best = self.logits[self.token as usize];
        let others = self.logits.iter().enumerate();
        let second = others
            .filter(|(id, _)| *id != self.token as usize)
            .fold(f32::MIN, |max, (_, logit)| max.max(*logit));
        best - second
    }
}

/// Decodes greedily along `reference` where there is one.
fn decode(lane: &mut Lane, prompt: &[u32], mut check: impl FnMut(usize, Step) -> u32) {
    lane.truncate(0);
    block_on(lane.prefill(prompt)).expect("prefill");
    for at in 0..TOKENS {
        let token = match at {
            0 => block_on(lane.picked()).expect("pick"),
            _ => block_on(lane.decode(1)).expect("decode")[0],
        };
        let logits = block_on(lane.logits()).expect("logits");
        let kept = check(at, Step { token, logits });
        if kept != token {
            lane.force(kept);
        }
    }
}

#[test]
fn every_variant_follows_the_twin() {
    let checkpoint = model::open(NAME);
    let json = std::fs::read(shared(&format!("models/{NAME}/tokenizer.json"))).expect("tokenizer");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    let prompts = PROMPTS.map(|prompt| tokenizer.encode(prompt, true).expect("ids"));
    let plans = || {
        let full = LayerPlan::full(12).expect("plan");
        [full, LayerPlan::simple(12, 6).expect("plan")]
    };
    let choice = FormatChoice::Quantised(Format::Q4);
    let mut devices = model::devices().into_iter();
    let (_, cpu) = devices.next().expect("a CPU");
    let twin = model::build(&checkpoint, choice, &cpu);
    let references: Vec<Vec<Vec<Step>>> = plans()
        .map(|plan| {
            let mut lane = lane(&twin, plan, Variant::PLAIN);
            let steps = prompts.iter().map(|prompt| {
                let mut steps = Vec::new();
                decode(&mut lane, prompt, |_, step| {
                    let token = step.token;
                    steps.push(step);
                    token
                });
                steps
            });
            steps.collect()
        })
        .into();
    for (name, device) in devices {
        let model = model::build(&checkpoint, choice, &device);
        for variant in VARIANTS {
            let (logit_bound, near_tie) = match variant.cache {
                // As the goldens: 12 layers of sums in another order.
                CacheFormat::F32 => (1e-3, NEAR_TIE),
                CacheFormat::F16 => (F16_LOGITS, F16_NEAR_TIE),
            };
            let (mut ties, mut worst) = (0, 0.0_f32);
            for (plan, references) in plans().into_iter().zip(&references) {
                let mut lane = lane(&model, plan, variant);
                for (prompt, reference) in prompts.iter().zip(references) {
                    decode(&mut lane, prompt, |at, step| {
                        let expected = &reference[at];
                        let pairs = step.logits.iter().zip(&expected.logits);
                        worst = pairs.fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
                        if step.token != expected.token {
                            let margin = expected.margin();
                            assert!(margin < near_tie, "{variant} on {name} at {at}: {margin}");
                            ties += 1;
                        }
                        expected.token
                    });
                }
            }
            model::say(&format!(
                "{variant} on {name}: {} steps, {ties} near-ties (below {near_tie}), logits off by {worst:.1e} at most",
                2 * PROMPTS.len() * TOKENS
            ));
            assert!(
                worst < logit_bound,
                "{variant} on {name}: logits off by {worst}"
            );
        }
    }
}

#[test]
fn steps_asked_ahead_are_the_steps() {
    // The page reads several tokens at once; what it reads must not depend on how many.
    let checkpoint = model::open(NAME);
    for (name, device) in model::devices() {
        let model = model::build(&checkpoint, FormatChoice::Quantised(Format::Q4), &device);
        let mut lane = lane(&model, LayerPlan::full(12).expect("plan"), Variant::PLAIN);
        let mut decoded = |batches: &[usize]| {
            lane.truncate(0);
            block_on(lane.prefill(&[1, 5, 9, 13])).expect("prefill");
            let mut all = vec![block_on(lane.picked()).expect("pick")];
            for batch in batches {
                all.extend(block_on(lane.decode(*batch)).expect("decode"));
            }
            all
        };
        let one_by_one = decoded(&[1; 40]);
        assert_eq!(decoded(&[8, 8, 8, 8, 8]), one_by_one, "{name}");
        assert_eq!(decoded(&[24, 3, 13]), one_by_one, "{name}");
    }
}
