//! Closed-form patches (ReplaceMe, arXiv 2505.02819): the last layer before a cut learns, by least squares, to add what the cut layers
//! added. Nothing is trained, and the patched model runs as fast as the cut one: the patch is folded into `down_proj`.
//!
//! Of every cut, from shallow to deep, on the stream as the patches before it leave it: F is what the MLP of that layer makes
//! ([`PatchForm::Map`]) or what its last matrix reads ([`PatchForm::Down`]), D the full model's stream after the cut less the stream
//! that the cut leaves. Z minimises |F Z - D|^2 + ridge |Z|^2: a ridge without end is the plain cut. Positions count by the
//! reciprocal of the full stream's square, since the norm before the next layer divides by it.
//!
//! The ridge is chosen by the error on held-out text, and then how much of Z is taken by the *loss* there: the least-squares stream is
//! nearer to the full model's, but lies between what the later layers are used to, and may serve them worse.
//!
//! One pass over the layers. In memory stand the whole model in f32, the streams of all sequences twice, and the products of F with
//! itself, (hidden_size or intermediate_size)^2 of f64 three times.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::HealError;
use super::patcher::Patcher;
use crate::checkpoint::Weight;
use crate::dense::{Dense, DenseSource};
use crate::plan::LayerPlan;

/// Sequences that begin with the model's begin token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// What is fitted.
    pub fit: Vec<Vec<u32>>,
    /// What ridges and strengths are chosen on.
    pub held_out: Vec<Vec<u32>>,
}

/// What the patch is a map of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchForm {
    /// Of what the MLP adds to the stream: hidden_size x hidden_size unknowns, as in ReplaceMe.
    Map,
    /// Of what the MLP's last matrix reads: that matrix itself is fitted anew.
    Down,
}

/// How to patch.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchOptions {
    /// What is fitted.
    pub form: PatchForm,
    /// Ridges to choose from, in units of the features' mean square.
    pub ridges: Vec<f64>,
    /// Shares of the fitted change to choose from; none of it is always a choice.
    pub strengths: Vec<f64>,
}

/// A patched model's changes, and how they fared on held-out text.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched {
    /// The changed `down_proj`s.
    pub tensors: BTreeMap<Weight, Vec<f32>>,
    /// From shallow to deep.
    pub cuts: Vec<PatchedCut>,
    /// Nats a token of the plain cut.
    pub loss_before: f64,
    /// Nats a token with all patches.
    pub loss_after: f64,
}

/// A cut and its patch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PatchedCut {
    /// The layer that is changed, the last before the cut.
    pub layer: usize,
    /// Layers that the cut leaves out after it.
    pub dropped: usize,
    /// The ridge chosen.
    pub ridge: f64,
    /// The share of the fitted change that is taken; 0 where it did not make the error less, or no share the loss.
    pub strength: f64,
    /// Of the whole fitted change: the squared error it leaves, over that of the plain cut.
    pub error: f64,
    /// Nats a token with this patch and those before it.
    pub loss: f64,
}

impl Default for PatchOptions {
    fn default() -> Self {
        Self {
            form: PatchForm::Down,
            ridges: vec![1e-4, 1e-3, 1e-2, 1e-1, 1.0],
            strengths: vec![0.125, 0.25, 0.375, 0.5, 0.75, 1.0],
        }
    }
}

impl Calibration {
    /// Holds out every eighth sequence.
    pub fn split(sequences: Vec<Vec<u32>>) -> Self {
        let mut calibration = Self::default();
        for (index, ids) in sequences.into_iter().enumerate() {
            match index % 8 {
                7 => calibration.held_out.push(ids),
                _ => calibration.fit.push(ids),
            }
        }
        calibration
    }
}

/// Patches every cut of a plan. `progress` is told how many of how many layers were passed.
///
/// # Errors
/// The plan cuts nothing or begins with a cut, there is too little text, or weights cannot be read.
pub fn patch(
    source: &dyn DenseSource,
    plan: &LayerPlan,
    calibration: &Calibration,
    options: &PatchOptions,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Patched, HealError> {
    let layers = source.config().layers;
    refuse(plan, layers, calibration)?;
    let model = Dense::load(source, LayerPlan::full(layers)?, device, &mut |_, _| ())?;
    let mut patcher = Patcher::begin(source, &model, plan, options, calibration)?;
    let mut open = None;
    for layer in 0..layers {
        if plan.layers.contains(&layer) {
            open = (!plan.layers.contains(&(layer + 1)) && layer + 1 < layers).then_some(layer);
        }
        patcher.pass(layer, open == Some(layer))?;
        if let Some(before) = open
            && (layer + 1 == layers || plan.layers.contains(&(layer + 1)))
        {
            patcher.close(before, layer)?;
        }
        progress(layer + 1, layers);
    }
    Ok(patcher.patched)
}

fn refuse(plan: &LayerPlan, layers: usize, calibration: &Calibration) -> Result<(), HealError> {
    let plan_cannot = |what| HealError::NothingToPatch {
        plan: plan.name.clone(),
        what,
    };
    if plan.layers.len() == layers {
        return Err(plan_cannot(
            "leaves no layer out, so there is nothing to patch",
        ));
    }
    if plan.layers.first() != Some(&0) {
        return Err(plan_cannot(
            "leaves out layer 0, before which there is no layer that could be changed to make up for it; keep layer 0, or heal with another method",
        ));
    }
    let has_predictions = |sequences: &[Vec<u32>]| sequences.iter().any(|ids| ids.len() > 1);
    if !has_predictions(&calibration.fit) || !has_predictions(&calibration.held_out) {
        return Err(HealError::TooLittleText {
            what: "a patch is fitted on some sequences and chosen on others, and there are not two",
        });
    }
    Ok(())
}
