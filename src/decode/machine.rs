//! The device's side of a lane: buffers, control words, and the passes over them. On a GPU each pass is captured once as a graph and
//! replayed; on the CPU it is computed.

use std::sync::Arc;

use cubecl::client::Graph;

use super::DecodeError;
use super::device::{client, read_words_ahead, write_words};
use super::lane::{Reading, read, refused};
use crate::kernels::argmax::join;
use crate::kernels::candidates::Candidates;
use crate::kernels::{Prefill, Variant};
use crate::model::{Cache, Control, HeadWork, Llama, Pick, Workspace};
use crate::plan::LanePlan;

/// Tokens of one prefill pass at most: a large device is filled by many rows; one that multiplies in registers gains nothing past a
/// few, and pays for the workgroups of rows that take no part.
fn largest_chunk(prefill: Prefill) -> usize {
    match prefill {
        Prefill::Tile => 256,
        Prefill::Direct => 32,
        Prefill::Shared => 64,
    }
}

/// Tokens of one pass that takes every row to logits, which are many.
pub(super) const SCORE_ROWS: usize = 32;

/// Tokens of one pass that verifies drafts: as many as a product reads its weights once for.
pub(super) const VERIFY_ROWS: usize = 8;

/// Tokens of the captured batch.
pub(super) const BATCH: usize = 8;

/// The passes. On a GPU each is captured once as a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// One token through body and head.
    Decode,
    /// [`BATCH`] tokens, each fed by the one before: a replay is a submit, so this one is a fraction of a submit a token.
    DecodeBatch,
    /// Up to [`Machine::chunk`] tokens through the body.
    Prefill,
    /// The last prefilled row through the head.
    Finish,
    /// One token through body and head, for a sampler.
    SampleDecode,
    /// The last prefilled row through the head, for a sampler.
    SampleFinish,
    /// Up to [`VERIFY_ROWS`] tokens through body and head; the token after each is picked, and nothing fed back.
    Verify,
}

impl Pass {
    const COUNT: usize = 7;
    /// What every lane needs.
    const ALWAYS: [Self; 4] = [Self::Decode, Self::DecodeBatch, Self::Prefill, Self::Finish];
    /// What a sampler needs besides.
    const SAMPLING: [Self; 2] = [Self::SampleDecode, Self::SampleFinish];
}

/// One plan's buffers and passes.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) model: Arc<Llama>,
    pub(super) plan: LanePlan,
    pub(super) variant: Variant,
    /// Tokens of one prefill pass at most.
    pub(super) chunk: usize,
    pub(super) cache: Cache,
    control: Control,
    decode_work: Workspace,
    prefill_work: Workspace,
    head: HeadWork,
    /// Once drafts have been verified.
    verify: Option<(Workspace, HeadWork)>,
    graphs: Graphs,
    /// The graphs of plans that ran before, the last one's first: who mutes a layer and unmutes it again need not wait.
    resting: Vec<(LanePlan, Graphs)>,
}

/// By pass; none on the CPU. They point at their machine's buffers and at the model's.
type Graphs = [Option<Graph>; Pass::COUNT];

/// Plans whose graphs are kept. A graph holds the bindings of its launches, some kilobytes a layer; its buffers are the machine's.
const MOST_RESTING: usize = 7;

impl Machine {
    /// Allocates for `context` positions and, on a GPU, compiles and captures what every lane needs.
    pub(super) async fn new(
        model: &Arc<Llama>,
        plan: LanePlan,
        context: usize,
        variant: Variant,
    ) -> Result<Self, DecodeError> {
        let (config, device) = (model.config(), model.device());
        let chunk = largest_chunk(variant.prefill).min(context);
        let mut machine = Self {
            cache: Cache::new(config, attentions(&plan), context, variant, device),
            control: Control::new(config, chunk.max(SCORE_ROWS), device),
            decode_work: Workspace::new(config, context, 1, device),
            prefill_work: Workspace::new(config, context, chunk, device),
            head: HeadWork::new(config, 1, device),
            verify: None,
            graphs: Default::default(),
            resting: Vec::new(),
            plan,
            variant,
            chunk,
            model: Arc::clone(model),
        };
        machine.capture(&Pass::ALWAYS).await?;
        Ok(machine)
    }

    /// Whether passes are replayed from graphs: on a GPU.
    pub(super) fn is_captured(&self) -> bool {
        self.graphs[Pass::Decode as usize].is_some()
    }

    /// Runs another plan from now on; what is in the cache is lost. Nothing is loaded: on a GPU the plan's passes are captured, unless
    /// they are known.
    pub(super) async fn change_plan(&mut self, plan: LanePlan) -> Result<(), DecodeError> {
        if plan == self.plan {
            return Ok(());
        }
        let known = self.resting.iter().position(|(known, _)| *known == plan);
        let graphs = known.map(|at| self.resting.remove(at).1);
        let graphs = std::mem::replace(&mut self.graphs, graphs.unwrap_or_default());
        let before = std::mem::replace(&mut self.plan, plan);
        let wanted = match graphs[Pass::SampleDecode as usize] {
            Some(_) => &[&Pass::ALWAYS[..], &Pass::SAMPLING].concat()[..],
            None => &Pass::ALWAYS,
        };
        self.resting.insert(0, (before, graphs));
        self.resting.truncate(MOST_RESTING);
        self.cache.grow(attentions(&self.plan), self.model.device());
        let is_missing = |pass: &Pass| self.graphs[*pass as usize].is_none();
        let missing: Vec<Pass> = wanted.iter().copied().filter(is_missing).collect();
        self.place(0, 1);
        self.capture(&missing).await
    }

    /// Captures what a sampler needs. What the device holds past `position` is lost, and so are the control words.
    pub(super) async fn prepare_sampling(&mut self, position: usize) -> Result<(), DecodeError> {
        if self.is_captured() && self.graphs[Pass::SampleDecode as usize].is_none() {
            // The warm-up writes to the cache where the step points.
            self.place(position, 1);
            self.capture(&Pass::SAMPLING).await?;
        }
        Ok(())
    }

    /// Makes room for drafts and captures the pass that verifies them. What the device holds past `position` is lost, and so are
    /// the control words.
    pub(super) async fn prepare_verifying(&mut self, position: usize) -> Result<(), DecodeError> {
        let (config, device) = (self.model.config(), self.model.device());
        let context = self.cache.context();
        if self.verify.is_none() {
            let work = Workspace::new(config, context, VERIFY_ROWS, device);
            self.verify = Some((work, HeadWork::new(config, VERIFY_ROWS, device)));
        }
        if self.is_captured() && self.graphs[Pass::Verify as usize].is_none() {
            self.place(position, 1);
            self.capture(&[Pass::Verify]).await?;
        }
        Ok(())
    }

    /// The token picked after each of `ids`, which begin at `position`. At most [`VERIFY_ROWS`]. One readback.
    pub(super) async fn verify(
        &mut self,
        ids: &[u32],
        position: usize,
    ) -> Result<Vec<u32>, DecodeError> {
        self.feed(ids, position);
        self.run(Pass::Verify)?;
        let Some((_, head)) = &self.verify else {
            return Err(DecodeError::NotReady);
        };
        let words = read_words_ahead(head.best()).await?;
        let rows = words.chunks_exact(words.len() / VERIFY_ROWS);
        Ok(rows.take(ids.len()).map(join).collect())
    }

    /// Bytes on the device, without the model's.
    pub(super) fn bytes(&self) -> usize {
        let verify = self.verify.as_ref();
        let verify = verify.map_or(0, |(work, head)| work.bytes() + head.bytes());
        verify
            + self.cache.bytes()
            + self.decode_work.bytes()
            + self.prefill_work.bytes()
            + self.head.bytes()
            + self.control.bytes()
    }

    /// Replays a pass, or, without graphs, computes it.
    pub(super) fn run(&mut self, pass: Pass) -> Result<(), DecodeError> {
        match &self.graphs[pass as usize] {
            Some(graph) => replay(graph),
            None => {
                self.compute(pass);
                Ok(())
            }
        }
    }

    /// The next pass reads `ids`, which begin at `position`.
    pub(super) fn feed(&mut self, ids: &[u32], position: usize) {
        write_words(&mut self.control.ids, ids);
        self.place(position, ids.len());
    }

    fn place(&mut self, position: usize, rows: usize) {
        write_words(&mut self.control.step, &[position as u32, rows as u32]);
    }

    /// The next decode step reads `id` at `position`.
    pub(super) fn rewind(&mut self, id: u32, position: usize) {
        self.feed(&[id], position);
        write_words(&mut self.control.grid, &self.cache.grid(position + 1));
    }

    /// The next decode step reads `id`, wherever it is.
    pub(super) fn force(&mut self, id: u32) {
        write_words(&mut self.control.ids, &[id]);
    }

    /// How the device picks from now on: see [`crate::kernels::argmax::sampling_words`].
    pub(super) fn set_sampling(&mut self, words: [u32; 3]) {
        write_words(&mut self.control.sampling, &words);
    }

    /// Waits until the device has done what it was asked.
    pub(super) async fn settle(&self) -> Result<(), DecodeError> {
        match client(self.control.step.read()) {
            Some(client) => client.sync().await.map_err(refused),
            None => Ok(()),
        }
    }

    /// What was picked, by position modulo [`crate::kernels::RING`], after all that was asked before.
    pub(super) fn history(&self) -> Reading {
        read_words_ahead(self.control.history.read())
    }

    /// What a sampler chooses from.
    pub(super) async fn candidates(&self) -> Result<Candidates, DecodeError> {
        let words = read_words_ahead(self.head.candidates()).await?;
        Ok(Candidates::from_words(&words))
    }

    /// The logits of the last pass through the head. (vocabulary)
    pub(super) async fn logits(&self) -> Result<Vec<f32>, DecodeError> {
        read(self.head.logits()).await
    }

    /// The logits after each of `ids`, which begin at `position`, flat. Nothing is picked.
    pub(super) async fn score(
        &mut self,
        ids: &[u32],
        mut position: usize,
    ) -> Result<Vec<f32>, DecodeError> {
        let model = Arc::clone(&self.model);
        let (config, device) = (model.config(), model.device());
        let mut work = Workspace::new(config, self.cache.context(), SCORE_ROWS, device);
        let mut head = HeadWork::new(config, SCORE_ROWS, device);
        let mut logits = Vec::with_capacity(ids.len() * config.vocab_size);
        for chunk in ids.chunks(SCORE_ROWS) {
            self.feed(chunk, position);
            model.body(&self.plan, &self.control, &mut work, &mut self.cache);
            model.score(&self.plan, &self.control, &work, &mut head, self.variant);
            let all = read(head.logits()).await?;
            logits.extend_from_slice(&all[..chunk.len() * config.vocab_size]);
            position += chunk.len();
        }
        Ok(logits)
    }

    /// The residual stream of one more token at every depth of the plan: before its first layer, then after each. (hidden_size) each
    pub(super) async fn streams(
        &mut self,
        id: u32,
        position: usize,
    ) -> Result<Vec<Vec<f32>>, DecodeError> {
        self.rewind(id, position);
        let Self {
            model,
            plan,
            cache,
            control,
            decode_work: work,
            ..
        } = self;
        let depth = plan.layers().layers.len();
        let mut streams = Vec::with_capacity(depth + 1);
        for layers in std::iter::once(0..0).chain((0..depth).map(|at| at..at + 1)) {
            model.body_between(plan, layers, control, work, cache);
            streams.push(read(work.residual()).await?);
        }
        Ok(streams)
    }

    /// The logits after one more token, were the plan to end after its first `layers` layers. (vocabulary)
    pub(super) async fn logits_after(
        &mut self,
        id: u32,
        position: usize,
        layers: usize,
    ) -> Result<Vec<f32>, DecodeError> {
        self.rewind(id, position);
        let (model, plan) = (Arc::clone(&self.model), &self.plan);
        let work = &mut self.decode_work;
        model.body_to(plan, layers, &self.control, work, &mut self.cache);
        model.score(plan, &self.control, work, &mut self.head, self.variant);
        read(self.head.logits()).await
    }

    fn compute(&mut self, pass: Pass) {
        let Self {
            model,
            plan,
            cache,
            control,
            decode_work,
            prefill_work,
            head,
            verify,
            ..
        } = self;
        let pick = match pass {
            Pass::SampleDecode | Pass::SampleFinish => Pick::Candidates,
            _ => Pick::Device,
        };
        match pass {
            Pass::Decode | Pass::SampleDecode => {
                model.body(plan, control, decode_work, cache);
                model.finish(plan, control, decode_work, head, cache, pick);
            }
            Pass::DecodeBatch => (0..BATCH).for_each(|_| self.compute(Pass::Decode)),
            Pass::Prefill => model.body(plan, control, prefill_work, cache),
            Pass::Finish | Pass::SampleFinish => {
                model.finish(plan, control, prefill_work, head, cache, pick);
            }
            Pass::Verify => {
                if let Some((work, head)) = verify {
                    model.body(plan, control, work, cache);
                    model.verify(plan, control, work, head, self.variant);
                }
            }
        }
    }

    /// Captures passes, on a device that has graphs.
    async fn capture(&mut self, passes: &[Pass]) -> Result<(), DecodeError> {
        let Some(client) = client(self.control.step.read()) else {
            return Ok(());
        };
        for &pass in passes {
            client.graph_prepare().map_err(refused)?;
            // The warm-up compiles every pipeline; its results are thrown away. A batch has none of its own.
            if pass != Pass::DecodeBatch {
                self.compute(pass);
                client.sync().await.map_err(refused)?;
            }
            client.start_capture().map_err(refused)?;
            self.compute(pass);
            self.graphs[pass as usize] = Some(client.stop_capture().map_err(refused)?);
        }
        tracing::debug!(?passes, plan = self.plan.layers().name, variant = %self.variant, "captured");
        Ok(())
    }
}

/// Attentions that a plan runs: each has keys and values.
pub(super) fn attentions(plan: &LanePlan) -> usize {
    plan.layers().layers.len() - plan.sublayers().mute_attention().len()
}

#[allow(unsafe_code)]
fn replay(graph: &Graph) -> Result<(), DecodeError> {
    // SAFETY: every buffer the graph touches is owned by the machine that owns the graph or by its model, and all
    // writes and reads go through the same client.
    unsafe { graph.replay() }.map_err(refused)
}
