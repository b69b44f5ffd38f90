//! In: a prompt's token ids and how to continue it. Out: text in steps, with the time each token took.

use serde::{Deserialize, Serialize};

use super::pace::Request;
use super::sampler::{Sampler, Sampling};
use super::speculate::{Drafts, Round, Speculation, SpeculationStats};
use super::stop::StopStrings;
use super::{DecodeError, Lane};
use crate::tokenizer::{Detokenizer, Tokenizer};

/// Milliseconds since some fixed moment.
pub type Clock = fn() -> f64;

/// What to continue, and how.
#[derive(Clone, Debug, Default)]
pub struct TurnRequest {
    /// The whole conversation so far, as the model is to read it. What the lane has cached of it is not run again.
    pub prompt: Vec<u32>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Tokens at most.
    pub max_tokens: usize,
    /// Texts that end the answer and do not appear in it.
    pub stop: Vec<String>,
    /// Goes on past end tokens. For measuring.
    pub ignore_end: bool,
    /// Whether another lane drafts: then each step is [`Turn::step_with`] that lane.
    pub drafts: Drafts,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model said so.
    EndToken,
    /// A stop string came up.
    StopString,
    /// The limit that was asked for.
    MaxTokens,
    /// No position is left.
    ContextFull,
}

/// Counts and times of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneStats {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that the cache still held.
    pub reused_tokens: usize,
    /// Tokens of the answer, an end token not counted.
    pub generated_tokens: usize,
    /// From the turn's begin until the first token was known: prefill, head and one readback.
    pub time_to_first_token_ms: f64,
    /// The same time, as that of the prompt's new tokens: the head and one readback are part of it.
    pub prefill_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
    /// New prompt tokens a second.
    pub prefill_tokens_per_second: f64,
    /// Decode passes a second, passes after the end of the answer included; where another lane drafts, tokens.
    pub decode_tokens_per_second: f64,
    /// Where another lane drafts.
    pub speculation: Option<SpeculationStats>,
}

/// What one step brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// New tokens.
    pub tokens: Vec<u32>,
    /// New text: whole characters only.
    pub text: String,
    /// Set once, with the last step.
    pub finish: Option<Finish>,
    /// Times up to now.
    pub stats: LaneStats,
    /// Of the new tokens, those that another lane drafted: by token; empty where none does.
    pub drafted: Vec<bool>,
    /// When each new token came, in ms since the turn began. Tokens that came in one batch share its time evenly.
    pub token_times_ms: Vec<f64>,
}

/// One answer on its way.
#[derive(Debug)]
pub struct Turn {
    request: TurnRequest,
    end_tokens: Vec<u32>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopStrings,
    clock: Clock,
    begun_ms: f64,
    /// Tokens of the prompt that are in the cache.
    read: usize,
    first: Option<u32>,
    produced: Vec<u32>,
    passes: usize,
    speculation: Option<Speculation>,
    finish: Option<Finish>,
    stats: LaneStats,
}

impl Turn {
    /// Checks the request and finds what of the prompt is cached; [`Turn::step`] reads the rest.
    ///
    /// # Errors
    /// The prompt is empty or fills the context, or settings are out of range.
    pub fn start(
        lane: &mut Lane,
        tokenizer: &Tokenizer,
        request: TurnRequest,
        clock: Clock,
    ) -> Result<Self, DecodeError> {
        let begun_ms = clock();
        let sampling = request
            .sampling
            .validate()
            .map_err(|error| DecodeError::Request {
                reason: error.to_string(),
            })?;
        let (prompt_tokens, context) = (request.prompt.len(), lane.context());
        if prompt_tokens >= context {
            return Err(DecodeError::ContextFull {
                tokens: prompt_tokens,
                context,
            });
        }
        if request.max_tokens == 0 {
            let reason = "max tokens is 0; ask for at least one".to_string();
            return Err(DecodeError::Request { reason });
        }
        if prompt_tokens == 0 {
            return Err(DecodeError::EmptyPrompt);
        }
        let speculation = Speculation::new(request.drafts);
        if speculation.is_some() && !sampling.picks_on_device() {
            let reason = "drafts are verified on the device, which picks the likeliest token or draws at a temperature; leave top-k, top-p, min-p and the repetition penalty off".to_string();
            return Err(DecodeError::Request { reason });
        }
        let shared = lane.shared_with(&request.prompt);
        // At least one token runs, or there would be no logits.
        let reused_tokens = shared.min(prompt_tokens - 1);
        lane.truncate(reused_tokens);
        lane.set_sampling(sampling.words());
        Ok(Self {
            end_tokens: lane.model().config().eos_tokens.clone(),
            sampler: Sampler::new(sampling),
            detokenizer: Detokenizer::after(tokenizer, &request.prompt, true),
            stops: StopStrings::new(request.stop.clone()),
            clock,
            begun_ms,
            read: reused_tokens,
            first: None,
            produced: Vec::new(),
            passes: 0,
            finish: None,
            stats: LaneStats {
                prompt_tokens,
                reused_tokens,
                speculation: speculation.map(|s| s.stats()),
                ..LaneStats::default()
            },
            speculation,
            request,
        })
    }

    /// Counts and times so far.
    pub fn stats(&self) -> LaneStats {
        self.stats
    }

    /// Every token of the answer so far.
    pub fn tokens(&self) -> &[u32] {
        &self.produced
    }

    /// Reads a part of the prompt, or brings the next tokens. To stop early is not to ask again.
    ///
    /// # Errors
    /// The device failed.
    pub async fn step(
        &mut self,
        lane: &mut Lane,
        tokenizer: &Tokenizer,
    ) -> Result<Step, DecodeError> {
        self.step_by(lane, None, tokenizer).await
    }

    /// As [`Turn::step`], with the lane that drafts: one of the same model, or of another with its vocabulary.
    ///
    /// # Errors
    /// As [`Turn::step`]; the vocabularies differ.
    pub async fn step_with(
        &mut self,
        lane: &mut Lane,
        draft: &mut Lane,
        tokenizer: &Tokenizer,
    ) -> Result<Step, DecodeError> {
        self.step_by(lane, Some(draft), tokenizer).await
    }

    async fn step_by(
        &mut self,
        lane: &mut Lane,
        draft: Option<&mut Lane>,
        tokenizer: &Tokenizer,
    ) -> Result<Step, DecodeError> {
        if self.finish.is_some() {
            return Ok(Step {
                finish: self.finish,
                stats: self.stats,
                ..Step::default()
            });
        }
        if self.read < self.request.prompt.len() && !self.read_prompt(lane).await? {
            return Ok(Step {
                stats: self.stats,
                ..Step::default()
            });
        }
        let before_ms = self.elapsed_ms();
        let Round {
            tokens: picked,
            drafts,
        } = match self.first.take() {
            Some(first) => Round::of(vec![first]),
            None => self.next_round(lane, draft).await?,
        };
        let after_ms = self.elapsed_ms();
        let each_ms = (after_ms - before_ms) / picked.len().max(1) as f64;
        let mut step = Step::default();
        for (i, token) in picked.iter().enumerate() {
            self.take(*token, lane, tokenizer, &mut step);
            if self.speculation.is_some() {
                step.drafted.push(i < drafts);
            }
            step.token_times_ms
                .push(before_ms + each_ms * (i + 1) as f64);
            if self.finish.is_some() {
                break;
            }
        }
        step.token_times_ms.truncate(step.tokens.len());
        step.drafted.truncate(step.tokens.len());
        if self.finish.is_some() {
            step.text.push_str(&self.flush());
        }
        self.stats.speculation = self.speculation.map(|s| s.stats());
        self.stats.generated_tokens = self.produced.len();
        self.stats.decode_ms = after_ms - self.stats.time_to_first_token_ms;
        self.stats.decode_tokens_per_second = per_second(self.passes, self.stats.decode_ms);
        step.finish = self.finish;
        step.stats = self.stats;
        Ok(step)
    }

    /// Reads the next part of the prompt; after the last part picks the first token and says so.
    async fn read_prompt(&mut self, lane: &mut Lane) -> Result<bool, DecodeError> {
        let prompt_tokens = self.request.prompt.len();
        if !self.request.sampling.picks_on_device() {
            lane.prepare_sampling().await?;
        }
        if self.speculation.is_some() {
            lane.prepare_verifying().await?;
        }
        let end = (self.read + lane.pace.chunk()).min(prompt_tokens);
        let before_ms = (self.clock)();
        lane.feed(&self.request.prompt[self.read..end])?;
        let tokens = end - std::mem::replace(&mut self.read, end);
        if end < prompt_tokens {
            lane.settle().await?;
            lane.pace.read_chunk(tokens, (self.clock)() - before_ms);
            return Ok(false);
        }
        match self.request.sampling.picks_on_device() {
            true => lane.finish()?,
            false => lane.finish_sampling()?,
        }
        self.first = Some(self.choose(lane).await?);
        let took_ms = self.elapsed_ms();
        self.stats.time_to_first_token_ms = took_ms;
        self.stats.prefill_ms = took_ms;
        self.stats.prefill_tokens_per_second =
            per_second(prompt_tokens - self.stats.reused_tokens, took_ms);
        Ok(true)
    }

    /// The next tokens, drafted where that is wanted and pays.
    async fn next_round(
        &mut self,
        lane: &mut Lane,
        draft: Option<&mut Lane>,
    ) -> Result<Round, DecodeError> {
        let plain_ms = lane.pace.token_ms();
        let Some(speculation) = &mut self.speculation else {
            return Ok(Round::of(self.next_tokens(lane).await?));
        };
        if !speculation.wants_round(plain_ms) {
            return Ok(Round::of(self.next_tokens(lane).await?));
        }
        let Some(draft) = draft else {
            let reason = "drafts were asked for, but no lane was named to make them".to_string();
            return Err(DecodeError::Request { reason });
        };
        let before_ms = (self.clock)();
        draft.set_sampling(self.request.sampling.words());
        let left = self.request.max_tokens - self.produced.len();
        let round = speculation.round(lane, draft, left).await?;
        speculation.took(round.tokens.len(), (self.clock)() - before_ms, plain_ms);
        self.passes += round.tokens.len();
        Ok(round)
    }

    /// Runs the next batch, sized by what the last one took.
    async fn next_tokens(&mut self, lane: &mut Lane) -> Result<Vec<u32>, DecodeError> {
        if !self.request.sampling.picks_on_device() {
            lane.advance_sampling().await?;
            self.passes += 1;
            return Ok(vec![self.choose(lane).await?]);
        }
        let left = self.request.max_tokens - self.produced.len();
        let room = lane.context() - lane.cached().len();
        if lane.is_captured() && !lane.pace.knows_readback() {
            // The device is idle: all that this waits for is the way there and back.
            let before_ms = (self.clock)();
            lane.settle().await?;
            lane.pace.readback_took((self.clock)() - before_ms);
        }
        let request = match lane.is_captured() {
            true => lane.pace.batch(left.min(room)),
            false => Request { now: 1, ahead: 0 },
        };
        let before_ms = (self.clock)();
        let picked = lane.decode_and(request.now, request.ahead).await?;
        self.passes += picked.len();
        lane.pace.decoded(picked.len(), (self.clock)() - before_ms);
        Ok(picked)
    }

    /// The token after the cache: the device's pick, or the sampler's in its place.
    async fn choose(&mut self, lane: &mut Lane) -> Result<u32, DecodeError> {
        if self.request.sampling.picks_on_device() {
            return lane.picked().await;
        }
        let candidates = lane.candidates().await?;
        let recent: Vec<u32> = self
            .request
            .prompt
            .iter()
            .chain(&self.produced)
            .copied()
            .collect();
        let token = self.sampler.sample(&candidates, &recent);
        lane.force(token);
        Ok(token)
    }

    /// Adds one token to the answer, or ends it.
    fn take(&mut self, token: u32, lane: &Lane, tokenizer: &Tokenizer, step: &mut Step) {
        if !self.request.ignore_end && self.end_tokens.contains(&token) {
            self.finish = Some(Finish::EndToken);
            return;
        }
        self.produced.push(token);
        step.tokens.push(token);
        let piece = self.detokenizer.push(tokenizer, token);
        let emitted = self.stops.push(&piece);
        step.text.push_str(&emitted.text);
        if emitted.stopped {
            self.finish = Some(Finish::StopString);
        } else if self.produced.len() >= self.request.max_tokens {
            self.finish = Some(Finish::MaxTokens);
        } else if self.request.prompt.len() + self.produced.len() >= lane.context() {
            self.finish = Some(Finish::ContextFull);
        }
    }

    /// The text that was held back for a character or a stop string that never came.
    fn flush(&mut self) -> String {
        if self.finish == Some(Finish::StopString) {
            return String::new();
        }
        let tail = self.detokenizer.finish();
        let emitted = self.stops.push(&tail);
        let rest = if emitted.stopped {
            String::new()
        } else {
            self.stops.flush()
        };
        emitted.text + &rest
    }

    fn elapsed_ms(&self) -> f64 {
        (self.clock)() - self.begun_ms
    }
}

fn per_second(count: usize, ms: f64) -> f64 {
    if count == 0 || ms <= 0.0 {
        0.0
    } else {
        count as f64 * 1000.0 / ms
    }
}
