//! `halfdepth pack`: quantises a model into the files that a page fetches, and measures its plans.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::checkpoint::{Checkpoint, TokenizerSource};
use halfdepth::decode::Lane;
use halfdepth::eval;
use halfdepth::pack::{Evaluation, Manifest, PackOptions, Source as PackSource, write};
use halfdepth::plan::{LayerPlan, PlanEntry};
use halfdepth::quant::Format;
use pollster::block_on;

use crate::model::{DeviceChoice, from_pack, progress};
use crate::open::{self, Source};

/// Predictions of a measuring window, after the begin token alone.
const WINDOW: usize = 128;

/// Quantises a model.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder or a .gguf file
    model: PathBuf,
    /// The pack's folder; made if it is not there
    #[arg(short, long)]
    output: PathBuf,
    /// What the model calls itself; the folder's name if not given
    #[arg(long)]
    name: Option<String>,
    /// The licence of the weights
    #[arg(long)]
    licence: Option<String>,
    /// Bits of the layers' weights
    #[arg(long, value_enum, default_value_t = Bits::Q4)]
    layers: Bits,
    /// Bits of the embedding and the head
    #[arg(long, value_enum, default_value_t = Bits::Q8)]
    embedding: Bits,
    /// Measure the cross-entropy of every plan on this text
    #[arg(long, value_name = "TEXT")]
    measure: Option<PathBuf>,
    /// Look for the half with the least loss on the tokens after the measured ones; it becomes the plan `best-half`
    #[arg(long, requires = "measure")]
    search_half: bool,
    /// Tokens to measure on, and as many to search on
    #[arg(long, default_value_t = 2048)]
    tokens: usize,
    /// Where to measure
    #[arg(long, value_enum, default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
}

/// Bits of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bits {
    /// 4 bits and a scale for each 32 weights.
    Q4,
    /// 8 bits and a scale for each 32 weights.
    Q8,
    /// 32 bits: for comparing.
    F32,
}

impl From<Bits> for Format {
    fn from(bits: Bits) -> Self {
        match bits {
            Bits::Q4 => Self::Q4,
            Bits::Q8 => Self::Q8,
            Bits::F32 => Self::F32,
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Source::Checkpoint(checkpoint) = open::open(&args.model)? else {
        bail!("{} is a pack already", args.model.display());
    };
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let mut manifest = write_pack(args, &checkpoint)?;
    if let Some(text) = &args.measure {
        measure(args, text, &mut manifest)?;
        put(&args.output, "manifest.json", manifest.to_json().as_bytes())?;
    }
    let bytes: u64 = manifest.files().iter().map(|file| file.bytes).sum();
    println!(
        "{}: {} files, {bytes} bytes",
        args.output.display(),
        manifest.files().len() + 1
    );
    Ok(())
}

fn write_pack(args: &Args, checkpoint: &Checkpoint) -> Result<Manifest> {
    let tokenizer_json = match checkpoint.tokenizer() {
        TokenizerSource::Json { tokenizer, .. } => tokenizer.to_vec(),
        _ => open::tokenizer(checkpoint)?.to_json()?.into_bytes(),
    };
    let name = args
        .model
        .file_stem()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let depth = checkpoint.config().layers;
    let options = PackOptions {
        name: args.name.clone().unwrap_or_else(|| name.clone()),
        source: PackSource {
            name,
            kind: checkpoint.kind().to_string(),
            sha256: checkpoint.sha256(),
            licence: args.licence.clone(),
        },
        layers: args.layers.into(),
        embedding: args.embedding.into(),
        plans: default_plans(depth)?,
    };
    let bar = progress(depth + 2, "packing");
    let mut put = |file: &str, bytes: &[u8]| put(&args.output, file, bytes);
    let manifest = write(
        checkpoint,
        &tokenizer_json,
        &options,
        &mut put,
        &mut |done, _| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    Ok(manifest)
}

/// Full depth, and the paper's simple half where there are layers to spare.
pub(crate) fn default_plans(depth: usize) -> Result<Vec<PlanEntry>> {
    let entry = |name: &str, title: &str, plan: LayerPlan| PlanEntry {
        name: name.to_string(),
        title: title.to_string(),
        layers: plan.layers,
        cross_entropy: None,
    };
    let mut plans = vec![entry("full", "Full depth", LayerPlan::full(depth)?)];
    if depth > 1 {
        let title = "Half depth: the deepest layers but the last left out";
        plans.push(entry("half", title, LayerPlan::simple(depth, depth / 2)?));
    }
    Ok(plans)
}

/// Measures every plan on what was written, so that 4 bits are part of the figure.
fn measure(args: &Args, text: &Path, manifest: &mut Manifest) -> Result<()> {
    let (device, _) = args.device.open()?;
    let (model, tokenizer) = from_pack(&args.output, manifest, &device)?;
    let depth = manifest.config().layers;
    let bos = manifest
        .config()
        .bos_token
        .context("the model names no begin token, after which to measure")?;
    let content =
        std::fs::read_to_string(text).with_context(|| format!("cannot read {}", text.display()))?;
    let tokens = tokenizer.encode(&content, false)?;
    let (measured, rest) = tokens.split_at(args.tokens.min(tokens.len()));
    let needed = args.tokens * if args.search_half { 2 } else { 1 };
    if tokens.len() < needed {
        bail!(
            "{} has {} tokens, fewer than the {needed} to measure and search on; give a longer text or a smaller --tokens",
            text.display(),
            tokens.len()
        );
    }
    let loss = |layers: &[usize], tokens: &[u32]| -> Result<f64> {
        let plan = LayerPlan::new("measured", layers.to_vec(), depth)?;
        let mut lane = block_on(Lane::new(&model, plan, WINDOW))?;
        Ok(block_on(eval::cross_entropy(
            &mut lane, tokens, WINDOW, bos,
        ))?)
    };
    if args.search_half {
        // Not on the measured tokens: the figure would flatter the plan that was chosen by it.
        let searched = &rest[..args.tokens.min(rest.len())];
        let bar = progress(0, "searching");
        let (layers, _) = eval::best_plan(depth, depth - depth / 2, |layers| {
            bar.inc_length(1);
            bar.inc(1);
            loss(layers, searched)
        })?;
        bar.finish_and_clear();
        let title = "Half depth: the layers with the least measured loss";
        let entry = PlanEntry {
            name: "best-half".to_string(),
            title: title.to_string(),
            layers,
            cross_entropy: None,
        };
        manifest.set_plan(entry)?;
    }
    let bar = progress(manifest.plans().len(), "measuring");
    for mut entry in manifest.plans().to_vec() {
        entry.cross_entropy = Some(loss(&entry.layers, measured)?);
        manifest.set_plan(entry)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    manifest.set_evaluation(Some(Evaluation {
        text: open::file_name(text),
        tokens: measured.len() as u64,
        protocol: format!("nats a token; disjoint windows of {WINDOW} predictions, each after the begin token alone"),
    }));
    Ok(())
}

/// Writes a file whole or not at all: a pack that was cut off must not look finished.
pub(crate) fn put(folder: &Path, file: &str, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = folder.join(format!("{file}.part"));
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(unfinished, folder.join(file))
}
