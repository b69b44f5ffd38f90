//! In: a pack and what to measure. Out: medians. The plans take turns, so that what slows the machine slows all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use halfdepth::decode::trial::Trial;
use halfdepth::decode::{
    Device, GpuInfo, Lane, LaneOptions, LaneStats, Turn, TurnRequest, read_bandwidth,
};
use halfdepth::kernels::Variant;
use halfdepth::pack::Manifest;
use halfdepth::plan::LanePlan;
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;

use super::report::{Decode, PlanReport, Prefill, Report, median};
use crate::model::{DeviceChoice, clock_ms, from_pack, progress};

/// A pack on a device, with a lane for every plan.
pub(super) struct Bench<'m> {
    manifest: &'m Manifest,
    device: Device,
    gpu: GpuInfo,
    variant: Variant,
    tokenizer: Tokenizer,
    load_ms: f64,
    lanes: Vec<(Lane, f64)>,
}

/// What one run measured, by plan and by context or length.
type Samples = BTreeMap<(usize, usize), Vec<LaneStats>>;

impl<'m> Bench<'m> {
    pub(super) fn load(
        folder: &Path,
        manifest: &'m Manifest,
        plans: &[String],
        context: usize,
        device: DeviceChoice,
        variant: Option<Variant>,
    ) -> Result<Self> {
        let plans: Vec<LanePlan> = plans
            .iter()
            .map(|name| manifest.plan(name))
            .collect::<Result<_, _>>()?;
        let (device, gpu) = device.open()?;
        let begun = Instant::now();
        let (model, tokenizer) = from_pack(folder, manifest, &device)?;
        let load_ms = milliseconds(begun);
        let variant = match variant {
            Some(variant) => gpu.checked(variant)?,
            None => quickest(manifest, &gpu, &device)?,
        };
        let mut lanes = Vec::new();
        for plan in plans {
            let begun = Instant::now();
            let lane = block_on(Lane::with(&model, plan, LaneOptions { context, variant }))?;
            lanes.push((lane, milliseconds(begun)));
        }
        Ok(Self {
            manifest,
            device,
            gpu,
            variant,
            tokenizer,
            load_ms,
            lanes,
        })
    }

    pub(super) fn run(
        &mut self,
        contexts: &[usize],
        prompts: &[usize],
        tokens: usize,
        runs: u32,
    ) -> Result<Report> {
        let most_bytes = (0..self.lanes.len())
            .map(|lane| self.weight_bytes(lane))
            .max();
        let bandwidth = block_on(read_bandwidth(
            &self.device,
            most_bytes.unwrap_or_default(),
            self.gpu.largest_binding,
            clock_ms,
        ))?;
        let decoded = self.decode(contexts, tokens, runs)?;
        let read = self.prefill(prompts, runs)?;
        let mut plans: Vec<PlanReport> = Vec::new();
        for lane in 0..self.lanes.len() {
            let decode = contexts.iter().map(|context| {
                let of_lane = |lane| self.speed(&decoded, lane, *context, tokens);
                let ((speed, bytes), (first_speed, first_bytes)) = (of_lane(lane), of_lane(0));
                let cache_bytes = bytes - self.weight_bytes(lane);
                let (speed_up, predicted) =
                    (speed / first_speed, first_bytes as f64 / bytes as f64);
                Decode {
                    context: *context,
                    tokens_per_second: speed,
                    cache_bytes_per_token: cache_bytes,
                    share_of_bandwidth: speed * bytes as f64 / bandwidth.bytes_per_second,
                    speed_up: (lane > 0).then_some(speed_up),
                    share_of_predicted_speed_up: (lane > 0).then_some(speed_up / predicted),
                }
            });
            let prefill = prompts.iter().map(|prompt| Prefill {
                prompt: *prompt,
                tokens_per_second: of(&read, (lane, *prompt), |s| s.prefill_tokens_per_second),
                time_to_first_token_ms: of(&read, (lane, *prompt), |s| s.time_to_first_token_ms),
            });
            let plan = self.lanes[lane].0.plan().layers();
            plans.push(PlanReport {
                plan: plan.name.clone(),
                layers: plan.layers.len(),
                lane_ms: self.lanes[lane].1,
                weight_bytes_per_token: self.weight_bytes(lane),
                decode: decode.collect(),
                prefill: prefill.collect(),
            });
        }
        Ok(Report {
            pack: self.manifest.name().to_string(),
            source: self.manifest.source().name.clone(),
            device: self.gpu.name.clone(),
            driver: self.gpu.driver.clone(),
            software: self.gpu.software,
            variant: self.variant.to_string(),
            load_ms: self.load_ms,
            read_bandwidth_bytes_per_second: bandwidth.bytes_per_second,
            read_buffer_bytes: bandwidth.buffer_bytes,
            peak_rss_bytes: peak_rss_bytes(),
            tokens,
            runs,
            plans,
        })
    }

    fn decode(&mut self, contexts: &[usize], tokens: usize, runs: u32) -> Result<Samples> {
        let mut samples = Samples::new();
        let bar = progress(
            contexts.len() * (runs as usize + 1) * self.lanes.len(),
            "decoding",
        );
        for context in contexts {
            // The same prompt every time: after the first, the cache holds it and only decoding is repeated.
            let prompt = self.prompt(*context, 0);
            for run in 0..=runs {
                for lane in 0..self.lanes.len() {
                    let stats = self.turn(lane, prompt.clone(), tokens)?;
                    if run > 0 {
                        samples.entry((lane, *context)).or_default().push(stats);
                    }
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        Ok(samples)
    }

    fn prefill(&mut self, prompts: &[usize], runs: u32) -> Result<Samples> {
        let mut samples = Samples::new();
        let bar = progress(
            prompts.len() * (runs as usize + 1) * self.lanes.len(),
            "reading",
        );
        for prompt in prompts {
            for run in 0..=runs {
                for lane in 0..self.lanes.len() {
                    // Another first token each time, so that nothing of it is in the cache.
                    let ids = self.prompt(*prompt, 1 + run as usize);
                    let stats = self.turn(lane, ids, 1)?;
                    anyhow::ensure!(
                        stats.reused_tokens == 0,
                        "the cache held a part of a prompt that was to be read"
                    );
                    if run > 0 {
                        samples.entry((lane, *prompt)).or_default().push(stats);
                    }
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        Ok(samples)
    }

    fn turn(&mut self, lane: usize, prompt: Vec<u32>, max_tokens: usize) -> Result<LaneStats> {
        let lane = &mut self.lanes[lane].0;
        let request = TurnRequest {
            prompt,
            max_tokens,
            ignore_end: true,
            ..TurnRequest::default()
        };
        let mut turn = Turn::start(lane, &self.tokenizer, request, clock_ms)?;
        let mut steps: Vec<(f64, usize)> = Vec::new(); // when, and how many tokens
        loop {
            let step = block_on(turn.step(lane, &self.tokenizer))?;
            if !step.tokens.is_empty() {
                steps.push((clock_ms(), step.tokens.len()));
            }
            if step.finish.is_some() {
                let mut stats = step.stats;
                // Batches are begun before the last one is read: what came with the first has a head start, and is not counted.
                if let [_, (begun_ms, _), counted @ .., (ended_ms, last)] = steps.as_slice() {
                    let tokens = last + counted.iter().map(|(_, tokens)| tokens).sum::<usize>();
                    stats.decode_tokens_per_second = tokens as f64 * 1000.0 / (ended_ms - begun_ms);
                }
                return Ok(stats);
            }
        }
    }

    /// Token ids that mean nothing; prompts of different numbers part at the first.
    fn prompt(&self, tokens: usize, number: usize) -> Vec<u32> {
        let vocabulary = self.manifest.config().vocab_size;
        (0..tokens)
            .map(|at| ((number * 31 + at * 7919) % vocabulary) as u32)
            .collect()
    }

    /// Median decode speed of a lane, and the bytes it reads for a token.
    fn speed(&self, samples: &Samples, lane: usize, context: usize, tokens: usize) -> (f64, u64) {
        let speed = of(samples, (lane, context), |s| s.decode_tokens_per_second);
        let config = self.manifest.config();
        let layers = self.lanes[lane].0.plan().layers().layers.len() as u64;
        let words = self.variant.cache.words(config.kv_rows()) as u64;
        let position_bytes = 2 * layers * 4 * words; // keys and values
        let positions = (context + tokens / 2) as u64;
        (speed, self.weight_bytes(lane) + positions * position_bytes)
    }

    /// Bytes of the weights that one token reads.
    fn weight_bytes(&self, lane: usize) -> u64 {
        self.manifest.bytes_per_token(self.lanes[lane].0.plan())
    }
}

fn of(samples: &Samples, key: (usize, usize), value: impl Fn(&LaneStats) -> f64) -> f64 {
    median(samples.get(&key).into_iter().flatten().map(value).collect())
}

/// The kernels that suit this device, as a page finds them.
fn quickest(manifest: &Manifest, gpu: &GpuInfo, device: &Device) -> Result<Variant> {
    let mut trial = Trial::new(
        manifest.config(),
        gpu.variant(),
        gpu.subgroup,
        device,
        clock_ms,
    );
    while !trial.is_over() {
        block_on(trial.step())?;
    }
    Ok(trial.best())
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// The most physical memory this process has held, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
