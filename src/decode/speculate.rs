//! In: a lane that is to answer, and another that is quicker. Out: the answer of the first, token for token, in fewer of its passes:
//! the quick lane drafts a few tokens, one pass of the other picks the token after each, and the drafts up to the first on which it
//! would have gone on otherwise are kept, with its own pick after them.
//!
//! Nothing is lost at a temperature either: a draw is the largest of logit / temperature + noise, and the noise is keyed by seed,
//! position and token, so both lanes draw with the same luck.

use serde::Serialize;

use super::lane::VERIFY_ROWS;
use super::{DecodeError, Lane};

/// Drafts of the first round.
const FIRST_DRAFTS: usize = 4;
/// Drafts of a round at most: the token before them takes part in the pass too.
const MOST_DRAFTS: usize = VERIFY_ROWS - 1;
/// Tokens after which it is known whether drafting pays: fewer say more about the text than about the device.
const TRIAL_TOKENS: usize = 24;

/// Whether another lane drafts an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drafts {
    /// No.
    #[default]
    None,
    /// As long as it is quicker so.
    WhereTheyPay,
    /// To the end. For measuring.
    Always,
}

/// What drafting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeculationStats {
    /// Tokens that the quick lane drafted.
    pub drafted: usize,
    /// Of these, tokens that the other kept.
    pub accepted: usize,
    /// Passes that verified.
    pub rounds: usize,
    /// Milliseconds a token while drafting; 0 before the first round.
    pub ms_per_token: f64,
    /// Milliseconds a token without; 0 where it was not measured.
    pub plain_ms_per_token: f64,
    /// False once drafting was given up because it did not pay.
    pub on: bool,
}

/// Drafting under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speculation {
    gives_up: bool,
    /// Of the next round.
    drafts: usize,
    spent_ms: f64,
    made: usize,
    stats: SpeculationStats,
}

/// What a round brought: tokens, and how many of them, the first ones, were drafts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) tokens: Vec<u32>,
    pub(super) drafts: usize,
}

impl Round {
    /// Tokens that the lane picked itself.
    pub(super) fn of(tokens: Vec<u32>) -> Self {
        Self { tokens, drafts: 0 }
    }
}

impl Speculation {
    /// None where nothing is to be drafted.
    pub(super) fn new(drafts: Drafts) -> Option<Self> {
        let stats = SpeculationStats {
            on: true,
            ..SpeculationStats::default()
        };
        (drafts != Drafts::None).then_some(Self {
            gives_up: drafts == Drafts::WhereTheyPay,
            drafts: FIRST_DRAFTS,
            spent_ms: 0.0,
            made: 0,
            stats,
        })
    }

    pub(super) fn stats(&self) -> SpeculationStats {
        self.stats
    }

    /// Whether the next tokens are to be drafted: not before it is known what a token takes without.
    pub(super) fn wants_round(&self, plain_ms: Option<f64>) -> bool {
        self.stats.on && (plain_ms.is_some() || !self.gives_up)
    }

    /// Drafts and verifies. `left`: tokens that are still wanted.
    ///
    /// # Errors
    /// The context is full, or the device failed.
    pub(super) async fn round(
        &mut self,
        lane: &mut Lane,
        draft: &mut Lane,
        left: usize,
    ) -> Result<Round, DecodeError> {
        let picked = lane.picked().await?;
        draft.follow(lane.cached(), picked)?;
        let [room, draft_room] = [&*lane, &*draft].map(|l| l.context() - l.cached().len());
        // The lane's own pick after the drafts is wanted too, and the token before them has a place in the cache.
        let most = left.min(room).min(draft_room).saturating_sub(1);
        let drafts = match self.drafts.min(most) {
            0 => Vec::new(),
            count => draft.decode(count).await?,
        };
        let (accepted, next) = lane.verify(&drafts).await?;
        self.stats.rounds += 1;
        self.stats.drafted += drafts.len();
        self.stats.accepted += accepted;
        // Grows where all were right, and else draws near to what was.
        self.drafts = match accepted == drafts.len() {
            true => (self.drafts + 2).min(MOST_DRAFTS),
            false => self.drafts.saturating_sub(1).max(accepted + 1),
        };
        let mut tokens = drafts;
        tokens.truncate(accepted);
        tokens.push(next);
        Ok(Round {
            drafts: accepted,
            tokens,
        })
    }

    /// Takes note of what a round took, and gives drafting up where it is slower than going without.
    pub(super) fn took(&mut self, tokens: usize, ms: f64, plain_ms: Option<f64>) {
        self.spent_ms += ms;
        self.made += tokens;
        self.stats.ms_per_token = self.spent_ms / self.made.max(1) as f64;
        let Some(plain_ms) = plain_ms else { return };
        self.stats.plain_ms_per_token = plain_ms;
        let is_slower = self.stats.ms_per_token > plain_ms;
        if self.gives_up && self.made >= TRIAL_TOKENS && is_slower {
            self.stats.on = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafting_is_given_up_where_it_does_not_pay() {
        // (ms a token without, ms of a round of six tokens, rounds, whether it goes on)
        for (plain_ms, round_ms, rounds, on) in [
            (Some(10.0), 40.0, 10, true),
            (Some(10.0), 70.0, 3, true), // too soon to say
            (Some(10.0), 70.0, 4, false),
            (None, 70.0, 10, true),
        ] {
            let mut speculation = Speculation::new(Drafts::WhereTheyPay).expect("drafts");
            let mut always = Speculation::new(Drafts::Always).expect("drafts");
            for _ in 0..rounds {
                speculation.took(6, round_ms, plain_ms);
                always.took(6, round_ms, plain_ms);
            }
            assert_eq!(speculation.stats().on, on, "{plain_ms:?}, {round_ms}");
            assert!(always.stats().on);
        }
        assert!(Speculation::new(Drafts::None).is_none());
    }

    #[test]
    fn nothing_is_drafted_before_it_is_known_what_a_token_takes() {
        let speculation = Speculation::new(Drafts::WhereTheyPay).expect("drafts");
        assert!(!speculation.wants_round(None));
        assert!(speculation.wants_round(Some(1.0)));
        assert!(
            Speculation::new(Drafts::Always)
                .expect("drafts")
                .wants_round(None)
        );
    }
}
