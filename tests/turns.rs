//! Whole turns that draw: one seed, one answer, however it is computed.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::sync::Arc;

use halfdepth::decode::sampler::Sampling;
use halfdepth::decode::{Drafts, Lane, Turn, TurnRequest};
use halfdepth::kernels::gumbel::{gumbel, philox};
use halfdepth::model::Llama;
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::weights::FormatChoice;
use pollster::block_on;

const PROMPT: [u32; 5] = [1, 403, 407, 261, 378];
const TOKENS: usize = 40;
const HOT: Sampling = Sampling {
    temperature: 0.9,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    seed: 11,
};

/// Where two logits over their temperature, noise added, lie closer than this, sums of f32 in another order may pick the other.
const NEAR_TIE: f32 = 1e-3;

fn lane(model: &Arc<Llama>) -> Lane {
    block_on(Lane::new(model, LayerPlan::full(5).expect("plan"), 128)).expect("lane")
}

fn tokenizer() -> Tokenizer {
    let path = common::shared("models/stories260K/tokenizer.json");
    Tokenizer::from_json(&std::fs::read(path).expect("tokenizer")).expect("tokenizer")
}

fn models() -> Vec<(&'static str, Arc<Llama>)> {
    let checkpoint = model::open("stories260K");
    let build = |(name, device)| {
        let model = model::build(&checkpoint, FormatChoice::Dense, &device);
        (name, model)
    };
    model::devices().into_iter().map(build).collect()
}

fn answer(lane: &mut Lane, tokenizer: &Tokenizer, sampling: Sampling) -> Vec<u32> {
    let request = TurnRequest {
        prompt: PROMPT.to_vec(),
        sampling,
        max_tokens: TOKENS,
        stop: Vec::new(),
        ignore_end: true,
        drafts: Drafts::None,
    };
    let mut turn = Turn::start(lane, tokenizer, request, || 0.0).expect("turn");
    while block_on(turn.step(lane, tokenizer))
        .expect("step")
        .finish
        .is_none()
    {}
    turn.tokens().to_vec()
}

/// logit / temperature + noise of `id` after `prefix`, which is what the largest is taken of.
fn value(lane: &mut Lane, prefix: &[u32], id: u32) -> f32 {
    lane.truncate(0);
    block_on(lane.prefill(prefix)).expect("prefill");
    let logits = block_on(lane.logits()).expect("logits");
    let counter = [id / 4, prefix.len() as u32, 0, 0];
    let noise = gumbel(philox(counter, [HOT.seed as u32, 0])[id as usize % 4]);
    logits[id as usize] / HOT.temperature + noise
}

#[test]
fn a_seed_draws_one_answer_on_every_device_in_batches_of_any_size() {
    let tokenizer = tokenizer();
    let models = models();
    let mut cpu = lane(&models[0].1);
    let expected = answer(&mut cpu, &tokenizer, HOT);
    let greedy = answer(&mut cpu, &tokenizer, Sampling::default());
    let other = answer(&mut cpu, &tokenizer, Sampling { seed: 12, ..HOT });
    assert!(expected != greedy && expected != other);
    for (name, model) in &models {
        let mut lane = lane(model);
        let drawn = answer(&mut lane, &tokenizer, HOT);
        if let Some(at) = (0..TOKENS).find(|&at| drawn[at] != expected[at]) {
            let prefix: Vec<u32> = PROMPT.iter().chain(&expected[..at]).copied().collect();
            let [a, b] = [drawn[at], expected[at]].map(|id| value(&mut cpu, &prefix, id));
            assert!((a - b).abs() < NEAR_TIE, "{name}, token {at}: {a} and {b}");
        }
        for batch in [1, 3, 8] {
            lane.truncate(0);
            lane.set_sampling(HOT.words());
            block_on(lane.prefill(&PROMPT)).expect("prefill");
            let mut batched = vec![block_on(lane.picked()).expect("pick")];
            while batched.len() < TOKENS {
                batched.extend(block_on(lane.decode(batch)).expect("decode"));
            }
            assert_eq!(
                batched[..TOKENS],
                drawn,
                "{name}, batches of {batch}, against a turn's"
            );
        }
        // What a lane drew before changes nothing of what it draws next.
        let again = answer(&mut lane, &tokenizer, Sampling::default());
        assert_eq!(
            again,
            answer(&mut lane, &tokenizer, Sampling::default()),
            "{name}"
        );
        assert_eq!(drawn, answer(&mut lane, &tokenizer, HOT), "{name}");
    }
}

#[test]
fn filtered_answers_are_the_same_on_every_device() {
    let tokenizer = tokenizer();
    let models = models();
    let mut cpu = lane(&models[0].1);
    for sampling in [
        Sampling { top_k: 1, ..HOT },
        Sampling { top_k: 12, ..HOT },
        Sampling { top_p: 0.8, ..HOT },
        Sampling {
            min_p: 0.1,
            repetition_penalty: 1.2,
            ..HOT
        },
        Sampling {
            repetition_penalty: 1.3,
            ..Sampling::default()
        },
    ] {
        let expected = answer(&mut cpu, &tokenizer, sampling);
        if sampling.top_k == 1 {
            assert_eq!(expected, answer(&mut cpu, &tokenizer, Sampling::default()));
        }
        for (name, model) in &models {
            // Logits that are 1e-5 off move a draw over an edge less than once in a thousand answers of this length.
            let mut lane = lane(model);
            let drawn = answer(&mut lane, &tokenizer, sampling);
            assert_eq!(drawn, expected, "{name}: {sampling:?}");
            // The lane, its graphs captured now, picks on the device again.
            answer(&mut lane, &tokenizer, HOT);
            assert_eq!(answer(&mut lane, &tokenizer, sampling), drawn, "{name}");
        }
    }
}
