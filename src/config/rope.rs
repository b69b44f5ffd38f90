//! Rotary embedding: its base, what was done to it for a longer context, and both of its spellings in `config.json`.

use serde::{Deserialize, Serialize};

use super::fields::{Fields, brief};
use super::{ConfigError, positive};

/// Rotary embedding: the base and what was done to it for a longer context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Change of the frequencies for a longer context.
    pub scaling: RopeScaling,
}

/// How the rotary frequencies were changed for a longer context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// As trained.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Context is longer by this much.
        factor: f64,
    },
    /// Llama 3: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// Divides the frequencies of the longest wavelengths.
        factor: f64,
        /// `original_context / low_freq_factor`: wavelengths above it are divided.
        low_freq_factor: f64,
        /// `original_context / high_freq_factor`: wavelengths below it are kept.
        high_freq_factor: f64,
        /// Positions before the context was made longer.
        original_context: usize,
    },
    /// One divisor a frequency (GGUF's `rope_freqs.weight`); `head_dim / 2` of them.
    Factors(Vec<f32>),
}

impl Rope {
    /// Radians per position of each rotated pair, highest first; `head_dim / 2` of them.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = (0..head_dim / 2).map(|i| self.theta.powf(-((2 * i) as f64) / head_dim as f64));
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            } => {
                let original = *original_context as f64;
                plain
                    .map(|f| {
                        let turns = original * f / std::f64::consts::TAU;
                        // Share of the unscaled frequency: 0 below `low` turns over the old context, 1 above `high`.
                        let kept = ((turns - low_freq_factor)
                            / (high_freq_factor - low_freq_factor))
                            .clamp(0.0, 1.0);
                        f * kept + f / factor * (1.0 - kept)
                    })
                    .collect()
            }
            RopeScaling::Factors(factors) => plain
                .enumerate()
                .map(|(i, f)| f / factors.get(i).copied().map_or(1.0, f64::from))
                .collect(),
        }
    }
}

pub(super) fn validate(rope: &Rope, head_dim: usize) -> Result<(), ConfigError> {
    positive("rope theta", rope.theta)?;
    match &rope.scaling {
        RopeScaling::None => Ok(()),
        RopeScaling::Linear { factor } => positive("rope factor", *factor),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            positive("rope factor", *factor)?;
            positive("rope low_freq_factor", *low_freq_factor)?;
            positive("rope high_freq_factor", *high_freq_factor)?;
            if high_freq_factor <= low_freq_factor {
                return Err(ConfigError::Range {
                    field: "rope high_freq_factor",
                    found: high_freq_factor.to_string(),
                    rule: format!("must be above low_freq_factor = {low_freq_factor}"),
                });
            }
            positive("rope original_context", *original_context as f64)
        }
        RopeScaling::Factors(factors) => {
            if factors.len() != head_dim / 2 {
                return Err(ConfigError::Range {
                    field: "rope factors",
                    found: format!("{} values", factors.len()),
                    rule: format!("must be head_dim / 2 = {} values", head_dim / 2),
                });
            }
            factors
                .iter()
                .try_for_each(|factor| positive("rope factors", f64::from(*factor)))
        }
    }
}

/// New spelling: everything in `rope_parameters`. Old: `rope_theta` beside `rope_scaling`, its kind under `rope_type` or `type`.
pub(super) fn read(config: &Fields, context: usize) -> Result<Rope, ConfigError> {
    let settings = match config.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => config.object("rope_scaling")?,
    };
    let theta = match &settings {
        Some(settings) => settings.optional_number("rope_theta")?,
        None => None,
    };
    let theta = match theta {
        Some(theta) => theta,
        None => config.optional_number("rope_theta")?.unwrap_or(10_000.0),
    };
    let Some(settings) = settings else {
        return Ok(Rope {
            theta,
            scaling: RopeScaling::None,
        });
    };
    if let Some(share) = settings.optional_number("partial_rotary_factor")?
        && share != 1.0
    {
        return Err(ConfigError::Unsupported {
            feature: "partial_rotary_factor".into(),
            found: share.to_string(),
        });
    }
    let kind = settings.get("rope_type").or_else(|| settings.get("type"));
    let scaling = match kind {
        None if settings.has_objects() => {
            return Err(ConfigError::Unsupported {
                feature: "rope_parameters".into(),
                found: "one entry a layer type".into(),
            });
        }
        None => RopeScaling::None,
        Some(kind) => match kind.as_str() {
            Some("default") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear {
                factor: settings.number("factor")?,
            },
            Some("llama3") => RopeScaling::Llama3 {
                factor: settings.number("factor")?,
                low_freq_factor: settings.number("low_freq_factor")?,
                high_freq_factor: settings.number("high_freq_factor")?,
                original_context: settings
                    .optional_size("original_max_position_embeddings")?
                    .unwrap_or(context),
            },
            _ => {
                return Err(ConfigError::Unsupported {
                    feature: "rope_type".into(),
                    found: brief(kind),
                });
            }
        },
    };
    Ok(Rope { theta, scaling })
}
