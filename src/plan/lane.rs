//! In: a plan, and which weights a model has in place of its own for some of its layers. Out: what a lane runs.

use std::collections::BTreeMap;

use super::{LayerPlan, PlanError, SublayerPlan};

/// What a lane runs: sublayers of a plan, each in the model's own weights or in others that it has in their place. A healed
/// half is such a plan: it shares every layer that healing left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlan {
    plan: SublayerPlan,
    /// By layer: which of the model's replacements runs in its place.
    replaced: BTreeMap<usize, usize>,
    /// Which of the model's replaced heads runs in the place of its own.
    head: Option<usize>,
}

impl From<SublayerPlan> for LanePlan {
    fn from(plan: SublayerPlan) -> Self {
        Self {
            plan,
            replaced: BTreeMap::new(),
            head: None,
        }
    }
}

impl From<LayerPlan> for LanePlan {
    fn from(plan: LayerPlan) -> Self {
        SublayerPlan::from(plan).into()
    }
}

impl LanePlan {
    /// A plan some of whose layers (and perhaps the head) run in weights of their own.
    ///
    /// # Errors
    /// A layer is replaced that does not run.
    pub fn new(
        plan: impl Into<SublayerPlan>,
        replaced: BTreeMap<usize, usize>,
        head: Option<usize>,
    ) -> Result<Self, PlanError> {
        let plan = plan.into();
        let runs = &plan.layers().layers;
        if let Some(&layer) = replaced.keys().find(|layer| !runs.contains(layer)) {
            return Err(PlanError::ReplacedInVain {
                plan: plan.layers().name.clone(),
                layer,
            });
        }
        Ok(Self {
            plan,
            replaced,
            head,
        })
    }

    /// The same weights for other layers: what was replaced stays so where it runs still.
    pub fn with_layers(&self, layers: LayerPlan) -> Self {
        let mut replaced = self.replaced.clone();
        replaced.retain(|layer, _| layers.layers.contains(layer));
        Self {
            plan: layers.into(),
            replaced,
            head: self.head,
        }
    }

    /// The same weights, with the attention of some layers and the MLP of others muted, and no others.
    ///
    /// # Errors
    /// As [`SublayerPlan::new`].
    pub fn with_muted(&self, attention: Vec<usize>, mlp: Vec<usize>) -> Result<Self, PlanError> {
        Ok(Self {
            plan: SublayerPlan::new(self.layers().clone(), attention, mlp)?,
            ..self.clone()
        })
    }

    /// The layers that run, muted sublayers left aside.
    pub fn layers(&self) -> &LayerPlan {
        self.plan.layers()
    }

    /// What runs, whatever the weights.
    pub fn sublayers(&self) -> &SublayerPlan {
        &self.plan
    }

    /// By layer: which of the model's replacements runs in its place.
    pub fn replaced(&self) -> &BTreeMap<usize, usize> {
        &self.replaced
    }

    /// Which of the model's replaced heads runs in the place of its own.
    pub fn head(&self) -> Option<usize> {
        self.head
    }

    /// Whether everything runs in the model's own weights.
    pub fn is_unreplaced(&self) -> bool {
        self.replaced.is_empty() && self.head.is_none()
    }

    /// The layers, where everything runs in the model's own weights.
    ///
    /// # Errors
    /// Some run in others, which whoever takes a plan of layers would leave behind.
    pub fn unreplaced(self) -> Result<LayerPlan, PlanError> {
        match self.is_unreplaced() {
            true => Ok(self.layers().clone()),
            false => Err(PlanError::Replaced {
                plan: self.layers().name.clone(),
            }),
        }
    }
}
