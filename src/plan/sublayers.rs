//! In: a layer plan and the sublayers to be muted in it. Out: a plan finer than layers.

use super::{LayerPlan, PlanError};

/// A layer plan some of whose attentions and MLPs add nothing to the stream. Lanes and dense models run it; a pack's manifest, a
/// GGUF file and a Hugging Face folder name whole layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SublayerPlan {
    plan: LayerPlan,
    mute_attention: Vec<usize>,
    mute_mlp: Vec<usize>,
}

impl From<LayerPlan> for SublayerPlan {
    fn from(plan: LayerPlan) -> Self {
        Self {
            plan,
            mute_attention: Vec::new(),
            mute_mlp: Vec::new(),
        }
    }
}

impl From<&LayerPlan> for SublayerPlan {
    fn from(plan: &LayerPlan) -> Self {
        plan.clone().into()
    }
}

impl SublayerPlan {
    /// Mutes the attention of some of the plan's layers and the MLP of others; layers are numbered as in the checkpoint.
    ///
    /// # Errors
    /// A list is not in rising order or names a layer that does not run, or nothing is left to run.
    pub fn new(
        plan: LayerPlan,
        mute_attention: Vec<usize>,
        mute_mlp: Vec<usize>,
    ) -> Result<Self, PlanError> {
        for list in [&mute_attention, &mute_mlp] {
            for pair in list.windows(2) {
                if pair[1] <= pair[0] {
                    return Err(PlanError::Order {
                        plan: plan.name,
                        layer: pair[1],
                        previous: pair[0],
                    });
                }
            }
            if let Some(&layer) = list.iter().find(|layer| !plan.layers.contains(layer)) {
                return Err(PlanError::MutedTwice {
                    plan: plan.name,
                    layer,
                });
            }
        }
        if mute_attention.len() + mute_mlp.len() >= 2 * plan.layers.len() {
            return Err(PlanError::Empty { plan: plan.name });
        }
        Ok(Self {
            plan,
            mute_attention,
            mute_mlp,
        })
    }

    /// The layers that run, muted sublayers left aside.
    pub fn layers(&self) -> &LayerPlan {
        &self.plan
    }

    /// Layers whose attention adds nothing.
    pub fn mute_attention(&self) -> &[usize] {
        &self.mute_attention
    }

    /// Layers whose MLP adds nothing.
    pub fn mute_mlp(&self) -> &[usize] {
        &self.mute_mlp
    }

    /// Everything that runs, as a text: equal where the same runs, whatever it is called.
    pub fn what_runs(&self) -> String {
        format!(
            "{:?} {:?} {:?}",
            self.plan.layers, self.mute_attention, self.mute_mlp
        )
    }

    /// Whether it is a plan of whole layers.
    pub fn is_whole_layers(&self) -> bool {
        self.mute_attention.is_empty() && self.mute_mlp.is_empty()
    }
}
