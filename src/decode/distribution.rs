//! In: logits. Out: what they say of the next token, summed in f64, since distributions close to each other are compared.

use super::DecodeError;

/// Logits that distributions can be made of: of others no comparison means anything, though some would come out as agreement.
///
/// # Errors
/// One of them is no number, or infinite.
pub fn finite(logits: Vec<f32>) -> Result<Vec<f32>, DecodeError> {
    match logits.iter().all(|x| x.is_finite()) {
        true => Ok(logits),
        false => Err(DecodeError::NonFinite),
    }
}

/// ln p of every token.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
    let scale = f64::from(most) + sum.ln();
    logits.iter().map(|x| f64::from(*x) - scale).collect()
}

/// The likeliest token; of equals the first, as the device picks.
pub fn likeliest(logits: &[f32]) -> u32 {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (1..logits.len()).fold(0, better) as u32
}

/// Nats: sum of p ln (p / q).
pub fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let (p, q) = (log_softmax(p), log_softmax(q));
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
    // Rounding may leave it just below zero, which a divergence never is.
    sum.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_no_numbers_are_refused() {
        assert_eq!(finite(vec![0.5, -1.0]).ok(), Some(vec![0.5, -1.0]));
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(
                finite(vec![0.5, odd]),
                Err(DecodeError::NonFinite)
            ));
        }
    }

    #[test]
    fn equal_distributions_are_nothing_apart_and_others_as_reckoned_by_hand() {
        let even = [3.0, 3.0];
        assert!(divergence(&even, &[-1.0, -1.0]) < 1e-15);
        // p = (1/2, 1/2), q = (3/4, 1/4): ln(4/3) / 2 ... both terms by hand.
        let q = [3_f32.ln(), 0.0];
        let expected = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
        assert!((divergence(&even, &q) - expected).abs() < 1e-7);
        assert_eq!(likeliest(&[0.5, 2.0, 2.0, -1.0]), 1);
    }
}
