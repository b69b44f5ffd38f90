//! In: token ids. Out: the tokens a model picks after them. A lane is one layer plan with its own cache, over shared weights.
//!
//! This is the host's record of what the device holds; the device's side is the machine. The host only asks for tokens, several at
//! a time, and may ask for the next ones before it has read the last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use burn::tensor::{ExecutionError, Tensor};

use super::DecodeError;
use super::distribution::finite;
use super::machine::{BATCH, Machine, Pass, attentions};
pub(super) use super::machine::{SCORE_ROWS, VERIFY_ROWS};
use super::pace::Pace;
use crate::kernels::candidates::Candidates;
use crate::kernels::{RING, Variant};
use crate::model::{Cache, Llama};
use crate::plan::LanePlan;

/// Bytes that a cache may have. More is a mistake, or a pack that means harm.
const LARGEST_CACHE: u64 = 64 << 30;

/// Tokens that may be asked for at once: what is read and what is asked ahead lie in the ring together.
pub(super) const LARGEST_BATCH: usize = RING / 2 - BATCH;

/// Words on their way from the device.
pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Vec<u32>, DecodeError>> + Send>>;

/// One layer plan at work: cache, workspace and graphs of its own; the weights are the model's.
#[derive(Debug)]
pub struct Lane {
    machine: Machine,
    /// Tokens whose keys and values are in the cache.
    cached: Vec<u32>,
    /// Whether the device has picked a token after them: not so once the cache was cut.
    ready: bool,
    /// The token picked after them, once it has been read back.
    picked: Option<u32>,
    /// Decode steps that the device was asked for and that nobody has taken yet.
    ahead: Option<Ahead>,
    /// What was measured of this lane's pace, for whoever decides how much to ask for.
    pub(super) pace: Pace,
}

/// Decode steps on their way: what they pick comes with the reading.
struct Ahead {
    passes: usize,
    history: Reading,
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

impl Lane {
    /// A lane for `context` positions, with the kernels that run everywhere.
    ///
    /// # Errors
    /// As [`Lane::with`].
    pub async fn new(
        model: &Arc<Llama>,
        plan: impl Into<LanePlan>,
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
        plan: impl Into<LanePlan>,
        options: LaneOptions,
    ) -> Result<Self, DecodeError> {
        let (config, plan) = (model.config(), plan.into());
        let context = options.context.min(config.context);
        check_plan(model, &plan, context)?;
        let machine = Machine::new(model, plan, context, options.variant).await?;
        Ok(Self {
            pace: Pace::new(machine.chunk),
            machine,
            cached: Vec::new(),
            ready: false,
            picked: None,
            ahead: None,
        })
    }

    /// What runs.
    pub fn plan(&self) -> &LanePlan {
        &self.machine.plan
    }

    /// Runs another plan over the same weights from now on, without loading anything; what was read is forgotten.
    ///
    /// # Errors
    /// The plan does not fit the model or memory, or the device refused.
    pub async fn change_plan(&mut self, plan: LanePlan) -> Result<(), DecodeError> {
        check_plan(self.model(), &plan, self.context())?;
        self.truncate(0);
        self.machine.change_plan(plan).await
    }

    /// The kernels it runs.
    pub fn variant(&self) -> Variant {
        self.machine.variant
    }

    /// The model whose weights it uses.
    pub fn model(&self) -> &Arc<Llama> {
        &self.machine.model
    }

    /// Whether passes are replayed from graphs: on a GPU.
    pub fn is_captured(&self) -> bool {
        self.machine.is_captured()
    }

    /// Positions that the cache holds.
    pub fn context(&self) -> usize {
        self.machine.cache.context()
    }

    /// Tokens in the cache.
    pub fn cached(&self) -> &[u32] {
        &self.cached
    }

    /// Bytes that this lane adds on the device: cache and workspace, no weights.
    pub fn bytes(&self) -> usize {
        self.machine.bytes()
    }

    /// How many tokens the cache and `tokens` begin with alike.
    pub(super) fn shared_with(&self, tokens: &[u32]) -> usize {
        alike(&self.cached, tokens)
    }

    /// Forgets every token after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
        self.unpick();
    }

    /// How the device picks from now on: the words of [`super::sampler::Sampling::words`].
    pub fn set_sampling(&mut self, words: [u32; 3]) {
        self.machine.set_sampling(words);
    }

    /// Gets ready for [`Lane::candidates`], which not every conversation needs. The cache is kept; what was picked is not.
    ///
    /// # Errors
    /// The device refused.
    pub async fn prepare_sampling(&mut self) -> Result<(), DecodeError> {
        self.unpick();
        self.machine.prepare_sampling(self.cached.len()).await
    }

    /// Gets ready for [`Lane::verify`], which not every conversation needs. The cache is kept; what was picked is not.
    ///
    /// # Errors
    /// The device refused.
    pub(super) async fn prepare_verifying(&mut self) -> Result<(), DecodeError> {
        self.unpick();
        self.machine.prepare_verifying(self.cached.len()).await
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
        for chunk in tokens.chunks(self.machine.chunk) {
            self.machine.feed(chunk, self.cached.len());
            self.machine.run(Pass::Prefill)?;
            self.cached.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Picks a token after what was fed last.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        self.finish_by(Pass::Finish)
    }

    /// As [`Lane::finish`], and keeps candidates for a sampler.
    pub(super) fn finish_sampling(&mut self) -> Result<(), DecodeError> {
        self.finish_by(Pass::SampleFinish)
    }

    fn finish_by(&mut self, pass: Pass) -> Result<(), DecodeError> {
        self.machine.run(pass)?;
        self.ready = true;
        Ok(())
    }

    /// Waits until the device has done what it was asked.
    ///
    /// # Errors
    /// The device failed.
    pub async fn settle(&self) -> Result<(), DecodeError> {
        self.machine.settle().await
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
        let history = self.machine.history().await?;
        let token = history[self.cached.len() % RING];
        self.picked = Some(token);
        Ok(token)
    }

    /// Runs up to `passes` decode steps, at most [`LARGEST_BATCH`], each fed by the one before on the device; gives back
    /// what they picked. One readback.
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
                self.ask(passes)?
            }
        };
        let first = self.picked.ok_or(DecodeError::NotReady)?;
        let room = self.context() - self.cached.len() - now.passes;
        let ahead = ahead.min(LARGEST_BATCH).min(room);
        if ahead > 0 && self.is_captured() {
            self.ahead = Some(self.ask(ahead)?);
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
    fn ask(&mut self, passes: usize) -> Result<Ahead, DecodeError> {
        for _ in 0..passes / BATCH {
            self.machine.run(Pass::DecodeBatch)?;
        }
        for _ in 0..passes % BATCH {
            self.machine.run(Pass::Decode)?;
        }
        let history = self.machine.history();
        Ok(Ahead { passes, history })
    }

    /// Forgets what was asked ahead and puts the device back to where the cache ends.
    fn rewind(&mut self) {
        if let (Some(_), Some(picked)) = (self.ahead.take(), self.picked) {
            self.machine.rewind(picked, self.cached.len());
        }
    }

    /// Runs one decode step for a sampler, which asks for [`Lane::candidates`] next, and reads nothing back.
    ///
    /// # Errors
    /// As [`Lane::decode`].
    pub(super) async fn advance_sampling(&mut self) -> Result<(), DecodeError> {
        self.room_for(1)?;
        self.rewind();
        let first = self.picked().await?;
        self.machine.run(Pass::SampleDecode)?;
        self.cached.push(first);
        self.picked = None;
        Ok(())
    }

    /// What a sampler chooses the next token from: after [`Lane::finish_sampling`] or [`Lane::advance_sampling`]. One readback
    /// of 2 KB.
    pub(super) async fn candidates(&self) -> Result<Candidates, DecodeError> {
        self.machine.candidates().await
    }

    /// Puts `token` in the place of the one that was picked: a sampler's choice, or a reference's.
    pub fn force(&mut self, token: u32) {
        self.rewind();
        self.machine.force(token);
        self.picked = Some(token);
    }

    /// Runs the token that was picked and `drafts` after it in one pass; keeps of the drafts those that the lane would have picked
    /// itself, and gives their number and its own pick after them. At most [`VERIFY_ROWS`] - 1 drafts. One readback.
    ///
    /// # Errors
    /// As [`Lane::prefill`]; nothing was picked, or [`Lane::prepare_verifying`] was not asked first.
    pub(super) async fn verify(&mut self, drafts: &[u32]) -> Result<(usize, u32), DecodeError> {
        let tokens = [&[self.picked().await?], drafts].concat();
        self.check(&tokens)?;
        self.unpick();
        let picks = self.machine.verify(&tokens, self.cached.len()).await?;
        let accepted = alike(drafts, &picks);
        self.cached.extend_from_slice(&tokens[..=accepted]);
        self.go_on_with(picks[accepted]);
        Ok((accepted, picks[accepted]))
    }

    /// Makes the cache hold `tokens` and what was picked after them `next`, where all but the last few of `tokens` are cached.
    ///
    /// # Errors
    /// The context is full, or the device failed.
    pub(super) fn follow(&mut self, tokens: &[u32], next: u32) -> Result<(), DecodeError> {
        let shared = self.shared_with(tokens);
        self.truncate(shared);
        let missing = &tokens[shared..];
        self.room_for(missing.len() + 1)?;
        match missing {
            [] => {}
            // One token is a decode step; what it picks is overwritten.
            [token] => {
                self.machine.rewind(*token, shared);
                self.machine.run(Pass::Decode)?;
                self.cached.push(*token);
            }
            _ => self.feed(missing)?,
        }
        self.go_on_with(next);
        Ok(())
    }

    /// The next decode step reads `token` after the cache, as if it had been picked there.
    fn go_on_with(&mut self, token: u32) {
        self.machine.rewind(token, self.cached.len());
        self.ready = true;
        self.picked = Some(token);
    }

    /// The logits from which the next token is picked. (vocabulary) One readback.
    pub async fn logits(&self) -> Result<Vec<f32>, DecodeError> {
        self.machine.logits().await
    }

    /// The logits after each of `tokens`, after everything in the cache: (tokens, vocabulary), flat. Nothing is picked.
    ///
    /// # Errors
    /// As [`Lane::prefill`].
    pub async fn score(&mut self, tokens: &[u32]) -> Result<Vec<f32>, DecodeError> {
        self.check(tokens)?;
        self.unpick();
        let logits = self.machine.score(tokens, self.cached.len()).await?;
        self.cached.extend_from_slice(tokens);
        finite(logits)
    }

    /// Reads `tokens`; gives the residual stream of the last one at every depth of the plan: before its first layer, then after each.
    /// (hidden_size) each. One readback for each depth.
    ///
    /// # Errors
    /// As [`Lane::prefill`].
    pub async fn streams(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, DecodeError> {
        let last = self.feed_but_last(tokens)?;
        let streams = self.machine.streams(last, self.cached.len()).await?;
        self.cached.push(last);
        Ok(streams)
    }

    /// Reads `tokens`; gives the logits after the last one as they would be if the plan ended before its first layer, and after
    /// each. (vocabulary) each. One readback for each depth.
    ///
    /// # Errors
    /// As [`Lane::prefill`].
    pub async fn logits_by_depth(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, DecodeError> {
        let last = self.feed_but_last(tokens)?;
        let (position, depth) = (self.cached.len(), self.plan().layers().layers.len());
        let mut logits = Vec::with_capacity(depth + 1);
        for layers in 0..=depth {
            logits.push(finite(
                self.machine.logits_after(last, position, layers).await?,
            )?);
        }
        self.cached.push(last);
        Ok(logits)
    }

    /// Forgets what was read, reads all but the last token and gives that.
    fn feed_but_last(&mut self, tokens: &[u32]) -> Result<u32, DecodeError> {
        self.truncate(0);
        self.check(tokens)?;
        let (last, before) = tokens.split_last().ok_or(DecodeError::EmptyPrompt)?;
        if !before.is_empty() {
            self.feed(before)?;
        }
        Ok(*last)
    }

    /// Refuses tokens that cannot be run.
    fn check(&self, tokens: &[u32]) -> Result<(), DecodeError> {
        let vocabulary = self.model().config().vocab_size;
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
}

fn alike(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Refuses a plan that the model does not have, or whose cache no device should be asked for.
fn check_plan(model: &Llama, plan: &LanePlan, context: usize) -> Result<(), DecodeError> {
    let config = model.config();
    if !model.has(plan) {
        return Err(DecodeError::Plan {
            plan: plan.layers().name.clone(),
            layers: config.layers,
        });
    }
    let bytes = Cache::bytes_for(config, attentions(plan), context);
    if context == 0 || bytes > LARGEST_CACHE {
        return Err(DecodeError::Context { context, bytes });
    }
    Ok(())
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
