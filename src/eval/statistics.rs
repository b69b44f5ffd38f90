//! In: counts or values. Out: an interval in which the true figure lies, 95 times of 100.

use serde::Serialize;

/// The two-sided 95 % point of the normal distribution.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval of a share: never outside of 0 to 1, and honest where few or all are right.
pub fn wilson(right: usize, of: usize) -> Interval {
    if of == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let n = of as f64;
    let share = right as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval {
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}

/// The mean of `sums[i] / weights[i]` weighted by the weights, and its interval by the normal approximation of a ratio of sums.
/// With windows of equal weight it is the interval of a mean.
pub fn mean_interval(sums: &[f64], weights: &[f64]) -> (f64, Interval) {
    let total: f64 = weights.iter().sum();
    let mean = sums.iter().sum::<f64>() / total;
    let n = sums.len() as f64;
    let residuals = sums
        .iter()
        .zip(weights)
        .map(|(sum, weight)| sum - mean * weight);
    let squares: f64 = residuals.map(|residual| residual * residual).sum();
    // With one window nothing is known of how windows differ.
    let half = match sums.len() {
        0 | 1 => f64::INFINITY,
        _ => Z * (squares * n / (n - 1.0)).sqrt() / total,
    };
    let interval = Interval {
        low: mean - half,
        high: mean + half,
    };
    (mean, interval)
}

/// The two-sided 95 % point of Student's t with `room` degrees of freedom: Cornish and Fisher's expansion.
pub(crate) fn student(room: f64) -> f64 {
    let z2 = Z * Z;
    Z + Z * (z2 + 1.0) / (4.0 * room) + Z * ((5.0 * z2 + 16.0) * z2 + 3.0) / (96.0 * room * room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_equals_published_values() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        let rows = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (20, 20, 0.8389, 1.0),
        ];
        for (right, of, low, high) in rows {
            let found = wilson(right, of);
            // Four digits are printed there.
            let off = (found.low - low).abs().max((found.high - high).abs());
            assert!(off < 5.1e-5, "{right}/{of}: {found:?}");
        }
        assert_eq!(
            wilson(0, 0),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
    }

    #[test]
    fn the_interval_of_equal_windows_is_that_of_a_mean() {
        // Mean 3, standard deviation sqrt(2.5), of 5: half = 1.96 * sqrt(2.5 / 5).
        let (mean, interval) = mean_interval(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0; 5]);
        assert!((mean - 3.0).abs() < 1e-12);
        assert!(
            (interval.high - mean - 1.385_903_8).abs() < 1e-6,
            "{interval:?}"
        );
    }
}
