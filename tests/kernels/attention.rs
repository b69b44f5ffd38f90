//! `attention` and `attention_combine`: query heads to a key-value head, head sizes, positions at the edges of tiles.

use burn::tensor::Device;
use halfdepth::kernels::attention::{Heads, attention, attention_combine};

use halfdepth::kernels::{CacheFormat, Prefill, Variant};

use crate::support::{cache_words, floats, random, read, same_everywhere, words};

struct Case {
    heads: Heads,
    pass_rows: usize,
    position: usize,
    active: usize,
    cache: CacheFormat,
    prefill: Prefill,
}

impl Case {
    fn variant(&self) -> Variant {
        Variant {
            cache: self.cache,
            prefill: self.prefill,
            ..Variant::PLAIN
        }
    }

    fn run(&self, device: &Device) -> Vec<f32> {
        let h = self.heads;
        let width = h.heads * h.head_dim;
        let queries = floats(
            random(1, self.pass_rows * width),
            [self.pass_rows, width],
            device,
        );
        // Positions not yet written hold whatever was there: they must not show.
        let cache = |seed| {
            let mut values = random(seed, h.kv_heads * h.context * h.head_dim);
            for (at, vector) in values.chunks_mut(h.head_dim).enumerate() {
                if at % h.context >= self.position + self.active {
                    vector.fill(f32::NAN);
                }
            }
            words(cache_words(&values, self.cache), device)
        };
        let partials_shape = h.partials_shape(self.pass_rows);
        let partials = floats(
            vec![0.0; partials_shape[0] * partials_shape[1]],
            partials_shape,
            device,
        );
        let step = || words(vec![self.position as u32, self.active as u32], device);
        let splits = (self.position + self.active)
            .min(h.context)
            .div_ceil(64)
            .clamp(1, h.max_splits(1));
        let grid = words(vec![h.kv_heads as u32, splits as u32, 1], device);
        let (keys, values) = (cache(2), cache(3));
        let partials = attention(
            queries,
            keys,
            values,
            partials,
            step(),
            grid,
            h,
            self.variant(),
        );
        let out_shape = [self.pass_rows, h.heads * h.head_dim];
        let out = floats(vec![7.0; out_shape[0] * out_shape[1]], out_shape, device);
        read(attention_combine(partials, out, step(), h))
    }

    /// Softmax attention as the formula says it, in f64.
    fn expected(&self) -> Vec<f64> {
        let h = self.heads;
        let width = h.heads * h.head_dim;
        let queries = random(1, self.pass_rows * width);
        let (keys, values) = (
            random(2, h.kv_heads * h.context * h.head_dim),
            random(3, h.kv_heads * h.context * h.head_dim),
        );
        let mut out = vec![7.0; self.pass_rows * h.heads * h.head_dim];
        for row in 0..self.active {
            for head in 0..h.heads {
                let query = &queries[row * width + head * h.head_dim..][..h.head_dim];
                let cache = head / (h.heads / h.kv_heads) * h.context * h.head_dim;
                let at =
                    |from: &[f32], p: usize| from[cache + p * h.head_dim..][..h.head_dim].to_vec();
                let scores: Vec<f64> = (0..=self.position + row)
                    .map(|p| {
                        at(&keys, p)
                            .iter()
                            .zip(query)
                            .map(|(k, q)| f64::from(*k) * f64::from(*q))
                            .sum::<f64>()
                    })
                    .map(|score| (score / (h.head_dim as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                let out = &mut out[(row * h.heads + head) * h.head_dim..][..h.head_dim];
                out.fill(0.0);
                for (p, score) in scores.iter().enumerate() {
                    for (out, value) in out.iter_mut().zip(at(&values, p)) {
                        *out += score / sum * f64::from(value);
                    }
                }
            }
        }
        out
    }
}

#[test]
fn attention_equals_its_twin_and_the_formula() {
    let passes = [
        (1, 0, 1),
        (1, 63, 1),
        (1, 64, 1),
        (1, 127, 1),
        (1, 191, 1),
        (8, 0, 5),
        (8, 60, 8),
        (32, 63, 17),
        (32, 128, 32),
    ];
    let mut number = 0;
    for (heads, kv_heads) in [(1, 1), (4, 4), (4, 2), (9, 3), (8, 1), (24, 1)] {
        for (at, head_dim) in [4, 8, 20, 32, 64, 128].into_iter().enumerate() {
            // Half of the passes with every head size, the other half with the next.
            for (pass_rows, position, active) in passes.into_iter().skip(at % 2).step_by(2) {
                let heads = Heads {
                    heads,
                    kv_heads,
                    head_dim,
                    context: 192,
                };
                number += 1;
                let case = Case {
                    heads,
                    pass_rows,
                    position,
                    active,
                    cache: [CacheFormat::F32, CacheFormat::F16][at / 2 % 2],
                    // Each takes rows together in its own number; 4.5 passes a head size bring each of them to all.
                    prefill: [Prefill::Tile, Prefill::Direct, Prefill::Shared][number % 3],
                };
                let label = format!("{heads:?}, {active} of {pass_rows} rows at {position}");
                // Sums over at most 192 positions, and an exp that is good to a few units in the last place.
                same_everywhere(&label, 1e-5, |device| case.run(device));
                let twin = case.run(&halfdepth::decode::cpu());
                // Keys and values in f16 are off by 2^-11 each; a score sums head_dim of them.
                let tolerance = match case.cache {
                    CacheFormat::F32 => 1e-5,
                    CacheFormat::F16 => 2e-3,
                };
                for (got, expected) in twin.iter().zip(case.expected()) {
                    assert!(
                        (f64::from(*got) - expected).abs() < tolerance,
                        "{label}: {got} for {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_context_longer_than_all_splits_is_covered() {
    // 16 splits of 64 positions are 1024; past that a split takes several tiles.
    for position in [1023, 1024, 1500] {
        let heads = Heads {
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
            context: 1600,
        };
        let case = Case {
            heads,
            pass_rows: 1,
            position,
            active: 1,
            cache: CacheFormat::F32,
            prefill: Prefill::Tile,
        };
        same_everywhere(&format!("position {position}"), 1e-5, |device| {
            case.run(device)
        });
        for (got, expected) in case
            .run(&halfdepth::decode::cpu())
            .iter()
            .zip(case.expected())
        {
            assert!(
                (f64::from(*got) - expected).abs() < 1e-5,
                "position {position}: {got} for {expected}"
            );
        }
    }
}
