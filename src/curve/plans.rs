//! In: a scan, what a greedy search found, and a strategy. Out: its plan for each number of layers to drop.

use super::CurveError;
use crate::plan::{self, LayerPlan, Strategy, SublayerPlan};
use crate::scan::Scan;

/// A series of plans, one for each number of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How they are made.
    pub strategy: Strategy,
    /// What is drawn is drawn from this; only random plans are.
    pub seed: Option<u64>,
}

impl Wanted {
    /// What the series is called.
    pub fn name(&self) -> String {
        match self.seed {
            Some(seed) => format!("{} {seed}", self.strategy.name()),
            None => self.strategy.name().to_string(),
        }
    }
}

/// The plan that leaves out `dropped` layers; `greedy` holds the kept layers after each removal, from none on.
///
/// # Errors
/// No layer would be left, or greedy removal was not searched so far.
pub fn plan(
    wanted: Wanted,
    scan: &Scan,
    greedy: &[Vec<usize>],
    dropped: usize,
) -> Result<SublayerPlan, CurveError> {
    let layers = scan.layers();
    if dropped == 0 {
        return Ok(LayerPlan::full(layers)?.into());
    }
    Ok(match wanted.strategy {
        Strategy::Similarity => {
            let first = scan.best_start.get(&dropped).copied().unwrap_or(0);
            plan::similarity(layers, first, dropped)?.into()
        }
        Strategy::Simple => {
            let plan = LayerPlan::simple(layers, dropped)?;
            plan.named(format!("simple-{dropped}"))?.into()
        }
        Strategy::Influence => plan::influence(&scan.block_influence, dropped)?.into(),
        Strategy::Sublayer => {
            plan::sublayer(&scan.sublayers.attention, &scan.sublayers.mlp, dropped)?
        }
        Strategy::Random => plan::random(layers, dropped, wanted.seed.unwrap_or(0))?.into(),
        Strategy::Greedy | Strategy::Manual => {
            let kept = greedy.get(dropped).ok_or(CurveError::NotSearched)?;
            LayerPlan::new(format!("greedy-{dropped}"), kept.clone(), layers)?.into()
        }
    })
}
