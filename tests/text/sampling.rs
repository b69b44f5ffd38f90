//! Draws: their rules, their statistics, and one seed pinned.

use halfdepth::decode::sampler::{Candidates, Sampler, Sampling};
use proptest::prelude::*;

const PLAIN: Sampling = Sampling {
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    seed: 7,
};

/// Draws from these logits, as a device would hand them over.
fn sample(sampler: &mut Sampler, sampling: Sampling, logits: &[f32], recent: &[u32]) -> u32 {
    sampler.sample(
        &Candidates::from_logits(logits, sampling.temperature),
        recent,
    )
}

/// How often each id is drawn from the same logits.
fn histogram(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<usize> {
    let mut sampler = Sampler::new(sampling);
    let mut counts = vec![0; logits.len()];
    for _ in 0..draws {
        counts[sample(&mut sampler, sampling, logits, &[]) as usize] += 1;
    }
    counts
}

#[test]
fn one_seed_draws_these_tokens() {
    let logits: Vec<f32> = (0..32).map(|id| ((id * 37 % 32) as f32) / 8.0).collect();
    for (sampling, expected) in PINNED {
        let mut sampler = Sampler::new(sampling);
        let drawn: Vec<u32> = (0..8)
            .map(|_| sample(&mut sampler, sampling, &logits, &[13, 26]))
            .collect();
        assert_eq!(drawn, expected, "{sampling:?}");
    }
}

/// Drawn by another implementation of the same generator and rules, in Python; ids 13 and 26 are penalised.
const PINNED: [(Sampling, [u32; 8]); 3] = [
    (PLAIN, [4, 6, 24, 16, 31, 17, 24, 12]),
    (
        Sampling {
            temperature: 0.7,
            top_k: 10,
            top_p: 0.9,
            seed: 42,
            ..PLAIN
        },
        [25, 12, 31, 24, 25, 19, 6, 19],
    ),
    (
        Sampling {
            temperature: 1.5,
            min_p: 0.2,
            repetition_penalty: 1.3,
            seed: u64::MAX,
            ..PLAIN
        },
        [12, 30, 30, 11, 22, 16, 30, 18],
    ),
];

#[test]
fn draws_follow_the_softmax() {
    let logits = [2.0f32, 1.0, 0.5, 0.0, -1.0, -3.0, 2.0, 0.25];
    let draws = 20_000;
    for temperature in [0.5f32, 1.0, 2.0] {
        let weights: Vec<f64> = logits
            .iter()
            .map(|logit| f64::from(logit / temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let counts = histogram(
            Sampling {
                temperature,
                ..PLAIN
            },
            &logits,
            draws,
        );
        let chi_square: f64 = weights
            .iter()
            .zip(counts)
            .map(|(weight, count)| {
                let expected = weight / total * draws as f64;
                (count as f64 - expected).powi(2) / expected
            })
            .sum();
        // 7 degrees of freedom: chance goes above 24.3 once in a thousand seeds, and the seed is fixed.
        assert!(chi_square < 24.3, "temperature {temperature}: {chi_square}");
    }
}

#[test]
fn truncation_keeps_the_tokens_its_rule_names() {
    // Probabilities 0.5, 0.25, 0.125, 0.125, out of order.
    let logits = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
    for (rule, kept) in [
        (Sampling { top_k: 2, ..PLAIN }, vec![1, 3]),
        // Of two equals at the edge, the lower id stays.
        (Sampling { top_k: 3, ..PLAIN }, vec![0, 1, 3]),
        (Sampling { top_k: 9, ..PLAIN }, vec![0, 1, 2, 3]),
        // The token that crosses the threshold stays.
        (
            Sampling {
                top_p: 0.6,
                ..PLAIN
            },
            vec![1, 3],
        ),
        (
            Sampling {
                top_p: 0.8,
                ..PLAIN
            },
            vec![0, 1, 3],
        ),
        (
            Sampling {
                min_p: 0.4,
                ..PLAIN
            },
            vec![1, 3],
        ),
        (
            Sampling {
                min_p: 1.0,
                ..PLAIN
            },
            vec![1],
        ),
        // top-p counts what top-k left: 0.5 of 0.75 reaches 0.6.
        (
            Sampling {
                top_k: 2,
                top_p: 0.6,
                ..PLAIN
            },
            vec![1],
        ),
    ] {
        let counts = histogram(rule, &logits, 2000);
        let drawn: Vec<usize> = (0..4).filter(|&id| counts[id] > 0).collect();
        assert_eq!(drawn, kept, "{rule:?}");
    }
}

#[test]
fn the_penalty_divides_positive_and_multiplies_negative_logits_once() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::default()
    };
    let recent = [0, 0, 1, 2, 3, 3, 99];
    for (logits, expected) in [
        (vec![2.0f32, -2.0, 0.0, 3.0], 3),
        (vec![2.0, -2.0, 0.0, 3.0, 1.4], 3), // 3 / 2
        (vec![2.0, -2.0, 0.0, 3.0, 1.6], 4),
        (vec![-5.0, -2.0, -9.0, -9.0, -3.9], 4), // -2 * 2
        (vec![-5.0, -2.0, -9.0, -9.0, -4.1], 1),
    ] {
        let chosen = sample(&mut Sampler::new(sampling), sampling, &logits, &recent);
        assert_eq!(chosen, expected, "{logits:?}");
    }
}

#[test]
fn only_what_filters_or_changes_logits_needs_the_sampler() {
    let hot = Sampling {
        temperature: 0.8,
        ..Sampling::default()
    };
    for (sampling, on_device) in [
        (Sampling::default(), true),
        (
            Sampling {
                top_k: 5,
                ..Sampling::default()
            },
            true,
        ),
        (hot, true),
        (Sampling { top_k: 5, ..hot }, false),
        (Sampling { top_p: 0.9, ..hot }, false),
        (Sampling { min_p: 0.1, ..hot }, false),
        (
            Sampling {
                repetition_penalty: 1.1,
                ..hot
            },
            false,
        ),
        (
            Sampling {
                repetition_penalty: 1.1,
                ..Sampling::default()
            },
            false,
        ),
    ] {
        assert_eq!(sampling.picks_on_device(), on_device, "{sampling:?}");
    }
}

/// A steep vocabulary, whose 256 likeliest tokens hold almost everything, and a flat one, of which they hold half.
fn vocabulary(flat: bool) -> Vec<f32> {
    let rank = |id: u32| (id.wrapping_mul(2_654_435_761) >> 8) % 2000;
    (0..2000)
        .map(|id| {
            let rank = rank(id) as f32;
            if flat { -rank / 370.0 } else { -rank / 37.0 }
        })
        .collect()
}

#[test]
fn truncation_to_the_candidates_changes_nothing_where_they_suffice() {
    for (flat, rule) in [
        (true, Sampling { top_k: 1, ..PLAIN }),
        (
            true,
            Sampling {
                top_k: 200,
                ..PLAIN
            },
        ),
        (
            true,
            Sampling {
                top_k: 200,
                top_p: 0.7,
                ..PLAIN
            },
        ),
        (
            true,
            Sampling {
                top_p: 0.2,
                ..PLAIN
            },
        ),
        (
            true,
            Sampling {
                min_p: 0.6,
                ..PLAIN
            },
        ),
        (
            false,
            Sampling {
                top_p: 0.95,
                ..PLAIN
            },
        ),
        (
            false,
            Sampling {
                top_p: 0.5,
                temperature: 1.4,
                ..PLAIN
            },
        ),
        (
            false,
            Sampling {
                top_p: 0.9,
                repetition_penalty: 1.3,
                ..PLAIN
            },
        ),
        (
            false,
            Sampling {
                min_p: 0.05,
                ..PLAIN
            },
        ),
    ] {
        let logits = vocabulary(flat);
        let kept = Candidates::from_logits(&logits, rule.temperature);
        assert_eq!(kept.tokens.len(), 256);
        let all = Candidates {
            tokens: (0..).zip(logits).collect(),
            total: kept.total,
        };
        let (mut a, mut b) = (Sampler::new(rule), Sampler::new(rule));
        for draw in 0..300 {
            let recent = [5, 77, 1999];
            let expected = a.sample(&all, &recent);
            assert_eq!(b.sample(&kept, &recent), expected, "{rule:?}, draw {draw}");
        }
    }
}

#[test]
fn candidates_that_do_not_hold_top_p_all_stay() {
    let logits = vocabulary(true);
    let kept = Candidates::from_logits(&logits, 1.0);
    // They hold half of the vocabulary's weight, so two thirds are never reached; a third of it is.
    for (top_p, all_stay) in [(0.66, true), (0.33, false)] {
        let mut sampler = Sampler::new(Sampling { top_p, ..PLAIN });
        let mut drawn: Vec<u32> = (0..20_000).map(|_| sampler.sample(&kept, &[])).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len() == 256, all_stay, "{top_p}: {}", drawn.len());
    }
}

#[test]
fn logits_that_are_no_numbers_are_survived() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for (logits, expected) in [
        (vec![], 0),
        (vec![nan, nan], 0),
        (vec![nan, 1.0, nan], 1),
        (vec![-inf, -inf], 0),
        (vec![nan, -inf, -5.0], 2),
        (vec![1.0, inf, inf], 1),
        (vec![-inf, f32::MIN, nan], 1),
    ] {
        for temperature in [0.0, 1.0, nan, inf, -1.0] {
            let odd = Sampling {
                temperature,
                top_k: 5,
                top_p: 0.9,
                min_p: 0.01,
                ..PLAIN
            };
            assert_eq!(
                sample(&mut Sampler::new(odd), odd, &logits, &[0, 7]),
                expected,
                "{logits:?} {temperature}"
            );
        }
    }
}

#[test]
fn settings_without_meaning_are_named() {
    for (sampling, name) in [
        (
            Sampling {
                temperature: -0.1,
                ..PLAIN
            },
            "temperature",
        ),
        (
            Sampling {
                temperature: f32::NAN,
                ..PLAIN
            },
            "temperature",
        ),
        (
            Sampling {
                top_p: 0.0,
                ..PLAIN
            },
            "topP",
        ),
        (
            Sampling {
                top_p: 1.5,
                ..PLAIN
            },
            "topP",
        ),
        (
            Sampling {
                min_p: -1.0,
                ..PLAIN
            },
            "minP",
        ),
        (
            Sampling {
                repetition_penalty: 0.0,
                ..PLAIN
            },
            "repetitionPenalty",
        ),
    ] {
        assert_eq!(sampling.validate().unwrap_err().name, name);
    }
    assert_eq!(PLAIN.validate(), Ok(PLAIN));
    let read: Sampling = serde_json::from_str(r#"{"temperature": 0.5, "topK": 3}"#).unwrap();
    assert_eq!(
        read,
        Sampling {
            temperature: 0.5,
            top_k: 3,
            ..Sampling::default()
        }
    );
}

proptest! {
    #[test]
    fn narrow_settings_are_greedy(logits in prop::collection::vec(-20.0f32..20.0, 1..200), seed: u64) {
        let default = Sampling::default();
        let greedy = sample(&mut Sampler::new(default), default, &logits, &[]);
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        prop_assert_eq!(logits.iter().position(|&logit| logit == highest), Some(greedy as usize));
        for narrow in [
            Sampling { top_k: 1, ..PLAIN },
            Sampling { top_p: 1e-6, ..PLAIN },
            Sampling { temperature: 1e-6, ..PLAIN },
        ] {
            let drawn = sample(&mut Sampler::new(Sampling { seed, ..narrow }), narrow, &logits, &[]);
            prop_assert_eq!(logits[drawn as usize], highest, "{:?}", narrow);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same(logits in prop::collection::vec(-9.0f32..9.0, 1..64), seed: u64, k in 0usize..9) {
        let sampling = Sampling { seed, top_k: k, top_p: 0.95, ..PLAIN };
        let draw = || {
            let mut sampler = Sampler::new(sampling);
            (0..5).map(|_| sample(&mut sampler, sampling, &logits, &[0])).collect::<Vec<_>>()
        };
        prop_assert_eq!(draw(), draw());
    }
}
