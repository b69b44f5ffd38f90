//! `eval` as a user runs it: what it prints, how it goes on when it was killed, and what it refuses.

#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use process::{error, halfdepth, json, run, shared, text};
use serde_json::Value;

const TEXT: &str = "text/tinystories_val_0.8MB.txt";

fn model(name: &str) -> String {
    text(&shared(&format!("models/{name}"))).to_string()
}

/// `eval MODEL` on the CPU with a state folder of its own.
fn eval<'a>(model: &'a str, state: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let first = ["eval", model, "--device", "cpu", "--state", text(state)];
    [&first[..], more].concat()
}

fn task<'r>(report: &'r Value, name: &str) -> &'r Value {
    let tasks = report["tasks"].as_array().expect("tasks");
    tasks
        .iter()
        .find(|task| task["task"] == name)
        .expect("the task")
}

#[test]
fn loss_distance_and_repetition_are_printed_with_what_they_are_measured_against() {
    let state = tempfile::tempdir().expect("a folder");
    let model = model("halfdepth-stories-12L");
    let texts = shared(TEXT);
    let more = [
        "--drop",
        "8",
        "--text",
        text(&texts),
        "--limit",
        "16",
        "--json",
    ];
    let report = json(&eval(&model, state.path(), &more));
    assert_eq!(report["format"], "halfdepth-eval");
    assert_eq!(
        report["plan"]["layers"].as_array().expect("layers").len(),
        11
    );
    let loss = &task(&report, "loss")["figures"];
    // One deep layer out, as the goldens have it.
    let value = loss["cross_entropy"]["value"].as_f64().expect("a number");
    assert!((value - 2.548).abs() < 0.05, "{value}");
    assert_eq!(loss["tokens"], 2048);
    let distance = &task(&report, "compare")["figures"];
    assert!(distance["kl"]["value"].as_f64().expect("a number") > 0.0);
    assert!(
        distance["agreement"]["interval"]["low"]
            .as_f64()
            .expect("a number")
            > 0.5
    );
    assert!(
        task(&report, "repetition")["figures"]["text_rate"]
            .as_f64()
            .expect("a number")
            < 0.2
    );

    // The same from what was kept, as text.
    let output = run(&eval(&model, state.path(), &more[..more.len() - 1]));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [
        "cross-entropy / ln V",
        "disjoint windows of 128 predictions, each after the begin token alone",
        "KL(halfdepth-stories-12L, full depth || this)",
        "same token picked",
        "repeated 4-grams",
        "95 % interval",
    ] {
        assert!(printed.contains(part), "{part} is missing:\n{printed}");
    }
}

#[test]
fn every_choice_stands_beside_chance_and_majority() {
    let state = tempfile::tempdir().expect("a folder");
    let model = model("stories260K");
    let data = shared("bench");
    let more = [
        "--data",
        text(&data),
        "--tasks",
        "choice,lambada,arithmetic",
        "--limit",
        "2",
    ];
    let output = run(&eval(&model, state.path(), &more));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let tasks = 8 + 2;
    for (part, count) in [
        ("by chance", tasks),
        ("by majority", tasks),
        ("mean over subjects", 1),
        ("accuracy, per question", 1),
        ("does not beat guessing", 8),
    ] {
        assert!(printed.matches(part).count() >= count, "{part}:\n{printed}");
    }
}

#[test]
fn a_killed_run_goes_on_from_what_it_kept() {
    let (state, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let model = model("halfdepth-stories-12L");
    let texts = shared(TEXT);
    let more = [
        "--tasks",
        "loss",
        "--text",
        text(&texts),
        "--limit",
        "600",
        "--json",
    ];
    let mut child = halfdepth()
        .args(eval(&model, state.path(), &more))
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    let kept = || {
        let files = std::fs::read_dir(state.path()).expect("lists").flatten();
        let jsonl = files.filter(|file| {
            file.path()
                .extension()
                .is_some_and(|ending| ending == "jsonl")
        });
        let texts = jsonl.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        texts.map(|text| text.lines().count()).sum::<usize>()
    };
    let begun = Instant::now();
    while kept() < 64 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "nothing was kept"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("kills");
    child.wait().expect("ended");
    let before = kept();
    assert!((64..600).contains(&before), "{before}");
    let resumed = json(&eval(&model, state.path(), &more));
    assert_eq!(kept(), 601, "each window once, and the first line");
    assert_eq!(resumed, json(&eval(&model, other.path(), &more)));
}

#[test]
fn a_dry_run_says_what_it_would_do_and_keeps_nothing() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = state.path().join("state");
    let model = model("stories260K");
    let data = shared("bench");
    let more = [
        "--data",
        text(&data),
        "--tasks",
        "boolq",
        "--dry-run",
        "--json",
    ];
    let report = json(&eval(&model, &folder, &more));
    assert_eq!(report["tasks"][0]["items"], 3270);
    assert!(!folder.exists());
}

#[test]
fn mistakes_are_named() {
    let state = tempfile::tempdir().expect("a folder");
    let empty = state.path().join("empty.txt");
    std::fs::write(&empty, "").expect("writes");
    let (small, large) = (model("stories260K"), model("TinyStories-656K"));
    let (texts, data) = (shared(TEXT), shared("models"));
    // (arguments, a part of the message)
    let rows = [
        (vec!["--tasks", "boolq"], "--data"),
        (vec!["--tasks", "loss"], "--text"),
        (
            vec!["--tasks", "mmul", "--data", "."],
            "there is no task `mmul`",
        ),
        (
            vec!["--tasks", "boolq", "--data", text(&data)],
            "is not there",
        ),
        (vec!["--text", "/no/such/file"], "/no/such/file"),
        (vec!["--text", text(&empty)], "too few"),
        (vec!["--text", text(&texts), "--window", "0"], "--window"),
        (
            vec!["--text", text(&texts), "--plan", "quarter"],
            "`full` and `half`",
        ),
        (
            vec!["--text", text(&texts), "--drop", "0,1,2,3,4"],
            "no layer is left",
        ),
        (
            vec![
                "--text",
                text(&texts),
                "--limit",
                "1",
                "--reference",
                &large,
            ],
            "cannot be compared",
        ),
    ];
    for (more, part) in rows {
        let message = error(&eval(&small, state.path(), &more));
        assert!(message.contains(part), "{more:?}: {message}");
    }
}
