//! In: a lane and a text's token ids. Out: how well the lane predicts the text.

use crate::decode::{DecodeError, Lane};

/// Cross-entropy in nats a token, over disjoint windows of `window` predictions, each after the begin token alone.
///
/// # Errors
/// A window does not fit the lane's context, or the device failed.
pub async fn cross_entropy(
    lane: &mut Lane,
    tokens: &[u32],
    window: usize,
    bos: u32,
) -> Result<f64, DecodeError> {
    if tokens.is_empty() || window == 0 {
        let reason = "there is nothing to measure: give a text of at least one token and windows of at least one".to_string();
        return Err(DecodeError::Request { reason });
    }
    let vocabulary = lane.model().config().vocab_size;
    let mut nats = 0.0;
    for targets in tokens.chunks(window) {
        let mut inputs = vec![bos];
        inputs.extend(&targets[..targets.len() - 1]);
        lane.truncate(0);
        let logits = lane.score(&inputs).await?;
        nats += logits
            .chunks(vocabulary)
            .zip(targets)
            .map(|(row, target)| negative_log_likelihood(row, *target))
            .sum::<f64>();
    }
    lane.truncate(0);
    Ok(nats / tokens.len() as f64)
}

/// -ln softmax(logits)[target], summed in f64.
fn negative_log_likelihood(logits: &[f32], target: u32) -> f64 {
    let maximum = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - maximum).exp())
        .sum();
    let target = logits.get(target as usize).copied().unwrap_or(f32::MIN);
    sum.ln() - f64::from(target - maximum)
}
