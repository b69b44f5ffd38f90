//! A plan as a pack's manifest lists it, with what was measured of it.

use serde::{Deserialize, Serialize};

use super::{LayerPlan, PlanError};

/// A plan as a pack's manifest lists it; [`crate::pack::Manifest::plan`] says what it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Short, unique in the pack: what `--plan` takes.
    pub name: String,
    /// What the page shows.
    pub title: String,
    /// Positions in the pack's list of layers.
    pub layers: Vec<usize>,
    /// Which of the pack's replacements run in their layers' place, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacements: Vec<usize>,
    /// Which of the pack's replaced heads runs in the place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<usize>,
    /// On each text of the pack's evaluation, in its order; nothing where nobody measured.
    #[serde(default)]
    pub figures: Vec<Option<PlanFigures>>,
}

/// What was measured of a plan on a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFigures {
    /// Nats a token.
    pub cross_entropy: f64,
    /// Share of predictions whose likeliest token is full depth's.
    pub agreement: Option<f64>,
    /// Nats a token: KL(full depth || the plan).
    pub kl: Option<f64>,
}

impl PlanEntry {
    /// A plan in the model's own weights of which nothing was measured yet.
    pub fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        layers: impl Into<Vec<usize>>,
    ) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            layers: layers.into(),
            replacements: Vec::new(),
            head: None,
            figures: Vec::new(),
        }
    }

    /// The layers as a plan over `n`.
    pub fn plan(&self, n: usize) -> Result<LayerPlan, PlanError> {
        LayerPlan::new(self.name.clone(), self.layers.clone(), n)
    }

    /// Nats a token on the first text of the pack's evaluation, where measured.
    pub fn cross_entropy(&self) -> Option<f64> {
        Some((*self.figures.first()?)?.cross_entropy)
    }
}

impl PlanFigures {
    /// Whether these may be figures at all. A divergence of nothing may come out a rounding below zero.
    pub fn is_sound(&self) -> bool {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        self.cross_entropy.is_finite()
            && self.cross_entropy >= 0.0
            && self.agreement.is_none_or(share)
            && self.kl.is_none_or(f64::is_finite)
    }
}
