//! In: token ids. Out: the tokens a model picks after them. A lane is one layer plan with its own cache, over shared weights.
//!
//! On the GPU every pass is captured once as a graph and replayed: the CPU only asks for tokens, several at a time.

use std::sync::Arc;

use burn::tensor::{ExecutionError, Tensor};
use cubecl::client::Graph;

use super::DecodeError;
use super::device::{client, write_words};
use crate::kernels::RING;
use crate::model::{Cache, Control, Llama, Workspace};
use crate::plan::LayerPlan;

/// Tokens of one prefill pass. Short enough that a pass never holds the GPU for long.
const PREFILL_ROWS: usize = 32;

/// Bytes that a cache may have. More is a mistake, or a pack that means harm.
const LARGEST_CACHE: u64 = 64 << 30;

/// Tokens of the captured batch.
const BATCH: usize = 4;

/// One layer plan at work: cache, workspace and graphs of its own; the weights are the model's.
#[derive(Debug)]
pub struct Lane {
    model: Arc<Llama>,
    plan: LayerPlan,
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
}

/// The passes of a lane. On a GPU each is captured once as a graph.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// One token through body and head.
    Decode,
    /// [`BATCH`] tokens, each fed by the one before: a replay is a submit, so this one is a quarter of a submit a token.
    DecodeBatch,
    /// Up to [`PREFILL_ROWS`] tokens through the body.
    Prefill,
    /// The last prefilled row through the head.
    Finish,
}

impl Pass {
    const ALL: [Self; 4] = [Self::Decode, Self::DecodeBatch, Self::Prefill, Self::Finish];
}

impl Lane {
    /// Allocates a lane for `context` positions and, on a GPU, compiles and captures its passes.
    ///
    /// # Errors
    /// The plan or the context does not fit the model, or the device refused.
    pub async fn new(
        model: &Arc<Llama>,
        plan: LayerPlan,
        context: usize,
    ) -> Result<Self, DecodeError> {
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
        let context = context.min(config.context);
        let bytes = Cache::bytes_for(config, plan.layers.len(), context);
        if context == 0 || bytes > LARGEST_CACHE {
            return Err(DecodeError::Context { context, bytes });
        }
        let mut lane = Self {
            cache: Cache::new(config, plan.layers.len(), context, device),
            control: Control::new(config, PREFILL_ROWS, device),
            decode_work: Workspace::new(config, context, 1, 1, device),
            prefill_work: Workspace::new(config, context, PREFILL_ROWS, 1, device),
            graphs: Vec::new(),
            cached: Vec::new(),
            ready: false,
            picked: None,
            plan,
            model: Arc::clone(model),
        };
        lane.capture().await?;
        Ok(lane)
    }

    /// The plan that runs.
    pub fn plan(&self) -> &LayerPlan {
        &self.plan
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
            + 4 * (PREFILL_ROWS + 2 + 3 + RING + 3)
    }

    /// Forgets every token after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
        self.ready = false;
        self.picked = None;
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
        self.ready = false;
        self.picked = None;
        for chunk in tokens.chunks(PREFILL_ROWS) {
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

    /// Runs up to `passes` decode steps, at most half the [`RING`], each fed by the one before on the device; gives back
    /// what they picked. One readback.
    ///
    /// # Errors
    /// The context is full, nothing was prefilled, or the device was lost.
    pub async fn decode(&mut self, passes: usize) -> Result<Vec<u32>, DecodeError> {
        let passes = passes.min(RING / 2);
        self.room_for(passes)?;
        if passes == 0 {
            return Ok(Vec::new());
        }
        let first = self.picked().await?;
        for _ in 0..passes / BATCH {
            self.run(Pass::DecodeBatch)?;
        }
        for _ in 0..passes % BATCH {
            self.run(Pass::Decode)?;
        }
        let history = self.history().await?;
        let position = self.cached.len() + 1;
        let picked: Vec<u32> = (position..position + passes)
            .map(|at| history[at % RING])
            .collect();
        self.cached.push(first);
        self.cached.extend(&picked[..passes.saturating_sub(1)]);
        self.picked = picked.last().copied();
        Ok(picked)
    }

    /// Runs one decode step and reads nothing back: for a sampler, which reads the logits.
    ///
    /// # Errors
    /// As [`Lane::decode`].
    pub async fn advance(&mut self) -> Result<(), DecodeError> {
        self.room_for(1)?;
        let first = self.picked().await?;
        self.run(Pass::Decode)?;
        self.cached.push(first);
        self.picked = None;
        Ok(())
    }

    /// Puts `token` in the place of the one that was picked: a sampler's choice, or a reference's.
    pub fn force(&mut self, token: u32) {
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
        let config = self.model.config().clone();
        let rows = PREFILL_ROWS;
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
            self.model.score(&self.control, &mut work);
            let all = read(work.logits()).await?;
            logits.extend_from_slice(&all[..chunk.len() * config.vocab_size]);
            self.cached.extend_from_slice(chunk);
        }
        self.ready = false;
        self.picked = None;
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
        let data = self
            .control
            .history
            .read()
            .into_data_async()
            .await
            .map_err(lost)?;
        Ok(data.iter::<u32>().collect())
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

fn lost(error: ExecutionError) -> DecodeError {
    DecodeError::Device {
        reason: error.to_string(),
    }
}

fn refused(error: cubecl::server::ServerError) -> DecodeError {
    DecodeError::Device {
        reason: error.to_string(),
    }
}
