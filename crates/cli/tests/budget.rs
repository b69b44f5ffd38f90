//! `halfdepth budget` as a user runs it.

#[path = "common/process.rs"]
mod process;

use std::process::Output;

use serde_json::Value;

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
