//! A healing's files, and the model under it.

use std::collections::BTreeMap;

use halfdepth::checkpoint::{LayerWeight, Weight, hex};
use halfdepth::config::LlamaConfig;
use halfdepth::heal::{HealError, Healed, Healing, HealingFiles, Record};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::open;
use crate::support::{healing, largest_difference, logits, plan};

#[test]
fn a_healing_survives_its_files() {
    let checkpoint = open("stories260K");
    let made = healing(&checkpoint);
    let files = made.to_files(checkpoint.config()).expect("files");
    let read = Healing::from_files(files.record.as_bytes(), &files.tensors, checkpoint.config())
        .expect("its own files");
    assert_eq!(read.tensors, made.tensors);
    assert_eq!(read.record.plan().expect("a plan"), plan());
    assert_eq!(read.record.settings, made.record.settings);
    assert_eq!(
        read.record.note().sha256,
        hex(&Sha256::digest(&files.tensors))
    );
    // Written again it is the same, to the byte.
    assert_eq!(read.to_files(checkpoint.config()).expect("files"), files);
    read.record
        .is_for(&[checkpoint.sha256()])
        .expect("its own model");
    let error = read.record.is_for(&["00"]).expect_err("another model");
    assert!(
        error.to_string().contains("made for other weights"),
        "{error}"
    );
}

#[test]
fn a_healed_model_runs_what_was_replaced_and_nothing_else_is_changed() {
    let checkpoint = open("stories260K");
    let made = healing(&checkpoint);
    let plain = logits(&checkpoint, &plan());
    for weight in made.tensors.keys() {
        let tensors = made.tensors.iter().filter(|(other, _)| *other == weight);
        let one = Healing {
            record: made.record.clone(),
            tensors: tensors
                .map(|(weight, values)| (*weight, values.clone()))
                .collect(),
        };
        let healed = Healed::new(&checkpoint, &one).expect("fits");
        // A third of a weight's size, now and then, moves logits of about ten by more than this.
        let moved = largest_difference(&plain, &logits(&healed, &plan()));
        assert!(moved > 0.05, "{weight:?} moves logits by {moved}");
    }
    let none = Healing {
        record: made.record.clone(),
        tensors: BTreeMap::new(),
    };
    let healed = Healed::new(&checkpoint, &none).expect("fits");
    assert_eq!(logits(&healed, &plan()), plain);
}

#[test]
fn a_healed_embedding_is_the_head_of_a_tied_model_unless_that_was_healed_too() {
    let checkpoint = open("stories260K");
    let mut made = healing(&checkpoint);
    let head = made.tensors.remove(&Weight::Head).expect("a head");
    made.tensors = BTreeMap::from([(Weight::Embedding, head.clone())]);
    let rows = |healing: &Healing| {
        use halfdepth::dense::DenseSource;
        let healed = Healed::new(&checkpoint, healing).expect("fits");
        let hidden = checkpoint.config().hidden_size;
        assert_eq!(
            healed.embed(&[5, 9]).expect("rows")[hidden..],
            head[9 * hidden..10 * hidden]
        );
        healed.head(3..5).expect("rows")
    };
    let hidden = checkpoint.config().hidden_size;
    assert_eq!(rows(&made), head[3 * hidden..5 * hidden]);
    let other: Vec<f32> = head.iter().map(|value| -value).collect();
    made.tensors.insert(Weight::Head, other.clone());
    assert_eq!(rows(&made), other[3 * hidden..5 * hidden]);
}

/// (what is done to the record, what the refusal says)
type RecordRow = (fn(&mut Value), &'static str);

#[test]
fn broken_records_are_refused() {
    let checkpoint = open("stories260K");
    let files = healing(&checkpoint)
        .to_files(checkpoint.config())
        .expect("files");
    let rows: &[RecordRow] = &[
        (
            |r| r["format"] = json!("halfdepth-plan"),
            "healing.json is none made by",
        ),
        (
            |r| r["version"] = json!(2),
            "version 2, this program reads version 1; update",
        ),
        (
            |r| r["plan"]["layers"] = json!([0, 0, 2]),
            "does not follow",
        ),
        (
            |r| r["plan"]["layers"] = json!([0, 2, 9]),
            "there is no layer 9",
        ),
        (|r| r["plan"]["layers"] = json!([]), "no layer is left"),
        (
            |r| r["plan"]["layers"] = json!([0, 4]),
            "of a layer that the plan leaves out",
        ),
        (|r| r["plan"]["name"] = json!(""), "a name has 1 to 64"),
        (
            |r| r["source"]["layers"] = json!(6),
            "it has 6 layers, this one has 5",
        ),
        (
            |r| r["tensors_sha256"] = json!("00"),
            "not those that the record names",
        ),
        (
            |r| r["texts"] = json!("all"),
            "healing.json is none made by",
        ),
        (|r| r["tokens"] = json!(-1), "healing.json is none made by"),
        (
            |r| drop(r.as_object_mut().and_then(|r| r.remove("source"))),
            "missing field `source`",
        ),
    ];
    for (change, says) in rows {
        let mut record: Value = serde_json::from_str(&files.record).expect("JSON");
        change(&mut record);
        let record = record.to_string();
        let refused = Healing::from_files(record.as_bytes(), &files.tensors, checkpoint.config());
        let error = refused.expect_err(says).to_string();
        assert!(error.contains(says), "{error}\nnot: {says}");
    }
    for bytes in [&b""[..], b"[]", b"\xff\xfe", &vec![b' '; 2 << 20]] {
        assert!(matches!(
            Record::parse(bytes),
            Err(HealError::NotAHealing { .. })
        ));
    }
}

/// The files with other tensors, and a record that stands by them.
fn with_tensors(files: &HealingFiles, tensors: Vec<u8>) -> HealingFiles {
    let mut record: Value = serde_json::from_str(&files.record).expect("JSON");
    record["tensors_sha256"] = json!(hex(&Sha256::digest(&tensors)));
    HealingFiles {
        record: record.to_string(),
        tensors,
    }
}

/// A safetensors file of one tensor.
fn one(name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let header =
        json!({ name: { "dtype": dtype, "shape": shape, "data_offsets": [0, bytes.len()] } });
    let header = header.to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        bytes,
    ]
    .concat()
}

#[test]
fn broken_weights_are_refused() {
    const NORM: &str = "model.norm.weight";
    let checkpoint = open("stories260K");
    let files = healing(&checkpoint)
        .to_files(checkpoint.config())
        .expect("files");
    let zeros = [0; 256];
    let nan: Vec<u8> = [f32::NAN; 64]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let down = "model.layers.0.mlp.down_proj.weight";
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "it has 0 bytes"),
        (vec![0; 7], "it has 7 bytes"),
        (
            u64::MAX.to_le_bytes().to_vec(),
            "its header claims 18446744073709551615 bytes",
        ),
        (
            files.tensors[..files.tensors.len() - 4].to_vec(),
            "healing.safetensors is none made by",
        ),
        (
            [&files.tensors[..], &[0]].concat(),
            "healing.safetensors is none made by",
        ),
        (
            one(NORM, "F32", &[65], &zeros),
            "healing.safetensors is none made by",
        ),
        (
            one(NORM, "F32", &[32], &zeros[..128]),
            "tensor `model.norm.weight` is [32], the model's 1 x 64",
        ),
        (
            one(NORM, "F32", &[1, 64], &zeros),
            "tensor `model.norm.weight` is [1, 64]",
        ),
        (one(NORM, "F16", &[128], &zeros), "is F16, not F32"),
        (
            one(NORM, "F32", &[64], &nan),
            "holds a value that is not finite",
        ),
        (
            one(down, "F32", &[8, 8], &zeros),
            "is [8, 8], the model's 64 x 172",
        ),
        (
            one(
                "model.layers.1.input_layernorm.weight",
                "F32",
                &[64],
                &zeros,
            ),
            "of a layer that the plan leaves out",
        ),
        (
            one(
                "model.layers.99.input_layernorm.weight",
                "F32",
                &[64],
                &zeros,
            ),
            "of a layer that the plan leaves out",
        ),
        (
            one(
                "model.layers.00.input_layernorm.weight",
                "F32",
                &[64],
                &zeros,
            ),
            "has no tensor",
        ),
        (
            one(
                "model.layers.-1.input_layernorm.weight",
                "F32",
                &[64],
                &zeros,
            ),
            "has no tensor",
        ),
        (
            one(
                "model.layers.99999999999999999999.input_layernorm.weight",
                "F32",
                &[64],
                &zeros,
            ),
            "has no tensor",
        ),
        (
            one("model.layers.0.mlp.bias", "F32", &[64], &zeros),
            "has no tensor",
        ),
    ];
    for (tensors, says) in rows {
        let changed = with_tensors(&files, tensors);
        let refused = Healing::from_files(
            changed.record.as_bytes(),
            &changed.tensors,
            checkpoint.config(),
        );
        let error = refused.expect_err(says).to_string();
        assert!(error.contains(says), "{error}\nnot: {says}");
    }
}

#[test]
fn a_healing_that_could_not_be_read_again_is_not_written() {
    let checkpoint = open("stories260K");
    let config = checkpoint.config();
    let other_shape = LlamaConfig {
        intermediate_size: 176,
        ..config.clone()
    };
    let good = healing(&checkpoint);
    assert!(good.to_files(&other_shape).is_err());
    let rows: [(Weight, Vec<f32>); 3] = [
        (Weight::FinalNorm, vec![1.0; 63]),
        (Weight::FinalNorm, vec![f32::INFINITY; 64]),
        (Weight::Layer(3, LayerWeight::MlpNorm), vec![1.0; 64]),
    ];
    for (weight, values) in rows {
        let mut bad = good.clone();
        bad.tensors.insert(weight, values);
        assert!(bad.to_files(config).is_err(), "{weight:?}");
        assert!(Healed::new(&checkpoint, &bad).is_err(), "{weight:?}");
    }
}
