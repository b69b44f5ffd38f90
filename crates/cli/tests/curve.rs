//! `curve` as a user runs it: what it measures and writes, that it goes on where it was ended, and what it refuses.

#[path = "common/process.rs"]
mod process;

use std::path::Path;

use process::{error, json, read_json, shared, text};

const TEXT: &str = "text/tinystories_val_0.8MB.txt";

/// The smallest curve of the smallest model, with more flags.
fn curve(output: &Path, more: &[&str]) -> Vec<String> {
    let (model, read, data) = (shared("models/stories260K"), shared(TEXT), shared("bench"));
    let base = [
        "curve",
        text(&model),
        "--text",
        text(&read),
        "--data",
        text(&data),
        "--samples",
        "4",
        "--tokens",
        "512",
        "--search-tokens",
        "256",
        "--limit",
        "8",
        "--device",
        "cpu",
        "--output",
        text(output),
    ];
    base.iter()
        .chain(more)
        .map(|part| (*part).to_string())
        .collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn every_depth_is_measured_by_every_strategy_and_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("curve");
    json(&strs(&curve(&output, &["--seeds", "2", "--json"])));
    let curve_json = read_json(&output.join("curve.json"));
    let series = curve_json["series"].as_array().expect("a list");
    let names: Vec<&str> = series
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "similarity",
            "simple",
            "influence",
            "greedy",
            "random 0",
            "random 1"
        ]
    );
    for one in series {
        let points = one["points"].as_array().expect("a list");
        assert_eq!(points.len(), 5);
        for (dropped, point) in points.iter().enumerate() {
            assert_eq!(
                point["layers"].as_array().expect("a list").len(),
                5 - dropped
            );
            for measure in [
                "loss",
                "cross_entropy",
                "kl",
                "agreement",
                "piqa",
                "arc-easy",
            ] {
                assert!(
                    point["values"][measure]["value"].is_f64(),
                    "{measure} of {}",
                    one["name"]
                );
            }
        }
        // Full depth is no way from itself.
        assert!(
            points[0]["values"]["kl"]["value"]
                .as_f64()
                .expect("a number")
                .abs()
                < 1e-6
        );
        assert_eq!(points[0]["values"]["agreement"]["value"], 1.0);
    }
    let chosen = &curve_json["chosen_on"];
    assert_eq!(
        (&chosen["first"], &chosen["tokens"]),
        (&0.into(), &512.into())
    );
    assert_eq!(curve_json["judged_on"]["first"], 512);
    for file in [
        "curve.svg",
        "curve.png",
        "curve-loss.svg",
        "curve-piqa.png",
        "curve.md",
        "scan.json",
    ] {
        assert!(output.join(file).is_file(), "{file}");
    }
    let table = std::fs::read_to_string(output.join("curve.md")).expect("a table");
    assert!(
        table.contains("| dropped | share | similarity | simple | influence | greedy | random |")
    );
}

#[test]
fn a_curve_that_was_ended_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, ended) = (folder.path().join("whole"), folder.path().join("ended"));
    let some = ["--strategies", "similarity,greedy", "--json"];
    json(&strs(&curve(&whole, &some)));
    // As a run leaves it that was killed while it wrote: some points, and part of a line.
    let state = std::fs::read_to_string(whole.join("curve.state")).expect("a state");
    let lines: Vec<&str> = state.lines().collect();
    assert!(lines.len() > 20, "{} lines", lines.len());
    let cut = format!("{}\n{}", lines[..10].join("\n"), &lines[10][..30]);
    std::fs::create_dir(&ended).expect("a folder");
    std::fs::write(ended.join("curve.state"), cut).expect("writes");
    json(&strs(&curve(&ended, &some)));
    for file in ["curve.json", "curve.svg", "curve.md"] {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).expect("reads");
        assert_eq!(read(&whole), read(&ended), "{file}");
    }
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("curve");
    for (flags, says) in [
        (&["--tokens", "10000000"][..], "give a longer text"),
        (&["--tokens", "100"], "ask for 256 at least"),
        (&["--tasks", "nothing"], "there is no task"),
        (&["--tasks", "gsm8k"], "no choice among options"),
        (
            &["--strategies", "random", "--seeds", "0"],
            "no series is left",
        ),
    ] {
        // The last of equal flags counts only where clap is told so; these are given once.
        let base: Vec<String> = curve(&output, &[]);
        let without = base
            .iter()
            .zip(base.iter().skip(1))
            .position(|(a, _)| flags[0] == a);
        let mut args = base.clone();
        if let Some(at) = without {
            args.drain(at..at + 2);
        }
        args.extend(flags.iter().map(|flag| (*flag).to_string()));
        let message = error(&strs(&args));
        assert!(message.contains(says), "{flags:?}: {message}");
        assert!(!output.exists(), "{flags:?}");
    }
    let report = json(&strs(&curve(&output, &["--dry-run", "--json"])));
    assert_eq!(report["judged_on_tokens"], serde_json::json!([512, 1024]));
    assert!(!output.exists());
}
