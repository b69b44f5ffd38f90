//! In: a text's tokens. Out: the runs of them that a scan reads.

use serde::{Deserialize, Serialize};

use super::ScanError;
use crate::draws::distinct;

/// Which runs of a text are read. No begin token is put before them: a run is a piece out of the middle of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// One after the other, from the start of the text.
    Sequential,
    /// Drawn without replacement out of all the runs that `Sequential` would read if it went to the end; in the text's order.
    Random,
}

/// `samples` runs of `tokens` tokens each.
///
/// # Errors
/// The text is too short, or nothing was asked for.
pub fn draw(
    text: &[u32],
    samples: usize,
    tokens: usize,
    sampling: Sampling,
    seed: u64,
) -> Result<Vec<Vec<u32>>, ScanError> {
    if samples == 0 || tokens == 0 {
        return Err(ScanError::Nothing { samples, tokens });
    }
    let runs = text.len() / tokens;
    if runs < samples {
        return Err(ScanError::TooShort {
            found: text.len(),
            runs,
            tokens,
            samples,
        });
    }
    let picked = match sampling {
        Sampling::Sequential => (0..samples).collect(),
        Sampling::Random => distinct(runs, samples, seed),
    };
    let run = |run: usize| text[run * tokens..(run + 1) * tokens].to_vec();
    Ok(picked.into_iter().map(run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_runs_follow_each_other_and_random_ones_are_distinct() {
        let text: Vec<u32> = (0..103).collect();
        let sequential = draw(&text, 3, 10, Sampling::Sequential, 9).expect("runs");
        assert_eq!(sequential.concat(), (0..30).collect::<Vec<_>>());
        let random = draw(&text, 7, 10, Sampling::Random, 9).expect("runs");
        let starts: Vec<u32> = random.iter().map(|run| run[0]).collect();
        assert!(starts.windows(2).all(|pair| pair[0] < pair[1]) && starts[6] <= 90);
        assert_ne!(
            random,
            draw(&text, 7, 10, Sampling::Random, 10).expect("runs")
        );
        let all = draw(&text, 10, 10, Sampling::Random, 1).expect("runs");
        assert_eq!(all.concat(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_text_cannot_give_is_said() {
        let text = [1; 25];
        for (samples, tokens) in [(3, 10), (1, 26)] {
            assert!(matches!(
                draw(&text, samples, tokens, Sampling::Sequential, 0),
                Err(ScanError::TooShort { found: 25, .. })
            ));
        }
        for (samples, tokens) in [(0, 10), (1, 0)] {
            assert!(matches!(
                draw(&text, samples, tokens, Sampling::Random, 0),
                Err(ScanError::Nothing { .. })
            ));
        }
    }
}
