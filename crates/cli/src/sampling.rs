//! The flags that say how the next token is chosen.

use clap::Args;
use halfdepth::decode::sampler::Sampling;

/// How the next token is chosen. Without any of these: greedily.
#[derive(Args, Clone, Debug)]
pub(crate) struct SamplingArgs {
    /// Always the likeliest token, whatever else is asked
    #[arg(long)]
    greedy: bool,
    /// 0 is greedy; 1 is the model's own distribution
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Only the K likeliest tokens; 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Only the likeliest tokens that together reach this probability
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f32,
    /// Only tokens at least this likely, compared with the likeliest
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    min_p: f32,
    /// Above 1, tokens that have come up already become less likely
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SamplingArgs {
    /// As the library takes it.
    pub(crate) fn sampling(&self) -> Sampling {
        if self.greedy {
            return Sampling {
                seed: self.seed,
                ..Sampling::default()
            };
        }
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        }
    }
}
