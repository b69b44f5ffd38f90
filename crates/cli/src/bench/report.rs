//! What was measured, as JSON and as lines for a terminal.

use std::fmt;

use serde::Serialize;

/// Everything that one run of the bench found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(super) pack: String,
    pub(super) source: String,
    pub(super) device: String,
    pub(super) driver: String,
    /// Whether the "GPU" is a program on the CPU.
    pub(super) software: bool,
    /// The kernels that ran.
    pub(super) variant: String,
    /// Reading, checking and uploading every file of the pack.
    pub(super) load_ms: f64,
    /// Measured in the same run with `stream_read`.
    pub(super) read_bandwidth_bytes_per_second: f64,
    /// Bytes of the buffer that it was measured with.
    pub(super) read_buffer_bytes: u64,
    /// The process's own peak, pages of the mapped pack included; `None` where the system does not tell.
    pub(super) peak_rss_bytes: Option<u64>,
    /// Tokens decoded at each context.
    pub(super) tokens: usize,
    pub(super) runs: u32,
    pub(super) plans: Vec<PlanReport>,
}

#[derive(Serialize)]
pub(crate) struct PlanReport {
    pub(super) plan: String,
    pub(super) layers: usize,
    /// From the first layer's allocation to the captured graph.
    pub(super) lane_ms: f64,
    /// Layers, norms and head, each read once a token; of the embedding a token reads one row, which is not counted.
    pub(super) weight_bytes_per_token: u64,
    pub(super) decode: Vec<Decode>,
    pub(super) prefill: Vec<Prefill>,
}

/// Medians at one context.
#[derive(Serialize)]
pub(crate) struct Decode {
    pub(super) context: usize,
    pub(super) tokens_per_second: f64,
    /// Keys and values of all positions so far, halfway through the tokens that were decoded.
    pub(super) cache_bytes_per_token: u64,
    /// Bytes a token over the bandwidth, as a share of the time that a token took.
    pub(super) share_of_bandwidth: f64,
    /// This speed over the first plan's, and over what the bytes of both predict; `None` for the first plan.
    pub(super) speed_up: Option<f64>,
    pub(super) share_of_predicted_speed_up: Option<f64>,
}

/// Medians for one length.
#[derive(Serialize)]
pub(crate) struct Prefill {
    pub(super) prompt: usize,
    pub(super) tokens_per_second: f64,
    pub(super) time_to_first_token_ms: f64,
}

/// The middle one; `values` is not empty.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} on {} {}, kernels {}",
            self.pack, self.device, self.driver, self.variant
        )?;
        writeln!(
            f,
            "loaded in {:.0} ms; reads {:.1} GB/s over {} MB; medians of {}",
            self.load_ms,
            self.read_bandwidth_bytes_per_second / 1e9,
            self.read_buffer_bytes / 1_000_000,
            self.runs,
        )?;
        if let Some(bytes) = self.peak_rss_bytes {
            writeln!(f, "peak memory {} MB", bytes / 1_000_000)?;
        }
        for plan in &self.plans {
            writeln!(f, "{} ({} layers)", plan.plan, plan.layers)?;
            for decode in &plan.decode {
                write!(
                    f,
                    "  decode at {:>5}: {:>8.2} tokens/s, {:>3.0} % of the bandwidth",
                    decode.context,
                    decode.tokens_per_second,
                    100.0 * decode.share_of_bandwidth,
                )?;
                if let (Some(speed_up), Some(share)) =
                    (decode.speed_up, decode.share_of_predicted_speed_up)
                {
                    let share = 100.0 * share;
                    write!(
                        f,
                        ", {speed_up:.2} x the first plan ({share:.0} % of what the bytes predict)"
                    )?;
                }
                writeln!(f)?;
            }
            for prefill in &plan.prefill {
                writeln!(
                    f,
                    "  prefill of {:>4}: {:>8.2} tokens/s, first token after {:.0} ms",
                    prefill.prompt, prefill.tokens_per_second, prefill.time_to_first_token_ms,
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_one_of_the_values() {
        for (values, expected) in [
            (vec![3.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0, 3.0, 2.0, 9.0], 3.0),
        ] {
            assert_eq!(median(values), expected);
        }
    }
}
