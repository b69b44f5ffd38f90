//! The text stages against real data: tokenizers, streams of tokens, chat templates, sampling, stop strings.

mod hostile;
mod sampling;
mod stream;
mod templates;
mod to_gguf;
mod tokens;

use std::path::PathBuf;

/// A path under the folder of data that tests share. What is missing there fails the test that wants it.
fn shared(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(path)
}

fn bytes(path: &str) -> Vec<u8> {
    let path = shared(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(path: &str) -> String {
    String::from_utf8(bytes(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&bytes(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tokenizer(folder: &str) -> halfdepth::tokenizer::Tokenizer {
    let path = format!("{folder}/tokenizer.json");
    halfdepth::tokenizer::Tokenizer::from_json(&bytes(&path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}
