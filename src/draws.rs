//! In: a seed. Out: draws that are the same on every machine, now and later.

/// `count` of the numbers below `below`, rising, each set equally likely (Floyd's algorithm).
pub(crate) fn distinct(below: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut random = SplitMix(seed);
    let mut picked = std::collections::BTreeSet::new();
    for last in below - count..below {
        let candidate = random.below(last as u64 + 1) as usize;
        if !picked.insert(candidate) {
            picked.insert(last);
        }
    }
    picked.into_iter().collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`. The product's high word favours no number by more than `bound` in 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A draw from the normal distribution (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let mut uniform = || ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_drawn_equally_often() {
        let mut counts = [0; 6];
        for seed in 0..3000 {
            for number in distinct(6, 2, seed) {
                counts[number] += 1;
            }
        }
        // 1,000 expected, standard deviation 26: five of them.
        assert!(
            counts.iter().all(|count| (870..1130).contains(count)),
            "{counts:?}"
        );
    }
}
