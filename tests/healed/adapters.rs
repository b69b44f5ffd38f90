//! Low-rank adapters against PEFT, both ways.

use std::collections::BTreeMap;
use std::path::Path;

use halfdepth::checkpoint::{Checkpoint, LayerWeight, Weight, hex};
use halfdepth::heal::{Adapter, Factors, Healed, Healing};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::open;
use crate::support::{IDS, largest_difference, logits, plan, record};

#[derive(Deserialize)]
struct Reference {
    ids: Vec<Vec<u32>>,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    logits: Vec<Vec<f32>>,
    adopted_logits: Vec<Vec<f32>>,
    adopted_config_sha256: String,
    adopted_weights_sha256: String,
}

fn reference() -> Reference {
    let reference: Reference =
        serde_json::from_str(include_str!("reference.json")).expect("the reference");
    assert_eq!(reference.ids, IDS.map(<[u32]>::to_vec));
    reference
}

fn peft_files(name: &str) -> (Vec<u8>, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/healed/peft")
        .join(name);
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file");
    (
        read("adapter_config.json"),
        read("adapter_model.safetensors"),
    )
}

fn merged(checkpoint: &Checkpoint, adapter: &Adapter) -> Vec<Vec<f32>> {
    let healing = Healing {
        record: record(checkpoint, &plan()),
        tensors: adapter.merge(checkpoint).expect("merges"),
    };
    logits(&Healed::new(checkpoint, &healing).expect("fits"), &plan())
}

#[test]
fn merged_adapters_of_peft_give_the_logits_that_peft_gives_unmerged() {
    let checkpoint = open("stories260K");
    let plain = logits(&checkpoint, &plan());
    for (name, case) in reference().cases {
        let (config, weights) = peft_files(&name);
        let adapter = Adapter::from_peft(&config, &weights, &plan(), checkpoint.config());
        let found = merged(&checkpoint, &adapter.expect(&name));
        let moved = largest_difference(&plain, &found);
        assert!(moved > 0.1, "{name} moves logits by {moved}");
        // Sums of 172 products in another order, through three layers to logits of about ten.
        let off = largest_difference(&case.logits, &found);
        assert!(off < 1e-4, "{name} is off by {off}");
    }
}

#[test]
fn adapters_written_here_are_those_that_peft_loaded_and_ran() {
    let checkpoint = open("stories260K");
    for (name, case) in reference().cases {
        let (config, weights) = peft_files(&name);
        let adapter = Adapter::from_peft(&config, &weights, &plan(), checkpoint.config());
        let adapter = adapter.expect(&name);
        let files = adapter
            .to_peft(&plan(), checkpoint.config())
            .expect("files");
        let hash = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        assert_eq!(
            hash(files.config.as_bytes()),
            case.adopted_config_sha256,
            "{name}"
        );
        assert_eq!(hash(&files.weights), case.adopted_weights_sha256, "{name}");
        let off = largest_difference(&case.adopted_logits, &merged(&checkpoint, &adapter));
        assert!(off < 1e-4, "{name} is off by {off}");
        // And they are read again as they were.
        let read = Adapter::from_peft(
            files.config.as_bytes(),
            &files.weights,
            &plan(),
            checkpoint.config(),
        );
        assert_eq!(read.expect(&name).factors, adapter.factors, "{name}");
    }
}

#[test]
fn a_merged_matrix_is_the_matrix_and_the_scaled_product() {
    let checkpoint = open("stories260K");
    let (rows, cols, rank) = (64, 172, 3);
    let a: Vec<f32> = (0..rank * cols)
        .map(|at| (at as f32 * 0.7).sin() / 8.0)
        .collect();
    let b: Vec<f32> = (0..rows * rank)
        .map(|at| (at as f32 * 1.3).cos() / 8.0)
        .collect();
    let adapter = Adapter {
        rank,
        alpha: 6.0,
        dropout: 0.05,
        factors: BTreeMap::from([(
            (2, LayerWeight::Down),
            Factors {
                a: a.clone(),
                b: b.clone(),
            },
        )]),
    };
    let weight = Weight::Layer(2, LayerWeight::Down);
    let before = checkpoint
        .matrix(weight)
        .expect("a matrix")
        .to_f32()
        .expect("finite");
    let after = adapter.merge(&checkpoint).expect("merges");
    assert_eq!(after.len(), 1);
    for (at, value) in after[&weight].iter().enumerate() {
        let (row, col) = (at / cols, at % cols);
        let product: f32 = (0..rank)
            .map(|k| b[row * rank + k] * a[k * cols + col])
            .sum();
        // alpha / rank = 2. Three products and a sum, each rounded to f32.
        assert!(
            (value - before[at] - 2.0 * product).abs() < 1e-6,
            "{row} {col}"
        );
    }
}

/// (what is done to the configuration, what the refusal says)
type Row = (&'static str, Value, &'static str);

#[test]
fn what_is_not_plain_low_rank_is_refused_by_its_name() {
    let checkpoint = open("stories260K");
    let (config, weights) = peft_files("plain");
    let rows: Vec<Row> = vec![
        ("peft_type", json!("IA3"), "`peft_type` is \"IA3\""),
        ("task_type", json!("SEQ_CLS"), "`task_type` is"),
        ("use_dora", json!(true), "`use_dora` is true"),
        (
            "modules_to_save",
            json!(["lm_head"]),
            "`modules_to_save` is [\"lm_head\"]",
        ),
        ("bias", json!("all"), "`bias` is \"all\""),
        ("lora_bias", json!(true), "`lora_bias` is true"),
        ("fan_in_fan_out", json!(true), "`fan_in_fan_out` is true"),
        (
            "layer_replication",
            json!([[0, 2], [1, 3]]),
            "`layer_replication` is",
        ),
        (
            "init_lora_weights",
            json!("pissa"),
            "`init_lora_weights` is \"pissa\"",
        ),
        (
            "trainable_token_indices",
            json!([1, 2]),
            "`trainable_token_indices` is",
        ),
        (
            "target_parameters",
            json!(["mlp.experts"]),
            "`target_parameters` is",
        ),
        ("something_new", json!({ "on": 1 }), "`something_new` is"),
        (
            "alpha_pattern",
            json!({ "(": 1 }),
            "is no pattern with a number",
        ),
        (
            "alpha_pattern",
            json!({ "up_proj": "many" }),
            "is no pattern with a number",
        ),
        ("r", json!(0), "r = 0"),
        ("r", json!(1_000_000_000), "r = 1000000000"),
        ("r", json!(-1), "adapter_config.json"),
        ("lora_alpha", json!(0), "lora_alpha = 0"),
    ];
    for (field, value, says) in rows {
        let mut changed: Value = serde_json::from_slice(&config).expect("JSON");
        changed[field] = value;
        let read = Adapter::from_peft(
            changed.to_string().as_bytes(),
            &weights,
            &plan(),
            checkpoint.config(),
        );
        let error = read.expect_err(says).to_string();
        assert!(error.contains(says), "{error}\nnot: {says}");
    }
    for bytes in [&b""[..], b"[]", b"\xff", &vec![b' '; 2 << 20]] {
        assert!(Adapter::from_peft(bytes, &weights, &plan(), checkpoint.config()).is_err());
    }
}

fn tensors(list: &[(&str, &str, &[usize])]) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, dtype, shape) in list {
        let bytes = shape.iter().product::<usize>() * if *dtype == "F32" { 4 } else { 8 };
        let about = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes] });
        header.insert((*name).to_string(), about);
        end += bytes;
    }
    let header = json!(header).to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &vec![0; end],
    ]
    .concat()
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    const UP: &str = "base_model.model.model.layers.0.mlp.up_proj";
    let checkpoint = open("stories260K");
    let (config, _) = peft_files("plain");
    let a = format!("{UP}.lora_A.weight");
    let b = format!("{UP}.lora_B.weight");
    let deep = "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight";
    let head = "base_model.model.lm_head.lora_A.weight";
    let norm = "base_model.model.model.layers.0.input_layernorm.lora_A.weight";
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (tensors(&[]), "it has no tensors"),
        (tensors(&[(&a, "F32", &[2, 64])]), "one factor of two"),
        (
            tensors(&[(&a, "F32", &[2, 63]), (&b, "F32", &[172, 2])]),
            "is for another model",
        ),
        (
            tensors(&[(&a, "F32", &[2, 64]), (&b, "F32", &[172, 3])]),
            "is for another model",
        ),
        (
            tensors(&[(&a, "F32", &[0, 64]), (&b, "F32", &[172, 0])]),
            "is for another model",
        ),
        (
            tensors(&[(&a, "F32", &[65, 64]), (&b, "F32", &[172, 65])]),
            "is for another model",
        ),
        (tensors(&[(&a, "F32", &[128])]), "is no matrix"),
        (
            tensors(&[(&a, "F64", &[2, 64]), (&b, "F32", &[172, 2])]),
            "is F64",
        ),
        (
            tensors(&[(deep, "F32", &[2, 64])]),
            "keeps 3: it is for another plan",
        ),
        (
            tensors(&[(head, "F32", &[2, 64])]),
            "no low-rank factor of a layer's matrix",
        ),
        (
            tensors(&[(norm, "F32", &[2, 64])]),
            "no low-rank factor of a layer's matrix",
        ),
        (b"short".to_vec(), "it has 5 bytes"),
    ];
    for (weights, says) in rows {
        let read = Adapter::from_peft(&config, &weights, &plan(), checkpoint.config());
        let error = read.expect_err(says).to_string();
        assert!(error.contains(says), "{error}\nnot: {says}");
    }
}

#[test]
fn an_adapter_of_a_layer_that_is_left_out_or_of_no_rank_is_not_written() {
    let checkpoint = open("stories260K");
    let adapter = |rank: usize, layer| Adapter {
        rank,
        alpha: 1.0,
        dropout: 0.0,
        factors: BTreeMap::from([(
            (layer, LayerWeight::Down),
            Factors {
                a: vec![0.1; rank * 172],
                b: vec![0.1; 64 * rank],
            },
        )]),
    };
    for (rank, layer, fits) in [
        (2, 0, true),
        (2, 1, false),
        (2, 5, false),
        (0, 0, false),
        (65, 0, false),
    ] {
        let written = adapter(rank, layer).to_peft(&plan(), checkpoint.config());
        assert_eq!(
            written.is_ok(),
            fits,
            "rank {rank}, layer {layer}: {written:?}"
        );
    }
}
