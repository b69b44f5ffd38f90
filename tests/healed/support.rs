//! Healings of the small models, and the logits they lead to.

use std::collections::BTreeMap;

use halfdepth::checkpoint::{Checkpoint, LayerWeight, Weight};
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::heal::{Healing, Record};
use halfdepth::plan::LayerPlan;
use halfdepth::prune::RecordSource;

/// stories260K without layers 1 and 3.
pub(crate) fn plan() -> LayerPlan {
    LayerPlan::without(5, &[1, 3]).expect("a plan")
}

pub(crate) fn record(checkpoint: &Checkpoint, plan: &LayerPlan) -> Record {
    let source = RecordSource {
        name: "stories260K".into(),
        kind: checkpoint.kind().into(),
        sha256: checkpoint.sha256(),
        layers: checkpoint.config().layers,
    };
    let mut record = Record::new("distill", source, plan, 7);
    record.settings.insert("rate".into(), 0.001.into());
    record.loss_before = Some(2.5);
    record
}

/// A healing that changes a matrix, a norm, q and k (whose rows GGUF orders in another way), the last norm and the head.
pub(crate) fn healing(checkpoint: &Checkpoint) -> Healing {
    let mut tensors = BTreeMap::new();
    for weight in [
        Weight::Layer(0, LayerWeight::Down),
        Weight::Layer(2, LayerWeight::Query),
        Weight::Layer(2, LayerWeight::Key),
        Weight::Layer(4, LayerWeight::MlpNorm),
        Weight::FinalNorm,
        Weight::Head,
    ] {
        let values = values(checkpoint, weight);
        let changed = values.iter().enumerate();
        let changed = changed.map(|(at, value)| value * (1.0 + 0.3 * (at as f32).sin()));
        tensors.insert(weight, changed.collect());
    }
    Healing {
        record: record(checkpoint, &plan()),
        tensors,
    }
}

pub(crate) fn values(checkpoint: &Checkpoint, weight: Weight) -> Vec<f32> {
    match weight {
        Weight::FinalNorm | Weight::Layer(_, LayerWeight::AttentionNorm | LayerWeight::MlpNorm) => {
            checkpoint.vector(weight).expect("a norm")
        }
        _ => checkpoint
            .matrix(weight)
            .expect("a matrix")
            .to_f32()
            .expect("finite"),
    }
}

pub(crate) const IDS: [&[u32]; 2] = [&[1, 403, 407, 261, 378], &[1, 42, 108, 300, 7, 7, 19, 500]];

pub(crate) fn logits(source: &dyn DenseSource, plan: &LayerPlan) -> Vec<Vec<f32>> {
    let device = halfdepth::decode::cpu();
    let dense = Dense::load(source, plan.clone(), &device, &mut |_, _| ()).expect("loads");
    dense.logits(&IDS).expect("logits")
}

pub(crate) fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
