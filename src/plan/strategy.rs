//! In: what a scan measured, and how many layers are to go. Out: the plan a strategy makes of it.
//!
//! [`LayerPlan::simple`] is the strategy that needs no scan; the one that measures a loss after every removal is
//! [`crate::eval::greedy`].

use serde::{Deserialize, Serialize};

use super::{LayerPlan, PlanError, SublayerPlan};
use crate::draws::SplitMix;

/// How a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The block of least angular distance.
    Similarity,
    /// The deepest layers but the last.
    Simple,
    /// The layers of least block influence, wherever they are.
    Influence,
    /// One layer after the other, each time the one whose loss is least.
    Greedy,
    /// The attentions and MLPs that turn the stream least.
    Sublayer,
    /// A block anywhere before the last layer.
    Random,
    /// By hand.
    Manual,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Similarity,
        Self::Simple,
        Self::Influence,
        Self::Greedy,
        Self::Sublayer,
        Self::Random,
        Self::Manual,
    ];

    /// As it is written in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Similarity => "similarity",
            Self::Simple => "simple",
            Self::Influence => "influence",
            Self::Greedy => "greedy",
            Self::Sublayer => "sublayer",
            Self::Random => "random",
            Self::Manual => "manual",
        }
    }
}

/// Drops the block of `dropped` layers that begins at `first`: the scan's best.
///
/// # Errors
/// The block does not lie within the model, or is all of it.
pub fn similarity(layers: usize, first: usize, dropped: usize) -> Result<LayerPlan, PlanError> {
    let name = format!("similarity-{dropped}");
    block(name, layers, first, dropped)
}

/// Drops the `dropped` layers of least influence, each judged by itself (arXiv 2403.03853); of equals the deeper.
///
/// # Errors
/// No layer would be left.
pub fn influence(scores: &[f64], dropped: usize) -> Result<LayerPlan, PlanError> {
    let name = format!("influence-{dropped}");
    at_most(&name, scores.len(), dropped)?;
    let mut order: Vec<usize> = (0..scores.len()).rev().collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    LayerPlan::without(scores.len(), &order[..dropped])?.named(name)
}

/// The control that a strategy has to beat: a block of the same length at a place drawn by the seed, every place before the last
/// layer equally likely. The last layer stays, as it does in the plans of the other strategies: the control is to differ from
/// them in where it cuts, not in the one mistake that is known.
///
/// # Errors
/// No layer would be left.
pub fn random(layers: usize, dropped: usize, seed: u64) -> Result<LayerPlan, PlanError> {
    let name = format!("random-{dropped}-seed-{seed}");
    at_most(&name, layers, dropped)?;
    let places = (layers - dropped) as u64;
    block(name, layers, SplitMix(seed).below(places) as usize, dropped)
}

/// Mutes twice as many sublayers as layers were to go, those of least score, attentions and MLPs in one list; of equals the deeper.
/// A layer that would lose both halves is dropped. An MLP has more weights than an attention, so the plan may be larger or smaller
/// than one of whole layers.
///
/// # Errors
/// No layer would be left.
pub fn sublayer(attention: &[f64], mlp: &[f64], dropped: usize) -> Result<SublayerPlan, PlanError> {
    let layers = attention.len().min(mlp.len());
    let name = format!("sublayer-{dropped}");
    at_most(&name, layers, dropped)?;
    // (layer, whether it is the attention)
    let mut order: Vec<(usize, bool)> = (0..layers)
        .rev()
        .flat_map(|l| [(l, true), (l, false)])
        .collect();
    let score = |&(layer, is_attention): &(usize, bool)| match is_attention {
        true => attention[layer],
        false => mlp[layer],
    };
    order.sort_by(|a, b| score(a).total_cmp(&score(b)));
    let muted = &order[..2 * dropped];
    let loses = |layer, is_attention| muted.contains(&(layer, is_attention));
    let (gone, rest): (Vec<usize>, Vec<usize>) =
        (0..layers).partition(|layer| loses(*layer, true) && loses(*layer, false));
    let muted = |is_attention| {
        rest.iter()
            .copied()
            .filter(|layer| loses(*layer, is_attention))
            .collect()
    };
    SublayerPlan::new(
        LayerPlan::without(layers, &gone)?.named(name)?,
        muted(true),
        muted(false),
    )
}

fn block(
    name: String,
    layers: usize,
    first: usize,
    dropped: usize,
) -> Result<LayerPlan, PlanError> {
    at_most(&name, layers, dropped)?;
    if first > layers - dropped {
        return Err(PlanError::OutOfRange {
            plan: name,
            layer: first.saturating_add(dropped.saturating_sub(1)),
            last: layers - 1,
        });
    }
    let block: Vec<usize> = (first..first + dropped).collect();
    LayerPlan::without(layers, &block)?.named(name)
}

fn at_most(name: &str, layers: usize, dropped: usize) -> Result<(), PlanError> {
    if dropped >= layers {
        return Err(PlanError::TooMany {
            plan: name.to_string(),
            dropped,
            layers,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_drops_what_it_says() {
        assert_eq!(similarity(6, 2, 3).expect("a plan").layers, [0, 1, 5]);
        assert_eq!(similarity(6, 3, 3).expect("a plan").layers, [0, 1, 2]);
        let scores = [0.9, 0.1, 0.3, 0.1, 0.2, 0.5];
        for (dropped, kept) in [
            (0, vec![0, 1, 2, 3, 4, 5]),
            (1, vec![0, 1, 2, 4, 5]),
            (2, vec![0, 2, 4, 5]),
            (3, vec![0, 2, 5]),
            (5, vec![0]),
        ] {
            assert_eq!(influence(&scores, dropped).expect("a plan").layers, kept);
        }
    }

    #[test]
    fn no_strategy_drops_every_layer() {
        let scores = [0.1; 4];
        for dropped in [4, 5, usize::MAX] {
            let refused = [
                similarity(4, 0, dropped).map(|_| ()),
                influence(&scores, dropped).map(|_| ()),
                random(4, dropped, 0).map(|_| ()),
                sublayer(&scores, &scores, dropped).map(|_| ()),
                LayerPlan::simple(4, dropped).map(|_| ()),
            ];
            for refused in refused {
                assert!(
                    matches!(refused, Err(PlanError::TooMany { .. })),
                    "{refused:?}"
                );
            }
        }
        assert!(similarity(4, 3, 2).is_err());
        assert!(similarity(4, usize::MAX, 1).is_err());
    }

    #[test]
    fn random_blocks_lie_anywhere_before_the_last_layer() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let plan = random(8, 3, seed).expect("a plan");
            assert_eq!(plan.layers.last(), Some(&7));
            let dropped: Vec<usize> = (0..8)
                .filter(|layer| !plan.layers.contains(layer))
                .collect();
            assert_eq!(dropped[2] - dropped[0], 2);
            seen.insert(dropped[0]);
            assert_eq!(plan, random(8, 3, seed).expect("a plan"));
        }
        assert!(seen.into_iter().eq(0..=4));
    }

    #[test]
    fn a_layer_that_loses_both_halves_is_dropped() {
        let plan = sublayer(&[0.9, 0.1, 0.2, 0.6], &[0.8, 0.7, 0.1, 0.3], 2).expect("a plan");
        assert_eq!(plan.layers().layers, [0, 1, 3]);
        assert_eq!(
            (plan.mute_attention(), plan.mute_mlp()),
            (&[1][..], &[3][..])
        );
        assert_eq!(plan.layers().name, "sublayer-2");
    }
}
