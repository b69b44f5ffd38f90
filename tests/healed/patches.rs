//! Closed-form patches.

use halfdepth::checkpoint::{LayerWeight, Weight};
use halfdepth::config::LlamaConfig;
use halfdepth::decode::cpu;
use halfdepth::dense::{Dense, DenseError, DenseLayer, DenseSource};
use halfdepth::heal::{Calibration, HealError, Healed, Healing, PatchForm, PatchOptions, patch};
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;

use crate::common::shared;
use crate::model::{devices, open, say};
use crate::support::record;

fn ids(model: &str, text: &str) -> Vec<u32> {
    let json = std::fs::read(shared(&format!("models/{model}/tokenizer.json"))).expect("tokenizer");
    let text = std::fs::read_to_string(shared(text)).expect("text");
    Tokenizer::from_json(&json)
        .expect("tokenizer")
        .encode(&text, false)
        .expect("ids")
}

/// Windows of `window` predictions after the begin token.
fn windows(ids: &[u32], window: usize) -> Vec<Vec<u32>> {
    ids.chunks_exact(window)
        .map(|window| [&[1], window].concat())
        .collect()
}

/// A model with some layers other than they are stored.
struct Edited<'s> {
    source: &'s dyn DenseSource,
    /// By its number, which layer stands there and what is done to it.
    layer: fn(&dyn DenseSource, usize) -> Result<DenseLayer, DenseError>,
}

impl DenseSource for Edited<'_> {
    fn config(&self) -> &LlamaConfig {
        self.source.config()
    }
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        self.source.embed(ids)
    }
    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        (self.layer)(self.source, index)
    }
    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        self.source.final_norm()
    }
    fn head(&self, rows: std::ops::Range<usize>) -> Result<Vec<f32>, DenseError> {
        self.source.head(rows)
    }
}

fn small() -> Calibration {
    let ids = ids("stories260K", "text/tinyshakespeare.txt");
    Calibration::split(windows(&ids[..4096], 64))
}

#[test]
fn a_cut_that_changes_nothing_is_patched_by_nothing() {
    let checkpoint = open("stories260K");
    let idle = Edited {
        source: &checkpoint,
        layer: |source, index| {
            let mut layer = source.layer(index)?;
            if index == 2 {
                layer.output.fill(0.0);
                layer.down.fill(0.0);
            }
            Ok(layer)
        },
    };
    let plan = LayerPlan::without(5, &[2]).expect("a plan");
    for form in [PatchForm::Map, PatchForm::Down] {
        let options = PatchOptions {
            form,
            ..PatchOptions::default()
        };
        let patched =
            patch(&idle, &plan, &small(), &options, &cpu(), &mut |_, _| ()).expect("a patch");
        assert!(patched.tensors.is_empty(), "{:?}", patched.cuts);
        assert_eq!(patched.loss_before, patched.loss_after);
    }
}

#[test]
fn a_layer_that_repeats_the_one_before_is_made_up_for() {
    let checkpoint = open("stories260K");
    let repeating = Edited {
        source: &checkpoint,
        layer: |source, index| {
            let mut layer = source.layer(if index == 2 { 1 } else { index })?;
            if index == 1 || index == 2 {
                layer.output.fill(0.0);
            }
            Ok(layer)
        },
    };
    let plan = LayerPlan::without(5, &[2]).expect("a plan");
    let mut errors = Vec::new();
    for form in [PatchForm::Map, PatchForm::Down] {
        let options = PatchOptions {
            form,
            ..PatchOptions::default()
        };
        let patched = patch(
            &repeating,
            &plan,
            &small(),
            &options,
            &cpu(),
            &mut |_, _| (),
        )
        .expect("a patch");
        let cut = patched.cuts[0];
        assert_eq!((cut.layer, cut.dropped), (1, 1));
        assert!(
            cut.strength > 0.0 && patched.loss_after < patched.loss_before,
            "{cut:?}"
        );
        errors.push(cut.error);
    }
    // Both layers read nearly the same stream, so what the one adds tells much of what the other did: half of it, found 0.46 and
    // 0.64 left. The map has fewer unknowns.
    assert!(errors[1] < errors[0] && errors[0] < 0.75, "{errors:?}");
}

#[test]
fn patches_are_the_same_every_time_and_nearly_so_on_every_device() {
    let checkpoint = open("stories260K");
    let plan = LayerPlan::without(5, &[1, 3]).expect("a plan");
    let run = |device: &burn::tensor::Device| {
        let options = PatchOptions::default();
        patch(
            &checkpoint,
            &plan,
            &small(),
            &options,
            device,
            &mut |_, _| (),
        )
        .expect("a patch")
    };
    let first = run(&cpu());
    assert_eq!(first, run(&cpu()));
    assert_eq!(
        first.cuts.iter().map(|cut| cut.layer).collect::<Vec<_>>(),
        [0, 2]
    );
    for (name, device) in devices() {
        let other = run(&device);
        say(&format!(
            "{name}: {} to {} nats",
            other.loss_before, other.loss_after
        ));
        // f32 in another order, and choices among the same ridges and strengths.
        assert!(
            (other.loss_before - first.loss_before).abs() < 1e-4,
            "{name}"
        );
        assert!((other.loss_after - first.loss_after).abs() < 1e-3, "{name}");
    }
}

#[test]
fn a_patched_model_has_the_loss_that_the_patch_says() {
    let checkpoint = open("stories260K");
    let plan = LayerPlan::without(5, &[1, 3]).expect("a plan");
    let calibration = small();
    let options = PatchOptions::default();
    let patched = patch(
        &checkpoint,
        &plan,
        &calibration,
        &options,
        &cpu(),
        &mut |_, _| (),
    )
    .expect("a patch");
    let loss = |source: &dyn DenseSource| {
        let dense = Dense::load(source, plan.clone(), &cpu(), &mut |_, _| ()).expect("loads");
        let held_out: Vec<u32> = calibration
            .held_out
            .iter()
            .flat_map(|ids| ids[1..].to_vec())
            .collect();
        dense.cross_entropy(&held_out, 64, 1).expect("a loss")
    };
    let healing = Healing {
        record: record(&checkpoint, &plan),
        tensors: patched.tensors.clone(),
    };
    let healed = Healed::new(&checkpoint, &healing).expect("fits");
    // The same sums in another order.
    assert!((loss(&checkpoint) - patched.loss_before).abs() < 1e-5);
    assert!((loss(&healed) - patched.loss_after).abs() < 1e-5);
    let changed = Weight::Layer(2, LayerWeight::Down);
    assert!(
        patched
            .tensors
            .keys()
            .all(|weight| *weight == changed || *weight == Weight::Layer(0, LayerWeight::Down))
    );
}

#[test]
fn the_embedded_models_halves_are_better_for_a_patch_on_text_that_was_never_read() {
    let checkpoint = open("halfdepth-stories-12L");
    let ids = ids("halfdepth-stories-12L", "text/tinystories_val_0.8MB.txt");
    let calibration = Calibration::split(windows(&ids[..16_384], 128));
    let unread = &ids[131_072..139_264];
    for dropped in [vec![8, 9, 10], vec![5, 6, 7, 8, 9, 10]] {
        let plan = LayerPlan::without(12, &dropped).expect("a plan");
        let options = PatchOptions::default();
        let patched = patch(
            &checkpoint,
            &plan,
            &calibration,
            &options,
            &cpu(),
            &mut |_, _| (),
        )
        .expect("a patch");
        let loss = |source: &dyn DenseSource| {
            let dense = Dense::load(source, plan.clone(), &cpu(), &mut |_, _| ()).expect("loads");
            dense.cross_entropy(unread, 128, 1).expect("a loss")
        };
        let healing = Healing {
            record: record(&checkpoint, &plan),
            tensors: patched.tensors,
        };
        let healed = Healed::new(&checkpoint, &healing).expect("fits");
        let (before, after) = (loss(&checkpoint), loss(&healed));
        say(&format!(
            "{dropped:?}: {before:.4} nats a token, patched {after:.4}"
        ));
        assert!(after < before, "{dropped:?}: {before} {after}");
    }
}

#[test]
fn what_cannot_be_patched_is_refused() {
    let checkpoint = open("stories260K");
    let run = |plan: &LayerPlan, calibration: &Calibration| {
        patch(
            &checkpoint,
            plan,
            calibration,
            &PatchOptions::default(),
            &cpu(),
            &mut |_, _| (),
        )
        .expect_err("refused")
        .to_string()
    };
    let without = |dropped: &[usize]| LayerPlan::without(5, dropped).expect("a plan");
    assert!(run(&without(&[]), &small()).contains("leaves no layer out"));
    assert!(run(&without(&[0, 3]), &small()).contains("leaves out layer 0"));
    let none = Calibration {
        fit: vec![vec![1]],
        held_out: vec![vec![1, 2]],
    };
    assert!(run(&without(&[3]), &none).contains("there are not two"));
    let unknown = Calibration {
        fit: vec![vec![1, 9999]],
        held_out: vec![vec![1, 2]],
    };
    assert!(matches!(
        patch(
            &checkpoint,
            &without(&[3]),
            &unknown,
            &PatchOptions::default(),
            &cpu(),
            &mut |_, _| ()
        ),
        Err(HealError::Dense(DenseError::UnknownToken { id: 9999, .. }))
    ));
}
