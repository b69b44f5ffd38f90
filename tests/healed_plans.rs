//! Plans that run replaced layers: a healed half answers as the same weights written as a model of their own, on every device,
//! while it shares with the full model whatever healing left alone.

#[path = "common/mod.rs"]
mod common;
#[path = "common/healing.rs"]
mod healing;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;

use burn::tensor::Device;
use common::shared;
use halfdepth::checkpoint::{Checkpoint, LayerWeight, Weight};
use halfdepth::decode::{self, Lane};
use halfdepth::dense::{Dense, DenseSource, PackSource};
use halfdepth::pack::{Manifest, PackOptions, Source};
use halfdepth::plan::{LanePlan, LayerPlan, PlanEntry};
use halfdepth::quant::Format;
use healing::{Changed, Plain};
use pollster::block_on;

const NAME: &str = "halfdepth-stories-12L";
const HALF: [usize; 6] = [0, 1, 2, 3, 4, 11];
const PROMPT: [u32; 6] = [1, 403, 407, 261, 378, 33];
const TOKENS: usize = 48;

type Files = BTreeMap<String, Vec<u8>>;

fn packed(checkpoint: &Checkpoint, layers: Format) -> (Manifest, Files) {
    let options = PackOptions {
        name: "test".into(),
        source: Source::default(),
        layers,
        embedding: Format::Q8,
        plans: vec![],
    };
    let tokenizer = std::fs::read(shared(&format!("models/{NAME}/tokenizer.json")));
    model::pack(checkpoint, &tokenizer.expect("tokenizer"), &options)
}

fn healed(layers: Format, changed: &Changed) -> (Manifest, Files) {
    let checkpoint = model::open(NAME);
    let (mut manifest, mut files) = packed(&checkpoint, layers);
    let entry = PlanEntry::new("healed", "Healed", HALF);
    healing::add(&mut manifest, &mut files, checkpoint, entry, changed);
    (manifest, files)
}

/// What a plan of a pack picks after the prompt, and the logits it ends with.
fn answer(pack: &(Manifest, Files), plan: &str, device: &Device) -> (Vec<u32>, Vec<f32>) {
    let (manifest, files) = pack;
    let model = model::unpack(manifest, |file| files[file].clone(), device);
    let plan = manifest.plan(plan).expect("a plan");
    let mut lane = block_on(Lane::new(&model, plan, 128)).expect("a lane");
    block_on(lane.prefill(&PROMPT)).expect("prefill");
    let tokens = block_on(lane.decode(TOKENS)).expect("decode");
    (tokens, block_on(lane.logits()).expect("logits"))
}

#[test]
fn a_healed_plan_answers_as_its_weights_written_as_a_plain_model() {
    let checkpoint = model::open(NAME);
    let of_twelve = healing::of_twelve(&checkpoint);
    let without = |left_out: &[Weight]| -> Changed {
        let mut some = of_twelve.clone();
        some.retain(|weight, _| !left_out.contains(weight));
        some
    };
    let rows = [
        ("layers and a head of its own", without(&[])),
        (
            "the final norm over the tied head",
            without(&[Weight::Head]),
        ),
        ("layers alone", without(&[Weight::Head, Weight::FinalNorm])),
    ];
    for (about, changed) in rows {
        let plain = Plain::of(NAME, &HALF, &changed);
        for format in [Format::Q4, Format::F32] {
            let pack = healed(format, &changed);
            let alone = packed(&plain.open(), format);
            for (name, device) in model::devices() {
                let about = format!("{about} in {format:?} on {name}");
                let healed = answer(&pack, "healed", &device);
                assert_eq!(healed, answer(&alone, "full", &device), "{about}");
                // And not as the half that was not healed does, nor does healing touch the full model.
                assert_ne!(healed.1, answer(&pack, "full", &device).1, "{about}");
            }
        }
    }
}

#[test]
fn healing_touches_no_other_plan() {
    let checkpoint = model::open(NAME);
    let before = packed(&checkpoint, Format::Q4);
    let after = healed(Format::Q4, &healing::of_twelve(&checkpoint));
    for (name, device) in model::devices() {
        let full = answer(&before, "full", &device);
        assert_eq!(full, answer(&after, "full", &device), "{name}");
    }
}

#[test]
fn replaced_layers_lie_on_the_device_once_whatever_plans_run_them() {
    let checkpoint = model::open(NAME);
    let changed = healing::perturbed(&checkpoint, &[Weight::Layer(4, LayerWeight::Down)]);
    let bytes = |pack: &(Manifest, Files)| {
        let (manifest, files) = pack;
        let device = decode::cpu();
        model::unpack(manifest, |file| files[file].clone(), &device).weight_bytes()
    };
    let plain = packed(&checkpoint, Format::Q4);
    let once = healed(Format::Q4, &changed);
    let mut twice = once.clone();
    let entry = PlanEntry::new("healed again", "Again", [0, 4, 11]);
    let written = healing::add(
        &mut twice.0,
        &mut twice.1,
        model::open(NAME),
        entry,
        &changed,
    );
    assert_eq!(written, [""; 0]);
    let layer = (bytes(&plain) - bytes(&packed(&checkpoint_of_11(), Format::Q4))) as u64;
    assert_eq!((bytes(&once) - bytes(&plain)) as u64, layer);
    assert_eq!(bytes(&twice), bytes(&once));
    // A lane of the healed plan reads as many bytes a token as one of as many plain layers.
    let (manifest, _) = &twice;
    let half: LanePlan = LayerPlan::new("half", HALF.to_vec(), 12)
        .expect("plan")
        .into();
    let healed = manifest.plan("healed").expect("a plan");
    assert_eq!(
        manifest.bytes_per_token(&healed),
        manifest.bytes_per_token(&half)
    );
}

/// The same model without its last layer.
fn checkpoint_of_11() -> Checkpoint<'static> {
    let layers: Vec<usize> = (0..11).collect();
    let plain = Box::leak(Box::new(Plain::of(NAME, &layers, &Changed::new())));
    plain.open()
}

#[test]
fn a_healed_plan_is_measured_in_its_own_weights() {
    let checkpoint = model::open(NAME);
    let pack = healed(Format::Q4, &healing::of_twelve(&checkpoint));
    let (manifest, files) = &pack;
    let source = PackSource::new(manifest, |file: &str| Ok(&files[file])).expect("a source");
    let plan = manifest.plan("healed").expect("a plan");
    let under = source.under(&plan).expect("weights");
    let dense = Dense::load(
        &under,
        plan.sublayers().clone(),
        &decode::cpu(),
        &mut |_, _| (),
    );
    let logits = dense.expect("a model").logits(&[&PROMPT]).expect("logits");
    let model = model::unpack(manifest, |file| files[file].clone(), &decode::cpu());
    let mut lane = block_on(Lane::new(&model, plan, 64)).expect("a lane");
    block_on(lane.prefill(&PROMPT)).expect("prefill");
    let expected = block_on(lane.logits()).expect("logits");
    let pairs = logits[0].iter().zip(&expected);
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // The same values multiplied in another order.
    assert!(apart < 1e-4, "{apart}");
    assert_eq!(under.head(3..9).expect("rows").len(), 6 * 128);
}

#[test]
fn a_plan_of_weights_that_a_model_does_not_have_is_refused() {
    let checkpoint = model::open(NAME);
    let (manifest, files) = packed(&checkpoint, Format::Q4);
    let model = model::unpack(&manifest, |file| files[file].clone(), &decode::cpu());
    let half = || LayerPlan::new("healed", HALF.to_vec(), 12).expect("plan");
    let replaced = [(4, 0)].into_iter().collect();
    for plan in [
        LanePlan::new(half(), replaced, None).expect("a plan"),
        LanePlan::new(half(), BTreeMap::new(), Some(0)).expect("a plan"),
    ] {
        let error = block_on(Lane::new(&model, plan, 64)).expect_err("refused");
        assert!(error.to_string().contains("plan healed runs"), "{error}");
    }
    let left_out = [(5, 0)].into_iter().collect();
    let error = LanePlan::new(half(), left_out, None).expect_err("refused");
    assert!(
        error.to_string().contains("layer 5 does not run"),
        "{error}"
    );
}
