//! In: a scan, what a greedy search found, and a strategy. Out: its plan for each number of layers to drop.

use super::CurveError;
use crate::plan::{LayerPlan, Strategy, SublayerPlan};
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
    let seed = wanted.seed.unwrap_or(0);
    if let Some(plan) = scan.plan(wanted.strategy, dropped, seed)? {
        return Ok(plan);
    }
    let kept = greedy.get(dropped).ok_or(CurveError::NotSearched)?;
    Ok(LayerPlan::new(format!("greedy-{dropped}"), kept.clone(), layers)?.into())
}
