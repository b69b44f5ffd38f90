//! `halfdepth trace`: where in layers and tokens an answer is held, and whether a plan cuts it out.

use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::dense::Dense;
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::trace::{
    Asked, Estimate, Kind, Occurrence, Question, Settings, TokenNote, TraceDocument, Tracer,
    likeliest,
};
use serde_json::json;

use crate::chart::trace_map;
use crate::conduct::{Conduct, write_whole};
use crate::dense;
use crate::model::{DeviceChoice, progress};

/// Pixels of the PNG for each point of the SVG.
const PNG_SCALE: f32 = 2.0;

/// Causal tracing (arXiv 2202.05262): noise on the subject's embeddings makes the answer unlikely; where a single state of the clean run,
/// put back, makes it likely again, there the answer is held. Writes trace.json, trace.svg and trace.png.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    model: PathBuf,
    /// What the model reads; special tokens may be spelled out
    #[arg(long)]
    prompt: String,
    /// The words of the prompt that the answer depends on
    #[arg(long)]
    subject: String,
    /// Which of several places of the subject: its number from 1, or `all`
    #[arg(long)]
    occurrence: Option<Which>,
    /// What is to follow, mostly with a space before it; measured is the likelihood of all of it [default: the token that the model
    /// holds likeliest]
    #[arg(long)]
    answer: Option<String>,
    /// Draws of the noise
    #[arg(long, default_value_t = 10)]
    samples: usize,
    /// Deviation of the noise, in standard deviations of the embeddings
    #[arg(long, default_value_t = 3.0)]
    noise: f64,
    /// What is put back: the residual stream after a layer, or what its attention or its MLP adds to it
    #[arg(long, value_enum, default_value_t = What::State)]
    kind: What,
    /// Layers in which it is put back at once [default: 1 for states; 10 of 48 for attention and MLP]
    #[arg(long)]
    window: Option<usize>,
    /// A plan to hold the map against: one of the pack, `half`, or a file that `halfdepth plan` wrote
    #[arg(long)]
    plan: Option<String>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The folder to write to
    #[arg(short, long, default_value = "trace")]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    State,
    Attention,
    Mlp,
}

#[derive(Clone, Copy, Debug)]
struct Which(Occurrence);

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self(Occurrence::All)),
            (_, Ok(number)) => Ok(Self(Occurrence::Nth(number))),
            _ => Err("name a number from 1, or `all`".into()),
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let model = dense::open(&args.model)?;
    let tokenizer = model.tokenizer()?;
    let config = model.source().config();
    let occurrence = args.occurrence.map_or(Occurrence::Only, |which| which.0);
    let mut question = Question::with_subject(
        &tokenizer,
        config,
        &args.prompt,
        (&args.subject, occurrence),
        args.answer.as_deref(),
    )?;
    let plan = (args.plan.as_deref().map(|name| model.layer_plan(name))).transpose()?;
    let settings = settings(args, config.layers);
    let (device, gpu) = args.device.open()?;
    if args.conduct.dry_run {
        return say_what_would_be_done(args, &question, settings, config.layers, &gpu.name);
    }
    let bar = progress(config.layers + 1, "loading");
    let full = LayerPlan::full(config.layers)?;
    let dense = Dense::load(model.source(), full, &device, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if args.answer.is_none() {
        question.answer = vec![likeliest(&dense, &question.prompt)?];
    }
    let tracer = Tracer::new(&dense, &question, settings)?;
    let cells = (tracer.read().len() - question.subject[0]) * config.layers;
    let bar = progress(cells, "tracing");
    let map = tracer.map(&|done, _| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let planned = match &plan {
        Some(plan) => Some((plan, answer_under(&dense, plan, &question)?)),
        None => None,
    };
    let asked = Asked {
        prompt: args.prompt.clone(),
        tokens: notes(&tokenizer, tracer.read())?,
        subject: args.subject.clone(),
        subject_tokens: question.subject.clone(),
        answer: notes(&tokenizer, &question.answer)?,
        answer_is_the_models: args.answer.is_none(),
    };
    let scanned = model.scanned(&model.sha256());
    let trace = TraceDocument::new(scanned, asked, (&tracer, settings), map, planned);
    write(args, &trace)?;
    report(args, &trace, &gpu.name)
}

fn settings(args: &Args, layers: usize) -> Settings {
    let defaults = Settings::new(args.kind.into(), layers);
    Settings {
        window: args.window.unwrap_or(defaults.window),
        samples: args.samples,
        noise: args.noise,
        seed: args.conduct.seed,
        ..defaults
    }
}

/// The answer's probability where only the plan's layers run.
fn answer_under(dense: &Dense, plan: &LayerPlan, question: &Question) -> Result<f64> {
    let planned = dense.with_plan(plan)?;
    let likelihoods = planned.log_likelihoods(&[(&question.prompt, &question.answer)])?;
    let sum: f64 = (likelihoods.iter().flatten())
        .map(|token| f64::from(token.logprob))
        .sum();
    Ok(sum.exp())
}

/// Tokens with what each decodes to, alone.
pub(crate) fn notes(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Vec<TokenNote>> {
    let note = |id: &u32| {
        Ok(TokenNote {
            id: *id,
            text: tokenizer.decode(&[*id], false)?,
        })
    };
    ids.iter().map(note).collect()
}

fn write(args: &Args, trace: &TraceDocument) -> Result<()> {
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let file = |name: &str| args.output.join(name);
    let map = trace_map(trace);
    write_whole(&file("trace.svg"), &map.to_svg())?;
    write_whole(&file("trace.png"), &map.to_png(PNG_SCALE)?)?;
    write_whole(&file("trace.json"), trace.to_json().as_bytes())
}

fn say_what_would_be_done(
    args: &Args,
    question: &Question,
    settings: Settings,
    layers: usize,
    device: &str,
) -> Result<()> {
    let first = question.subject.first().copied().unwrap_or_default();
    let read = question.prompt.len() + question.answer.len().saturating_sub(1);
    let cells = (read - first) * layers;
    if args.conduct.json {
        let report = json!({
            "dry_run": true, "tokens": read, "subject_tokens": question.subject, "answer_tokens": question.answer.len(),
            "cells": cells, "settings": settings, "device": device, "output": args.output,
        });
        println!("{report}");
    } else {
        println!(
            "would put back {cells} states ({layers} layers, {} tokens from the subject on) under {} draws of noise on {device}, and write {}",
            read - first,
            settings.samples,
            args.output.display()
        );
    }
    Ok(())
}

fn report(args: &Args, trace: &TraceDocument, device: &str) -> Result<()> {
    let (layer, token) = trace.strongest;
    let strongest = trace.effects[layer][token];
    if args.conduct.json {
        let report = json!({
            "output": args.output, "model": trace.model.name, "device": device, "settings": trace.settings,
            "answer": trace.answer, "clean": trace.clean, "corrupted": trace.corrupted,
            "strongest": { "layer": layer, "token": token, "text": trace.tokens[token].text, "effect": strongest },
            "plan": trace.plan,
        });
        println!("{report}");
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let answer: String = trace
        .answer
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    writeln!(
        out,
        "{answer:?}: probability {:.4} clean, {} with noise on {:?}\n",
        trace.clean,
        with_interval(trace.corrupted),
        trace.subject
    )?;
    table(&mut out, trace)?;
    writeln!(
        out,
        "\nmost comes back in layer {layer} at {:?} (token {token}): {}",
        trace.tokens[token].text,
        with_interval(strongest)
    )?;
    if let Some(plan) = &trace.plan {
        let share = match plan.share_of_effects {
            Some(share) => format!("{:.1} % of the effects", 100.0 * share),
            None => "no effect".into(),
        };
        writeln!(
            out,
            "{share} in the {} layers that {} leaves out; under it the answer has {:.4}",
            plan.cut.len(),
            plan.plan,
            plan.probability
        )?;
    }
    let map = args.output.join("trace.svg");
    writeln!(out, "\n{}, .png and .json", map.display())?;
    Ok(())
}

/// By layer: the effect at the subject's last token, at the last token, and the strongest.
fn table(out: &mut impl std::io::Write, trace: &TraceDocument) -> Result<()> {
    let last = trace.tokens.len() - 1;
    let of_subject = trace.subject_tokens.last().copied().unwrap_or(last);
    writeln!(
        out,
        " layer  at the subject's last token     at the last token  strongest"
    )?;
    for (layer, row) in trace.effects.iter().enumerate() {
        let means = row.iter().enumerate();
        let best = means.fold(0, |best, (at, cell)| match cell.mean > row[best].mean {
            true => at,
            false => best,
        });
        let plan = trace.plan.as_ref();
        let is_cut = plan.is_some_and(|plan| plan.cut.contains(&layer));
        writeln!(
            out,
            "{layer:>6}  {:>27}  {:>20}  {:+.3} {:?}{}",
            with_interval(row[of_subject]),
            with_interval(row[last]),
            row[best].mean,
            trace.tokens[best].text,
            if is_cut { "  (cut)" } else { "" }
        )?;
    }
    Ok(())
}

fn with_interval(estimate: Estimate) -> String {
    match estimate.interval {
        Some(interval) => format!(
            "{:.3} ({:.3} to {:.3})",
            estimate.mean, interval.low, interval.high
        ),
        None => format!("{:.3}", estimate.mean),
    }
}

impl From<What> for Kind {
    fn from(what: What) -> Self {
        match what {
            What::State => Self::State,
            What::Attention => Self::Attention,
            What::Mlp => Self::Mlp,
        }
    }
}
