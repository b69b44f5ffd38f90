//! In: a pack as it was written, and texts. Out: every plan's figures on each text, as `halfdepth eval` measures them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use halfdepth::decode::Device;
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::eval::{self, Answerer, Encoder, Figures, Item, TextMeasure, summarise};
use halfdepth::pack::{Evaluation, Manifest};
use halfdepth::plan::{LayerPlan, PlanEntry, PlanFigures};
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;

use super::Args;
use crate::dense::{self, Model};
use crate::model::progress;
use crate::open::file_name;

/// Predictions of a measuring window, after the begin token alone.
const WINDOW: usize = 128;

/// A text's tokens that are measured on.
struct Measured {
    name: String,
    tokens: Vec<u32>,
}

/// Measures every plan on what was written, so that 4 bits are part of the figures.
pub(super) fn measure(args: &Args, manifest: &mut Manifest) -> Result<()> {
    let (device, _) = args.device.open()?;
    let model = dense::open(&args.output)?;
    let tokenizer = model.tokenizer()?;
    let mut texts = Vec::new();
    for (number, path) in args.measure.iter().enumerate() {
        let searches = args.search_half && number == 0;
        let needed = args.tokens * if searches { 2 } else { 1 };
        let mut tokens = tokens_of(path, &tokenizer, needed)?;
        let searched = tokens.split_off(args.tokens);
        if searches {
            // Not on the measured tokens: the figure would flatter the plan that was chosen by it.
            let best = best_half(&model, &searched, &device)?;
            manifest.set_plan(best)?;
        }
        texts.push(Measured {
            name: file_name(path),
            tokens,
        });
    }
    let encoder = Encoder::new(&tokenizer, manifest.config())?;
    let full = LayerPlan::full(manifest.config().layers)?;
    let full = Dense::load(model.source(), full, &device, &mut |_, _| ())?;
    let bar = progress(manifest.plans().len() * texts.len(), "measuring");
    let mut figures = Vec::new();
    for entry in manifest.plans() {
        let plan = manifest.plan(&entry.name)?;
        let replaced = model.replaced(&plan)?;
        let dense = match &replaced {
            None => full.with_plan(plan.sublayers().clone())?,
            Some(source) => {
                let source: &dyn DenseSource = source.as_ref();
                Dense::load(source, plan.sublayers().clone(), &device, &mut |_, _| ())?
            }
        };
        let mut answerer = Answerer {
            encoder: encoder.clone(),
            model: &dense,
            reference: Some(&full),
            writer: None,
        };
        let mut of_plan = Vec::new();
        for text in &texts {
            of_plan.push(figures_on(text, &mut answerer)?);
            bar.inc(1);
        }
        figures.push(of_plan);
    }
    bar.finish_and_clear();
    let protocol = [TextMeasure::Loss, TextMeasure::Compare].map(|m| m.protocol(WINDOW));
    let evaluation = texts.iter().map(|text| Evaluation {
        text: text.name.clone(),
        tokens: text.tokens.len() as u64,
        protocol: format!("{}; {}", protocol[0], protocol[1]),
    });
    manifest.set_evaluation(evaluation.collect(), figures)?;
    Ok(())
}

fn figures_on(text: &Measured, answerer: &mut Answerer) -> Result<PlanFigures> {
    let mut measured = |measure: TextMeasure| -> Result<Figures> {
        let items = measure.items(&text.name, &text.tokens, WINDOW, None)?;
        let asked: Vec<&Item> = items.iter().collect();
        let answers = block_on(answerer.answer(&asked))?;
        let vocabulary = answerer.model.config().vocab_size;
        let summary = summarise(&items, &answers, vocabulary);
        Ok(summary.context("there is nothing to measure")?.0)
    };
    let loss = measured(TextMeasure::Loss)?;
    let distance = measured(TextMeasure::Compare)?;
    match (loss, distance) {
        (Figures::Loss { cross_entropy, .. }, Figures::Distance { kl, agreement, .. }) => {
            Ok(PlanFigures {
                cross_entropy: cross_entropy.value,
                agreement: Some(agreement.value),
                kl: Some(kl.value),
            })
        }
        _ => bail!("a text's loss and distance came out as something else"),
    }
}

fn tokens_of(path: &Path, tokenizer: &Tokenizer, needed: usize) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let mut tokens = tokenizer.encode(&text, false)?;
    if tokens.len() < needed {
        bail!(
            "{} has {} tokens, fewer than the {needed} to measure and search on; give a longer text or a smaller --tokens",
            path.display(),
            tokens.len()
        );
    }
    tokens.truncate(needed);
    Ok(tokens)
}

fn best_half(model: &Model, tokens: &[u32], device: &Device) -> Result<PlanEntry> {
    let config = model.source().config();
    let depth = config.layers;
    let bos = config
        .bos_token
        .context("the model names no begin token, after which to measure")?;
    let full = Dense::load(
        model.source(),
        LayerPlan::full(depth)?,
        device,
        &mut |_, _| (),
    )?;
    let bar = progress(0, "searching");
    let (layers, _) = eval::best_plan(depth, depth - depth / 2, |layers| -> Result<f64> {
        bar.inc_length(1);
        bar.inc(1);
        let plan = LayerPlan::new("measured", layers.to_vec(), depth)?;
        Ok(full.with_plan(plan)?.cross_entropy(tokens, WINDOW, bos)?)
    })?;
    bar.finish_and_clear();
    let title = "Half depth: the layers with the least measured loss";
    Ok(PlanEntry::new("best-half", title, layers))
}
