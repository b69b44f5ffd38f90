//! The engine: one pack on one device, and the lanes over it.
//!
//! JavaScript calls it from several places at once: files arrive while lanes are made. So every method borrows it shared,
//! nothing inside is borrowed across an await, and a lane at work is taken out of its place.

use std::cell::{OnceCell, RefCell, RefMut};
use std::sync::Arc;

use halfdepth::chat::{ChatTemplate, Message};
use halfdepth::decode::{self, Device, GpuInfo, Lane, Turn, TurnRequest};
use halfdepth::model::{Cache, Loader};
use halfdepth::pack::Manifest;
use halfdepth::tokenizer::Tokenizer;
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::adapter::{self, Adapter};
use crate::boundary::{Failure, Memory, PackInfo, Request, Started};

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
    device: Device,
    adapter: Adapter,
    /// Empty until the first file or lane: nothing is allocated for a visitor who only looks.
    loader: RefCell<Option<Loader>>,
    tokenizer: OnceCell<Tokenizer>,
    template: Option<ChatTemplate>,
    lanes: RefCell<Vec<Place>>,
}

/// A lane's place: empty while the lane is at work.
struct Place {
    bytes: usize,
    at_rest: Option<AtRest>,
}

struct AtRest {
    lane: Lane,
    turn: Option<Turn>,
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

    /// Takes the bytes of a file from byte `at` on, verifies them as they pass and puts them on the device; says whether the
    /// file is in. Byte 0 begins the file anew.
    #[wasm_bindgen(js_name = loadChunk)]
    pub fn load_chunk(&self, file: &str, at: f64, bytes: &[u8]) -> Result<bool, JsValue> {
        Ok(self.load(file, at as u64, bytes)?)
    }

    /// A lane that runs the layers of a plan over the shared weights, which may still be on their way.
    #[wasm_bindgen(js_name = addLane)]
    pub async fn add_lane(&self, plan: &str) -> Result<usize, JsValue> {
        let plan = self.manifest.plan(plan).map_err(Failure::from)?;
        let model = Arc::clone(self.loader()?.model());
        let lane = Lane::new(&model, plan, LARGEST_CONTEXT)
            .await
            .map_err(Failure::from)?;
        let mut lanes = self.lanes.borrow_mut();
        lanes.push(Place {
            bytes: lane.bytes(),
            at_rest: Some(AtRest { lane, turn: None }),
        });
        Ok(lanes.len() - 1)
    }

    /// Takes a conversation; the steps that follow read it and answer.
    #[wasm_bindgen(js_name = startTurn)]
    pub async fn start_turn(&self, lane: usize, request: JsValue) -> Result<JsValue, JsValue> {
        let request: Request = serde_wasm_bindgen::from_value(request).map_err(Failure::from)?;
        to_js(&self.start(lane, request)?)
    }

    /// The next tokens of a lane's answer.
    pub async fn step(&self, lane: usize) -> Result<JsValue, JsValue> {
        let tokenizer = self.tokenizer.get().ok_or_else(not_loaded)?;
        let mut at_work = self.take(lane)?;
        let stepped = match &mut at_work.turn {
            Some(turn) => turn.step(&mut at_work.lane, tokenizer).await,
            None => {
                self.put_back(lane, at_work);
                return Err(
                    Failure::new("InvalidRequest", "no turn was started on this lane").into(),
                );
            }
        };
        self.put_back(lane, at_work);
        to_js(&stepped.map_err(Failure::from)?)
    }

    /// Bytes on the device, and of the engine's own memory.
    pub fn memory(&self) -> Result<JsValue, JsValue> {
        let loader = self.loader.borrow();
        to_js(&Memory {
            weight_bytes: loader.as_ref().map_or(0, |l| l.model().weight_bytes()),
            lane_bytes: self.lanes.borrow().iter().map(|p| p.bytes).collect(),
            wasm_bytes: core::arch::wasm32::memory_size(0) * WASM_PAGE,
        })
    }
}

/// Bytes of a page of wasm memory.
const WASM_PAGE: usize = 65_536;

impl Engine {
    async fn open_pack(manifest: &[u8]) -> Result<Self, Failure> {
        let manifest = Manifest::parse(manifest)?;
        let special = manifest.special();
        let template = manifest
            .chat_template()
            .map(|source| ChatTemplate::new(source, special.bos.as_deref(), special.eos.as_deref()))
            .transpose()?;
        let (device, gpu, adapter) = device().await?;
        Loader::fits(&manifest, &device)?;
        cache_fits(&manifest, &gpu)?;
        Ok(Self {
            device,
            adapter,
            loader: RefCell::new(None),
            tokenizer: OnceCell::new(),
            template,
            lanes: RefCell::new(Vec::new()),
            manifest,
        })
    }

    /// The loader, and with it the model: allocated the first time.
    fn loader(&self) -> Result<RefMut<'_, Loader>, Failure> {
        let mut place = self.loader.borrow_mut();
        let loader = match place.take() {
            Some(loader) => loader,
            None => Loader::new(&self.manifest, &self.device)?,
        };
        Ok(RefMut::map(place, |place| place.insert(loader)))
    }

    fn load(&self, file: &str, at: u64, bytes: &[u8]) -> Result<bool, Failure> {
        let mut loader = self.loader()?;
        let is_in = loader.load_chunk(file, at, bytes)?;
        if let Some(json) = loader.take_tokenizer() {
            let tokenizer = Tokenizer::from_json(&json)?;
            tokenizer.fits(self.manifest.config().vocab_size)?;
            // The loader hands it over once.
            let _ = self.tokenizer.set(tokenizer);
        }
        Ok(is_in)
    }

    fn start(&self, lane: usize, request: Request) -> Result<Started, Failure> {
        let prompt = self.prompt(&request.messages)?;
        let tokenizer = self.tokenizer.get().ok_or_else(not_loaded)?;
        let mut lanes = self.lanes.borrow_mut();
        let AtRest { lane, turn } = at_rest(&mut lanes, lane)?;
        if !self.loader()?.holds(&lane.plan().layers) {
            return Err(not_loaded());
        }
        let request = TurnRequest {
            prompt,
            sampling: request.sampling,
            max_tokens: request.max_tokens,
            stop: request.stop,
            ignore_end: false,
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

    fn take(&self, lane: usize) -> Result<AtRest, Failure> {
        let mut lanes = self.lanes.borrow_mut();
        let place = lanes.get_mut(lane).ok_or_else(|| no_lane(lane))?;
        place.at_rest.take().ok_or_else(|| at_work(lane))
    }

    fn put_back(&self, lane: usize, at_rest: AtRest) {
        if let Some(place) = self.lanes.borrow_mut().get_mut(lane) {
            place.at_rest = Some(at_rest);
        }
    }

    /// The conversation as the model reads it. A model without a chat template continues the last message.
    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, Failure> {
        let tokenizer = self.tokenizer.get().ok_or_else(not_loaded)?;
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
}

/// Whether the device can bind the cache of one layer.
fn cache_fits(manifest: &Manifest, gpu: &GpuInfo) -> Result<(), Failure> {
    let config = manifest.config();
    let cache = Cache::largest_tensor_bytes(config, config.context.min(LARGEST_CONTEXT));
    if cache <= gpu.largest_binding {
        return Ok(());
    }
    let limit = gpu.largest_binding;
    Err(Failure::new(
        "PackError",
        format!(
            "one layer's cache takes {cache} bytes, but this GPU binds {limit} at once; use another GPU"
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

fn not_loaded() -> Failure {
    Failure::new(
        "InvalidRequest",
        "what this lane runs on is not all loaded yet; load the pack's other files first",
    )
}

fn at_rest(lanes: &mut [Place], lane: usize) -> Result<&mut AtRest, Failure> {
    let place = lanes.get_mut(lane).ok_or_else(|| no_lane(lane))?;
    place.at_rest.as_mut().ok_or_else(|| at_work(lane))
}

fn at_work(lane: usize) -> Failure {
    Failure::new(
        "InvalidRequest",
        format!("lane {lane} is at work; wait for its step to end"),
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
