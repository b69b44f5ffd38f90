//! In: what is healed, texts, settings. Out: a healing in its folder; on the way there, states that a run goes on from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use halfdepth::checkpoint::hex;
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::heal::{
    Corpus, HEALING, HealError, Healing, Parts, Record, Settings, StepNote, Trainer,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::curve::{Display, Log};
use super::text::{self, Texts};
use super::{Args, Subject};
use crate::conduct::{read_at_most, write_whole_with};
use crate::healing;

/// The state of a run that is not finished.
const STATE: &str = "heal.state";

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Steps,
    Patience,
    Minutes,
}

/// A run and where it stands.
struct Run<'r, 's> {
    args: &'r Args,
    subject: &'r Subject<'r>,
    trainer: Trainer<'s>,
    held_out: Vec<u32>,
    key: String,
    log: Log,
    display: Display,
    begun: Instant,
}

/// Trains, and writes what came of it.
pub(super) fn run(
    args: &Args,
    subject: &Subject,
    init: Option<&Healing>,
    start: &dyn DenseSource,
) -> Result<()> {
    let config = subject.model.source().config();
    let settings = args.how.settings(config.context, args.conduct.seed)?;
    settings.check(config)?;
    settings.check_plan(&subject.plan, config.layers)?;
    let mut texts = text::read(args, subject.encoder.tokenizer())?;
    let corpus = Corpus::new(
        std::mem::take(&mut texts.train),
        settings.tokens,
        subject.encoder.prefix(),
        settings.seed,
    )?;
    texts.check_held_out()?;
    let (device, gpu) = args.device.open()?;
    let record = record(args, subject, init, &settings, &texts);
    let key = key(&record, subject, init, &gpu.name);
    if args.conduct.dry_run {
        return say_what_would_be_done(args, &settings, &texts, &corpus, &gpu.name);
    }
    if is_done(args, &key)? {
        return Ok(());
    }
    if args.how.has_preset() && !args.conduct.json {
        args.how.print_preset(false)?;
    }
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let mut record = record;
    record.settings.insert("key".into(), key.clone().into());
    let parts = Parts {
        source: subject.model.source(),
        start,
        init,
        record,
        corpus,
        settings: settings.clone(),
        device,
    };
    let mut trainer = Trainer::new(parts)?;
    let state = args.output.join(STATE);
    if state.exists() {
        let bytes =
            std::fs::read(&state).with_context(|| format!("cannot read {}", state.display()))?;
        trainer
            .resume(&key, &bytes)
            .with_context(|| state.display().to_string())?;
    }
    let done = trainer.progress().step;
    let log = Log::open(&args.output.join("log.jsonl"), done)?;
    let mut run = Run {
        args,
        subject,
        held_out: texts.held_out,
        key,
        display: Display::new(settings.schedule.steps, args.conduct.json),
        log,
        trainer,
        begun: Instant::now(),
    };
    if done > 0 {
        run.display.say(&format!(
            "going on after {done} of {} steps",
            settings.schedule.steps
        ));
    }
    run.train(&settings)
}

impl Run<'_, '_> {
    fn train(&mut self, settings: &Settings) -> Result<()> {
        let every = self.every(settings);
        if self.trainer.progress().step == 0 && self.trainer.progress().loss_before.is_none() {
            self.evaluate()?;
            self.save()?;
        }
        let end = loop {
            if self.trainer.is_done() {
                break End::Steps;
            }
            if self.is_out_of_patience() {
                break End::Patience;
            }
            let seconds = self.args.minutes.map(|minutes| minutes.max(0.0) * 60.0);
            // Longer than a duration can be is no limit.
            let minutes = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            if minutes.is_some_and(|limit| self.begun.elapsed() >= limit) {
                break End::Minutes;
            }
            let note = match self.trainer.step() {
                Ok(note) => note,
                Err(error @ HealError::Diverged { .. }) => return self.keep_the_best(error),
                Err(error) => return Err(error.into()),
            };
            self.note(&note)?;
            let evaluates = note.step.is_multiple_of(every) || self.trainer.is_done();
            if evaluates {
                self.evaluate()?;
            }
            if evaluates || note.step.is_multiple_of(self.args.checkpoint_every) {
                self.save()?;
            }
        };
        if end == End::Minutes {
            self.save()?;
        }
        self.finish(end)
    }

    fn every(&self, settings: &Settings) -> u64 {
        let every = self
            .args
            .evaluate_every
            .unwrap_or(settings.schedule.steps / 20);
        every.max(1)
    }

    fn is_out_of_patience(&self) -> bool {
        let waited = self.trainer.progress().waited;
        self.args
            .patience
            .is_some_and(|patience| waited >= patience.max(1))
    }

    fn note(&mut self, note: &StepNote) -> Result<()> {
        self.log.add(&json!({
            "step": note.step, "tokens": note.tokens, "loss": note.loss, "cross_entropy": note.cross_entropy,
            "divergence": note.divergence, "hidden": note.hidden, "learning_rate": note.rate, "gradient_norm": note.gradient_norm,
        }))?;
        let speed = self.trainer.tokens_a_step();
        self.display.step(note, speed);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<()> {
        let begin = self.subject.encoder.prefix();
        let loss = self
            .trainer
            .held_out_loss(&self.held_out, self.args.window, begin)?;
        self.trainer.note_held_out(loss);
        let step = self.trainer.progress().step;
        self.log
            .add(&json!({ "step": step, "held_out_loss": loss }))?;
        self.display.held_out(step, loss);
        Ok(())
    }

    fn save(&self) -> Result<()> {
        let (trainer, key) = (&self.trainer, &self.key);
        write_whole_with(&self.args.output.join(STATE), |file| {
            trainer.save(key, file).map_err(std::io::Error::other)
        })
    }

    /// Writes what was best before the loss left every bound, if it was better than nothing; whoever tries again begins anew.
    fn keep_the_best(&mut self, error: HealError) -> Result<()> {
        self.display.finish();
        remove(self.args.output.join(STATE))?;
        let progress = self.trainer.progress();
        let best = progress.best.zip(progress.loss_before);
        let Some(((loss, step), before)) = best.filter(|((loss, _), before)| loss < before) else {
            return Err(anyhow::Error::new(error).context(
                "no weights were better than those it began with; no healing was written",
            ));
        };
        self.write()?;
        self.log.draw(&self.args.output, &self.subject.plan.name)?;
        let kept = format!(
            "{} holds the weights after step {step}, of held-out loss {loss:.4} ({before:.4} before)",
            self.args.output.display()
        );
        Err(anyhow::Error::new(error).context(kept))
    }

    fn finish(&mut self, end: End) -> Result<()> {
        self.display.finish();
        self.write()?;
        self.log.draw(&self.args.output, &self.subject.plan.name)?;
        // Who ended early is to go on; who is done has nothing to go on from.
        if end != End::Minutes {
            remove(self.args.output.join(STATE))?;
        }
        self.report(end)
    }

    fn write(&self) -> Result<()> {
        let healing = self.trainer.healing()?;
        let config = self.subject.model.source().config();
        let adapter = self.trainer.adapter()?;
        let adapter = adapter.map(|adapter| adapter.to_peft(&self.subject.plan, config));
        let adapter = adapter.transpose()?;
        healing::write(&self.args.output, &healing, config, adapter.as_ref())
    }

    fn report(&self, end: End) -> Result<()> {
        let progress = self.trainer.progress();
        let ended = match end {
            End::Steps => "all steps",
            End::Patience => "no lower held-out loss",
            End::Minutes => "time",
        };
        let tokens = progress.step * self.trainer.tokens_a_step();
        if self.args.conduct.json {
            println!(
                "{}",
                json!({
                    "output": self.args.output, "method": self.args.how.method.name(), "plan": self.subject.plan.name,
                    "steps": progress.step, "tokens": tokens, "ended_by": ended, "best_step": progress.best.map(|(_, step)| step),
                    "loss_before": progress.loss_before, "loss_after": progress.best.map(|(loss, _)| loss),
                    "seconds": self.begun.elapsed().as_secs_f64(),
                })
            );
            return Ok(());
        }
        let loss =
            |loss: Option<f64>| loss.map_or("not measured".into(), |loss| format!("{loss:.4}"));
        println!(
            "{}: held-out loss {} before, {} after {} steps ({tokens} tokens read; ended by {ended})",
            self.args.output.display(),
            loss(progress.loss_before),
            loss(progress.best.map(|(loss, _)| loss)),
            progress.best.map_or(progress.step, |(_, step)| step)
        );
        let best = progress.best.map(|(loss, _)| loss);
        if best
            .zip(progress.loss_before)
            .is_some_and(|(best, before)| best >= before)
        {
            println!(
                "  warning: that is no better than before; take a lower --learning-rate, more --steps, or a text nearer to the held-out one"
            );
        }
        if end == End::Minutes {
            println!("the same command goes on from here");
        }
        Ok(())
    }
}

fn record(
    args: &Args,
    subject: &Subject,
    init: Option<&Healing>,
    settings: &Settings,
    texts: &Texts,
) -> Record {
    let mut record = subject.record(args);
    if let Ok(Value::Object(fields)) = serde_json::to_value(settings) {
        record.settings = fields;
    }
    let held_out = json!({
        "texts": texts.held_out_texts, "tokens": texts.held_out.len(), "window": args.window,
        "evaluate_every": args.evaluate_every, "patience": args.patience,
    });
    record.settings.insert("held_out".into(), held_out);
    if let Some(init) = init {
        record.settings.insert(
            "init".into(),
            json!({ "method": init.record.method, "settings": init.record.settings }),
        );
    }
    record.texts.clone_from(&texts.texts);
    record
}

/// Measures the cut as it is, and writes a healing that changes nothing: what others are held against.
pub(super) fn measure(args: &Args, subject: &Subject) -> Result<()> {
    let texts = text::read(args, subject.encoder.tokenizer())?;
    texts.check_held_out()?;
    let (device, gpu) = args.device.open()?;
    if args.conduct.dry_run {
        println!(
            "would measure plan {} on {} held-out tokens on {}, and write {}",
            subject.plan.name,
            texts.held_out.len(),
            gpu.name,
            args.output.display()
        );
        return Ok(());
    }
    healing::refuse_existing(&args.output)?;
    let (source, plan) = (subject.model.source(), subject.plan.clone());
    let dense = Dense::load(source, plan, &device, &mut |_, _| {})?;
    let loss = dense.cross_entropy(&texts.held_out, args.window, subject.encoder.prefix())?;
    let mut record = subject.record(args);
    record.loss_before = Some(loss);
    record.loss_after = Some(loss);
    let unchanged = Healing {
        record,
        tensors: BTreeMap::new(),
    };
    healing::write(&args.output, &unchanged, source.config(), None)?;
    let output = &args.output;
    if args.conduct.json {
        println!(
            "{}",
            json!({
                "output": output, "method": "none", "plan": subject.plan.name, "steps": 0, "tokens": 0,
                "loss_before": loss, "loss_after": loss,
            })
        );
    } else {
        println!(
            "{}: held-out loss {loss:.4}, nothing healed",
            output.display()
        );
    }
    Ok(())
}

/// What tells one run from another: whoever has the same ends with the same weights.
fn key(record: &Record, subject: &Subject, init: Option<&Healing>, device: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(record).unwrap_or_default());
    hash.update(crate::dense::tokenizer_digest(subject.encoder.tokenizer()));
    hash.update(device);
    for values in init.iter().flat_map(|init| init.tensors.values()) {
        values
            .iter()
            .for_each(|value| hash.update(value.to_le_bytes()));
    }
    hex(&hash.finalize())
}

/// Whether the folder holds what this very command writes.
fn is_done(args: &Args, key: &str) -> Result<bool> {
    let path = args.output.join(HEALING);
    if !path.exists() || args.output.join(STATE).exists() {
        return Ok(false);
    }
    let Ok(record) = Record::parse(&read_at_most(&path, 1 << 20)?) else {
        return Ok(false);
    };
    if record.settings.get("key").and_then(Value::as_str) != Some(key) {
        return Ok(false);
    }
    if args.conduct.json {
        println!(
            "{}",
            json!({
                "output": args.output, "method": record.method, "steps": record.steps, "tokens": record.tokens,
                "ended_by": "an earlier run", "loss_before": record.loss_before, "loss_after": record.loss_after,
            })
        );
    } else {
        println!(
            "{} was healed by this very command already; remove it to heal again",
            args.output.display()
        );
    }
    Ok(true)
}

fn remove(path: PathBuf) -> Result<()> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn say_what_would_be_done(
    args: &Args,
    settings: &Settings,
    texts: &Texts,
    corpus: &Corpus,
    device: &str,
) -> Result<()> {
    let text_tokens = corpus.windows() * corpus.window();
    let reads =
        settings.schedule.steps * (settings.batch * settings.accumulate * settings.tokens) as u64;
    if args.conduct.json {
        println!(
            "{}",
            json!({
                "dry_run": true, "output": args.output, "method": args.how.method.name(), "settings": settings, "device": device,
                "tokens": reads, "text_tokens": text_tokens, "sequences": corpus.windows(), "held_out_tokens": texts.held_out.len(),
            })
        );
        return Ok(());
    }
    println!(
        "would heal by {} on {device} for {} steps: {reads} tokens, of a text of {} ({:.1} times), held-out text of {} tokens; and write {}",
        args.how.method.name(),
        settings.schedule.steps,
        text_tokens,
        reads as f64 / text_tokens as f64,
        texts.held_out.len(),
        args.output.display()
    );
    println!("{}", serde_json::to_string_pretty(settings)?);
    Ok(())
}
