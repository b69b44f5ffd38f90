//! `halfdepth pack`: quantises a model into the files that a page fetches, and measures its plans.

mod healed;
mod measure;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::checkpoint::{Checkpoint, TokenizerSource};
use halfdepth::pack::{MANIFEST, Manifest, PackOptions, Source as PackSource, write};
use halfdepth::plan::{LayerPlan, PlanEntry};
use halfdepth::quant::Format;

use self::healed::HealedArg;
use crate::model::{DeviceChoice, progress};
use crate::open::{self, Source};

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
    /// Add the plan of a healing that `halfdepth heal` wrote, under a name and with a title for the page; what healing left alone
    /// is shared with the other plans. May be given several times
    #[arg(long, value_name = "FOLDER[:NAME[:TITLE]]")]
    healed: Vec<HealedArg>,
    /// Measure every plan on this text: its loss, and how far it is from full depth. May be given several times; the page shows
    /// the first
    #[arg(long, value_name = "TEXT")]
    measure: Vec<PathBuf>,
    /// Look for the half with the least loss on the first text's tokens after the measured ones; it becomes the plan `best-half`
    #[arg(long, requires = "measure")]
    search_half: bool,
    /// Tokens of each text to measure on, and as many to search on
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
    // Measuring reads the pack as it was written.
    let put_manifest = |manifest: &Manifest| {
        put(&args.output, MANIFEST, manifest.to_json().as_bytes())
            .with_context(|| format!("cannot write to {}", args.output.display()))
    };
    if !args.healed.is_empty() {
        healed::add(args, &mut manifest)?;
        put_manifest(&manifest)?;
    }
    if !args.measure.is_empty() {
        measure::measure(args, &mut manifest)?;
        put_manifest(&manifest)?;
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
    let full = LayerPlan::full(depth)?;
    let mut plans = vec![PlanEntry::new("full", "Full depth", full.layers)];
    if depth > 1 {
        let title = "Half depth: the deepest layers but the last left out";
        let half = LayerPlan::simple(depth, depth / 2)?;
        plans.push(PlanEntry::new("half", title, half.layers));
    }
    Ok(plans)
}

/// Writes a file whole or not at all: a pack that was cut off must not look finished.
pub(crate) fn put(folder: &Path, file: &str, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = folder.join(format!("{file}.part"));
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(unfinished, folder.join(file))
}
