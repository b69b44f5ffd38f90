//! In: token ids. Out: the tokens a model picks after them. A lane is one layer plan with its own cache, over shared weights.
//!
//! On the GPU every pass is captured once as a graph and replayed: the CPU only asks for tokens, several at a time, and may ask
//! for the next ones before it has read the last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use burn::tensor::{ExecutionError, Tensor};
use cubecl::client::Graph;

use super::DecodeError;
use super::device::{client, read_words_ahead, write_words};
use crate::kernels::{RING, Variant};
use crate::model::{Cache, Control, Llama, Workspace};
use crate::plan::LayerPlan;

/// Tokens of one prefill pass at most; a pass of fewer does no more work than they need.
pub(super) const LARGEST_CHUNK: usize = 256;

/// Tokens of one pass that takes every row to logits, which are many.
const SCORE_ROWS: usize = 32;

/// Bytes that a cache may have. More is a mistake, or a pack that means harm.
const LARGEST_CACHE: u64 = 64 << 30;

/// Tokens of the captured batch.
pub(super) const BATCH: usize = 8;

/// Tokens that may be asked for at once: what is read and what is asked ahead lie in the ring together.
pub(super) const LARGEST_BATCH: usize = RING / 2 - BATCH;

/// One layer plan at work: cache, workspace and graphs of its own; the weights are the model's.
#[derive(Debug)]
pub struct Lane {
    model: Arc<Llama>,
    plan: LayerPlan,
    variant: Variant,
    cache: Cache,
    control: Control,
    decode_work: Workspace,
    prefill_work: Workspace,
    /// One for each of [`Pass::ALL`]; none on the CPU. They point at this lane's buffers and at the model's.
    graphs: Vec<Graph>,
    /// Tokens whose keys and values are in the cache.
    cached: Vec<u32>,
    /// Whether the device has picked a token after them: not so once the cache was cut.
    ready: bool,
    /// The token picked after them, once it has been read back.
    picked: Option<u32>,
    /// Decode steps that the device was asked for and that nobody has taken yet.
    ahead: Option<Ahead>,
    /// What was measured of this lane's pace, for whoever decides how much to ask for.
    pub(super) pace: super::pace::Pace,
}

/// Decode steps on their way: what they pick comes with the readback.
struct Ahead {
    passes: usize,
    history: Pin<Box<dyn Future<Output = Result<Vec<u32>, DecodeError>> + Send>>,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead")
            .field("passes", &self.passes)
            .finish_non_exhaustive()
    }
}

/// What a lane is made with.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Positions that it holds; no more than the model's own context.
    pub context: usize,
    /// The device's choice of kernels.
    pub variant: Variant,
}

/// The passes of a lane. On a GPU each is captured once as a graph.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// One token through body and head.
    Decode,
    /// [`BATCH`] tokens, each fed by the one before: a replay is a submit, so this one is a fraction of a submit a token.
    DecodeBatch,
    /// Up to [`LARGEST_CHUNK`] tokens through the body.
    Prefill,
    /// The last prefilled row through the head.
    Finish,
}

impl Pass {
    const ALL: [Self; 4] = [Self::Decode, Self::DecodeBatch, Self::Prefill, Self::Finish];
}

impl Lane {
    /// A lane for `context` positions, with the kernels that run everywhere.
    ///
    /// # Errors
    /// As [`Lane::with`].
    pub async fn new(
        model: &Arc<Llama>,
        plan: LayerPlan,
        context: usize,
    ) -> Result<Self, DecodeError> {
        let variant = Variant::PLAIN;
        Self::with(model, plan, LaneOptions { context, variant }).await
    }

    /// Allocates a lane and, on a GPU, compiles and captures its passes.
    ///
    /// # Errors
    /// The plan or the context does not fit the model, or the device refused.
    pub async fn with(
        model: &Arc<Llama>,
        plan: LayerPlan,
        options: LaneOptions,
    ) -> Result<Self, DecodeError> {
        let variant = options.variant;
        let config = model.config();
        if let Some(&last) = plan.layers.last()
            && last >= config.layers
        {
            return Err(DecodeError::Plan {
                plan: plan.name,
                layer: last,
                layers: config.layers,
            });
        }
        let device = model.device();
        let context = options.context.min(config.context);
        let chunk = LARGEST_CHUNK.min(context.max(1));
        let bytes = Cache::bytes_for(config, plan.layers.len(), context);
        if context == 0 || bytes > LARGEST_CACHE {
            return Err(DecodeError::Context { context, bytes });
        }
        let mut lane = Self {
            cache: Cache::new(config, plan.layers.len(), context, variant, device),
            control: Control::new(config, chunk.max(SCORE_ROWS), device),
            decode_work: Workspace::new(config, context, 1, 1, device),
            prefill_work: Workspace::new(config, context, chunk, 1, device),
            graphs: Vec::new(),
            cached: Vec::new(),
            ready: false,
            picked: None,
            ahead: None,
            pace: super::pace::Pace::default(),
            plan,
            variant,
            model: Arc::clone(model),
        };
        lane.capture().await?;
        Ok(lane)
    }

    /// The plan that runs.
    pub fn plan(&self) -> &LayerPlan {
        &self.plan
    }

    /// The kernels it runs.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The model whose weights it uses.
    pub fn model(&self) -> &Arc<Llama> {
        &self.model
    }

    /// Whether passes are replayed from graphs: on a GPU.
    pub fn is_captured(&self) -> bool {
        !self.graphs.is_empty()
    }

    /// Positions that the cache holds.
    pub fn context(&self) -> usize {
        self.cache.context()
    }

    /// Tokens in the cache.
    pub fn cached(&self) -> &[u32] {
        &self.cached
    }

    /// Bytes that this lane adds on the device: cache and workspace, no weights.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
            + self.decode_work.bytes()
            + self.prefill_work.bytes()
            + self.control.bytes()
    }

    /// Forgets every token after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
        self.unpick();
    }

    /// What the device picked, or picks ahead, no longer follows from the cache.
    fn unpick(&mut self) {
        self.ready = false;
        self.picked = None;
        self.ahead = None;
    }

    /// Runs `tokens` through the layers and picks the likeliest token after them.
    ///
    /// # Errors
    /// They do not fit the context, or an id is none of the vocabulary's.
    pub async fn prefill(&mut self, tokens: &[u32]) -> Result<(), DecodeError> {
        self.feed(tokens)?;
        self.finish()
    }

    /// Runs `tokens` through the layers and picks nothing yet: a part of a prompt.
    ///
    /// # Errors
    /// As [`Lane::prefill`].
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), DecodeError> {
        self.check(tokens)?;
        self.unpick();
        for chunk in tokens.chunks(LARGEST_CHUNK.min(self.context())) {
            write_words(&mut self.control.ids, chunk);
            write_words(
                &mut self.control.step,
                &[self.cached.len() as u32, chunk.len() as u32],
            );
            self.run(Pass::Prefill)?;
            self.cached.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Picks the likeliest token after what was fed last.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        self.run(Pass::Finish)?;
        self.ready = true;
        Ok(())
    }

    /// Waits until the device has done what it was asked.
    ///
    /// # Errors
    /// The device failed.
    pub async fn settle(&self) -> Result<(), DecodeError> {
        match client(self.control.step.read()) {
            Some(client) => client.sync().await.map_err(refused),
            None => Ok(()),
        }
    }

    /// The token picked after everything in the cache. One readback, the first time.
    ///
    /// # Errors
    /// Nothing was prefilled since the cache was cut, or the device failed.
    pub async fn picked(&mut self) -> Result<u32, DecodeError> {
        if !self.ready {
            return Err(DecodeError::NotReady);
        }
        if let Some(token) = self.picked {
            return Ok(token);
        }
        let history = self.history().await?;
        let token = history[self.cached.len() % RING];
        self.picked = Some(token);
        Ok(token)
    }

    /// Runs up to `passes` decode steps, at most [`LARGEST_BATCH`], each fed by the one before on the device; gives back what
    /// they picked. One readback.
    ///
    /// # Errors
    /// The context is full, nothing was prefilled, or the device was lost.
    pub async fn decode(&mut self, passes: usize) -> Result<Vec<u32>, DecodeError> {
        self.decode_and(passes, 0).await
    }

    /// As [`Lane::decode`], and asks the device for `ahead` steps more before it waits: the next call takes those, whatever
    /// number it names. So the device computes while results are on their way.
    ///
    /// # Errors
    /// As [`Lane::decode`].
    pub(super) async fn decode_and(
        &mut self,
        passes: usize,
        ahead: usize,
    ) -> Result<Vec<u32>, DecodeError> {
        let now = match self.ahead.take() {
            Some(asked) => asked,
            None => {
                let passes = passes.min(LARGEST_BATCH);
                self.room_for(passes)?;
                if passes == 0 {
                    return Ok(Vec::new());
                }
                // The device knows it already; the host needs it for its own record.
                self.picked().await?;
                self.ask(passes).await?
            }
        };
        let first = self.picked.ok_or(DecodeError::NotReady)?;
        let room = self.context() - self.cached.len() - now.passes;
        let ahead = ahead.min(LARGEST_BATCH).min(room);
        if ahead > 0 && self.is_captured() {
            self.ahead = Some(self.ask(ahead).await?);
        }
        let history = now.history.await?;
        let position = self.cached.len() + 1;
        let picked: Vec<u32> = (position..position + now.passes)
            .map(|at| history[at % RING])
            .collect();
        self.cached.push(first);
        self.cached.extend(&picked[..now.passes.saturating_sub(1)]);
        self.picked = picked.last().copied();
        Ok(picked)
    }

    /// Sets decode steps going, and the copy of what they pick.
    async fn ask(&mut self, passes: usize) -> Result<Ahead, DecodeError> {
        for _ in 0..passes / BATCH {
            self.run(Pass::DecodeBatch)?;
        }
        for _ in 0..passes % BATCH {
            self.run(Pass::Decode)?;
        }
        let history = read_words_ahead(self.control.history.read());
        Ok(Ahead { passes, history })
    }

    /// Forgets what was asked ahead and puts the device back to where the cache ends.
    fn rewind(&mut self) {
        if self.ahead.take().is_none() {
            return;
        }
        let position = self.cached.len() as u32;
        if let Some(picked) = self.picked {
            write_words(&mut self.control.ids, &[picked]);
        }
        write_words(&mut self.control.step, &[position, 1]);
        write_words(
            &mut self.control.grid,
            &self.cache.grid(self.cached.len() + 1),
        );
    }

    /// Runs one decode step and reads nothing back: for a sampler, which reads the logits.
    ///
    /// # Errors
    /// As [`Lane::decode`].
    pub async fn advance(&mut self) -> Result<(), DecodeError> {
        self.room_for(1)?;
        self.rewind();
        let first = self.picked().await?;
        self.run(Pass::Decode)?;
        self.cached.push(first);
        self.picked = None;
        Ok(())
    }

    /// Puts `token` in the place of the one that was picked: a sampler's choice, or a reference's.
    pub fn force(&mut self, token: u32) {
        self.rewind();
        write_words(&mut self.control.ids, &[token]);
        self.picked = Some(token);
    }

    /// The logits from which the next token is picked. (vocabulary) One readback.
    pub async fn logits(&self) -> Result<Vec<f32>, DecodeError> {
        read(self.decode_work.logits()).await
    }

    /// The logits after each of `tokens`, after everything in the cache: (tokens, vocabulary), flat. Nothing is picked.
    ///
    /// # Errors
    /// As [`Lane::prefill`].
    pub async fn score(&mut self, tokens: &[u32]) -> Result<Vec<f32>, DecodeError> {
        self.check(tokens)?;
        self.unpick();
        let config = self.model.config().clone();
        let rows = SCORE_ROWS;
        let mut work = Workspace::new(&config, self.context(), rows, rows, self.model.device());
        let mut logits = Vec::with_capacity(tokens.len() * config.vocab_size);
        for chunk in tokens.chunks(rows) {
            write_words(&mut self.control.ids, chunk);
            write_words(
                &mut self.control.step,
                &[self.cached.len() as u32, chunk.len() as u32],
            );
            self.model
                .body(&self.plan.layers, &self.control, &mut work, &mut self.cache);
            self.model.score(&self.control, &mut work, self.variant);
            let all = read(work.logits()).await?;
            logits.extend_from_slice(&all[..chunk.len() * config.vocab_size]);
            self.cached.extend_from_slice(chunk);
        }
        self.unpick();
        Ok(logits)
    }

    /// Refuses tokens that cannot be run.
    fn check(&self, tokens: &[u32]) -> Result<(), DecodeError> {
        let vocabulary = self.model.config().vocab_size;
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= vocabulary) {
            return Err(DecodeError::UnknownToken { id, vocabulary });
        }
        if tokens.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        self.room_for(tokens.len())
    }

    fn room_for(&self, more: usize) -> Result<(), DecodeError> {
        let (tokens, context) = (self.cached.len() + more, self.context());
        if tokens > context {
            return Err(DecodeError::ContextFull { tokens, context });
        }
        Ok(())
    }

    /// Replays a pass, or, without graphs, computes it.
    fn run(&mut self, pass: Pass) -> Result<(), DecodeError> {
        match self.graphs.get(pass as usize) {
            Some(graph) => replay(graph),
            None => {
                self.compute(pass);
                Ok(())
            }
        }
    }

    fn compute(&mut self, pass: Pass) {
        let Self {
            model,
            plan,
            cache,
            control,
            decode_work,
            prefill_work,
            ..
        } = self;
        match pass {
            Pass::Decode => {
                model.body(&plan.layers, control, decode_work, cache);
                model.finish_own(control, decode_work, cache);
            }
            Pass::DecodeBatch => (0..BATCH).for_each(|_| self.compute(Pass::Decode)),
            Pass::Prefill => model.body(&plan.layers, control, prefill_work, cache),
            Pass::Finish => model.finish(control, prefill_work, decode_work, cache),
        }
    }

    async fn history(&self) -> Result<Vec<u32>, DecodeError> {
        read_words_ahead(self.control.history.read()).await
    }

    /// Captures every pass, on a device that has graphs.
    async fn capture(&mut self) -> Result<(), DecodeError> {
        let Some(client) = client(self.control.step.read()) else {
            return Ok(());
        };
        let mut graphs = Vec::new();
        for pass in Pass::ALL {
            client.graph_prepare().map_err(refused)?;
            // The warm-up compiles every pipeline; its results are thrown away.
            self.compute(pass);
            client.sync().await.map_err(refused)?;
            client.start_capture().map_err(refused)?;
            self.compute(pass);
            graphs.push(client.stop_capture().map_err(refused)?);
        }
        self.graphs = graphs;
        tracing::debug!(
            plan = self.plan.name,
            layers = self.plan.layers.len(),
            "captured"
        );
        Ok(())
    }
}

#[allow(unsafe_code)]
fn replay(graph: &Graph) -> Result<(), DecodeError> {
    // SAFETY: every buffer the graph touches is owned by the lane that owns the graph or by its model, and all
    // writes and reads go through the same client.
    unsafe { graph.replay() }.map_err(refused)
}

pub(super) async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DecodeError> {
    let data = tensor.into_data_async().await.map_err(lost)?;
    Ok(data.iter::<f32>().collect())
}

pub(super) fn lost(error: ExecutionError) -> DecodeError {
    DecodeError::Device {
        reason: error.to_string(),
    }
}

pub(super) fn refused(error: cubecl::server::ServerError) -> DecodeError {
    DecodeError::Device {
        reason: error.to_string(),
    }
}
