//! Points that were measured, as text: a line that says what it is, then a line a point. Lines are only ever added, and each is
//! bound to model, plan, items and device by its key, so that a later run takes from it whatever it asks again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{CurveError, Job, Measured};
use crate::eval::StateKey;
use crate::plan::SublayerPlan;

const FORMAT: &str = "halfdepth-curve-state";
const VERSION: u64 = 1;

/// Points by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State(HashMap<String, Measured>);

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    measured: Measured,
}

/// The key of a job under a plan; `model` says whatever tells one model and device from another.
pub fn point_key(model: &[&str], plan: &SublayerPlan, job: &Job) -> String {
    let what_runs = plan.what_runs();
    let parts = [model, &[&what_runs, job.name(), job.digest()]].concat();
    StateKey::new(&parts, &[]).short().to_string()
}

/// The first line of a state.
pub fn state_header() -> String {
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
    };
    serde_json::to_string(&header).unwrap_or_default() + "\n"
}

/// The line of a point.
pub fn record(key: &str, measured: &Measured) -> String {
    let line = Line {
        key: key.to_string(),
        measured: measured.clone(),
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

impl State {
    /// Reads a state. A last line that was cut off is passed over.
    ///
    /// # Errors
    /// It is none, or a line is not what this code writes.
    pub fn parse(text: &str) -> Result<Self, CurveError> {
        let wrong = |reason: String| CurveError::State { reason };
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines();
        let Some(first) = lines.next() else {
            return Ok(Self::default());
        };
        let header: Header =
            serde_json::from_str(first).map_err(|error| wrong(format!("line 1: {error}")))?;
        if (header.format.as_str(), header.version) != (FORMAT, VERSION) {
            return Err(wrong("it has another format or version".into()));
        }
        let mut points = HashMap::new();
        for (number, line) in lines.enumerate() {
            let line: Line = serde_json::from_str(line)
                .map_err(|error| wrong(format!("line {}: {error}", number + 2)))?;
            points.insert(line.key, line.measured);
        }
        Ok(Self(points))
    }

    /// A point, where it was measured.
    pub fn get(&self, key: &str) -> Option<&Measured> {
        self.0.get(key)
    }

    /// Notes a point.
    pub fn insert(&mut self, key: String, measured: Measured) {
        self.0.insert(key, measured);
    }

    /// All of it, as its file's text.
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .map(|(key, point)| record(key, point))
            .collect();
        lines.sort();
        state_header() + &lines.concat()
    }
}
