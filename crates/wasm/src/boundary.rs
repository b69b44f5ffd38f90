//! The values that cross to JavaScript, as `www/engine.d.ts` declares them, and errors with a name and advice.

use halfdepth::chat::{ChatError, Message};
use halfdepth::decode::DecodeError;
use halfdepth::decode::sampler::Sampling;
use halfdepth::model::{BuildError, LoadError};
use halfdepth::pack::{Manifest, PackError, Role};
use halfdepth::plan::PlanEntry;
use halfdepth::tokenizer::TokenizerError;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

/// What a turn is asked with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) messages: Vec<Message>,
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
}

/// What a turn begins with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Started {
    pub(crate) prompt_tokens: usize,
    pub(crate) reused_tokens: usize,
    pub(crate) context_left: usize,
}

/// Bytes on the device, and of the engine's own memory.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    pub(crate) weight_bytes: usize,
    pub(crate) lane_bytes: Vec<usize>,
    pub(crate) wasm_bytes: usize,
}

/// A pack's description.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PackInfo {
    name: String,
    source: String,
    licence: Option<String>,
    layers: usize,
    hidden_size: usize,
    vocab_size: usize,
    context: usize,
    parameters: u64,
    plans: Vec<Plan>,
    files: Vec<File>,
    chat: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    name: String,
    title: String,
    layers: Vec<usize>,
    cross_entropy: Option<f64>,
}

#[derive(Serialize)]
struct File {
    file: String,
    bytes: u64,
    sha256: String,
    role: &'static str,
    layer: Option<usize>,
}

impl From<&Manifest> for PackInfo {
    fn from(manifest: &Manifest) -> Self {
        let config = manifest.config();
        Self {
            name: manifest.name().to_string(),
            source: manifest.source().name.clone(),
            licence: manifest.source().licence.clone(),
            layers: config.layers,
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            context: config.context,
            parameters: config.parameters(),
            plans: manifest.plans().iter().map(Plan::from).collect(),
            files: each_once(manifest.files()).map(File::from).collect(),
            chat: manifest.chat_template().is_some(),
        }
    }
}

/// Equal layers share a file, and one download serves them all.
fn each_once(
    files: Vec<halfdepth::pack::FileInfo>,
) -> impl Iterator<Item = halfdepth::pack::FileInfo> {
    let mut seen = std::collections::HashSet::new();
    files
        .into_iter()
        .filter(move |info| seen.insert(info.file.clone()))
}

impl From<&PlanEntry> for Plan {
    fn from(plan: &PlanEntry) -> Self {
        Self {
            name: plan.name.clone(),
            title: plan.title.clone(),
            layers: plan.layers.clone(),
            cross_entropy: plan.cross_entropy,
        }
    }
}

impl From<halfdepth::pack::FileInfo> for File {
    fn from(info: halfdepth::pack::FileInfo) -> Self {
        let (role, layer) = match info.role {
            Role::Tokenizer => ("tokenizer", None),
            Role::Embedding => ("embedding", None),
            Role::Head => ("head", None),
            Role::Layer(layer) => ("layer", Some(layer)),
        };
        // A file is named by its hash; the manifest was refused if it were not.
        let sha256 = info.file.split('.').next().unwrap_or_default().to_string();
        Self {
            file: info.file,
            bytes: info.bytes,
            sha256,
            role,
            layer,
        }
    }
}

/// An error on its way to JavaScript.
pub(crate) struct Failure {
    name: &'static str,
    message: String,
}

impl Failure {
    pub(crate) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
        }
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = js_sys::Error::new(&failure.message);
        error.set_name(failure.name);
        error.into()
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let name = match &error {
            DecodeError::NoGpu { .. } => "WebGpuUnavailable",
            DecodeError::SelfTest { .. } => "SelfTestFailed",
            DecodeError::Device { .. } => "DeviceLost",
            DecodeError::ContextFull { .. } => "ContextFull",
            DecodeError::EmptyPrompt | DecodeError::Plan { .. } | DecodeError::Request { .. } => {
                "InvalidRequest"
            }
            DecodeError::NotReady => "EngineError",
            DecodeError::UnknownToken { .. } | DecodeError::Context { .. } => "PackError",
        };
        Self::new(name, error.to_string())
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        Self::new("PackError", error.to_string())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::new("PackError", error.to_string())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let name = match &error {
            LoadError::Pack(_) => "PackError",
            LoadError::NoSuchFile { .. } | LoadError::Gap { .. } => "InvalidRequest",
            LoadError::InUse(_) => "EngineError",
            LoadError::Device { .. } => "DeviceLost",
        };
        Self::new(name, error.to_string())
    }
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        Self::new("PackError", error.to_string())
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Self::new("PackError", error.to_string())
    }
}

impl From<serde_wasm_bindgen::Error> for Failure {
    fn from(error: serde_wasm_bindgen::Error) -> Self {
        Self::new("InvalidRequest", error.to_string())
    }
}
