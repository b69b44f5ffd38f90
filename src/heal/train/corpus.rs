//! In: a text's tokens. Out: the sequences that training reads, in an order that a number and a seed decide.

use crate::draws::SplitMix;
use crate::heal::HealError;

/// Disjoint windows of a text, each after the begin token alone, as `halfdepth eval` measures them.
pub struct Corpus {
    tokens: Vec<u32>,
    window: usize,
    begin: u32,
    seed: u64,
    /// The epoch whose order stands in `order`.
    epoch: Option<u64>,
    order: Vec<u32>,
}

impl Corpus {
    /// Windows of `window` predictions; a remainder is left out.
    ///
    /// # Errors
    /// There is no whole window.
    pub fn new(tokens: Vec<u32>, window: usize, begin: u32, seed: u64) -> Result<Self, HealError> {
        let windows = tokens.len().checked_div(window).unwrap_or(0);
        if windows == 0 || u32::try_from(windows).is_err() {
            return Err(HealError::Corpus {
                tokens: tokens.len(),
                window,
            });
        }
        Ok(Self {
            tokens,
            window,
            begin,
            seed,
            epoch: None,
            order: (0..windows as u32).collect(),
        })
    }

    /// Windows there are.
    pub fn windows(&self) -> usize {
        self.order.len()
    }

    /// Predictions of a window.
    pub fn window(&self) -> usize {
        self.window
    }

    /// `count` sequences from the `first` that is read on: the begin token and a window, (1 + window) ids each. Every window is read
    /// once before any is read again.
    pub fn sequences(&mut self, first: u64, count: usize) -> Vec<Vec<u32>> {
        let windows = self.order.len() as u64;
        let numbers = first..first + count as u64;
        numbers
            .map(|number| {
                self.shuffle(number / windows);
                let window = self.order[(number % windows) as usize] as usize;
                let tokens = &self.tokens[window * self.window..][..self.window];
                [&[self.begin], tokens].concat()
            })
            .collect()
    }

    /// The order of an epoch (Fisher and Yates), drawn from the seed and the epoch alone: nothing of it has to be saved.
    fn shuffle(&mut self, epoch: u64) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        let count = self.order.len();
        self.order = (0..count as u32).collect();
        let mut random = SplitMix(self.seed ^ epoch.wrapping_mul(0xd134_2543_de82_ef95));
        for last in (1..count).rev() {
            let other = random.below(last as u64 + 1) as usize;
            self.order.swap(last, other);
        }
    }
}
