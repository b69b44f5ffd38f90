//! In: a model's embeddings, a seed. Out: how far embeddings spread, and noise of a known spread.

use super::TraceError;
use crate::dense::DenseSource;
use crate::draws::{SplitMix, distinct};

/// Rows that the spread is estimated from; of a smaller vocabulary, all.
const ROWS: usize = 4096;

/// The standard deviation of the embeddings' numbers, over rows drawn by the seed: the table of a large model is never widened whole.
///
/// # Errors
/// Weights cannot be read.
pub fn embedding_deviation(source: &dyn DenseSource, seed: u64) -> Result<f64, TraceError> {
    let rows = source.config().vocab_size;
    let ids: Vec<u32> = distinct(rows, ROWS.min(rows), seed)
        .into_iter()
        .map(|id| id as u32)
        .collect();
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for ids in ids.chunks(256) {
        for value in source.embed(ids)? {
            let value = f64::from(value);
            sum += value;
            squares += value * value;
            count += 1.0;
        }
    }
    let mean: f64 = sum / count;
    Ok((squares / count - mean * mean).max(0.0).sqrt())
}

/// Adds normal noise of this deviation to rows of an embedded prompt, (tokens, hidden): one copy of the prompt for each sample. Draws
/// run through the samples, in each through the rows, in each through its numbers.
pub(super) fn corrupt(
    clean: &[f32],
    hidden: usize,
    rows: &[usize],
    (samples, deviation, seed): (usize, f64, u64),
) -> Vec<f32> {
    let mut random = SplitMix(seed);
    let mut all = Vec::with_capacity(samples * clean.len());
    for _ in 0..samples {
        let begin = all.len();
        all.extend_from_slice(clean);
        for row in rows {
            for value in &mut all[begin + row * hidden..begin + (row + 1) * hidden] {
                *value = (f64::from(*value) + deviation * random.normal()) as f32;
            }
        }
    }
    all
}
