//! `halfdepth.json`: what a cut model was cut from.

use serde::{Deserialize, Serialize};

use super::PruneError;
use crate::heal::HealingNote;
use crate::plan::LayerPlan;

/// The name of a record in a folder.
pub const RECORD: &str = "halfdepth.json";

/// What a cut model was cut from, and which of its layers it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: String,
    version: u64,
    /// The program that cut it.
    pub program: String,
    /// What it was cut from.
    pub source: RecordSource,
    /// The plan's name.
    pub plan: String,
    /// By position in the cut model: the layer's number in the model that was never cut.
    pub original_layers: Vec<usize>,
    /// Numbers, in the source, of the layers that were left out.
    pub dropped: Vec<usize>,
    /// What took the place of some of the source's weights, where anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healing: Option<HealingNote>,
}

/// What a model was cut from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSource {
    /// What it is called.
    pub name: String,
    /// `safetensors` or `gguf`.
    pub kind: String,
    /// Of the weight files, see [`crate::checkpoint::Checkpoint::sha256`].
    pub sha256: String,
    /// Layers it has.
    pub layers: usize,
}

impl Record {
    /// Of a cut of `source` by `plan`; `before` are the numbers its layers had in the model that was never cut, where it was cut
    /// itself.
    pub fn new(source: RecordSource, plan: &LayerPlan, before: Option<&[usize]>) -> Self {
        let original = |layer: &usize| {
            let known = before.and_then(|layers| layers.get(*layer));
            known.copied().unwrap_or(*layer)
        };
        let dropped = (0..source.layers).filter(|layer| !plan.layers.contains(layer));
        Self {
            format: FORMAT.into(),
            version: VERSION,
            program: concat!("halfdepth ", env!("CARGO_PKG_VERSION")).into(),
            plan: plan.name.clone(),
            original_layers: plan.layers.iter().map(original).collect(),
            dropped: dropped.collect(),
            healing: None,
            source,
        }
    }

    /// Reads a record of a model of so many layers.
    ///
    /// # Errors
    /// It is none, of another version, or of another model.
    pub fn parse(json: &[u8], layers: usize) -> Result<Self, PruneError> {
        let bad = |reason: String| PruneError::BadRecord { reason };
        if json.len() > MAX_BYTES {
            return Err(bad(format!("it has {} bytes", json.len())));
        }
        let record: Self = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        if (record.format.as_str(), record.version) != (FORMAT, VERSION) {
            return Err(bad("it is of another kind or version".into()));
        }
        if record.original_layers.len() != layers {
            let listed = record.original_layers.len();
            return Err(bad(format!(
                "it lists {listed} layers, the model has {layers}"
            )));
        }
        Ok(record)
    }

    /// The record as a file.
    pub fn to_json(&self) -> String {
        crate::header::pretty(self)
    }
}

const FORMAT: &str = "halfdepth-pruned";
const VERSION: u64 = 1;
const MAX_BYTES: usize = 1 << 20;
