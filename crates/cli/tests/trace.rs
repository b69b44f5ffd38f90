//! `trace` and `lens` as a user runs them: what they find, what they write, what they refuse.

#[path = "common/process.rs"]
mod process;

use std::path::Path;

use process::{error, json, read_json, run, shared, text};
use serde_json::Value;

const PROMPT: &str = "<|user|>Tell me a story about Lily and a dog.<|end|><|assistant|>Once upon a time, there was a little girl named";

fn model() -> String {
    text(&shared("models/halfdepth-stories-12L")).to_string()
}

fn verb<'a>(verb: &'a str, model: &'a str, output: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let first = [verb, model, "--device", "cpu", "--output", text(output)];
    let prompt = match more.contains(&"--prompt") {
        true => &[][..],
        false => &["--prompt", PROMPT][..],
    };
    [&first[..], prompt, more].concat()
}

fn pictures_are_there(folder: &Path, name: &str) {
    for (ending, begin) in [("svg", &b"<svg"[..]), ("png", b"\x89PNG")] {
        let bytes = std::fs::read(folder.join(format!("{name}.{ending}"))).expect("a picture");
        assert!(bytes.starts_with(begin), "{ending}");
    }
    assert_eq!(std::fs::read_dir(folder).expect("lists").count(), 3);
}

#[test]
fn a_name_is_traced_to_where_the_prompt_says_it_and_the_plan_is_held_against_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("trace");
    let model = model();
    let more = [
        "--subject",
        "Lily",
        "--plan",
        "half",
        "--samples",
        "4",
        "--json",
    ];
    let report = json(&verb("trace", &model, &output, &more));
    pictures_are_there(&output, "trace");
    let trace = read_json(&output.join("trace.json"));
    assert_eq!(trace["format"], "halfdepth-trace");
    assert_eq!(trace["version"], 1);
    assert_eq!(trace["answer"][0]["text"], " Lily");
    let subject = trace["subject_tokens"][0].as_u64().expect("a token") as usize;
    assert_eq!(trace["tokens"][subject]["text"], " Lily");
    let effect = |layer: usize, token: usize| {
        let mean = &trace["effects"][layer][token]["mean"];
        mean.as_f64().expect("a mean")
    };
    let last = trace["tokens"].as_array().expect("tokens").len() - 1;
    let number = |value: &Value| value.as_f64().expect("a number");
    let total = number(&trace["clean"]) - number(&trace["corrupted"]["mean"]);
    assert!(total > 0.3, "{total}");
    // After the first layer the name is where it was read; after the last, where it is said.
    assert!(effect(0, subject) > 0.9 * total && effect(0, last) < 0.1 * total);
    assert!(effect(11, last) > 0.99 * total && effect(11, subject) == 0.0);
    assert!((0..subject).all(|token| effect(3, token) == 0.0));
    let plan = &report["plan"];
    assert_eq!(plan, &trace["plan"]);
    assert_eq!(plan["cut"], serde_json::json!([5, 6, 7, 8, 9, 10]));
    assert!((0.3..0.7).contains(&number(&plan["share_of_effects"])));
    assert!(number(&plan["probability"]) < number(&trace["clean"]));
    let strongest = &report["strongest"];
    assert_eq!(strongest["text"], " Lily");
}

#[test]
fn the_table_names_layers_that_are_cut_and_the_same_seed_writes_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model();
    let mut written = Vec::new();
    for name in ["a", "b"] {
        let output = folder.path().join(name);
        let more = [
            "--subject",
            "Lily",
            "--kind",
            "mlp",
            "--samples",
            "2",
            "--plan",
            "half",
        ];
        let done = run(&verb("trace", &model, &output, &more));
        let printed = String::from_utf8(done.stdout).expect("UTF-8");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert_eq!(printed.matches("(cut)").count(), 6, "{printed}");
        assert!(printed.contains("layers that half leaves out"), "{printed}");
        written.push(std::fs::read(output.join("trace.json")).expect("reads"));
    }
    assert_eq!(written[0], written[1]);
}

#[test]
fn an_answer_of_several_tokens_is_measured_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model();
    let clean = |name: &str, answer: &str| {
        let output = folder.path().join(name);
        let more = [
            "--subject",
            "Lily",
            "--samples",
            "2",
            "--answer",
            answer,
            "--json",
        ];
        let report = json(&verb("trace", &model, &output, &more));
        report["clean"].as_f64().expect("a probability")
    };
    let (name, whole) = (clean("a", " Lily"), clean("b", " Lily. She loved"));
    assert!(whole > 0.0 && whole < name, "{whole} {name}");
}

#[test]
fn the_lens_of_a_pack_shows_where_the_answer_comes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("lens");
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/halfdepth-stories-12L");
    let more = ["--plan", "half", "--top", "3", "--json"];
    let report = json(&verb("lens", text(&pack), &output, &more));
    pictures_are_there(&output, "lens");
    let lens = read_json(&output.join("lens.json"));
    assert_eq!(lens["format"], "halfdepth-lens");
    assert_eq!(report["answer"]["text"], " Lily");
    let depths = lens["readings"].as_array().expect("depths");
    assert_eq!(depths.len(), 13);
    let first = report["first_at_depth"].as_u64().expect("a depth") as usize;
    let rank = |depth: usize| &report["last_position"][depth]["rank"];
    assert_eq!(rank(first), 1);
    assert!((0..first).all(|depth| rank(depth) != 1));
    let after = report["plan"]["answer_first_after"]
        .as_u64()
        .expect("a layer") as usize;
    assert_eq!(after + 1, first);
    assert_eq!(report["plan"]["cuts_it"], (5..=10).contains(&after));
    for reading in depths[12].as_array().expect("positions") {
        assert_eq!(reading["top"].as_array().expect("tokens").len(), 3);
        assert_eq!(reading["rank"], 1);
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("nothing");
    let model = model();
    let report = json(&verb(
        "trace",
        &model,
        &output,
        &["--subject", "dog", "--dry-run", "--json"],
    ));
    assert_eq!(report["subject_tokens"].as_array().map(Vec::len), Some(1));
    let report = json(&verb("lens", &model, &output, &["--dry-run", "--json"]));
    assert_eq!(report["depths"], 13);
    assert!(!output.exists());
}

#[test]
fn what_cannot_be_traced_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("nothing");
    let model = model();
    let rows: [(&str, &[&str], &str); 10] = [
        ("trace", &["--subject", "Tom"], "is not in the prompt"),
        ("trace", &["--subject", ""], "the subject is empty"),
        ("trace", &["--subject", "a"], "--occurrence 1 to"),
        (
            "trace",
            &["--subject", "dog", "--occurrence", "2"],
            "they are 1 to 1",
        ),
        (
            "trace",
            &["--subject", "dog", "--samples", "0"],
            "--samples cannot be 0",
        ),
        (
            "trace",
            &["--subject", "dog", "--noise", "inf"],
            "--noise cannot be inf",
        ),
        (
            "trace",
            &["--subject", "dog", "--window", "13"],
            "--window cannot be 13",
        ),
        (
            "trace",
            &["--subject", "dog", "--plan", "no"],
            "the plans `full` and `half`",
        ),
        ("lens", &["--top", "0"], "--top 0 shows nothing"),
        ("lens", &["--prompt", ""], "the prompt is empty"),
    ];
    for (name, more, expected) in rows {
        let message = error(&verb(name, &model, &output, more));
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    assert!(!output.exists());
}
