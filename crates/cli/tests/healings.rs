//! A healing as a user takes it up: from PEFT's adapter or from `heal --method patch` to every verb that runs or writes the model.

#[path = "common/process.rs"]
mod process;

use std::path::{Path, PathBuf};

use process::{error, json, read_json, run, shared, text};
use serde_json::{Value, json};

const TEXT: &str = "text/tinystories_val_0.8MB.txt";

fn model() -> String {
    shared("models/stories260K").display().to_string()
}

/// An adapter that PEFT wrote for three layers of stories260K.
fn adapter() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/healed/peft/plain");
    folder.display().to_string()
}

struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The adapter as a healing of the simple half.
    fn healing(&self) -> String {
        let output = self.name("healing");
        let report = json(&[
            "adopt",
            &model(),
            "--adapter",
            &adapter(),
            "--plan",
            "half",
            "-o",
            &output,
            "--json",
        ]);
        assert_eq!(report["layers"], json!([0, 1, 4]));
        assert_eq!(
            (&report["rank"], &report["tensors"]),
            (&json!(2), &json!(9))
        );
        output
    }

    fn loss(&self, model: &str, more: &[&str]) -> Value {
        let (texts, state) = (shared(TEXT), self.name("state"));
        let fixed = [
            "eval",
            model,
            "--device",
            "cpu",
            "--state",
            &state,
            "--text",
            text(&texts),
            "--tasks",
            "loss",
            "--limit",
            "8",
            "--json",
        ];
        json(&[&fixed, more].concat())
    }
}

fn nats(report: &Value) -> f64 {
    let loss = &report["tasks"][0]["figures"]["cross_entropy"]["value"];
    loss.as_f64().expect("a loss")
}

fn greedy(model: &str, more: &[&str]) -> Value {
    let fixed = [
        "generate",
        model,
        "--prompt",
        "Once upon a time",
        "--greedy",
        "--ignore-eos",
        "--max-tokens",
        "24",
        "--dense",
        "--device",
        "cpu",
        "--json",
    ];
    json(&[&fixed, more].concat())["generated_ids"].clone()
}

#[test]
fn a_healed_model_is_the_same_measured_generated_from_and_written() {
    let folder = Folder::new();
    let healing = folder.healing();
    let healed = folder.loss(&model(), &["--healed", &healing]);
    assert_eq!(healed["healing"]["method"], "lora");
    assert_eq!(healed["plan"]["layers"], json!([0, 1, 4]));
    let plain = folder.loss(&model(), &["--plan", "half"]);
    assert_eq!(plain["healing"], Value::Null);
    assert!(
        (nats(&healed) - nats(&plain)).abs() > 0.1,
        "the adapter changes something"
    );
    let ids = greedy(&model(), &["--healed", &healing]);
    assert_ne!(ids, greedy(&model(), &["--plan", "half"]));
    for (to, output) in [("hf", "cut"), ("gguf", "cut.gguf")] {
        let output = folder.name(output);
        let report = json(&[
            "prune",
            &model(),
            "--healed",
            &healing,
            "--to",
            to,
            "-o",
            &output,
            "--json",
        ]);
        assert_eq!(report["verified"]["largest_difference"], 0.0);
        assert_eq!(report["healing"], healed["healing"]);
        assert_eq!(nats(&folder.loss(&output, &[])), nats(&healed), "{to}");
        assert_eq!(greedy(&output, &[]), ids, "{to}");
    }
    let record = read_json(&folder.path("cut/halfdepth.json"));
    assert_eq!(
        (&record["healing"], &record["dropped"]),
        (&healed["healing"], &json!([2, 3]))
    );
    // Compared with the model whole and unhealed, which a healing does not touch.
    let (texts, state) = (shared(TEXT), folder.name("state"));
    let compared = json(&[
        "eval",
        &model(),
        "--healed",
        &healing,
        "--device",
        "cpu",
        "--state",
        &state,
        "--text",
        text(&texts),
        "--tasks",
        "compare,repetition",
        "--limit",
        "4",
        "--json",
    ]);
    let kl = compared["tasks"][0]["figures"]["kl"]["value"]
        .as_f64()
        .expect("a distance");
    assert!(kl > 0.1, "{kl}");
}

#[test]
fn a_patch_is_a_healing_and_lowers_the_loss_of_text_that_it_was_not_fitted_on() {
    let folder = Folder::new();
    let (fitted, output) = (folder.name("fitted.txt"), folder.name("patch"));
    let all = std::fs::read_to_string(shared(TEXT)).expect("text");
    // The first windows are what the loss is measured on.
    std::fs::write(&fitted, &all[all.len() / 2..]).expect("writes");
    let report = json(&[
        "heal",
        &model(),
        "--plan",
        "half",
        "--method",
        "patch",
        "--text",
        &fitted,
        "--patch-tokens",
        "8192",
        "--device",
        "cpu",
        "-o",
        &output,
        "--json",
    ]);
    assert_eq!(report["cuts"][0]["layer"], 1);
    let (before, after) = (
        folder.loss(&model(), &["--plan", "half"]),
        folder.loss(&model(), &["--healed", &output]),
    );
    assert!(
        nats(&after) < nats(&before) - 0.1,
        "{} to {}",
        nats(&before),
        nats(&after)
    );
    let shown = json(&["inspect", &output, "--json"]);
    assert_eq!(
        (&shown["method"], &shown["settings"]["form"]),
        (&json!("patch"), &json!("down"))
    );
    let shown = run(&["inspect", &output]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(
        shown.contains("patch of stories260K") && shown.contains("layers [0, 1, 4]"),
        "{shown}"
    );
}

#[test]
fn an_adapter_goes_with_the_folder_it_was_trained_on_and_no_other() {
    let folder = Folder::new();
    let healing = folder.healing();
    let (plain, healed, shallow) = (
        folder.name("plain"),
        folder.name("healed"),
        folder.name("shallow"),
    );
    for (output, which, value) in [
        (&plain, "--drop", "2,3"),
        (&healed, "--healed", healing.as_str()),
        (&shallow, "--drop", "1,2,3"),
    ] {
        json(&[
            "prune",
            &model(),
            which,
            value,
            "--to",
            "hf",
            "-o",
            output,
            "--json",
        ]);
    }
    let adopt = |more: &[&str]| {
        let output = folder.name("again");
        let (model, adapter) = (model(), adapter());
        let fixed = [
            "adopt",
            &model,
            "--adapter",
            &adapter,
            "-o",
            &output,
            "--json",
        ];
        [&fixed, more]
            .concat()
            .iter()
            .map(|part| (*part).to_string())
            .collect::<Vec<_>>()
    };
    let strs = |args: Vec<String>| -> (bool, String) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = run(&args);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (more, says) in [
        (vec!["--pruned", plain.as_str(), "--dry-run"], ""),
        (
            vec![
                "--pruned",
                healed.as_str(),
                "--healed",
                healing.as_str(),
                "--dry-run",
            ],
            "",
        ),
        (
            vec!["--pruned", healed.as_str()],
            "was written with a healing",
        ),
        (
            vec!["--pruned", plain.as_str(), "--healed", healing.as_str()],
            "was written without a healing",
        ),
        (vec!["--pruned", shallow.as_str()], "it is for another plan"),
        (
            vec!["--plan", "full", "--healed", healing.as_str()],
            "runs other layers",
        ),
        (vec![], "--pruned"),
    ] {
        let (done, message) = strs(adopt(&more));
        assert_eq!(done, says.is_empty(), "{more:?}: {message}");
        assert!(
            message.contains(says) && !message.contains("panicked"),
            "{message}\nnot: {says}"
        );
        assert!(!folder.path("again").exists(), "{more:?}");
    }
    // On top of a healing, the adapter counts from the healed weights.
    let (done, message) = strs(adopt(&["--pruned", &healed, "--healed", &healing]));
    assert!(done, "{message}");
    let twice = folder.loss(&model(), &["--healed", &folder.name("again")]);
    let once = folder.loss(&model(), &["--healed", &healing]);
    assert_ne!(nats(&twice), nats(&once));
    let again = adopt(&["--plan", "half"]);
    assert!(strs(again).1.contains("exists already"));
}

#[test]
fn a_healing_of_another_model_or_for_another_verb_is_refused() {
    let folder = Folder::new();
    let healing = folder.healing();
    let other = shared("models/halfdepth-stories-12L").display().to_string();
    let (pack, cut, texts) = (
        folder.name("pack"),
        folder.name("cut"),
        shared(TEXT).display().to_string(),
    );
    assert!(run(&["pack", &model(), "-o", &pack]).status.success());
    let rows: [(&[&str], &str); 7] = [
        (
            &["eval", &other, "--healed", &healing, "--text", &texts],
            "made for other weights",
        ),
        (
            &[
                "prune", &other, "--healed", &healing, "--to", "hf", "-o", &cut,
            ],
            "made for other weights",
        ),
        (
            &["generate", &other, "--healed", &healing, "--prompt", "a"],
            "made for other weights",
        ),
        (
            &["generate", &pack, "--healed", &healing, "--prompt", "a"],
            "is a pack, which runs as it was packed",
        ),
        (
            &["prune", &pack, "--healed", &healing, "--to", "plan"],
            "pack",
        ),
        (
            &["eval", &model(), "--healed", &pack, "--text", &texts],
            "there is no healing.json in it",
        ),
        (
            &[
                "eval",
                &model(),
                "--healed",
                &healing,
                "--plan",
                "half",
                "--text",
                &texts,
            ],
            "cannot be used with",
        ),
    ];
    for (arguments, says) in rows {
        let message = error(arguments);
        assert!(message.contains(says), "{message}\nnot: {says}");
    }
    assert!(!folder.path("cut").exists());
    // A pack made of the model that was healed can be measured with the healing over it.
    let over = nats(&folder.loss(&pack, &["--healed", &healing]));
    let exact = nats(&folder.loss(&model(), &["--healed", &healing]));
    // Attention in 4 bits, embedding and head in 8.
    assert!(
        over != exact && (over - exact).abs() < 0.5,
        "{over} {exact}"
    );
    // Weights and record that do not belong together.
    let path = folder.path("healing/healing.safetensors");
    let mut bytes = std::fs::read(&path).expect("reads");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("writes");
    assert!(
        error(&["eval", &model(), "--healed", &healing, "--text", &texts])
            .contains("not those that the record names")
    );
}

#[test]
fn healings_are_points_of_a_curve_beside_the_plans_that_were_not_healed() {
    let folder = Folder::new();
    let healing = folder.healing();
    let (texts, output) = (shared(TEXT).display().to_string(), folder.name("curve"));
    json(&[
        "curve",
        &model(),
        "--text",
        &texts,
        "--strategies",
        "simple",
        "--samples",
        "4",
        "--tokens",
        "512",
        "--search-tokens",
        "256",
        "--device",
        "cpu",
        "--healed",
        &healing,
        "-o",
        &output,
        "--json",
    ]);
    let curve = read_json(&folder.path("curve/curve.json"));
    let series = curve["series"].as_array().expect("series");
    let names: Vec<&str> = series
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["simple", "healed by lora"]);
    let points = series[1]["points"].as_array().expect("points");
    assert_eq!(
        (points.len(), &points[0]["dropped"], &points[0]["layers"]),
        (1, &json!(2), &json!([0, 1, 4]))
    );
    let value = |one: usize, at: usize| {
        series[one]["points"][at]["values"]["loss"]["value"]
            .as_f64()
            .expect("a loss")
    };
    assert_ne!(value(1, 0), value(0, 2));
    assert_eq!(
        (&series[0]["healed"], &series[1]["healed"]),
        (&Value::Null, &json!("lora"))
    );
    for (file, says) in [
        ("curve.svg", "healed by lora"),
        ("curve.md", "healed by lora"),
        ("curve.svg", "healed where a line says so"),
    ] {
        let text = std::fs::read_to_string(folder.path("curve").join(file)).expect("reads");
        assert!(text.contains(says), "{file}");
    }
}
