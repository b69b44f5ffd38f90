//! The engine: one pack on one device, and the lanes over it.

use std::cell::RefCell;
use std::sync::Arc;

use halfdepth::chat::{ChatTemplate, Message};
use halfdepth::decode::{self, Device, GpuInfo, Lane, Turn, TurnRequest};
use halfdepth::model::{Cache, Llama, LlamaBuilder};
use halfdepth::pack::{Manifest, Role};
use halfdepth::tokenizer::Tokenizer;
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::adapter::{self, Adapter};
use crate::boundary::{
    Failure, Memory, PackInfo, Prompt, ReadBandwidth, Request, Started, TimedStep,
};

thread_local! {
    /// The device is asked for once: a second pack opened in the same worker uses it too.
    static GPU: RefCell<Option<(Device, GpuInfo, Adapter)>> = const { RefCell::new(None) };
}

/// Positions that a lane holds at most; a longer context costs memory that a page does not have.
const LARGEST_CONTEXT: usize = 4096;

/// One pack on one device.
#[wasm_bindgen]
pub struct Engine {
    manifest: Manifest,
    adapter: Adapter,
    missing: Vec<String>,
    builder: Option<LlamaBuilder>,
    model: Option<Arc<Llama>>,
    tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
    lanes: Vec<(Lane, Option<Turn>)>,
}

#[wasm_bindgen]
impl Engine {
    /// Parses and checks a manifest and asks for a device.
    pub async fn open(manifest: Vec<u8>) -> Result<Engine, JsValue> {
        Ok(Self::open_pack(&manifest).await?)
    }

    /// The device.
    pub fn adapter(&self) -> Result<JsValue, JsValue> {
        to_js(&self.adapter)
    }

    /// What the manifest says.
    pub fn pack(&self) -> Result<JsValue, JsValue> {
        to_js(&PackInfo::from(&self.manifest))
    }

    /// Verifies and uploads one file of the pack; says whether all are in.
    pub fn load(&mut self, file: &str, bytes: &[u8]) -> Result<bool, JsValue> {
        Ok(self.load_file(file, bytes)?)
    }

    /// A lane that runs the layers of a plan over the shared weights.
    #[wasm_bindgen(js_name = addLane)]
    pub async fn add_lane(&mut self, plan: &str) -> Result<usize, JsValue> {
        let plan = self.manifest.plan(plan).map_err(Failure::from)?;
        let model = self.model()?;
        let lane = Lane::new(model, plan, LARGEST_CONTEXT)
            .await
            .map_err(Failure::from)?;
        self.lanes.push((lane, None));
        Ok(self.lanes.len() - 1)
    }

    /// Takes a conversation; the steps that follow read it and answer.
    #[wasm_bindgen(js_name = startTurn)]
    pub async fn start_turn(&mut self, lane: usize, request: JsValue) -> Result<JsValue, JsValue> {
        let request: Request = serde_wasm_bindgen::from_value(request).map_err(Failure::from)?;
        to_js(&self.start(lane, request)?)
    }

    /// The next tokens of a lane's answer.
    pub async fn step(&mut self, lane: usize) -> Result<JsValue, JsValue> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(not_loaded)?;
        let (lane, turn) = self.lanes.get_mut(lane).ok_or_else(|| no_lane(lane))?;
        let turn = turn
            .as_mut()
            .ok_or_else(|| Failure::new("InvalidRequest", "no turn was started on this lane"))?;
        let (step, cpu_ms) = timed(turn.step(lane, tokenizer)).await;
        let step = step.map_err(Failure::from)?;
        to_js(&TimedStep { step, cpu_ms })
    }

    /// How fast the device reads a buffer of `bytes`, or the largest it can bind. Takes about two seconds.
    #[wasm_bindgen(js_name = readBandwidth)]
    pub async fn read_bandwidth(&self, bytes: f64) -> Result<JsValue, JsValue> {
        let (device, gpu, _) = device().await?;
        // A float that is no number of bytes becomes 0, and 0 the smallest buffer.
        let measured = decode::read_bandwidth(&device, bytes as u64, gpu.largest_binding, now_ms)
            .await
            .map_err(Failure::from)?;
        to_js(&ReadBandwidth::from(measured))
    }

    /// Bytes on the device.
    pub fn memory(&self) -> Result<JsValue, JsValue> {
        to_js(&Memory {
            weight_bytes: self.model.as_ref().map_or(0, |model| model.weight_bytes()),
            lane_bytes: self.lanes.iter().map(|(lane, _)| lane.bytes()).collect(),
        })
    }
}

impl Engine {
    async fn open_pack(manifest: &[u8]) -> Result<Self, Failure> {
        let manifest = Manifest::parse(manifest)?;
        let special = manifest.special();
        let template = manifest
            .chat_template()
            .map(|source| ChatTemplate::new(source, special.bos.as_deref(), special.eos.as_deref()))
            .transpose()?;
        let (device, gpu, adapter) = device().await?;
        fits(&manifest, &gpu)?;
        Ok(Self {
            adapter,
            missing: manifest.files().into_iter().map(|info| info.file).collect(),
            builder: Some(LlamaBuilder::new(manifest.config().clone(), &device)),
            model: None,
            tokenizer: None,
            template,
            lanes: Vec::new(),
            manifest,
        })
    }

    fn load_file(&mut self, file: &str, bytes: &[u8]) -> Result<bool, Failure> {
        let roles: Vec<Role> = self
            .manifest
            .files()
            .into_iter()
            .filter(|info| info.file == file)
            .map(|info| info.role)
            .collect();
        if roles.is_empty() {
            return Err(Failure::new(
                "InvalidRequest",
                format!("{file} is no file of this pack"),
            ));
        }
        if !self.missing.iter().any(|missing| missing == file) {
            return Ok(self.missing.is_empty());
        }
        let builder = self
            .builder
            .as_mut()
            .ok_or_else(|| Failure::new("InvalidRequest", "every file is in already"))?;
        // Layers with equal weights share a file.
        for role in roles {
            match role {
                Role::Tokenizer => {
                    let tokenizer = Tokenizer::from_json(self.manifest.read_tokenizer(bytes)?)?;
                    tokenizer.fits(self.manifest.config().vocab_size)?;
                    self.tokenizer = Some(tokenizer);
                }
                Role::Embedding => builder.embedding(self.manifest.read_embedding(bytes)?)?,
                Role::Head => builder.head(self.manifest.read_head(bytes)?)?,
                Role::Layer(layer) => {
                    builder.layer(layer, self.manifest.read_layer(layer, bytes)?)?
                }
            }
        }
        self.missing.retain(|missing| missing != file);
        if !self.missing.is_empty() {
            return Ok(false);
        }
        if let Some(builder) = self.builder.take() {
            self.model = Some(Arc::new(builder.build()?));
        }
        Ok(true)
    }

    fn start(&mut self, lane: usize, mut request: Request) -> Result<Started, Failure> {
        let prompt = match request.take_prompt()? {
            Prompt::Messages(messages) => self.prompt(&messages)?,
            Prompt::Ids(ids) => ids,
        };
        let tokenizer = self.tokenizer.as_ref().ok_or_else(not_loaded)?;
        let (lane, turn) = self.lanes.get_mut(lane).ok_or_else(|| no_lane(lane))?;
        let request = TurnRequest {
            prompt,
            sampling: request.sampling,
            max_tokens: request.max_tokens,
            stop: request.stop,
            ignore_end: request.ignore_end,
        };
        let started = Turn::start(lane, tokenizer, request, now_ms)?;
        let stats = started.stats();
        *turn = Some(started);
        Ok(Started {
            prompt_tokens: stats.prompt_tokens,
            reused_tokens: stats.reused_tokens,
            context_left: lane.context() - stats.prompt_tokens,
        })
    }

    /// The conversation as the model reads it. A model without a chat template continues the last message.
    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, Failure> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(not_loaded)?;
        match &self.template {
            // The template writes the special tokens itself.
            Some(template) => Ok(tokenizer.encode(&template.render(messages, true)?, false)?),
            None => {
                let text = messages
                    .last()
                    .map_or("", |message| message.content.as_str());
                Ok(tokenizer.encode(text, true)?)
            }
        }
    }

    fn model(&self) -> Result<&Arc<Llama>, Failure> {
        self.model.as_ref().ok_or_else(not_loaded)
    }
}

/// Whether the device can bind the largest tensors: embedding, head, and the cache of one layer.
fn fits(manifest: &Manifest, gpu: &GpuInfo) -> Result<(), Failure> {
    let config = manifest.config();
    let ends = manifest
        .files()
        .into_iter()
        .filter(|info| matches!(info.role, Role::Embedding | Role::Head));
    let cache = Cache::largest_tensor_bytes(config, config.context.min(LARGEST_CONTEXT));
    let largest = ends
        .map(|info| info.bytes)
        .max()
        .unwrap_or_default()
        .max(cache);
    if largest <= gpu.largest_binding {
        return Ok(());
    }
    let limit = gpu.largest_binding;
    Err(Failure::new(
        "PackError",
        format!(
            "this model has a tensor of {largest} bytes, but this GPU binds {limit} at most; pack it with \
             --embedding q4, or use another GPU"
        ),
    ))
}

async fn device() -> Result<(Device, GpuInfo, Adapter), Failure> {
    if let Some(open) = GPU.with_borrow(Clone::clone) {
        return Ok(open);
    }
    let (device, gpu) = decode::open_gpu().await?;
    let opened = (device, gpu, adapter::describe().await);
    GPU.set(Some(opened.clone()));
    Ok(opened)
}

/// Milliseconds since the worker began. `Date` would do, but it knows whole milliseconds only.
fn now_ms() -> f64 {
    thread_local! {
        static CLOCK: Option<web_sys::Performance> =
            js_sys::global().dyn_into::<web_sys::WorkerGlobalScope>().ok().and_then(|scope| scope.performance());
    }
    CLOCK.with(|clock| {
        clock
            .as_ref()
            .map_or_else(js_sys::Date::now, web_sys::Performance::now)
    })
}

/// Awaits `work` and adds up the time of its polls: what the worker itself took, without its waits.
async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let mut work = std::pin::pin!(work);
    let mut spent_ms = 0.0;
    let done = std::future::poll_fn(|context| {
        let begun_ms = now_ms();
        let poll = work.as_mut().poll(context);
        spent_ms += now_ms() - begun_ms;
        poll
    })
    .await;
    (done, spent_ms)
}

fn not_loaded() -> Failure {
    Failure::new(
        "InvalidRequest",
        "the pack is not loaded yet; load every file first",
    )
}

fn no_lane(lane: usize) -> Failure {
    Failure::new(
        "InvalidRequest",
        format!("there is no lane {lane}; add it first"),
    )
}

fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    // Numbers as numbers: JSON-compatible, so that a u64 is no BigInt.
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    Ok(value.serialize(&serializer).map_err(Failure::from)?)
}
