//! How a token is picked on the device: the likeliest, a draw by Gumbel noise, the candidates of a sampler.

use burn::tensor::Device;
use halfdepth::kernels::argmax::{argmax, argmax_rows, join, sampling_words, slices};
use halfdepth::kernels::argmax_join::argmax_join;
use halfdepth::kernels::attention::Heads;
use halfdepth::kernels::candidates::{self, Candidates, KEPT, LIST_WORDS, PARTIAL_WORDS};
use halfdepth::kernels::candidates_join::candidates_join;
use halfdepth::kernels::gumbel::{gumbel, philox};
use halfdepth::kernels::{Feedback, RING};

use crate::model::devices;
use crate::support::{floats, random, read_words, words};

const HEADS: Heads = Heads {
    heads: 4,
    kv_heads: 2,
    head_dim: 8,
    context: 512,
};

/// Two additions of f32, each a place off, on values below 64; and a logarithm that WGSL lets be 2^-21 off near 1 and three
/// places elsewhere, on values below 23.
const NOISE_TOLERANCE: f32 = 2e-5;

fn feedback(position: u32, rows: u32, device: &Device) -> Feedback {
    Feedback {
        ids: words(vec![9; 4], device),
        step: words(vec![position, rows], device),
        grid: words(vec![0; 3], device),
        history: words(vec![0; RING], device),
    }
}

/// The best of each of `slices` slices: (value, id).
fn best(
    logits: &[f32],
    sampling: [u32; 3],
    next_position: u32,
    slices: usize,
    device: &Device,
) -> Vec<(f32, u32)> {
    let found = argmax(
        floats(logits.to_vec(), [1, logits.len()], device),
        words(sampling.to_vec(), device),
        words(vec![next_position, 0], device),
        words(vec![0; 2 * slices], device),
    );
    read_words(found)
        .chunks_exact(2)
        .map(|words| (f32::from_bits(words[0]), words[1]))
        .collect()
}

/// Both launches: the token that is picked.
fn pick(
    logits: &[f32],
    sampling: [u32; 3],
    next_position: u32,
    slices: usize,
    device: &Device,
) -> u32 {
    let found = best(logits, sampling, next_position, slices, device);
    let found = found.iter().flat_map(|(value, id)| [value.to_bits(), *id]);
    let feedback = argmax_join(
        words(found.collect(), device),
        feedback(next_position, 0, device),
        HEADS,
    );
    read_words(feedback.ids)[0]
}

#[test]
fn each_of_many_rows_picks_as_a_pass_that_ends_with_it() {
    // (vocabulary, slices, rows)
    for (vocabulary, slices, rows) in [(5, 1, 2), (300, 3, 8), (2051, 2, 5), (4099, 7, 3)] {
        for sampling in [[0; 3], sampling_words(0.7, 9 << 32 | 4)] {
            for (name, device) in devices() {
                let row = |row: usize| -> Vec<f32> {
                    let mixed = |id: usize| (id * 7919 + row * 104_729) % 997;
                    (0..vocabulary).map(|id| mixed(id) as f32 * 0.01).collect()
                };
                let all: Vec<f32> = (0..rows).flat_map(row).collect();
                let found = argmax_rows(
                    floats(all, [rows, vocabulary], &device),
                    words(sampling.to_vec(), &device),
                    words(vec![40, rows as u32], &device),
                    words(vec![0; 2 * slices * rows], &device),
                );
                let found: Vec<u32> = read_words(found)
                    .chunks_exact(2 * slices)
                    .map(join)
                    .collect();
                let each =
                    (0..rows).map(|at| pick(&row(at), sampling, 41 + at as u32, slices, &device));
                let each: Vec<u32> = each.collect();
                assert_eq!(found, each, "{name}, {rows} rows of {vocabulary}");
            }
        }
    }
}

#[test]
fn the_first_of_the_likeliest_is_fed_back_and_the_step_moves() {
    // (vocabulary, ids that share the largest logit, position, rows)
    let cases: [(usize, &[usize], u32, u32); 7] = [
        (1, &[0], 0, 1),
        (7, &[6], 3, 1),
        (255, &[0, 254], 63, 1),
        (257, &[256, 128], 64, 32),
        (2048, &[2047, 300, 301], 200, 1),
        (4099, &[4098], 511, 1),
        (128_256, &[128_255, 70_000, 2048], 100, 1),
    ];
    for (name, device) in devices() {
        for (vocabulary, largest, position, rows) in cases {
            let mut logits = random(1, vocabulary);
            // A NaN takes part in nothing.
            for id in (0..vocabulary).step_by(5) {
                logits[id] = f32::NAN;
            }
            for id in largest {
                logits[*id] = 2.0;
            }
            let expected = *largest.iter().min().expect("one") as u32;
            for slices in [slices(vocabulary), 1, 3] {
                let label = format!("{name}, {vocabulary} in {slices}");
                let before = feedback(position, rows, &device);
                let found = argmax(
                    floats(logits.clone(), [1, vocabulary], &device),
                    words(sampling_words(0.0, 7).to_vec(), &device),
                    before.step.clone(),
                    words(vec![0; 2 * slices], &device),
                );
                let after = argmax_join(found, before, HEADS);
                let next = position + rows;
                let splits = (next + 1).min(512).div_ceil(64);
                assert_eq!(read_words(after.ids)[0], expected, "{label}");
                assert_eq!(read_words(after.step), [next, 1], "{label}");
                assert_eq!(read_words(after.grid), [2, splits, 1], "{label}");
                let history = read_words(after.history);
                assert_eq!(history[next as usize % RING], expected, "{label}");
            }
        }
        let nothing = pick(&[f32::NAN; 9], sampling_words(0.0, 0), 0, 2, &device);
        assert_eq!(nothing, 0, "{name}: without a number");
    }
}

/// The vectors that come with Random123, the authors' own implementation.
#[test]
fn philox_gives_the_published_words() {
    for (counter, key, expected) in [
        (
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [u32::MAX; 4],
            [u32::MAX; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ] {
        assert_eq!(philox(counter, key), expected);
    }
}

#[test]
fn noise_is_a_gumbel_quantile_at_both_ends() {
    let edges = [0, 1, 2, 255, 1 << 29, (1 << 30) - 1, 1 << 30, 1 << 31];
    let words = edges.into_iter().flat_map(|word: u32| [word, !word]);
    for word in words {
        let u = (f64::from(word) + 0.5) / (1u64 << 32) as f64;
        let exact = -(-(-u).ln_1p()).ln();
        // Rounding of u to f32 is 2^-24 of e at most; the rest is the two logarithms' last places.
        let off = (f64::from(gumbel(word)) - exact).abs();
        assert!(off < 1e-6 * exact.abs().max(1.0), "{word:#x}: off by {off}");
    }
}

#[test]
fn noise_equals_its_twin() {
    // A slice for every quad: the largest noise of each four ids, and whose it is. Another word would be far off.
    let (vocabulary, quads) = (16_384, 4096);
    let logits = vec![0.0; vocabulary];
    let mut devices = devices().into_iter();
    let (_, cpu) = devices.next().expect("a CPU");
    for (name, device) in devices {
        for (seed, position) in [(0, 0), (1, 1), (u64::MAX, 77), (1 << 40, u32::MAX)] {
            let sampling = sampling_words(1.0, seed);
            let twin = best(&logits, sampling, position, quads, &cpu);
            let found = best(&logits, sampling, position, quads, &device);
            for (quad, (found, twin)) in found.iter().zip(&twin).enumerate() {
                let off = (found.0 - twin.0).abs();
                assert!(
                    off < NOISE_TOLERANCE && found.1 == twin.1,
                    "{name}, quad {quad}: {found:?}, the twin says {twin:?}"
                );
            }
        }
    }
}

#[test]
fn draws_equal_their_twin_in_any_number_of_slices() {
    let mut devices = devices().into_iter();
    let (_, cpu) = devices.next().expect("a CPU");
    let devices: Vec<_> = devices.collect();
    for vocabulary in [1, 5, 63, 2048, 4099, 49_152] {
        let logits: Vec<f32> = random(3, vocabulary).iter().map(|x| x * 8.0).collect();
        for (temperature, seed, position) in [(0.7, 1, 12), (1.0, 2, 0), (5.0, u64::MAX, 2047)] {
            let sampling = sampling_words(temperature, seed);
            let label = format!("{vocabulary} at {temperature}");
            let twin = pick(&logits, sampling, position, 1, &cpu);
            for slices in [slices(vocabulary), 2, 7, 64] {
                let sliced = pick(&logits, sampling, position, slices, &cpu);
                assert_eq!(sliced, twin, "{label}: {slices} slices");
                for (name, device) in &devices {
                    let found = pick(&logits, sampling, position, slices, device);
                    if found != twin {
                        // Two values that rounding cannot tell apart.
                        let values = best(
                            &logits,
                            sampling,
                            position,
                            vocabulary.div_ceil(4).max(1),
                            &cpu,
                        );
                        let mut values: Vec<f32> = values.iter().map(|best| best.0).collect();
                        values.sort_by(|a, b| b.total_cmp(a));
                        assert!(
                            values.len() > 1 && values[0] - values[1] < 2.0 * NOISE_TOLERANCE,
                            "{label} on {name}: {found}, the twin says {twin}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn another_seed_or_position_is_another_draw() {
    let logits = vec![0.0; 512];
    for (name, device) in devices() {
        let draws = |sampling: [u32; 3]| -> Vec<u32> {
            (0..6)
                .map(|position| pick(&logits, sampling, position, 1, &device))
                .collect()
        };
        let one = draws(sampling_words(1.0, 1));
        assert_eq!(one, draws(sampling_words(1.0, 1)), "{name}");
        for seed in [0, 2, 1 << 32] {
            assert_ne!(one, draws(sampling_words(1.0, seed)), "{name}: seed {seed}");
        }
        let mut distinct = one.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 3, "{name}: {one:?}");
    }
}

/// Sum of (count - expected)^2 / expected.
fn chi_square(logits: &[f32], temperature: f32, counts: &[usize]) -> f64 {
    let weights = logits.iter().map(|l| f64::from(l / temperature).exp());
    let (total, draws): (f64, usize) = (weights.clone().sum(), counts.iter().sum());
    weights
        .zip(counts)
        .map(|(weight, count)| {
            let expected = weight / total * draws as f64;
            (*count as f64 - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn draws_follow_the_softmax() {
    let logits = [2.0f32, 1.0, 0.5, 0.0, -1.0, -3.0, 2.0, 0.25];
    // 7 degrees of freedom: chance goes above 24.3 once in a thousand seeds, and the seeds are fixed.
    let bound = 24.3;
    for (name, device) in devices() {
        for temperature in [0.5f32, 1.0, 2.0] {
            // Eight ids a slice: each slice is a draw of its own, so that a launch makes 4,096.
            let repeated: Vec<f32> = logits.repeat(4096);
            let mut counts = [0; 8];
            for position in 0..8 {
                let sampling = sampling_words(temperature, 3);
                for (_, id) in best(&repeated, sampling, position, 4096, &device) {
                    counts[id as usize % 8] += 1;
                }
            }
            let chi = chi_square(&logits, temperature, &counts);
            assert!(chi < bound, "{name} over ids at {temperature}: {chi}");

            // One id after another, as an answer is made.
            let mut counts = [0; 8];
            let sampling = words(sampling_words(temperature, 4).to_vec(), &device);
            let logits_there = floats(logits.to_vec(), [1, 8], &device);
            let mut state = feedback(0, 0, &device);
            let mut found = words(vec![0; 2], &device);
            let rings = if name == "cpu" { 128 } else { 48 };
            for _ in 0..rings {
                for _ in 0..RING {
                    found = argmax(
                        logits_there.clone(),
                        sampling.clone(),
                        state.step.clone(),
                        found,
                    );
                    state = argmax_join(found.clone(), state, HEADS);
                }
                for id in read_words(state.history.clone()) {
                    counts[id as usize] += 1;
                }
            }
            let chi = chi_square(&logits, temperature, &counts);
            assert!(chi < bound, "{name} over positions at {temperature}: {chi}");
        }
    }
}

/// Logits with everything that may go wrong: many equals at the edge, NaN, infinities, both zeros.
fn odd_logits(vocabulary: usize) -> Vec<f32> {
    let mut logits: Vec<f32> = random(5, vocabulary)
        .iter()
        .map(|x| (x * 40.0).round() / 4.0)
        .collect();
    for (id, logit) in logits.iter_mut().enumerate() {
        match id % 97 {
            13 => *logit = f32::NAN,
            14 => *logit = f32::NEG_INFINITY,
            15 => *logit = -0.0,
            _ => {}
        }
    }
    logits
}

/// Both launches: the list, and the token that is fed back meanwhile.
fn list(logits: &[f32], temperature: f32, slices: usize, device: &Device) -> (Candidates, u32) {
    let sampling = words(sampling_words(temperature, 0).to_vec(), device);
    let partials = candidates::candidates(
        floats(logits.to_vec(), [1, logits.len()], device),
        sampling.clone(),
        words(vec![0; slices * PARTIAL_WORDS], device),
    );
    let (list, feedback) = candidates_join(
        partials,
        sampling,
        words(vec![0; LIST_WORDS], device),
        feedback(3, 1, device),
        HEADS,
    );
    assert_eq!(read_words(feedback.step), [4, 1]);
    let next = read_words(feedback.ids)[0];
    (Candidates::from_words(&read_words(list)), next)
}

/// The same by sorting everything.
fn sorted(logits: &[f32]) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = (0..)
        .zip(logits.iter().copied())
        .filter(|(_, logit)| !logit.is_nan())
        .collect();
    all.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("numbers").then(a.0.cmp(&b.0)));
    all.truncate(KEPT);
    all.sort_by_key(|(id, _)| *id);
    all
}

#[test]
fn candidates_are_the_largest_of_the_vocabulary() {
    for (name, device) in devices() {
        for vocabulary in [1, 5, 255, 256, 257, 300, 4096, 4097, 49_152, 128_256] {
            let smooth: Vec<f32> = random(2, vocabulary).iter().map(|x| x * 12.0).collect();
            let equal = vec![1.5; vocabulary];
            for logits in [smooth, odd_logits(vocabulary), equal] {
                let temperature = 0.7;
                let numbers = logits.iter().filter(|logit| !logit.is_nan());
                let peak = numbers.clone().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f64 = numbers
                    .map(|logit| f64::from((logit - peak) / temperature).exp())
                    .sum();
                for slices in [candidates::slices(vocabulary), 1, 3] {
                    let label = format!("{name}, {vocabulary} in {slices}");
                    let (found, next) = list(&logits, temperature, slices, &device);
                    assert_eq!(found.tokens, sorted(&logits), "{label}");
                    // Terms of f32 that carry e^x's error, which WGSL lets grow with x: 2 places and 2 |x|.
                    let off = (f64::from(found.total) / total - 1.0).abs();
                    assert!(off < 1e-4, "{label}: {}, not {total}", found.total);
                    let likeliest = logits.iter().position(|logit| *logit == peak);
                    assert_eq!(next as usize, likeliest.expect("one"), "{label}");
                }
            }
        }
    }
}

#[test]
fn candidates_without_numbers_are_none() {
    for (name, device) in devices() {
        let (found, next) = list(&[f32::NAN; 300], 1.0, 2, &device);
        assert!(found.tokens.is_empty() && next == 0, "{name}: {found:?}");
    }
}
