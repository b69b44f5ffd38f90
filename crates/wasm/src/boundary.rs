//! The values that cross to JavaScript, as `www/engine.d.ts` declares them, and errors with a name and advice.

use halfdepth::chat::{ChatError, Message};
use halfdepth::decode::sampler::Sampling;
use halfdepth::decode::trial::Trial;
use halfdepth::decode::{Bandwidth, DecodeError, Drafts, Step};
use halfdepth::kernels::UnknownVariant;
use halfdepth::model::{BuildError, Cache, LoadError};
use halfdepth::pack::{FileInfo, Manifest, PackError, Role};
use halfdepth::plan::{PlanEntry, PlanError, PlanFigures};
use halfdepth::tokenizer::TokenizerError;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

/// What a turn is asked with: a conversation, or token ids as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    messages: Option<Vec<Message>>,
    ids: Option<Vec<u32>>,
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
    #[serde(default)]
    pub(crate) ignore_end: bool,
    pub(crate) draft: Option<Draft>,
}

/// The lane that drafts an answer.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Draft {
    pub(crate) lane: usize,
    /// Also where it does not pay.
    #[serde(default)]
    always: bool,
}

impl Draft {
    pub(crate) fn drafts(self) -> Drafts {
        match self.always {
            true => Drafts::Always,
            false => Drafts::WhereTheyPay,
        }
    }
}

/// What the model is to read.
pub(crate) enum Prompt {
    Messages(Vec<Message>),
    Ids(Vec<u32>),
}

impl Request {
    /// Takes what is to be read out of the request.
    pub(crate) fn take_prompt(&mut self) -> Result<Prompt, Failure> {
        one_prompt(self.messages.take(), self.ids.take())
    }
}

/// What is to be read: a conversation, or token ids as they are.
#[derive(Deserialize)]
pub(crate) struct PromptRequest {
    messages: Option<Vec<Message>>,
    ids: Option<Vec<u32>>,
}

impl PromptRequest {
    pub(crate) fn prompt(self) -> Result<Prompt, Failure> {
        one_prompt(self.messages, self.ids)
    }
}

fn one_prompt(messages: Option<Vec<Message>>, ids: Option<Vec<u32>>) -> Result<Prompt, Failure> {
    match (messages, ids) {
        (Some(messages), None) => Ok(Prompt::Messages(messages)),
        (None, Some(ids)) => Ok(Prompt::Ids(ids)),
        _ => Err(Failure::new(
            "InvalidRequest",
            "a prompt is either `messages` or `ids`; give one of them",
        )),
    }
}

/// What a step brought, and what it cost the worker.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimedStep {
    #[serde(flatten)]
    pub(crate) step: Step,
    /// Milliseconds inside `step`, waiting for the device left out.
    pub(crate) cpu_ms: f64,
}

/// How fast the device reads.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadBandwidth {
    bytes_per_second: f64,
    buffer_bytes: u64,
}

impl From<Bandwidth> for ReadBandwidth {
    fn from(bandwidth: Bandwidth) -> Self {
        Self {
            bytes_per_second: bandwidth.bytes_per_second,
            buffer_bytes: bandwidth.buffer_bytes,
        }
    }
}

/// How far the trial of kernels has come.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrialReport {
    /// Nothing is left to try, or no time.
    over: bool,
    /// The quickest so far.
    variant: String,
    spent_ms: f64,
    measured: Vec<TrialMeasure>,
}

#[derive(Serialize)]
struct TrialMeasure {
    variant: String,
    ms: f64,
    prefill: bool,
}

impl From<&Trial> for TrialReport {
    fn from(trial: &Trial) -> Self {
        let measured = trial.measured().iter().map(|measured| TrialMeasure {
            variant: measured.variant.to_string(),
            ms: measured.ms,
            prefill: measured.prefill,
        });
        Self {
            over: trial.is_over(),
            variant: trial.best().to_string(),
            spent_ms: trial.spent_ms(),
            measured: measured.collect(),
        }
    }
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
    /// The head is the embedding.
    tied_head: bool,
    /// Keys and values of one position in one layer.
    cache_bytes_per_position: u64,
    plans: Vec<Plan>,
    /// The texts on which the plans were measured.
    evaluation: Vec<Text>,
    files: Vec<File>,
    chat: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    name: String,
    title: String,
    layers: Vec<usize>,
    /// Of these, layers that run in weights of their own.
    replaced: Vec<usize>,
    /// On the first text.
    cross_entropy: Option<f64>,
    /// On each text, where measured.
    figures: Vec<Option<Figures>>,
    /// Weights that a lane reads for a token.
    weight_bytes_per_token: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    cross_entropy: f64,
    agreement: Option<f64>,
    kl: Option<f64>,
}

#[derive(Serialize)]
struct Text {
    text: String,
    tokens: u64,
    protocol: String,
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
            tied_head: config.tied_head,
            cache_bytes_per_position: 2 * Cache::largest_tensor_bytes(config, 1),
            plans: (manifest.plans().iter())
                .filter_map(|plan| Plan::new(manifest, plan))
                .collect(),
            evaluation: (manifest.evaluation().iter())
                .map(|text| Text {
                    text: text.text.clone(),
                    tokens: text.tokens,
                    protocol: text.protocol.clone(),
                })
                .collect(),
            files: each_once(manifest.files())
                .map(|info| File::new(manifest, info))
                .collect(),
            chat: manifest.chat_template().is_some(),
        }
    }
}

/// Equal layers share a file, and one download serves them all.
fn each_once(files: Vec<FileInfo>) -> impl Iterator<Item = FileInfo> {
    let mut seen = std::collections::HashSet::new();
    files
        .into_iter()
        .filter(move |info| seen.insert(info.file.clone()))
}

impl Plan {
    /// `None` for a plan that the manifest does not run, which was refused when it was read.
    fn new(manifest: &Manifest, entry: &PlanEntry) -> Option<Self> {
        let plan = manifest.plan(&entry.name).ok()?;
        let figures = entry.figures.iter();
        Some(Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            layers: entry.layers.clone(),
            replaced: plan.replaced().keys().copied().collect(),
            cross_entropy: entry.cross_entropy(),
            figures: figures.map(|some| some.map(Figures::from)).collect(),
            weight_bytes_per_token: manifest.bytes_per_token(&plan),
        })
    }
}

impl From<PlanFigures> for Figures {
    fn from(figures: PlanFigures) -> Self {
        Self {
            cross_entropy: figures.cross_entropy,
            agreement: figures.agreement,
            kl: figures.kl,
        }
    }
}

impl File {
    fn new(manifest: &Manifest, info: FileInfo) -> Self {
        let (role, layer) = match info.role {
            Role::Tokenizer => ("tokenizer", None),
            Role::Embedding => ("embedding", None),
            Role::Head => ("head", None),
            Role::Layer(layer) => ("layer", Some(layer)),
            Role::Replacement(number) => ("replacement", manifest.replaced_layer(number)),
            Role::ReplacedHead(_) => ("replaced-head", None),
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
            DecodeError::NotReady | DecodeError::NonFinite => "EngineError",
            DecodeError::UnknownToken { .. } | DecodeError::Context { .. } => "PackError",
        };
        Self::new(name, error.to_string())
    }
}

impl From<UnknownVariant> for Failure {
    fn from(error: UnknownVariant) -> Self {
        Self::new("InvalidRequest", error.to_string())
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        Self::new("PackError", error.to_string())
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new("InvalidRequest", error.to_string())
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
