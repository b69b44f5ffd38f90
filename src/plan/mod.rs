//! A layer plan: which of a checkpoint's layers run, in their order. Full and half depth differ in nothing else.

mod entry;
mod file;
mod lane;
mod prediction;
mod strategy;
mod sublayers;

use serde::Serialize;

pub use self::entry::{PlanEntry, PlanFigures};
pub use self::file::{MAX_PLAN_BYTES, PlanFile, PlannedModel, Removal, Search};
pub use self::lane::LanePlan;
pub use self::prediction::Prediction;
pub use self::strategy::{Strategy, influence, random, similarity, sublayer};
pub use self::sublayers::SublayerPlan;

/// The layers that run: strictly increasing, at least one, each below the checkpoint's count (the constructors see to it).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct LayerPlan {
    /// What it is called.
    pub name: String,
    /// The layers that run, in order.
    pub layers: Vec<usize>,
}

/// Why a list of layers is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No layer is left.
    #[error("plan `{plan}`: no layer is left to run; keep at least one")]
    Empty {
        /// Plan name.
        plan: String,
    },
    /// A layer the checkpoint does not have.
    #[error("plan `{plan}`: there is no layer {layer}; layers are 0 to {last}")]
    OutOfRange {
        /// Plan name.
        plan: String,
        /// The layer asked for.
        layer: usize,
        /// The deepest layer there is.
        last: usize,
    },
    /// Layers repeated or out of order.
    #[error(
        "plan `{plan}`: layer {layer} does not follow layer {previous}; name each layer once, in rising order"
    )]
    Order {
        /// Plan name.
        plan: String,
        /// The layer out of order.
        layer: usize,
        /// The layer before it.
        previous: usize,
    },
    /// More layers dropped than there are.
    #[error("plan `{plan}`: {dropped} of {layers} layers cannot be dropped; at most {} can", layers.saturating_sub(1))]
    TooMany {
        /// Plan name.
        plan: String,
        /// Layers to drop.
        dropped: usize,
        /// Layers there are.
        layers: usize,
    },
    /// A sublayer of a layer that does not run.
    #[error(
        "plan `{plan}`: layer {layer} does not run, so nothing of it can be muted; take it from one of the lists"
    )]
    MutedTwice {
        /// Plan name.
        plan: String,
        /// The layer.
        layer: usize,
    },
    /// Other weights for a layer that does not run.
    #[error("plan `{plan}`: layer {layer} does not run, so nothing can take its place")]
    ReplacedInVain {
        /// Plan name.
        plan: String,
        /// The layer.
        layer: usize,
    },
    /// Replaced layers where a plan is to be of the model's own.
    #[error(
        "plan `{plan}` runs layers in other weights than the model's own, which a list of layers cannot say; use one that runs the model's own"
    )]
    Replaced {
        /// Plan name.
        plan: String,
    },
    /// Not a plan file, or a damaged one.
    #[error("plan: this is no plan made by `halfdepth plan` ({reason}); make it again")]
    NotAPlan {
        /// What is wrong.
        reason: String,
    },
    /// Made for another version of this program.
    #[error("plan: the file has format version {found}, this program reads version {known}; {}", if found > known { "update halfdepth" } else { "make the plan again" })]
    Version {
        /// Version in the file.
        found: u64,
        /// The version this code reads.
        known: u64,
    },
    /// A plan for a model of another shape.
    #[error(
        "plan `{plan}` is for {model}, which has {layers} layers and another shape than this model of {found}; make a plan from a scan of this one"
    )]
    OtherModel {
        /// Plan name.
        plan: String,
        /// The model it is for.
        model: String,
        /// Layers of that.
        layers: usize,
        /// Layers of this.
        found: usize,
    },
    /// Muted sublayers where whole layers are wanted.
    #[error(
        "plan `{plan}` mutes single attentions and MLPs, which a pack, a GGUF file or a Hugging Face folder cannot hold; use a plan of whole layers"
    )]
    Sublayers {
        /// Plan name.
        plan: String,
    },
    /// A name that cannot be shown or typed.
    #[error("plan: a name has 1 to 64 printable characters, found {found:?}")]
    Name {
        /// The start of the name.
        found: String,
    },
}

impl LayerPlan {
    /// Checks a list of layers of a checkpoint that has `n`.
    pub fn new(name: impl Into<String>, layers: Vec<usize>, n: usize) -> Result<Self, PlanError> {
        let name = name.into();
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err(PlanError::Name {
                found: name.chars().take(64).collect(),
            });
        }
        if layers.is_empty() {
            return Err(PlanError::Empty { plan: name });
        }
        for pair in layers.windows(2) {
            if pair[1] <= pair[0] {
                return Err(PlanError::Order {
                    plan: name,
                    layer: pair[1],
                    previous: pair[0],
                });
            }
        }
        match layers.last() {
            Some(&layer) if layer >= n => Err(PlanError::OutOfRange {
                plan: name,
                layer,
                last: n.saturating_sub(1),
            }),
            _ => Ok(Self { name, layers }),
        }
    }

    /// Every layer, under the name `full`.
    pub fn full(n: usize) -> Result<Self, PlanError> {
        Self::new("full", (0..n).collect(), n)
    }

    /// The paper's simple rule: the deepest `dropped` layers are left out, but the very last one stays.
    /// Named `half` when it drops half of them, else `simple-<dropped>`.
    pub fn simple(n: usize, dropped: usize) -> Result<Self, PlanError> {
        let name = if dropped > 0 && dropped == n / 2 {
            "half".into()
        } else {
            format!("simple-{dropped}")
        };
        if dropped >= n {
            return Err(PlanError::TooMany {
                plan: name,
                dropped,
                layers: n,
            });
        }
        let first_dropped = n - 1 - dropped;
        Self::new(name, (0..first_dropped).chain([n - 1]).collect(), n)
    }

    /// All layers but these; order and repeats do not matter.
    pub fn without(n: usize, dropped: &[usize]) -> Result<Self, PlanError> {
        let mut sorted = dropped.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let name = match sorted.as_slice() {
            [] => "full".into(),
            // Long lists are cut so that the name stays a name.
            [first, .., last] if sorted.len() > 8 => {
                format!("without-{}-of-{first}..{last}", sorted.len())
            }
            some => format!(
                "without-{}",
                some.iter()
                    .map(usize::to_string)
                    .collect::<Vec<_>>()
                    .join("-")
            ),
        };
        if let Some(&layer) = sorted.last()
            && layer >= n
        {
            return Err(PlanError::OutOfRange {
                plan: name,
                layer,
                last: n.saturating_sub(1),
            });
        }
        let kept = (0..n)
            .filter(|layer| sorted.binary_search(layer).is_err())
            .collect();
        Self::new(name, kept, n)
    }

    /// The same layers under another name.
    pub fn named(self, name: impl Into<String>) -> Result<Self, PlanError> {
        let n = self.layers.last().map_or(0, |last| last + 1);
        Self::new(name, self.layers, n)
    }
}
