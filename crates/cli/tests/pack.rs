//! `pack` with healed plans and figures: what it writes, what `eval` says of it, and what it refuses.

#[path = "common/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use process::{error, json, read_json, run, shared, text};
use serde_json::Value;

const TEXTS: [&str; 2] = ["text/tinystories_val_0.8MB.txt", "text/wiki.test.raw"];

fn heal(model: &str, plan: &str, folder: &Path) {
    let learned = shared("text/tinyshakespeare.txt");
    let arguments = [
        "heal", model, "--plan", plan, "--method", "patch", "--device", "cpu", "--text",
    ];
    let output = run(&[&arguments[..], &[text(&learned), "-o", text(folder)]].concat());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

fn names(pack: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(pack).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name().into_string());
    names.map(|name| name.expect("UTF-8")).collect()
}

fn figure(report: &Value, task: &str, text: &str, name: &str) -> f64 {
    let tasks = report["tasks"].as_array().expect("tasks");
    let found = tasks
        .iter()
        .find(|found| found["task"] == task && found["text"] == text);
    let value = &found.expect("the task")["figures"][name]["value"];
    value.as_f64().expect("a number")
}

/// Every figure of every plan of a pack, on every text that its manifest names, measured anew by `eval` over `windows` of 128 predictions.
fn expect_figures(pack: &Path, texts: &[PathBuf; 2], windows: usize, state: &Path) {
    let manifest = read_json(&pack.join("manifest.json"));
    for plan in manifest["plans"].as_array().expect("plans") {
        let name = plan["name"].as_str().expect("a name");
        let report = json(&[
            "eval",
            text(pack),
            "--plan",
            name,
            "--tasks",
            "loss,compare",
            "--text",
            text(&texts[0]),
            text(&texts[1]),
            "--limit",
            &windows.to_string(),
            "--device",
            "cpu",
            "--state",
            text(state),
            "--json",
        ]);
        for (number, path) in texts.iter().enumerate() {
            let of = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            assert_eq!(manifest["evaluation"][number]["text"], of);
            let figures = &plan["figures"][number];
            for (field, task) in [
                ("cross_entropy", "loss"),
                ("agreement", "compare"),
                ("kl", "compare"),
            ] {
                let promised = figures[field].as_f64().expect("a figure");
                let found = figure(&report, task, of, field);
                assert!(
                    (promised - found).abs() < 1e-3,
                    "{name}, {of}, {field}: {promised} {found}"
                );
            }
        }
    }
}

#[test]
fn eval_reproduces_the_figures_of_every_plan_of_a_healed_pack() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let model = shared("models/stories260K");
    let model = text(&model);
    let texts = TEXTS.map(shared);
    let (healing, pack, plain) = (at("healing"), at("pack"), at("plain"));
    heal(model, "half", &healing);
    let healed = format!("{}:patched:Half depth: patched", text(&healing));
    let written = run(&[
        "pack",
        model,
        "-o",
        text(&pack),
        "--healed",
        &healed,
        "--tokens",
        "1024",
        "--measure",
        text(&texts[0]),
        "--measure",
        text(&texts[1]),
    ]);
    let message = String::from_utf8_lossy(&written.stderr);
    assert!(written.status.success(), "{message}");

    // Only what healing changed was written besides.
    assert!(run(&["pack", model, "-o", text(&plain)]).status.success());
    let (all, own) = (names(&pack), names(&plain));
    assert!(own.is_subset(&all));
    let manifest = read_json(&pack.join("manifest.json"));
    let plans = manifest["plans"].as_array().expect("plans");
    let replacements = plans[2]["replacements"].as_array().expect("a list").len();
    assert!(replacements > 0);
    assert_eq!(all.len() - own.len(), replacements);
    assert_eq!(plans[2]["name"], "patched");
    assert_eq!(plans[2]["title"], "Half depth: patched");
    assert_eq!(plans[2]["layers"], plans[1]["layers"]);

    expect_figures(&pack, &texts, 8, &at("state"));
    // Healed, it is another model than the half alone.
    let loss = |plan: usize| plans[plan]["figures"][0]["cross_entropy"].as_f64();
    assert_ne!(loss(1), loss(2));
    let generate = |plan: &str| {
        json(&[
            "generate",
            text(&pack),
            "--plan",
            plan,
            "--prompt",
            "Once",
            "--device",
            "cpu",
            "--json",
        ])
    };
    assert_eq!(generate("patched")["layers"], generate("half")["layers"]);

    // A plan of replaced layers is no list of layers.
    let refused = error(&[
        "prune",
        text(&pack),
        "--to",
        "plan",
        "--plan",
        "patched",
        "--name",
        "cut",
    ]);
    assert!(
        refused.contains("runs layers in other weights"),
        "{refused}"
    );
    let twice = error(&[
        "pack",
        model,
        "-o",
        text(&plain),
        "--healed",
        &format!("{}:half", text(&healing)),
    ]);
    assert!(twice.contains("has a plan `half` already"), "{twice}");
    let other = shared("models/halfdepth-stories-12L");
    let other = error(&[
        "pack",
        text(&other),
        "-o",
        text(&plain),
        "--healed",
        text(&healing),
    ]);
    assert!(other.contains("cannot use"), "{other}");
}

/// What the model card says of the pack that ships, measured anew on the text that is at hand.
#[test]
fn eval_reproduces_the_figures_of_the_pack_that_ships() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pack = here.join("../../models/halfdepth-stories-12L");
    let texts = [
        shared(TEXTS[0]),
        here.join("tests/data/dialogues_held_out.txt"),
    ];
    let state = tempfile::tempdir().expect("a folder");
    expect_figures(&pack, &texts, 16, state.path());

    let manifest = read_json(&pack.join("manifest.json"));
    let loss = |name: &str, text: usize| -> f64 {
        let plans = manifest["plans"].as_array().expect("plans");
        let plan = plans.iter().find(|plan| plan["name"] == name);
        let figures = &plan.expect("the plan")["figures"][text];
        figures["cross_entropy"].as_f64().expect("a figure")
    };
    for of in 0..texts.len() {
        let cut = loss("best-half", of);
        let closed = (cut - loss("healed", of)) / (cut - loss("full", of));
        assert!(closed > 0.5, "healing closes {closed} of the gap");
    }
}
