//! The comparison of the ops that pick, and of the one that only reads, with their twins is worth something: one wrong constant in
//! any of their shaders makes it fail.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::argmax::{argmax, argmax_rows, sampling_words};
use super::argmax_join::argmax_join;
use super::attention::Heads;
use super::candidates::{Candidates, LIST_WORDS, PARTIAL_WORDS, candidates};
use super::candidates_join::candidates_join;
use super::stream_read::{Order, VECTOR, stream_read, threads};
use super::{Feedback, MUTATION, Mutation, RING};
use crate::decode;

/// (shader, right, wrong): at least one for each text that the shaders import.
pub(crate) const MUTATIONS: [(&str, &str, &str); 26] = [
    ("argmax", "+ at] * scale", "+ at] * 1.01 * scale"),
    ("argmax", "row * VOCABULARY", "0u * VOCABULARY"),
    ("argmax", "row + 1u, work", "row + 2u, work"),
    ("argmax", "row * workgroups.x", "0u * workgroups.x"),
    ("argmax", "select(step[1],", "select(0u,"),
    (
        "argmax",
        "vec2(sampling[1], sampling[2])",
        "vec2(sampling[1])",
    ),
    ("argmax", "round < 10u", "round < 9u"),
    ("argmax", "(middle >> 16u)", "(middle >> 15u)"),
    ("argmax", "(cross >> 16u)", "(cross >> 17u)"),
    ("argmax", "1.0 / 3.0", "1.0 / 2.9"),
    ("argmax", "f32(~word)", "f32(word)"),
    ("argmax", "other > mine", "other < mine"),
    ("argmax_join", "slice * 2u + 1u", "slice * 2u"),
    (
        "candidates",
        "~bits, bits > 0x80000000u",
        "bits, bits > 0x80000000u",
    ),
    ("candidates", "before.y < wanted", "before.y + 1u < wanted"),
    ("candidates", "key > threshold {", "key >= threshold {"),
    ("candidates", "wanted - above", "wanted - above + 1u"),
    (
        "candidates",
        "thread / 16u * 16u",
        "thread / 16u * 16u + 1u",
    ),
    (
        "candidates",
        "difference * inverse_temperature",
        "difference",
    ),
    (
        "candidates_join",
        "b.sum * softmax_weight(b.largest - largest",
        "b.sum * softmax_weight(largest - b.largest",
    ),
    (
        "candidates_join",
        "i / KEPT * (2u * KEPT + 2u)",
        "i / KEPT * (2u * KEPT)",
    ),
    (
        "candidates_join",
        "(key & known) == threshold",
        "(key & known) >= threshold",
    ),
    ("candidates_join", "other > mine", "other < mine"),
    ("candidates_join", "position + 1u", "position + 64u"),
    ("stream_read", "at += 4u * TEAM", "at += 3u * TEAM"),
    (
        "stream_read",
        "TURNS * THREADS + id.x < VECTORS",
        "TURNS * THREADS + id.x > VECTORS",
    ),
];

const VOCABULARY: usize = 3001;

/// Whole numbers, which every op must give exactly, and floats, which may be a few places off.
#[derive(Debug)]
struct Outcome {
    words: Vec<u32>,
    floats: Vec<f32>,
}

fn words(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::U32))
}

fn read(tensor: &Tensor<1, Int>) -> Vec<u32> {
    tensor.to_data().iter::<u32>().collect()
}

/// Few values, so that many are equal at every edge, on both sides of zero, with bits set in every byte; the largest lie in the last
/// slice.
fn logits_of(shift: u32) -> Vec<f32> {
    (0..VOCABULARY as u32)
        .map(|id| (id + shift) % VOCABULARY as u32)
        .map(|id| {
            let mixed = id.wrapping_mul(2_654_435_761) >> 8;
            (mixed % 41) as f32 * 0.25 - 8.0 + (id / 1024) as f32 + (mixed % 5) as f32 * 1e-3
        })
        .collect()
}

/// Draws and lists of candidates, each in few slices and in more.
fn run(device: &Device) -> Outcome {
    let logits = Tensor::<2>::from_data(
        TensorData::new(logits_of(0), [1, VOCABULARY]),
        (device, DType::F32),
    );
    let heads = Heads {
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        context: 512,
    };
    let feedback = || Feedback {
        ids: words(vec![0; 2], device),
        step: words(vec![60, 3], device),
        grid: words(vec![0; 3], device),
        history: words(vec![0; RING], device),
    };
    let sampling = words(sampling_words(0.6, 7 << 32 | 5).to_vec(), device);
    // Slices of four ids show every quad's noise.
    let quads = VOCABULARY.div_ceil(4);
    let mut outcome = Outcome {
        words: Vec::new(),
        floats: Vec::new(),
    };
    for slices in [3, quads] {
        let step = words(vec![60, 3], device);
        let best = words(vec![0; 2 * slices], device);
        let best = argmax(logits.clone(), sampling.clone(), step, best);
        for best in read(&best).chunks_exact(2) {
            outcome.floats.push(f32::from_bits(best[0]));
            outcome.words.push(best[1]);
        }
        let after = argmax_join(best, feedback(), heads);
        for tensor in [after.ids, after.step, after.grid, after.history] {
            outcome.words.extend(read(&tensor));
        }
    }
    let rows = Tensor::<2>::from_data(
        TensorData::new(
            [logits_of(0), logits_of(977), logits_of(5)].concat(),
            [3, VOCABULARY],
        ),
        (device, DType::F32),
    );
    let best = words(vec![0; 2 * 3 * quads], device);
    let best = argmax_rows(rows, sampling.clone(), words(vec![60, 3], device), best);
    for best in read(&best).chunks_exact(2) {
        outcome.floats.push(f32::from_bits(best[0]));
        outcome.words.push(best[1]);
    }
    for slices in [1, 3] {
        let partials = words(vec![0; slices * PARTIAL_WORDS], device);
        let partials = candidates(logits.clone(), sampling.clone(), partials);
        let list = words(vec![0; LIST_WORDS], device);
        let (list, after) = candidates_join(partials, sampling.clone(), list, feedback(), heads);
        let list = Candidates::from_words(&read(&list));
        for (id, logit) in list.tokens {
            outcome.words.extend([id, logit.to_bits()]);
        }
        outcome.floats.push(list.total);
        for tensor in [after.ids, after.step, after.grid, after.history] {
            outcome.words.extend(read(&tensor));
        }
    }
    // Six turns a thread, of which the last two are not four at once, and seven vectors left over.
    let count = VECTOR * (6 * threads(VECTOR) + 7);
    let data = (0..count as u32).map(|word| word.wrapping_mul(2_654_435_761));
    let sums = words(vec![0; threads(count)], device);
    let sums = stream_read(words(data.collect(), device), sums, Order::ByWorkgroup);
    outcome.words.extend(read(&sums));
    outcome
}

fn differ(a: &Outcome, b: &Outcome) -> bool {
    // As the kernels' tests: roundings of f32, and the logarithm and the exponential of WGSL.
    let off = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-4 * a.abs().max(1.0) || b.is_nan();
    a.words != b.words || a.floats.iter().zip(&b.floats).any(off)
}

#[test]
fn a_wrong_constant_in_any_shader_that_picks_or_reads_is_found() {
    let Some(gpu) = decode::test_gpu("a_wrong_constant_in_any_shader_that_picks_or_reads_is_found")
    else {
        return;
    };
    let twin = run(&decode::cpu());
    assert!(
        !differ(&twin, &run(&gpu)),
        "the right shaders differ from their twins"
    );
    let mut unseen = Vec::new();
    for (shader, from, to) in MUTATIONS {
        MUTATION.set(Some(Mutation { shader, from, to }));
        let mutated = run(&gpu);
        MUTATION.set(None);
        if !differ(&twin, &mutated) {
            unseen.push((shader, from, to));
        }
    }
    assert!(unseen.is_empty(), "went unseen: {unseen:#?}");
}
