//! In: what an axis has to cover. Out: where its ticks are, and where a value lies on it.

/// A linear axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    /// Values at which there are ticks.
    pub(super) ticks: Vec<f64>,
    decimals: usize,
}

impl Axis {
    /// Covers the values, from tick to tick, with about `count` ticks.
    pub(super) fn covering(values: impl Iterator<Item = f64>, count: usize) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = match low <= high {
            true => (low, high.max(low + 1e-3 * low.abs().max(1e-3))),
            false => (0.0, 1.0),
        };
        let step = step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks: Vec<f64> = (0..=(last - first) as usize)
            .map(|tick| (first + tick as f64) * step)
            .collect();
        Self {
            low: first * step,
            high: last * step,
            ticks,
            decimals: (-step.log10().floor()).max(0.0) as usize,
        }
    }

    /// From 0 to 1 in tenths or fifths.
    pub(super) fn shares() -> Self {
        Self::covering([0.0, 1.0].into_iter(), 5)
    }

    /// 0 at the low end, 1 at the high one.
    pub(super) fn place(&self, value: f64) -> f32 {
        ((value.clamp(self.low, self.high) - self.low) / (self.high - self.low)) as f32
    }

    /// A tick's text.
    pub(super) fn label(&self, tick: f64) -> String {
        let decimals = self.decimals;
        format!("{tick:.decimals$}")
    }
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let found = times
        .into_iter()
        .find(|times| times * power >= least * 0.999);
    found.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let rows: [(&[f64], &str); 6] = [
            (&[0.32, 1.31], "0.2 0.4 0.6 0.8 1.0 1.2 1.4"),
            (&[0.0, 7.9], "0 2 4 6 8"),
            (&[0.243, 0.312], "0.24 0.26 0.28 0.30 0.32"),
            (&[5.0, 5.0], "5.000 5.001 5.002 5.003 5.004 5.005"),
            (&[], "0.0 0.2 0.4 0.6 0.8 1.0"),
            (&[f64::NAN, f64::INFINITY], "0.0 0.2 0.4 0.6 0.8 1.0"),
        ];
        for (values, expected) in rows {
            let axis = Axis::covering(values.iter().copied(), 5);
            let labels: Vec<_> = axis.ticks.iter().map(|tick| axis.label(*tick)).collect();
            assert_eq!(labels.join(" "), expected, "{values:?}");
        }
    }
}
