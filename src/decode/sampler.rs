//! Chooses the next token: the device's candidates and the tokens already there go in, one token id comes out.
//!
//! The order of the steps is that of transformers: repetition penalty, temperature, top-k, top-p, min-p, draw.
//! Everything that decides a draw is plain IEEE addition and multiplication, so one seed gives the same tokens
//! natively and in wasm from the same candidates.
//!
//! The device keeps the [`KEPT`] largest logits, so that 2 KB are read back and not a vocabulary. What follows of that:
//!
//! - top-k is exact up to [`KEPT`]; a larger one is [`KEPT`].
//! - top-p is exact whenever the candidates hold p of the whole vocabulary; else all of them stay.
//! - min-p is exact whenever the least likely candidate falls below it; else all of them stay.
//! - The repetition penalty changes the logits of candidates; a token that is none stays none. So the likeliest token is
//!   exact for a penalty of at least 1, unless every candidate is among the tokens already there.
//! - What stays is drawn by its weight among what stays.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::kernels::argmax::sampling_words;
use crate::kernels::candidates::KEPT;

pub use crate::kernels::candidates::Candidates;

/// How the next token is chosen; the default is greedy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f32,
    /// Only this many of the likeliest tokens stay; 0 keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability stay; 1 keeps all.
    pub top_p: f32,
    /// Only tokens at least this fraction as likely as the likeliest stay; 0 keeps all.
    pub min_p: f32,
    /// Positive logits of tokens already there are divided by this, negative ones multiplied; 1 changes none.
    pub repetition_penalty: f32,
    /// The same seed draws the same tokens from the same logits.
    pub seed: u64,
}

/// A sampling setting that has no meaning.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("sampling: {name} is {found}; it must be {allowed}")]
pub struct SamplingError {
    /// The setting, as it is spelled in JSON.
    pub name: &'static str,
    /// What it was set to.
    pub found: f32,
    /// What it may be.
    pub allowed: &'static str,
}

/// Draws tokens under one [`Sampling`]; carries the state of its generator from draw to draw.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Xoshiro256,
    weighed: Vec<Weighed>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Whether the device picks alone: the likeliest token, or a draw from all. What filters or changes the logits needs a
    /// [`Sampler`].
    pub fn picks_on_device(&self) -> bool {
        let unfiltered = self.top_k == 0 && self.top_p == 1.0 && self.min_p == 0.0;
        self.repetition_penalty == 1.0 && (self.temperature == 0.0 || unfiltered)
    }

    /// What the device reads of these settings.
    pub fn words(&self) -> [u32; 3] {
        sampling_words(self.temperature, self.seed)
    }

    /// Refuses settings that have no meaning.
    pub fn validate(self) -> Result<Self, SamplingError> {
        let settings = [
            (
                "temperature",
                self.temperature,
                "between 0 and 100",
                (0.0..=100.0).contains(&self.temperature),
            ),
            (
                "topP",
                self.top_p,
                "above 0 and at most 1",
                self.top_p > 0.0 && self.top_p <= 1.0,
            ),
            (
                "minP",
                self.min_p,
                "between 0 and 1",
                (0.0..=1.0).contains(&self.min_p),
            ),
            (
                "repetitionPenalty",
                self.repetition_penalty,
                "above 0 and at most 100",
                self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0,
            ),
        ];
        match settings.into_iter().find(|(.., good)| !good) {
            Some((name, found, allowed, _)) => Err(SamplingError {
                name,
                found,
                allowed,
            }),
            None => Ok(self),
        }
    }
}

impl Sampler {
    /// A sampler at the start of its seed's sequence.
    pub fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            random: Xoshiro256::new(sampling.seed),
            weighed: Vec::new(),
        }
    }

    /// The next token id. `recent`: the ids the penalty is for.
    ///
    /// Equal logits go to the lowest id. Without candidates the answer is 0.
    pub fn sample(&mut self, candidates: &Candidates, recent: &[u32]) -> u32 {
        let mut tokens = candidates.tokens.clone();
        penalise(&mut tokens, recent, self.sampling.repetition_penalty);
        let (likeliest, peak) = largest(&tokens);
        // A temperature that `validate` would refuse draws nothing either.
        let tempered = self.sampling.temperature > 0.0 && self.sampling.temperature.is_finite();
        if !tempered || !peak.is_finite() {
            return likeliest;
        }
        self.weighed.clear();
        self.weighed
            .extend(tokens.iter().map(|&(id, logit)| Weighed {
                id,
                weight: self.sampling.weight(logit, peak),
            }));
        self.truncate(self.sampling.outside(candidates, peak));
        self.draw().unwrap_or(likeliest)
    }

    /// Leaves only what top-k, top-p and min-p let through. `outside`: the weight of all tokens that are no candidates.
    fn truncate(&mut self, mut outside: f64) {
        let Sampling {
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let weighed = &mut self.weighed;
        weighed.sort_unstable_by(Weighed::likeliest_first);
        if top_k > 0 {
            weighed.truncate(top_k);
            outside = 0.0;
        }
        if top_p < 1.0 {
            let total: f64 = weighed.iter().map(|token| token.weight).sum::<f64>() + outside;
            let mut reached = 0.0;
            // The token that crosses the threshold stays.
            let kept = weighed.iter().take_while(|token| {
                let stays = reached < f64::from(top_p) * total;
                reached += token.weight;
                stays
            });
            let kept = kept.count().max(1);
            weighed.truncate(kept);
        }
        if min_p > 0.0 {
            // The likeliest weight is exactly 1.
            weighed.retain(|token| token.weight >= f64::from(min_p));
        }
        weighed.sort_unstable_by_key(|token| token.id);
    }

    /// One draw by weight from what is left.
    fn draw(&mut self) -> Option<u32> {
        let total: f64 = self.weighed.iter().map(|token| token.weight).sum();
        let mut left = self.random.unit() * total;
        let mut last = None;
        for token in self.weighed.iter().filter(|token| token.weight > 0.0) {
            left -= token.weight;
            last = Some(token.id);
            if left < 0.0 {
                break;
            }
        }
        // Rounding may leave a sliver past the end: it belongs to the last token.
        last
    }
}

impl Sampling {
    /// How likely a logit is, relative to one that is at least as large.
    fn weight(&self, logit: f32, peak: f32) -> f64 {
        exp((f64::from(logit) - f64::from(peak)) / f64::from(self.temperature))
    }

    /// The weight of all tokens that are no candidates, relative to a token whose logit is `peak`.
    fn outside(&self, candidates: &Candidates, peak: f32) -> f64 {
        if candidates.tokens.len() < KEPT {
            return 0.0;
        }
        let (_, largest) = largest(&candidates.tokens);
        let logits = candidates.tokens.iter().map(|(_, logit)| *logit);
        let inside: f64 = logits.map(|logit| self.weight(logit, largest)).sum();
        let total = f64::from(candidates.total);
        // The device's sum is one of f32: it cannot tell less than this from nothing.
        if total - inside <= 1e-4 * total {
            return 0.0;
        }
        let outside = total - inside;
        // The penalty may have moved the peak to either side.
        if peak <= largest {
            outside / self.weight(peak, largest)
        } else {
            outside * self.weight(largest, peak)
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Weighed {
    id: u32,
    weight: f64, // relative to the likeliest token's
}

impl Weighed {
    fn likeliest_first(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
    }
}

/// The largest logit and whose it is: the lowest id's among equals.
fn largest(tokens: &[(u32, f32)]) -> (u32, f32) {
    let mut tokens = tokens.iter().copied();
    let first = tokens.next().unwrap_or((0, f32::NEG_INFINITY));
    tokens.fold(
        first,
        |best, token| {
            if token.1 > best.1 { token } else { best }
        },
    )
}

/// `tokens` in the order of their ids, as [`Candidates`] has them.
fn penalise(tokens: &mut [(u32, f32)], recent: &[u32], penalty: f32) {
    if penalty == 1.0 || !penalty.is_finite() || penalty <= 0.0 {
        return;
    }
    let mut met = vec![false; tokens.len()];
    for id in recent {
        if let Ok(at) = tokens.binary_search_by_key(id, |token| token.0) {
            met[at] = true;
        }
    }
    for ((_, logit), met) in tokens.iter_mut().zip(met) {
        if met {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
}

/// e^x for x <= 0, from additions and multiplications alone: `f64::exp` is another function on every platform.
fn exp(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1; // ends in zero bits, so that k * LN_2_HIGH is exact
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // Below e^-700 a token is never drawn; NaN (infinity less infinity) goes the same way.
    if x.is_nan() || x < -700.0 {
        return 0.0;
    }
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    // |r| <= ln 2 / 2: the first term left out is below 2e-17.
    let series = (1..=14)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    let power_of_two = f64::from_bits(((k as i64 + 1023) as u64) << 52);
    series * power_of_two
}

/// xoshiro256++ by Blackman and Vigna, seeded through SplitMix64 as they advise.
#[derive(Clone, Debug)]
struct Xoshiro256 {
    state: [u64; 4],
}

impl Xoshiro256 {
    fn new(seed: u64) -> Self {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
        Self { state }
    }

    /// A number in [0, 1), one of 2^53.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let out = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        out
    }
}
