//! A healing and its folder: `healing.json` says how it came about, `healing.safetensors` has the weights it changes, in f32,
//! under Hugging Face's names and the numbers that the layers have in the model that was never cut.

use std::collections::BTreeMap;

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::HealError;
use crate::checkpoint::{Weight, hex, hugging_face_name, hugging_face_weight};
use crate::config::LlamaConfig;
use crate::header::{HeaderError, check_header, pretty};
use crate::plan::{LayerPlan, PlanError};
use crate::prune::RecordSource;

/// The name of a healing's record in its folder.
pub const HEALING: &str = "healing.json";
/// The name of a healing's weights in its folder.
pub const TENSORS: &str = "healing.safetensors";

const FORMAT: &str = "halfdepth-healing";
const VERSION: u64 = 1;
/// Of the record. Hyperparameters and the names of some texts take a few thousand.
const MAX_BYTES: usize = 1 << 20;
/// Of the header of the weights. That of a model of 126 layers, all changed, has 200 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Whole tensors that take the place of the model's own, and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Healing {
    /// How.
    pub record: Record,
    /// By place in the model that was never cut: (rows, cols), row-major. Of a tied model a `Head` here is a head of its own; the
    /// embedding stays what it is.
    pub tensors: BTreeMap<Weight, Vec<f32>>,
}

/// How a healing came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    format: String,
    version: u64,
    /// The program that healed.
    pub program: String,
    /// `patch`, `lora`, `distill`, `last-layers`.
    pub method: String,
    /// The model that was healed, uncut.
    pub source: RecordSource,
    plan: PlanRecord,
    /// Whatever was drawn at random was drawn from this.
    pub seed: u64,
    /// The method's settings, by name.
    pub settings: Map<String, Value>,
    /// What was learned from.
    pub texts: Vec<Text>,
    /// Steps of the optimiser; 0 where nothing was trained.
    pub steps: u64,
    /// Tokens that were read to learn from.
    pub tokens: u64,
    /// Nats a token on held-out text, before.
    pub loss_before: Option<f64>,
    /// Nats a token on held-out text, after.
    pub loss_after: Option<f64>,
    /// Of the weights' file; empty in a record that was not written yet.
    tensors_sha256: String,
}

/// A text that was learned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// What it is called.
    pub name: String,
    /// Of its bytes.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlanRecord {
    name: String,
    layers: Vec<usize>,
}

/// Which healing it was, for what was made with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealingNote {
    /// [`Record::method`].
    pub method: String,
    /// Of its weights.
    pub sha256: String,
}

/// A healing's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealingFiles {
    /// [`HEALING`].
    pub record: String,
    /// [`TENSORS`].
    pub tensors: Vec<u8>,
}

impl Record {
    /// A record of a method that has not run yet.
    pub fn new(method: &str, source: RecordSource, plan: &LayerPlan, seed: u64) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            program: concat!("halfdepth ", env!("CARGO_PKG_VERSION")).into(),
            method: method.into(),
            source,
            plan: PlanRecord {
                name: plan.name.clone(),
                layers: plan.layers.clone(),
            },
            seed,
            settings: Map::new(),
            texts: Vec::new(),
            steps: 0,
            tokens: 0,
            loss_before: None,
            loss_after: None,
            tensors_sha256: String::new(),
        }
    }

    /// The layers that run, in the numbers of the model that was never cut.
    ///
    /// # Errors
    /// They are no plan of the source's layers.
    pub fn plan(&self) -> Result<LayerPlan, PlanError> {
        LayerPlan::new(
            self.plan.name.clone(),
            self.plan.layers.clone(),
            self.source.layers,
        )
    }

    /// Of the weights' file, in hexadecimal; empty in a record that was not written yet.
    pub fn tensors_sha256(&self) -> &str {
        &self.tensors_sha256
    }

    /// Which healing it is.
    pub fn note(&self) -> HealingNote {
        HealingNote {
            method: self.method.clone(),
            sha256: self.tensors_sha256.clone(),
        }
    }

    /// Reads a record alone.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub fn parse(json: &[u8]) -> Result<Self, HealError> {
        check_header(json, (FORMAT, VERSION), MAX_BYTES).map_err(|error| match error {
            HeaderError::Other(reason) => no_record(reason),
            HeaderError::Version(found) => HealError::Version {
                found,
                known: VERSION,
            },
        })?;
        let record: Self = serde_json::from_slice(json).map_err(no_record)?;
        record.plan()?;
        Ok(record)
    }

    /// Refuses other weights than those that were healed; several hashes stand for one model where a pack names its checkpoint's.
    ///
    /// # Errors
    /// None of them is the source's.
    pub fn is_for(&self, sha256: &[impl AsRef<str>]) -> Result<(), HealError> {
        let mut hashes = sha256.iter().map(AsRef::as_ref);
        if hashes.any(|hash| hash == self.source.sha256) {
            return Ok(());
        }
        Err(HealError::OtherWeights {
            model: self.source.name.chars().take(64).collect(),
            expected: short(&self.source.sha256),
            found: sha256
                .first()
                .map_or_else(String::new, |hash| short(hash.as_ref())),
        })
    }
}

impl Healing {
    /// The healing as files.
    ///
    /// # Errors
    /// A weight is not of this shape or not finite: it would not be read again.
    pub fn to_files(&self, config: &LlamaConfig) -> Result<HealingFiles, HealError> {
        self.check(config)?;
        let tensors = write_tensors(self.tensors.iter().map(|(weight, values)| {
            let (rows, cols) = weight.shape(config);
            let shape = if weight.is_norm() {
                vec![cols]
            } else {
                vec![rows, cols]
            };
            (hugging_face_name(*weight), shape, values.as_slice())
        }))
        .map_err(no_tensors)?;
        let record = Record {
            tensors_sha256: hex(&Sha256::digest(&tensors)),
            ..self.record.clone()
        };
        Ok(HealingFiles {
            record: pretty(&record),
            tensors,
        })
    }

    /// Reads a healing of a model of this shape. Whether it is of these weights, [`Record::is_for`] says.
    ///
    /// # Errors
    /// The files are no healing, do not belong together, or are for a model of another shape.
    pub fn from_files(
        record: &[u8],
        tensors: &[u8],
        config: &LlamaConfig,
    ) -> Result<Self, HealError> {
        let record = Record::parse(record)?;
        if hex(&Sha256::digest(tensors)) != record.tensors_sha256 {
            let reason = "its bytes are not those that the record names: it is damaged, or of another healing";
            return Err(no_tensors(reason));
        }
        let mut read = BTreeMap::new();
        for (name, view) in &parse_tensors(tensors).map_err(no_tensors)? {
            let weight = hugging_face_weight(name).ok_or_else(|| {
                let name: String = name.chars().take(80).collect();
                no_tensors(format!("a Llama has no tensor {name:?}"))
            })?;
            let values = floats(name, view).map_err(no_tensors)?;
            let (rows, cols) = weight.shape(config);
            let is_right = match weight.is_norm() {
                true => view.shape() == [cols],
                false => view.shape() == [rows, cols],
            };
            if !is_right {
                let found = view.shape();
                return Err(record.other_shape(format!(
                    "tensor `{name}` is {found:?}, the model's {rows} x {cols}"
                )));
            }
            read.insert(weight, values);
        }
        let healing = Self {
            record,
            tensors: read,
        };
        healing.check(config)?;
        Ok(healing)
    }

    /// Whether every weight has its shape, is finite, and runs.
    pub(super) fn check(&self, config: &LlamaConfig) -> Result<(), HealError> {
        let record = &self.record;
        if record.source.layers != config.layers {
            let (theirs, found) = (record.source.layers, config.layers);
            return Err(record.other_shape(format!("it has {theirs} layers, this one has {found}")));
        }
        let plan = record.plan()?;
        for (weight, values) in &self.tensors {
            let name = || hugging_face_name(*weight);
            if let Weight::Layer(layer, _) = weight
                && !plan.layers.contains(layer)
            {
                let reason = format!("`{}` is of a layer that the plan leaves out", name());
                return Err(no_tensors(reason));
            }
            let (rows, cols) = weight.shape(config);
            if values.len() != rows * cols {
                let found = values.len();
                return Err(record.other_shape(format!(
                    "tensor `{}` has {found} values, the model's {rows} x {cols}",
                    name()
                )));
            }
            if values.iter().any(|value| !value.is_finite()) {
                let reason = format!("`{}` holds a value that is not finite", name());
                return Err(no_tensors(reason));
            }
        }
        Ok(())
    }
}

impl Record {
    fn other_shape(&self, reason: String) -> HealError {
        HealError::OtherShape {
            model: self.source.name.chars().take(64).collect(),
            reason,
        }
    }
}

/// A safetensors file of f32 tensors: names, shapes and values in, bytes out.
pub(super) fn write_tensors<'v>(
    tensors: impl Iterator<Item = (String, Vec<usize>, &'v [f32])>,
) -> Result<Vec<u8>, String> {
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let mut views = Vec::new();
    for (name, shape, bytes) in &stored {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        views.push((name.as_str(), view.map_err(|error| error.to_string())?));
    }
    // transformers and PEFT refuse files that do not say where they come from.
    let about = [("format".to_string(), "pt".to_string())].into();
    serialize(views, Some(about)).map_err(|error| error.to_string())
}

/// The tensors of a safetensors file; offsets, shapes and types are found to agree and to cover the file.
pub(super) fn parse_tensors(bytes: &[u8]) -> Result<Vec<(String, TensorView<'_>)>, String> {
    let length = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
    match length {
        Some(length) if length <= MAX_HEADER_BYTES => {}
        Some(length) => return Err(format!("its header claims {length} bytes")),
        None => return Err(format!("it has {} bytes", bytes.len())),
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    Ok(file.tensors())
}

/// The values of a tensor that has to be f32 and finite.
pub(super) fn floats(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let name: String = name.chars().take(80).collect();
    if view.dtype() != Dtype::F32 {
        return Err(format!("tensor `{name}` is {}, not F32", view.dtype()));
    }
    let values = view.data().as_chunks::<4>().0.iter();
    let values: Vec<f32> = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(format!("tensor `{name}` holds a value that is not finite")),
    }
}

fn no_record(reason: impl ToString) -> HealError {
    HealError::NotAHealing {
        file: HEALING,
        reason: reason.to_string(),
    }
}

fn no_tensors(reason: impl ToString) -> HealError {
    HealError::NotAHealing {
        file: TENSORS,
        reason: reason.to_string(),
    }
}

fn short(sha256: &str) -> String {
    format!("{}…", sha256.chars().take(12).collect::<String>())
}
