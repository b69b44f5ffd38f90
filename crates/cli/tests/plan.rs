//! `plan` as a user runs it, and plans as other verbs take them.

#[path = "common/process.rs"]
mod process;

use std::path::{Path, PathBuf};

use process::{error, json, run, shared, text};
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "text/tinystories_val_0.8MB.txt";

/// A folder with a scan of one of the shared models.
fn scanned(model: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = folder.path().join("scan.json");
    let (model, read) = (shared(&format!("models/{model}")), shared(TEXT));
    let arguments = [
        "scan",
        text(&model),
        "--text",
        text(&read),
        "--samples",
        "24",
        "--tokens",
        "96",
    ];
    let output = run(&[
        &arguments[..],
        &["--device", "cpu", "--output", text(&scan)],
    ]
    .concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (folder, scan)
}

fn plan(scan: &Path, output: &Path, more: &[&str]) -> Value {
    let arguments = [
        "plan",
        text(scan),
        "--output",
        text(output),
        "--device",
        "cpu",
        "--json",
    ];
    json(&[&arguments[..], more].concat())
}

#[test]
fn each_strategy_drops_what_it_says() {
    let (folder, scan) = scanned("halfdepth-stories-12L");
    let output = folder.path().join("plan.json");
    let rows: [(&[&str], &[u64]); 6] = [
        (&["--drop", "50%"], &[5, 6, 7, 8, 9, 10]),
        (&["--drop", "2", "--strategy", "similarity"], &[9, 10]),
        (
            &["--drop", "6", "--strategy", "simple"],
            &[5, 6, 7, 8, 9, 10],
        ),
        (
            &["--drop", "49.9%", "--strategy", "simple"],
            &[6, 7, 8, 9, 10],
        ),
        (&["--drop", "1", "--strategy", "influence"], &[10]),
        (&["--layers", "7,3", "--strategy", "manual"], &[3, 7]),
    ];
    for (more, dropped) in rows {
        let report = plan(&scan, &output, more);
        assert_eq!(report["dropped"], Value::from(dropped), "{more:?}");
        let file: Value =
            serde_json::from_slice(&std::fs::read(&output).expect("a file")).expect("JSON");
        assert_eq!(file, report);
    }
    let half = plan(&scan, &output, &["--drop", "50%"]);
    assert_eq!(half["model"]["layers"], 12);
    assert!(
        half["predicted"]["speed_at_most"]
            .as_f64()
            .expect("a number")
            > 1.5
    );

    let random = |seed| {
        plan(
            &scan,
            &output,
            &["--drop", "4", "--strategy", "random", "--seed", seed],
        )
    };
    assert_eq!(random("3"), random("3"));
    assert_eq!(random("3")["seed"], 3);
    let distinct = ["0", "1", "2", "3", "4", "5"].map(|seed| random(seed)["dropped"].to_string());
    assert!(
        distinct
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 1
    );
    std::fs::remove_file(&output).expect("removes");
    plan(&scan, &output, &["--drop", "4", "--dry-run"]);
    assert!(!output.exists());
}

#[test]
fn greedy_removes_what_costs_least_and_says_what_it_cost() {
    let (folder, scan) = scanned("stories260K");
    let (model, read) = (shared("models/stories260K"), shared(TEXT));
    let output = folder.path().join("plan.json");
    let measured = |more: &[&str]| {
        let arguments = [
            "--strategy",
            "greedy",
            "--model",
            text(&model),
            "--text",
            text(&read),
            "--tokens",
            "2048",
        ];
        plan(&scan, &output, &[&arguments[..], more].concat())["search"].clone()
    };
    let greedy = measured(&["--drop", "2"]);
    // The goldens' protocol and their stretch of the text.
    let golden = std::fs::read(shared("goldens/stories260K.json")).expect("goldens");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let reference = golden["plans"]["full"]["ce_nats"]
        .as_f64()
        .expect("a number");
    assert!((greedy["full"].as_f64().expect("a number") - reference).abs() < 1e-4);
    let removals = greedy["removals"].as_array().expect("a list");
    assert_eq!(removals.len(), 2);
    assert_eq!(removals[1]["loss"], greedy["loss"]);
    let without_first = golden["plans"]["first"]["ce_nats"]
        .as_f64()
        .expect("a number");
    assert!(removals[0]["loss"].as_f64().expect("a number") <= without_first + 1e-4);
    let exchanged = measured(&["--drop", "2", "--exchange"]);
    assert!(exchanged["loss"].as_f64() <= greedy["loss"].as_f64());
}

#[test]
fn a_plan_file_runs_as_the_layers_it_names() {
    let (folder, scan) = scanned("stories260K");
    let output = folder.path().join("plan.json");
    let model = shared("models/stories260K");
    plan(&scan, &output, &["--strategy", "manual", "--layers", "2,3"]);
    let generate = |model: &Path, more: &[&str]| {
        let arguments = [
            "generate",
            text(model),
            "--prompt",
            "Once upon a time",
            "--device",
            "cpu",
            "--greedy",
        ];
        let arguments = [&arguments[..], &["--max-tokens", "24", "--json"], more].concat();
        json(&arguments)["generated_ids"].clone()
    };
    assert_eq!(
        generate(&model, &["--plan", text(&output)]),
        generate(&model, &["--drop", "2,3"])
    );
    let pack = folder.path().join("pack");
    assert!(
        run(&["pack", text(&model), "--output", text(&pack)])
            .status
            .success()
    );
    assert_eq!(
        generate(&pack, &["--plan", text(&output)]),
        generate(&pack, &["--drop", "2,3"])
    );

    let with = |model: &Path, plan: &Path| {
        error(&[
            "generate",
            text(model),
            "--prompt",
            "x",
            "--device",
            "cpu",
            "--plan",
            text(plan),
        ])
    };
    let message = with(&shared("models/TinyStories-656K"), &output);
    assert!(message.contains("is for stories260K"), "{message}");
    // A layer whose two halves are muted is a layer left out.
    let mut halves: Value =
        serde_json::from_slice(&std::fs::read(&output).expect("reads")).expect("JSON");
    let dropped = halves["dropped"].take();
    let layers = halves["model"]["layers"].as_u64().expect("a number");
    halves["layers"] = (0..layers).collect();
    halves["dropped"] = Value::Array(vec![]);
    halves["mute_attention"] = dropped.clone();
    halves["mute_mlp"] = dropped;
    let muted = folder.path().join("muted.json");
    std::fs::write(&muted, halves.to_string()).expect("writes");
    for model in [&model, &pack] {
        assert_eq!(
            generate(model, &["--plan", text(&muted)]),
            generate(model, &["--drop", "2,3"])
        );
    }
    let sublayers = folder.path().join("sublayers.json");
    let report = plan(
        &scan,
        &sublayers,
        &["--strategy", "sublayer", "--drop", "2"],
    );
    let muted = |field: &str| report[field].as_array().expect("a list").len();
    assert_eq!(
        muted("mute_attention") + muted("mute_mlp") + 2 * muted("dropped"),
        4
    );
    let half = generate(&model, &["--plan", text(&sublayers)]);
    assert_eq!(half.as_array().expect("ids").len(), 24);
    assert!(with(&model, &scan).contains("is no plan"));
    assert!(with(&model, Path::new("nowhere.json")).contains("cannot open nowhere.json"));
}

#[test]
fn what_cannot_be_planned_is_said() {
    let (folder, scan) = scanned("stories260K");
    let output = folder.path().join("plan.json");
    let (model, other) = (
        shared("models/stories260K"),
        shared("models/TinyStories-656K"),
    );
    let read = shared(TEXT);
    let tiny = folder.path().join("tiny.txt");
    std::fs::write(&tiny, "Once").expect("writes");
    let greedy = |model, read| {
        vec![
            "--drop",
            "1",
            "--strategy",
            "greedy",
            "--model",
            model,
            "--text",
            read,
        ]
    };
    let rows: Vec<(Vec<&str>, &str)> = vec![
        (vec!["--drop", "0"], "drop at least one"),
        (vec!["--drop", "10%"], "drop at least one"),
        (vec!["--drop", "5"], "5 of 5 layers cannot be dropped"),
        (vec!["--drop", "5", "--strategy", "simple"], "at most 4 can"),
        (
            vec!["--drop", "99", "--strategy", "random"],
            "99 of 5 layers",
        ),
        (
            vec!["--drop", "5", "--strategy", "sublayer"],
            "at most 4 can",
        ),
        (
            vec![
                "--drop",
                "5",
                "--strategy",
                "greedy",
                "--model",
                text(&model),
                "--text",
                text(&read),
            ],
            "at most 4 can",
        ),
        (vec!["--drop", "100%"], "would leave nothing"),
        (vec!["--drop", "-1%"], "between 0% and 100%"),
        (vec!["--drop", "many"], "neither a number"),
        (
            vec!["--strategy", "manual", "--layers", "5"],
            "there is no layer 5",
        ),
        (
            vec!["--strategy", "manual", "--layers", "1,1"],
            "named twice",
        ),
        (
            vec!["--strategy", "manual", "--layers", "0,1,2,3,4"],
            "no layer is left",
        ),
        (vec!["--layers", "1"], "go together"),
        (
            vec!["--drop", "1", "--strategy", "greedy"],
            "--model and --text",
        ),
        (
            greedy(text(&other), text(&read)),
            "is not the model that was scanned",
        ),
        (greedy(text(&model), text(&tiny)), "fewer than the 2048"),
        (
            greedy(text(&model), "/nowhere.txt"),
            "cannot read /nowhere.txt",
        ),
    ];
    for (more, expected) in rows {
        let mut arguments = vec![
            "plan",
            text(&scan),
            "--output",
            text(&output),
            "--device",
            "cpu",
        ];
        // `--drop -1%` would be read as a flag.
        let joined: Vec<String> = match more.as_slice() {
            ["--drop", value, rest @ ..] => {
                let rest = rest.iter().map(ToString::to_string);
                std::iter::once(format!("--drop={value}"))
                    .chain(rest)
                    .collect()
            }
            more => more.iter().map(ToString::to_string).collect(),
        };
        arguments.extend(joined.iter().map(String::as_str));
        let output_of = run(&arguments);
        let message = String::from_utf8_lossy(&output_of.stderr).into_owned();
        assert!(
            !output_of.status.success() && message.contains(expected),
            "{more:?}: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
        assert!(!output.exists());
    }
    assert!(error(&["plan", text(&read), "--drop", "1"]).contains("is no scan"));
    assert!(error(&["plan", "/nowhere.json", "--drop", "1"]).contains("cannot open /nowhere.json"));
}
