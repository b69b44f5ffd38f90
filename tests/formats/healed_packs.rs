//! Packs with healed plans: only what healing changed is written anew. And packs of the first version, which knew none.

use std::collections::{BTreeMap, BTreeSet};

use halfdepth::checkpoint::{LayerWeight, Weight};
use halfdepth::pack::{MANIFEST, Manifest, PackError, Role, add_healed};
use halfdepth::plan::PlanEntry;
use halfdepth::quant::Format;
use serde_json::{Value, json};

use crate::files::{Folder, edit_object};
use crate::packs::{Stored, pack};

const NAME: &str = "stories260K";
const HALF: [usize; 3] = [0, 1, 4];

type Changed = BTreeMap<Weight, Vec<f32>>;

fn values(weights: &[(Weight, usize)]) -> Changed {
    let value = |(weight, len): &(Weight, usize)| (*weight, vec![0.25; *len]);
    weights.iter().map(value).collect()
}

fn add(stored: &mut Stored, name: &str, weights: &Changed) -> Result<(), PackError> {
    let folder = Folder::of(NAME);
    let healed = folder.open().unwrap().replacing(weights).unwrap();
    let mut put = |file: &str, bytes: &[u8]| {
        stored.order.push(file.to_owned());
        stored.files.insert(file.to_owned(), bytes.to_vec());
        Ok(())
    };
    let entry = PlanEntry::new(name, "Healed", HALF);
    add_healed(&mut stored.manifest, &healed, entry, &mut put)
}

fn stored() -> Stored {
    let folder = Folder::of(NAME);
    let mut stored = pack(&folder.open().unwrap(), Format::Q4, Format::Q8);
    stored.order.clear();
    stored
}

const DOWN: (Weight, usize) = (Weight::Layer(4, LayerWeight::Down), 64 * 172);
const NORM: (Weight, usize) = (Weight::Layer(1, LayerWeight::MlpNorm), 64);
const FINAL_NORM: (Weight, usize) = (Weight::FinalNorm, 64);

#[test]
fn a_healed_plan_shares_every_file_that_healing_left_alone() {
    let mut stored = stored();
    let before = stored.manifest.clone();
    add(&mut stored, "healed", &values(&[DOWN, NORM, FINAL_NORM])).unwrap();
    let manifest = &stored.manifest;
    assert_eq!(stored.order.len(), 3, "two layers and the final norm");
    let plan = manifest.plan("healed").unwrap();
    let roles = [
        Role::Embedding,
        Role::Layer(0),
        Role::Replacement(0),
        Role::Replacement(1),
        Role::ReplacedHead(0),
    ];
    assert_eq!(Role::of_plan(&plan), roles);
    assert_eq!(
        [0, 1].map(|n| manifest.replaced_layer(n)),
        [Some(1), Some(4)]
    );
    for role in [Role::Embedding, Role::Head, Role::Layer(1), Role::Layer(4)] {
        assert_eq!(manifest.file(role), before.file(role), "{role}");
    }
    let layer = manifest
        .read_replacement(1, stored.file(Role::Replacement(1)))
        .unwrap();
    let own = before.read_layer(4, stored.file(Role::Layer(4))).unwrap();
    assert_ne!(layer.down, own.down);
    assert_eq!((layer.qkv, layer.gate_up), (own.qkv, own.gate_up));
    let head = manifest
        .read_replaced_head(0, stored.file(Role::ReplacedHead(0)))
        .unwrap();
    assert_eq!((head.norm, head.head), (vec![0.25; 64], None));
    assert_eq!(
        &Manifest::parse(manifest.to_json().as_bytes()).unwrap(),
        manifest
    );
}

#[test]
fn of_plans_as_small_the_healed_ones_files_come_first() {
    let mut stored = stored();
    add(&mut stored, "healed", &values(&[DOWN, FINAL_NORM])).unwrap();
    let roles: Vec<Role> = stored.manifest.files().iter().map(|f| f.role).collect();
    let expected = [
        Role::Tokenizer,
        Role::Embedding,
        Role::ReplacedHead(0),
        Role::Layer(0),
        Role::Layer(1),
        Role::Replacement(0),
        Role::Head,
        Role::Layer(2),
        Role::Layer(3),
        Role::Layer(4),
    ];
    assert_eq!(roles, expected);
}

#[test]
fn equal_replacements_are_one_and_a_change_too_small_to_pack_is_none() {
    let mut stored = stored();
    add(&mut stored, "healed", &values(&[DOWN, NORM])).unwrap();
    let written: BTreeSet<String> = stored.order.drain(..).collect();
    assert_eq!(written.len(), 2);
    add(&mut stored, "again", &values(&[DOWN])).unwrap();
    assert!(stored.order.is_empty());
    let plans = stored.manifest.plans();
    let of = |name: &str| {
        &plans
            .iter()
            .find(|plan| plan.name == name)
            .unwrap()
            .replacements
    };
    assert_eq!((of("healed"), of("again")), (&vec![0, 1], &vec![1]));
    let folder = Folder::of(NAME);
    let checkpoint = folder.open().unwrap();
    let norm = checkpoint.vector(NORM.0).unwrap();
    add(&mut stored, "untouched", &[(NORM.0, norm)].into()).unwrap();
    assert!(stored.manifest.plan("untouched").unwrap().is_unreplaced());
}

#[test]
fn weights_that_are_no_healing_of_the_pack_are_named() {
    let left_out = (Weight::Layer(2, LayerWeight::Down), 64 * 172);
    let embedding = (Weight::Embedding, 512 * 64);
    let rows = [
        (
            values(&[left_out]),
            "changes layer 2, which the plan leaves out",
        ),
        (
            values(&[embedding]),
            "the embedding, which all plans of a pack share",
        ),
        ([(NORM.0, vec![f32::NAN; 64])].into(), "not finite"),
    ];
    for (weights, expected) in rows {
        let mut stored = stored();
        let before = stored.manifest.clone();
        let error = add(&mut stored, "healed", &weights)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(stored.order.is_empty());
        assert_eq!(stored.manifest, before);
    }
}

#[test]
fn packs_of_the_first_version_are_read() {
    let stored = stored();
    let first = |evaluation: Value| {
        edit_object(&stored.files[MANIFEST], |manifest| {
            manifest["version"] = 1.into();
            manifest.remove("replacements");
            manifest.remove("heads");
            manifest["evaluation"] = evaluation;
            for (plan, loss) in manifest["plans"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .zip([2, 3])
            {
                let plan = plan.as_object_mut().unwrap();
                plan.remove("figures");
                plan.insert("cross_entropy".into(), loss.into());
            }
        })
    };
    let text = json!({ "text": "stories", "tokens": 2048, "protocol": "windows" });
    let read = Manifest::parse(&first(text)).unwrap();
    assert_eq!(read.evaluation()[0].text, "stories");
    let losses = |manifest: &Manifest| {
        let plans = manifest.plans().iter();
        plans.map(PlanEntry::cross_entropy).collect::<Vec<_>>()
    };
    assert_eq!(losses(&read), [Some(2.0), Some(3.0)]);
    assert_eq!(read.files(), stored.manifest.files());
    // It is written as the present version, and then read as that.
    assert_eq!(Manifest::parse(read.to_json().as_bytes()).unwrap(), read);
    let unmeasured = Manifest::parse(&first(Value::Null)).unwrap();
    assert_eq!(losses(&unmeasured), [None, None]);
}
