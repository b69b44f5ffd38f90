//! Drafting changes no answer, and counts what it says it counts: the shipped model in four bits, its half drafting for it.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::path::Path;
use std::sync::Arc;

use common::shared;
use halfdepth::decode::sampler::Sampling;
use halfdepth::decode::{
    DecodeError, Drafts, Lane, SpeculationStats, Turn, TurnRequest, distribution,
};
use halfdepth::model::Llama;
use halfdepth::pack::Manifest;
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;

const PROMPTS: usize = 20;
/// Words of the text that a prompt takes.
const WORDS: usize = 9;
const TOKENS: usize = 128;
const CONTEXT: usize = 256;
/// Where the best two logits lie closer than this, a pass of eight rows, which sums in another order, may pick the other one.
const NEAR_TIE: f32 = 1e-3;
const HOT: Sampling = Sampling {
    temperature: 0.8,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    seed: 5,
};

struct Pack {
    manifest: Manifest,
    tokenizer: Tokenizer,
    /// On the fastest device there is.
    device: &'static str,
    model: Arc<Llama>,
}

fn pack() -> Pack {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/halfdepth-stories-12L");
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of the pack");
    let manifest = Manifest::parse(&read("manifest.json")).expect("a manifest");
    let json = std::fs::read(shared("models/halfdepth-stories-12L/tokenizer.json"));
    let (device, place) = model::devices().pop().expect("a device");
    Pack {
        tokenizer: Tokenizer::from_json(&json.expect("tokenizer")).expect("tokenizer"),
        device,
        model: model::unpack(&manifest, read, &place),
        manifest,
    }
}

impl Pack {
    fn lane(&self, plan: &str) -> Lane {
        let plan = self.manifest.plan(plan).expect("a plan");
        block_on(Lane::new(&self.model, plan, CONTEXT)).expect("a lane")
    }

    /// Pieces of stories, far apart.
    fn prompts(&self) -> Vec<Vec<u32>> {
        let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt"));
        let text = text.expect("text");
        let words: Vec<&str> = text.split_whitespace().collect();
        let pieces = words.chunks_exact(words.len() / PROMPTS);
        let ids = |words: &[&str]| self.tokenizer.encode(&words[..WORDS].join(" "), true);
        let prompts = pieces.map(|piece| ids(piece).expect("ids"));
        prompts.take(PROMPTS).collect()
    }
}

fn request(prompt: &[u32], sampling: Sampling, drafts: Drafts) -> TurnRequest {
    TurnRequest {
        prompt: prompt.to_vec(),
        sampling,
        max_tokens: TOKENS,
        stop: Vec::new(),
        ignore_end: true,
        drafts,
    }
}

fn plain(lane: &mut Lane, tokenizer: &Tokenizer, request: TurnRequest) -> Vec<u32> {
    let mut turn = Turn::start(lane, tokenizer, request, || 0.0).expect("a turn");
    while block_on(turn.step(lane, tokenizer))
        .expect("a step")
        .finish
        .is_none()
    {}
    turn.tokens().to_vec()
}

/// The answer, which of its tokens were drafted, and what the turn says of that.
fn drafted(
    [lane, draft]: [&mut Lane; 2],
    tokenizer: &Tokenizer,
    request: TurnRequest,
) -> (Vec<u32>, Vec<bool>, SpeculationStats) {
    let mut turn = Turn::start(lane, tokenizer, request, || 0.0).expect("a turn");
    let mut flags = Vec::new();
    loop {
        let step = block_on(turn.step_with(lane, draft, tokenizer)).expect("a step");
        flags.extend(step.drafted);
        if step.finish.is_some() {
            let stats = turn.stats().speculation.expect("drafts were asked for");
            return (turn.tokens().to_vec(), flags, stats);
        }
    }
}

/// What the draft lane holds likeliest before each token of an answer.
fn guesses(draft: &mut Lane, prompt: &[u32], answer: &[u32]) -> Vec<u32> {
    let (last, before) = prompt.split_last().expect("a prompt");
    draft.truncate(0);
    block_on(draft.prefill(before)).expect("prefill");
    let inputs = [&[*last], &answer[..answer.len() - 1]].concat();
    let logits = block_on(draft.score(&inputs)).expect("logits");
    let rows = logits.chunks_exact(logits.len() / inputs.len());
    rows.map(distribution::likeliest).collect()
}

/// (drafted, accepted, rounds), counted from an answer and what the other lane would have said at each of its tokens: a round
/// drafts four tokens at first, two more after one in which all were right, up to seven, and else one fewer, but one more than
/// were right at least.
fn by_hand(answer: &[u32], guesses: &[u32]) -> (usize, usize, usize) {
    let (mut at, mut wanted) = (1, 4);
    let mut counts = (0, 0, 0);
    while at < answer.len() {
        let drafts = wanted.min(answer.len() - at - 1);
        let right = (at..at + drafts)
            .take_while(|i| answer[*i] == guesses[*i])
            .count();
        counts = (counts.0 + drafts, counts.1 + right, counts.2 + 1);
        wanted = match right == drafts {
            true => (wanted + 2).min(7),
            false => (wanted - 1).max(right + 1),
        };
        at += right + 1;
    }
    counts
}

/// How far the best two logits after `prefix` lie apart.
fn margin(lane: &mut Lane, prefix: &[u32]) -> f32 {
    lane.truncate(0);
    block_on(lane.prefill(prefix)).expect("prefill");
    let mut logits = block_on(lane.logits()).expect("logits");
    logits.sort_by(|a, b| b.total_cmp(a));
    logits[0] - logits[1]
}

#[test]
fn a_drafted_answer_is_the_plain_one_and_its_drafts_are_counted_right() {
    let pack = pack();
    let [mut lane, mut draft] = ["full", "best-half"].map(|plan| pack.lane(plan));
    let (mut near_ties, mut tokens) = (0, 0);
    let mut total = (0, 0, 0);
    for prompt in pack.prompts() {
        let greedy = |drafts| request(&prompt, Sampling::default(), drafts);
        let expected = plain(&mut lane, &pack.tokenizer, greedy(Drafts::None));
        let lanes = [&mut lane, &mut draft];
        let (found, flags, stats) = drafted(lanes, &pack.tokenizer, greedy(Drafts::Always));
        assert_eq!(found.len(), TOKENS);
        let apart = (0..TOKENS).find(|at| found[*at] != expected[*at]);
        tokens += apart.unwrap_or(TOKENS);
        if let Some(at) = apart {
            let prefix = [&prompt[..], &expected[..at]].concat();
            let margin = margin(&mut lane, &prefix);
            assert!(margin < NEAR_TIE, "token {at}: {margin} apart");
            near_ties += 1;
            continue; // from here on it is another text
        }
        let flagged = flags.iter().filter(|drafted| **drafted).count();
        assert_eq!(flagged, stats.accepted, "tokens shown as drafted");
        let guesses = guesses(&mut draft, &prompt, &found);
        let counted = by_hand(&found, &guesses);
        assert_eq!((stats.drafted, stats.accepted, stats.rounds), counted);
        assert!(stats.rounds + stats.accepted + 1 == TOKENS, "{stats:?}");
        total = (
            total.0 + counted.0,
            total.1 + counted.1,
            total.2 + counted.2,
        );
    }
    model::say(&format!(
        "drafting on {}: {tokens} tokens as without, {near_ties} near-ties; {} of {} drafts kept in {} passes",
        pack.device, total.1, total.0, total.2
    ));
    assert!(tokens > PROMPTS * TOKENS / 2, "nothing was compared");
}

#[test]
fn a_draw_at_a_temperature_is_the_same_draw_with_drafts() {
    let pack = pack();
    let [mut lane, mut draft] = ["full", "best-half"].map(|plan| pack.lane(plan));
    let prompt = &pack.prompts()[0];
    let expected = plain(
        &mut lane,
        &pack.tokenizer,
        request(prompt, HOT, Drafts::None),
    );
    let lanes = [&mut lane, &mut draft];
    let (found, _, stats) = drafted(lanes, &pack.tokenizer, request(prompt, HOT, Drafts::Always));
    // Noise widens the gaps between the best two: a near-tie among 128 draws would be chance.
    assert_eq!(found, expected);
    assert!(stats.accepted > 0, "{stats:?}");
}

#[test]
fn what_cannot_be_drafted_is_said() {
    let pack = pack();
    let mut lane = pack.lane("full");
    let asked = request(&[1, 403], Sampling { top_k: 5, ..HOT }, Drafts::Always);
    let refused = Turn::start(&mut lane, &pack.tokenizer, asked, || 0.0);
    assert!(matches!(refused, Err(DecodeError::Request { .. })));
    let asked = request(&[1, 403], HOT, Drafts::Always);
    let mut turn = Turn::start(&mut lane, &pack.tokenizer, asked, || 0.0).expect("a turn");
    block_on(turn.step(&mut lane, &pack.tokenizer)).expect("the first token needs no drafts");
    let alone = block_on(turn.step(&mut lane, &pack.tokenizer));
    assert!(matches!(alone, Err(DecodeError::Request { .. })));
}
