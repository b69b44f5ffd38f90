//! Runs the command as a user does.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) fn shared(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(path);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub(crate) fn halfdepth() -> Command {
    Command::new(env!("CARGO_BIN_EXE_halfdepth"))
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    halfdepth().args(arguments).output().expect("runs")
}

/// The one JSON object that a successful run prints on one line.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {message}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// What a run that fails says, which is one message and no panic.
pub(crate) fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(
        message.contains("error: ") && !message.contains("panicked"),
        "{message}"
    );
    message
}
