//! How a question is traced, and which settings measure nothing.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::TraceError;

/// What is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The residual stream after a layer.
    State,
    /// What a layer's attention adds to the stream.
    Attention,
    /// What a layer's MLP adds to the stream.
    Mlp,
}

/// How to trace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// What is put back.
    pub kind: Kind,
    /// Layers in which it is put back at once, around the one that the map names.
    pub window: usize,
    /// Draws of the noise.
    pub samples: usize,
    /// Deviation of the noise, in deviations of the embeddings.
    pub noise: f64,
    /// What the noise is drawn from.
    pub seed: u64,
}

impl Settings {
    /// What the paper takes, for a model of so many layers: ten samples of noise of three deviations; single states, attention and MLP
    /// in windows (there 10 of 48 layers).
    pub fn new(kind: Kind, layers: usize) -> Self {
        let window = match kind {
            Kind::State => 1,
            Kind::Attention | Kind::Mlp => (layers * 10 / 48).max(1),
        };
        Self {
            kind,
            window,
            samples: 10,
            noise: 3.0,
            seed: 0,
        }
    }

    pub(super) fn check(&self, layers: usize) -> Result<(), TraceError> {
        let refuse = |what, value: String, help| Err(TraceError::Setting { what, value, help });
        if self.samples == 0 {
            return refuse("--samples", "0".into(), "take at least 1");
        }
        if !self.noise.is_finite() || self.noise <= 0.0 {
            let help = "it is a number of standard deviations; the paper takes 3";
            return refuse("--noise", self.noise.to_string(), help);
        }
        if self.window == 0 || self.window > layers {
            let help = "a window has at least 1 layer and at most the model's";
            return refuse("--window", self.window.to_string(), help);
        }
        Ok(())
    }

    /// The layers around one, as the paper takes them.
    pub(super) fn around(&self, layer: usize, layers: usize) -> Range<usize> {
        let first = layer.saturating_sub(self.window / 2);
        first..(layer + self.window.div_ceil(2)).min(layers)
    }
}
