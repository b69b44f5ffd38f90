//! The engine: one pack on one device, and the lanes over it.
//!
//! JavaScript calls it from several places at once: files arrive while lanes are made. So every method borrows it shared,
//! nothing inside is borrowed across an await, and a lane at work is taken out of its place.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::sync::Arc;

use halfdepth::chat::{ChatTemplate, Message};
use halfdepth::decode::trial::Trial;
use halfdepth::decode::{self, Device, Drafts, GpuInfo, Lane, LaneOptions, Turn, TurnRequest};
use halfdepth::kernels::Variant;
use halfdepth::model::{Cache, Loader};
use halfdepth::pack::Manifest;
use halfdepth::plan::LanePlan;
use halfdepth::tokenizer::Tokenizer;
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::adapter::{self, Adapter};
use crate::boundary::{
    Draft, Failure, Memory, PackInfo, Prompt, ReadBandwidth, Request, Started, TimedStep,
    TrialReport,
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
    device: Device,
    gpu: GpuInfo,
    adapter: Adapter,
    /// Empty until the first file or lane: nothing is allocated for a visitor who only looks.
    loader: RefCell<Option<Loader>>,
    tokenizer: OnceCell<Tokenizer>,
    template: Option<ChatTemplate>,
    lanes: RefCell<Vec<Place>>,
    /// The kernels of the lanes to come.
    variant: Cell<Variant>,
    /// None before the first step, and while one is under way.
    trial: RefCell<Option<Trial>>,
}

/// A lane's place: empty while the lane is at work.
struct Place {
    /// What the manifest calls the lane's plan: [`Engine::set_plan`] changes what runs of it.
    named: LanePlan,
    bytes: usize,
    at_rest: Option<AtRest>,
}

pub(crate) struct AtRest {
    pub(crate) lane: Lane,
    pub(crate) turn: Option<Turn>,
    /// The lane that drafts the turn.
    draft: Option<usize>,
}

impl AtRest {
    /// A lane without a turn.
    fn idle(lane: Lane) -> Self {
        Self {
            lane,
            turn: None,
            draft: None,
        }
    }
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
        let options = LaneOptions {
            context: LARGEST_CONTEXT,
            variant: self.variant.get(),
        };
        let lane = Lane::with(&model, plan.clone(), options)
            .await
            .map_err(Failure::from)?;
        let mut lanes = self.lanes.borrow_mut();
        lanes.push(Place {
            named: plan,
            bytes: lane.bytes(),
            at_rest: Some(AtRest::idle(lane)),
        });
        Ok(lanes.len() - 1)
    }

    /// The kernels of the lanes to come, by name.
    pub fn variant(&self) -> String {
        self.variant.get().to_string()
    }

    /// Chooses the kernels of the lanes to come: a name that `variant` gave on an earlier visit.
    #[wasm_bindgen(js_name = useVariant)]
    pub fn use_variant(&self, name: &str) -> Result<(), JsValue> {
        let variant: Variant = name.parse().map_err(Failure::from)?;
        let variant = self.gpu.checked(variant).map_err(Failure::from)?;
        self.variant.set(variant);
        Ok(())
    }

    /// Times one more variant and chooses the quickest so far for the lanes to come.
    #[wasm_bindgen(js_name = tryVariant)]
    pub async fn try_variant(&self) -> Result<JsValue, JsValue> {
        let mut trial = self.trial.take().unwrap_or_else(|| self.new_trial());
        let stepped = trial.step().await;
        let report = TrialReport::from(&trial);
        self.variant.set(trial.best());
        self.trial.replace(Some(trial));
        stepped.map_err(Failure::from)?;
        to_js(&report)
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
        let Some(turn) = &mut at_work.turn else {
            self.put_back(lane, at_work);
            let reason = "no turn was started on this lane";
            return Err(Failure::new("InvalidRequest", reason).into());
        };
        let (stepped, cpu_ms) = match at_work.draft.map(|draft| (draft, self.take(draft))) {
            None => timed(turn.step(&mut at_work.lane, tokenizer)).await,
            Some((number, Ok(mut draft))) => {
                let done = turn.step_with(&mut at_work.lane, &mut draft.lane, tokenizer);
                let done = timed(done).await;
                self.put_back(number, draft);
                done
            }
            Some((_, Err(error))) => {
                self.put_back(lane, at_work);
                return Err(error.into());
            }
        };
        if let Some(place) = self.lanes.borrow_mut().get_mut(lane) {
            place.bytes = at_work.lane.bytes();
        }
        self.put_back(lane, at_work);
        let step = stepped.map_err(Failure::from)?;
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
        let (device, mut gpu, adapter) = device().await?;
        gpu.subgroup = adapter.subgroup;
        Loader::fits(&manifest, &device)?;
        cache_fits(&manifest, &gpu)?;
        // wgpu calls every browser's device "other"; the browser itself knows whether it is a program.
        gpu.software |= adapter.fallback;
        let variant = gpu.variant();
        Ok(Self {
            device,
            gpu,
            adapter,
            variant: Cell::new(variant),
            trial: RefCell::new(None),
            loader: RefCell::new(None),
            tokenizer: OnceCell::new(),
            template,
            lanes: RefCell::new(Vec::new()),
            manifest,
        })
    }

    fn new_trial(&self) -> Trial {
        let config = self.manifest.config();
        let start = self.variant.get();
        Trial::new(config, start, self.gpu.subgroup, &self.device, now_ms)
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

    fn start(&self, lane: usize, mut request: Request) -> Result<Started, Failure> {
        let prompt = match request.take_prompt()? {
            Prompt::Messages(messages) => self.prompt(&messages)?,
            Prompt::Ids(ids) => ids,
        };
        let tokenizer = self.tokenizer.get().ok_or_else(not_loaded)?;
        let mut lanes = self.lanes.borrow_mut();
        if let Some(Draft { lane: draft, .. }) = request.draft {
            if draft == lane {
                let reason = "a lane cannot draft its own answer; name another";
                return Err(Failure::new("InvalidRequest", reason));
            }
            if !self
                .loader()?
                .holds(at_rest(&mut lanes, draft)?.lane.plan())
            {
                return Err(not_loaded());
            }
        }
        let AtRest { lane, turn, draft } = at_rest(&mut lanes, lane)?;
        if !self.loader()?.holds(lane.plan()) {
            return Err(not_loaded());
        }
        *draft = request.draft.map(|draft| draft.lane);
        let request = TurnRequest {
            prompt,
            sampling: request.sampling,
            max_tokens: request.max_tokens,
            stop: request.stop,
            ignore_end: request.ignore_end,
            drafts: request.draft.map_or(Drafts::None, Draft::drafts),
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

    /// The plan that the lane was made for.
    pub(crate) fn named_plan(&self, lane: usize) -> Result<LanePlan, Failure> {
        let lanes = self.lanes.borrow();
        let place = lanes.get(lane).ok_or_else(|| no_lane(lane))?;
        Ok(place.named.clone())
    }

    /// Takes lanes that are at rest and whose files are in, lets `work` run on them and puts them back, whatever came of it.
    pub(crate) async fn with_lanes<const N: usize, T>(
        &self,
        numbers: [usize; N],
        work: impl AsyncFnOnce(&mut [Lane; N]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut taken: Vec<(usize, AtRest)> = Vec::new();
        for number in numbers {
            match self.take(number) {
                Ok(at_rest) => taken.push((number, at_rest)),
                Err(error) => {
                    taken
                        .into_iter()
                        .for_each(|(n, at_rest)| self.put_back(n, at_rest));
                    return Err(error);
                }
            }
        }
        // What a turn kept of its lane is lost to whoever reads something else with it.
        let lanes = taken.into_iter().map(|(_, at_rest)| at_rest.lane);
        let Ok(mut lanes) = <[Lane; N]>::try_from(lanes.collect::<Vec<_>>()) else {
            unreachable!("as many as were taken")
        };
        let all_in = lanes.iter().try_fold(true, |all, lane| {
            Ok::<_, Failure>(all && self.loader()?.holds(lane.plan()))
        });
        let done = match all_in {
            Ok(true) => work(&mut lanes).await,
            Ok(false) => Err(not_loaded()),
            Err(error) => Err(error),
        };
        for (number, lane) in numbers.into_iter().zip(lanes) {
            if let Some(place) = self.lanes.borrow_mut().get_mut(number) {
                place.bytes = lane.bytes();
            }
            self.put_back(number, AtRest::idle(lane));
        }
        done
    }

    pub(crate) fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        self.tokenizer.get().ok_or_else(not_loaded)
    }

    pub(crate) fn begin_token(&self) -> Result<u32, Failure> {
        self.manifest.config().bos_token.ok_or_else(|| {
            Failure::new(
                "PackError",
                "the model names no begin token, after which to measure",
            )
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
    pub(crate) fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, Failure> {
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

pub(crate) fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    // Numbers as numbers: JSON-compatible, so that a u64 is no BigInt.
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    Ok(value.serialize(&serializer).map_err(Failure::from)?)
}
