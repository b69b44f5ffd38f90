//! `halfdepth budget` as a user runs it.

#[path = "common/process.rs"]
mod process;

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    process::run(&[&["budget"], arguments].concat())
}

fn text(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_articles_model_is_set_beside_the_articles_figures() {
    let shown = text(&["llama-2-70b"]);
    for part in [
        "137.95",
        "19.55",
        "17.38",
        "1.374e11",
        "does not hold",
        "2 x (weights of the layers' matrices",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json: Value = serde_json::from_str(&text(&[
        "llama-2-70b",
        "--json",
        "--bits",
        "4.5",
        "--context",
        "1",
    ]))
    .expect("JSON");
    assert_eq!(json["format"], "halfdepth-budget");
    assert_eq!(json["budget"]["half"]["depth"]["mlps"], 40);
    assert_eq!(json["budget"]["half"]["weight_bytes"], 19_547_140_608_u64);
}

#[test]
fn a_pack_a_config_and_a_checkpoint_are_reckoned() {
    let root = env!("CARGO_MANIFEST_DIR");
    let shared = format!("{root}/../../../shared/data");
    for model in [
        format!("{root}/../../models/halfdepth-stories-12L"),
        format!("{shared}/models/halfdepth-stories-12L"),
        format!("{shared}/models/halfdepth-stories-12L/config.json"),
        format!("{shared}/models/stories260K/stories260K-q4_0.gguf"),
    ] {
        let json: Value =
            serde_json::from_str(&text(&[&model, "--json", "--drop", "2"])).expect("JSON");
        let layers = json["config"]["layers"].as_u64().expect("layers");
        assert_eq!(
            json["budget"]["half"]["depth"]["mlps"],
            layers - 2,
            "{model}"
        );
    }
}

#[test]
fn mistakes_are_named_and_advised_on() {
    for (arguments, part) in [
        (vec!["llama-9"], "llama-2-70b"),
        (vec!["smollm2-135m", "--drop", "30"], "cannot be dropped"),
        (vec!["smollm2-135m", "--drop", "100%"], "--drop"),
        (vec!["smollm2-135m", "--drop", "x"], "--drop"),
        (vec!["smollm2-135m", "--bits", "q9"], "pack-q4"),
        (vec!["smollm2-135m", "--context", "9000"], "8192"),
        (vec!["smollm2-135m", "--bandwidth", "0"], "--bandwidth"),
    ] {
        let output = run(&arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

/// The page reckons for itself, and its tests hold it to what is recorded here. After a change that is meant:
/// `HALFDEPTH_RECORD=1 cargo test -p halfdepth-cli --test budget`.
#[test]
fn what_the_page_is_held_to_is_what_is_printed() {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = repository.join("tests/unit/budget");
    let cases = std::fs::read_to_string(folder.join("cases.txt")).expect("the cases");
    let printed: Vec<Value> = cases
        .lines()
        .map(|case| {
            let output = process::halfdepth()
                .current_dir(&repository)
                .args(["budget", "--json"])
                .args(case.split_whitespace())
                .output()
                .expect("runs");
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{case}: {message}");
            let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            recorded(case, &rounded(&printed))
        })
        .collect();
    let recording = folder.join("recorded.jsonl");
    if std::env::var_os("HALFDEPTH_RECORD").is_some() {
        let lines: Vec<String> = printed.iter().map(Value::to_string).collect();
        std::fs::write(&recording, lines.join("\n") + "\n").expect("the recording is written");
        return;
    }
    let lines = std::fs::read_to_string(&recording).expect("the recording");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), printed.len(), "cases");
    for (line, printed) in lines.iter().zip(&printed) {
        assert_eq!(line, printed, "{}", printed["arguments"]);
    }
}

/// What the page shows of a reckoning: every number, without the notes, and the tables as rows.
fn recorded(case: &str, printed: &Value) -> Value {
    let rows = |field: &str, columns: &[&str]| -> Vec<Value> {
        let cells = |row: &Value| -> Value {
            let cells = columns.iter().map(|column| row.pointer(column).cloned());
            Value::Array(cells.map(Option::unwrap_or_default).collect())
        };
        let table = printed[field].as_array().expect("a table");
        table.iter().map(cells).collect()
    };
    let storages = rows(
        "storages",
        &[
            "/name",
            "/full/weight_bytes",
            "/half/weight_bytes",
            "/full/read_bytes_per_token",
            "/half/read_bytes_per_token",
        ],
    );
    let cards = rows(
        "cards",
        &[
            "/name",
            "/memory_gib",
            "/bytes_per_second",
            "/fits/full",
            "/fits/half",
            "/bound_tokens_per_second/full",
            "/bound_tokens_per_second/half",
        ],
    );
    let article = printed["article"].as_array().map(|claims| {
        let numbers = ["claimed_full", "claimed_half", "full", "half"];
        let claim = |claim: &Value| -> Value {
            let numbers = numbers.map(|name| (name.to_owned(), claim[name].clone()));
            Value::Object(numbers.into_iter().collect())
        };
        claims.iter().map(claim).collect::<Vec<Value>>()
    });
    json!({
        "arguments": case, "name": printed["name"], "config": printed["config"], "context": printed["context"],
        "parameters": printed["parameters"], "bytes_per_second": printed["bytes_per_second"],
        "storage": printed["storage"], "budget": printed["budget"],
        "storages": storages, "cards": cards, "article": article,
    })
}

/// Floats to twelve digits: of seventeen, what serde_json reads may be off in the last, and the recording would drift.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = format!("{:.11e}", number.as_f64().expect("a float"));
            json!(text.parse::<f64>().expect("a float"))
        }
        Value::Array(list) => list.iter().map(rounded).collect(),
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(name, value)| (name.clone(), rounded(value)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}
