//! `scan` as a user runs it: what it finds, what it leaves when it is killed, how much memory it takes, and what it refuses.

#[path = "common/checkpoint.rs"]
mod checkpoint;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use checkpoint::{Shape, write_random};
use memory::peak_anonymous_bytes;
use process::{error, halfdepth, json, read_json, run, shared, text};
use serde_json::Value;

const TEXT: &str = "text/tinystories_val_0.8MB.txt";

#[test]
fn scan_finds_the_best_blocks_of_the_reference() {
    let folder = tempfile::tempdir().expect("a folder");
    for model in ["stories260K", "TinyStories-656K", "halfdepth-stories-12L"] {
        let golden = read_json(&shared(&format!("goldens/{model}.json")));
        let golden = &golden["similarity"];
        let output = folder.path().join(model).join("scan.json");
        let report = json(&[
            "scan",
            text(&shared(&format!("models/{model}"))),
            "--text",
            text(&shared(TEXT)),
            "--samples",
            &golden["samples"].to_string(),
            "--tokens",
            &golden["tokens_per_sample"].to_string(),
            "--device",
            "cpu",
            "--output",
            text(&output),
            "--json",
        ]);
        let scan = read_json(&output);
        assert_eq!(scan["best_start"], golden["best_start"], "{model}");
        assert_eq!(scan["sampling"], "sequential");
        let best = report["best"].as_array().expect("a list");
        assert_eq!(
            best.len(),
            scan["best_start"].as_object().expect("a map").len()
        );
        for picture in ["scan.svg", "scan.png"] {
            let bytes = std::fs::read(output.with_file_name(picture)).expect("a picture");
            assert!(
                bytes.starts_with(b"<svg") || bytes.starts_with(b"\x89PNG"),
                "{picture}"
            );
        }
        let files = std::fs::read_dir(output.parent().expect("a folder")).expect("lists");
        assert_eq!(files.count(), 3, "nothing else is left");
    }
}

#[test]
fn a_pack_and_a_gguf_file_are_scanned_as_their_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = shared("models/stories260K");
    let pack = folder.path().join("pack");
    let packing = [
        "pack",
        text(&model),
        "--output",
        text(&pack),
        "--layers",
        "f32",
        "--embedding",
        "f32",
    ];
    assert!(run(&packing).status.success());
    let gguf = model.join("stories260K-f32.gguf");
    let mut best = Vec::new();
    for (source, kind) in [(&model, "safetensors"), (&pack, "pack"), (&gguf, "gguf")] {
        let output = folder.path().join(format!("{kind}.json"));
        let read = shared(TEXT);
        let arguments = [
            "scan",
            text(source),
            "--text",
            text(&read),
            "--samples",
            "8",
            "--tokens",
            "32",
            "--sampling",
            "random",
            "--seed",
            "7",
            "--device",
            "cpu",
            "--output",
            text(&output),
            "--json",
        ];
        best.push(json(&arguments)["best"].clone());
        let scan = read_json(&output);
        assert_eq!(scan["model"]["kind"], kind);
        assert_eq!(scan["seed"], 7);
    }
    assert_eq!(best[0], best[1]);
    assert_eq!(best[0], best[2]);
}

/// Deep enough to be killed on the way, with a vocabulary far larger than a layer.
const DEEP: Shape = Shape {
    hidden: 256,
    intermediate: 1024,
    layers: 20,
    heads: 4,
    kv_heads: 2,
    vocabulary: 65_536,
};

#[test]
fn a_killed_scan_leaves_no_scan_and_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    write_random(&model, &DEEP);
    let scan = |output: &Path| {
        let mut command = halfdepth();
        command.args([
            "scan",
            text(&model),
            "--text",
            text(&shared(TEXT)),
            "--samples",
            "16",
        ]);
        command.args([
            "--tokens",
            "64",
            "--device",
            "cpu",
            "--json",
            "--output",
            text(output),
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let output = folder.path().join("scan.json");
    let state = folder.path().join("scan.json.state");
    let mut child = scan(&output).spawn().expect("runs");
    let begun = Instant::now();
    while !state.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no state was written"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    assert!(!output.exists());

    // Another scan must not go on from it.
    let tiny = folder.path().join("other.txt");
    std::fs::write(&tiny, "Once upon a time there was a cat. ".repeat(400)).expect("writes");
    let other = [
        "scan",
        text(&model),
        "--text",
        text(&tiny),
        "--samples",
        "16",
        "--tokens",
        "64",
        "--output",
        text(&output),
    ];
    let message = error(&other);
    assert!(
        message.contains("scan.json.state") && message.contains("another text"),
        "{message}"
    );

    let report = scan(&output).output().expect("runs");
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
    let resumed = report["resumed_after_layers"].as_u64().expect("a number");
    assert!((1..20).contains(&resumed), "{resumed}");
    assert!(!state.exists());
    let whole = folder.path().join("whole.json");
    assert!(scan(&whole).output().expect("runs").status.success());
    assert_eq!(
        std::fs::read(&output).expect("reads"),
        std::fs::read(&whole).expect("reads")
    );
}

/// Scans random weights of this shape and says how much memory that took.
fn measure(shape: &Shape, samples: &str, folder: &Path) -> u64 {
    let model = folder.join("model");
    write_random(&model, shape);
    let mut command = halfdepth();
    command.args([
        "scan",
        text(&model),
        "--text",
        text(&shared(TEXT)),
        "--device",
        "cpu",
    ]);
    command.args([
        "--samples",
        samples,
        "--tokens",
        "128",
        "--output",
        text(&folder.join("scan.json")),
    ]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("runs");
    let peak = peak_anonymous_bytes(&mut child);
    assert!(child.wait().expect("ends").success());
    eprintln!(
        "scan of {:.2} GB: {:.3} GB anonymous at the peak",
        shape.bytes() as f64 / 1e9,
        peak as f64 / 1e9
    );
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn memory_holds_one_layer_and_never_the_whole_table() {
    let folder = tempfile::tempdir().expect("a folder");
    // In f32 the table takes 128 MiB and the layers 128 MiB, of 4 MiB each.
    let shape = Shape {
        hidden: 256,
        intermediate: 1024,
        layers: 32,
        vocabulary: 131_072,
        ..DEEP
    };
    let peak = measure(&shape, "4", folder.path());
    // The program itself, two cores' work on a few samples, the layer: 77 MiB are seen.
    assert!(peak < 140 << 20, "{peak}");
}

#[cfg(target_os = "linux")]
#[test]
fn llama_3_2_1b_is_scanned_in_less_than_a_gigabyte() {
    let folder = tempfile::tempdir().expect("a folder");
    let shape = Shape {
        hidden: 2048,
        intermediate: 8192,
        layers: 16,
        heads: 32,
        kv_heads: 8,
        vocabulary: 128_256,
    };
    assert!(measure(&shape, "16", folder.path()) < 1_000_000_000);
}

#[test]
fn a_dry_run_says_how_much_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("new").join("scan.json");
    let report = json(&[
        "scan",
        text(&shared("models/stories260K")),
        "--text",
        text(&shared(TEXT)),
        "--device",
        "cpu",
        "--output",
        text(&output),
        "--dry-run",
        "--json",
    ]);
    assert_eq!(
        (&report["samples"], &report["tokens_per_sample"]),
        (&128.into(), &128.into())
    );
    assert!(report["memory_bytes"].as_u64().expect("a number") > 1 << 20);
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
}

#[test]
fn what_cannot_be_scanned_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("writes");
        path
    };
    let empty = file("empty.txt", b"");
    let tiny = file("tiny.txt", b"Once upon a time");
    let binary = file("binary.txt", b"\xff\xfe\x00");
    let good = shared(TEXT);
    let output = folder.path().join("scan.json");
    let folder_text = text(folder.path()).to_string();
    let rows: [(&Path, &[&str], &str); 7] = [
        (&empty, &[], "the text has 0 tokens"),
        (&tiny, &[], "give a longer text"),
        (&binary, &[], "cannot read"),
        (Path::new("/nowhere.txt"), &[], "cannot read /nowhere.txt"),
        (&good, &["--samples", "0"], "ask for at least one"),
        (&good, &["--tokens", "0"], "ask for at least one"),
        (&good, &["--samples", "99999999"], "99999999 were asked for"),
    ];
    for (input, more, expected) in rows {
        let model = shared("models/stories260K");
        let mut arguments = vec![
            "scan",
            text(&model),
            "--text",
            text(input),
            "--device",
            "cpu",
            "--output",
            text(&output),
        ];
        arguments.extend(more);
        let message = error(&arguments);
        assert!(message.contains(expected), "{message}");
        assert!(!output.exists());
    }
    let model = shared("models/stories260K");
    let into_folder = [
        "scan",
        text(&model),
        "--text",
        text(&good),
        "--output",
        &folder_text,
    ];
    assert!(error(&into_folder).contains("is a folder"));
}
