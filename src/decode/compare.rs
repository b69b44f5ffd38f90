//! In: a prompt, an answer, two lanes. Out: what each lane would have said at every token of the answer, and how far apart they are.

use super::lane::{Lane, SCORE_ROWS};
use super::{DecodeError, distribution};

/// Two lanes' predictions of one token of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenComparison {
    /// The token of the answer.
    pub token: u32,
    /// What the reference holds likeliest.
    pub expected: u32,
    /// What the other lane holds likeliest.
    pub found: u32,
    /// Nats: sum of p ln (p / q), p the reference's.
    pub kl: f64,
}

impl TokenComparison {
    /// Whether both lanes would have gone on with the same token.
    pub fn agrees(&self) -> bool {
        self.expected == self.found
    }
}

/// Reads the prompt and the answer with both lanes and compares what they predict at every token of the answer. The logits of
/// a few dozen tokens stand in memory at once.
///
/// # Errors
/// The prompt is empty, both do not fit a context, the lanes' models have other vocabularies, or the device failed.
pub async fn compare(
    reference: &mut Lane,
    lane: &mut Lane,
    prompt: &[u32],
    answer: &[u32],
) -> Result<Vec<TokenComparison>, DecodeError> {
    let vocabulary = reference.model().config().vocab_size;
    if lane.model().config().vocab_size != vocabulary {
        let reason = "lanes of models with other vocabularies cannot be compared".to_string();
        return Err(DecodeError::Request { reason });
    }
    let Some((last, before)) = prompt.split_last() else {
        return Err(DecodeError::EmptyPrompt);
    };
    for lane in [&mut *reference, &mut *lane] {
        lane.truncate(0);
        if !before.is_empty() {
            lane.feed(before)?;
        }
    }
    // What predicts a token stands before it.
    let inputs = [&[*last], &answer[..answer.len().saturating_sub(1)]].concat();
    let mut compared = Vec::with_capacity(answer.len());
    for (inputs, targets) in inputs.chunks(SCORE_ROWS).zip(answer.chunks(SCORE_ROWS)) {
        let (expected, found) = (reference.score(inputs).await?, lane.score(inputs).await?);
        let rows = expected.chunks(vocabulary).zip(found.chunks(vocabulary));
        compared.extend(rows.zip(targets).map(|((p, q), token)| TokenComparison {
            token: *token,
            expected: distribution::likeliest(p),
            found: distribution::likeliest(q),
            kl: distribution::divergence(p, q),
        }));
    }
    Ok(compared)
}
