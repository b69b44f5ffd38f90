//! Chooses the next token: logits and the tokens already there go in, one token id comes out.
//!
//! The order of the steps is that of transformers: repetition penalty, temperature, top-k, top-p, min-p, draw.
//! Everything that decides a draw is plain IEEE addition and multiplication, so one seed gives the same tokens
//! natively and in wasm.

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    candidates: Vec<Candidate>,
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
    /// Whether the answer is the likeliest token of the untouched logits, which the GPU can find alone.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 && self.repetition_penalty == 1.0
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
            candidates: Vec::new(),
        }
    }

    /// The next token id. `logits`: (vocab_size,), changed by the penalty; `recent`: the ids the penalty is for.
    ///
    /// Equal logits go to the lowest id. A NaN is never chosen while there is a number; without any number, or
    /// without logits, the answer is 0.
    pub fn sample(&mut self, logits: &mut [f32], recent: &[u32]) -> u32 {
        penalise(logits, recent, self.sampling.repetition_penalty);
        let likeliest = argmax(logits);
        let peak = logits
            .get(likeliest as usize)
            .copied()
            .unwrap_or(f32::NEG_INFINITY);
        // A temperature that `validate` would refuse draws nothing either.
        let tempered = self.sampling.temperature > 0.0 && self.sampling.temperature.is_finite();
        if !tempered || !peak.is_finite() {
            return likeliest;
        }
        self.weigh(logits, peak);
        self.truncate();
        self.draw().unwrap_or(likeliest)
    }

    /// Fills the candidates, in the order of their ids, with weights relative to the likeliest one's.
    fn weigh(&mut self, logits: &[f32], peak: f32) {
        let temperature = f64::from(self.sampling.temperature);
        self.candidates.clear();
        self.candidates.extend(
            (0u32..)
                .zip(logits)
                .filter(|(_, logit)| !logit.is_nan())
                .map(|(id, &logit)| {
                    let weight = exp((f64::from(logit) - f64::from(peak)) / temperature);
                    Candidate { id, weight }
                }),
        );
    }

    /// Leaves only what top-k, top-p and min-p let through.
    fn truncate(&mut self) {
        let Sampling {
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let candidates = &mut self.candidates;
        if top_k > 0 && top_k < candidates.len() {
            // Linear in the vocabulary, where a full sort of 128k logits would take milliseconds a token.
            candidates.select_nth_unstable_by(top_k - 1, Candidate::likeliest_first);
            candidates.truncate(top_k);
        }
        if top_p < 1.0 {
            candidates.sort_unstable_by(Candidate::likeliest_first);
            let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
            let mut reached = 0.0;
            // The token that crosses the threshold stays.
            let kept = candidates.iter().take_while(|candidate| {
                let stays = reached < f64::from(top_p) * total;
                reached += candidate.weight;
                stays
            });
            let kept = kept.count().max(1);
            candidates.truncate(kept);
        }
        if min_p > 0.0 {
            // The likeliest weight is exactly 1.
            candidates.retain(|candidate| candidate.weight >= f64::from(min_p));
        }
        // top-k leaves its survivors in no particular order; the draw must not depend on it.
        candidates.sort_unstable_by_key(|candidate| candidate.id);
    }

    /// One draw from the candidates by weight.
    fn draw(&mut self) -> Option<u32> {
        let total: f64 = self
            .candidates
            .iter()
            .map(|candidate| candidate.weight)
            .sum();
        let mut left = self.random.unit() * total;
        let mut last = None;
        for candidate in self
            .candidates
            .iter()
            .filter(|candidate| candidate.weight > 0.0)
        {
            left -= candidate.weight;
            last = Some(candidate.id);
            if left < 0.0 {
                break;
            }
        }
        // Rounding may leave a sliver past the end: it belongs to the last candidate.
        last
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    weight: f64, // relative to the likeliest token's
}

impl Candidate {
    fn likeliest_first(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
    }
}

/// The id of the highest logit, the lowest id among equals; NaN loses to everything.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = (0u32, f32::NAN);
    for (id, &logit) in (0u32..).zip(logits) {
        if logit > best.1 || (best.1.is_nan() && !logit.is_nan()) {
            best = (id, logit);
        }
    }
    best.0
}

fn penalise(logits: &mut [f32], recent: &[u32], penalty: f32) {
    if penalty == 1.0 || !penalty.is_finite() || penalty <= 0.0 {
        return;
    }
    let mut distinct = recent.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    for id in distinct {
        if let Some(logit) = logits.get_mut(id as usize) {
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
