//! In: a model's path and how to run it. Out: the model on a device, its tokenizer and its plans.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use clap::{Args, ValueEnum};
use halfdepth::chat::{ChatTemplate, Message};
use halfdepth::checkpoint::Checkpoint;
use halfdepth::config::LlamaConfig;
use halfdepth::decode::{self, Device, GpuInfo, Lane, LaneOptions};
use halfdepth::kernels::Variant;
use halfdepth::model::{Llama, LlamaBuilder, Loader};
use halfdepth::pack::Manifest;
use halfdepth::plan::{LanePlan, LayerPlan, MAX_PLAN_BYTES, PlanFile};
use halfdepth::quant::Format;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::weights::{FormatChoice, HeadWeights, LayerWeights, embedding_from_checkpoint};
use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;

use crate::conduct::read_at_most;
use crate::healing;
use crate::open::{self, Source};

/// Bytes of a file that are read, hashed and on their way to the device before the next are touched.
const CHUNK_BYTES: usize = 1 << 20;

/// Which model, which layers, which device.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelArgs {
    /// A Hugging Face folder, a .gguf file, or a pack
    pub(crate) model: PathBuf,
    /// A plan of the pack, or `full` or `half` (the simple half: the deepest layers but the last left out), or a file that `halfdepth plan` wrote
    #[arg(long, conflicts_with = "drop")]
    pub(crate) plan: Option<String>,
    /// Layers to leave out, counted from 0: `--drop 4,5,6`
    #[arg(long, value_delimiter = ',')]
    pub(crate) drop: Vec<usize>,
    /// A folder that `halfdepth heal` wrote for this checkpoint: its layers run, healed
    #[arg(long, conflicts_with_all = ["plan", "drop"])]
    pub(crate) healed: Option<PathBuf>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(crate) device: DeviceChoice,
    /// Run a checkpoint in f32 instead of quantising it as `pack` does
    #[arg(long)]
    pub(crate) dense: bool,
    /// Positions to allocate; at most what the model was trained for
    #[arg(long, default_value_t = 4096)]
    pub(crate) context: usize,
    /// The kernels, as `bench` names them: `r4-l64-tree-tile-f16` keeps keys and values in f16. Without it, what runs everywhere
    #[arg(long)]
    pub(crate) variant: Option<Variant>,
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// A GPU where there is one, else the CPU.
    Auto,
    /// Burn's CPU backend: slow, and the reference.
    Cpu,
    /// wgpu.
    Gpu,
}

/// A model ready to run.
pub(crate) struct Loaded {
    pub(crate) lane: Lane,
    /// Drafts for the other.
    pub(crate) draft: Option<Lane>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) device: String,
    pub(crate) load_ms: f64,
}

impl ModelArgs {
    /// Opens the model and makes a lane of it.
    pub(crate) fn load(&self) -> Result<Loaded> {
        self.load_with(None)
    }

    /// As [`ModelArgs::load`], with a second lane that runs the plan `draft`.
    pub(crate) fn load_with(&self, draft: Option<&str>) -> Result<Loaded> {
        let begun = Instant::now();
        let (source, healed) = self.open()?;
        let (device, gpu) = self.device.open()?;
        let (model, tokenizer, template) = match &source {
            Source::Checkpoint(checkpoint) => {
                let tokenizer = open::tokenizer(checkpoint)?;
                let special = checkpoint.special();
                let template = template(
                    checkpoint.chat_template(),
                    special.bos.as_deref(),
                    special.eos.as_deref(),
                )?;
                (
                    from_checkpoint(checkpoint, self.dense, &device)?,
                    tokenizer,
                    template,
                )
            }
            Source::Pack(folder, manifest) => {
                if self.dense {
                    bail!(
                        "--dense needs a checkpoint; {} is a pack, which is quantised already",
                        self.model.display()
                    );
                }
                let special = manifest.special();
                let template = template(
                    manifest.chat_template(),
                    special.bos.as_deref(),
                    special.eos.as_deref(),
                )?;
                let (model, tokenizer) = from_pack(folder, manifest, &device)?;
                (model, tokenizer, template)
            }
        };
        tokenizer.fits(model.config().vocab_size)?;
        let plan = match healed {
            Some(plan) => plan.into(),
            None => self.choose_plan(&source, model.config())?,
        };
        let options = LaneOptions {
            context: self.context,
            variant: gpu.checked(self.variant.unwrap_or_else(|| gpu.variant()))?,
        };
        let lane = block_on(Lane::with(&model, plan, options))?;
        let draft = match draft {
            None => None,
            Some(name) => {
                let plan = plan_named(name, &source, model.config())?;
                Some(block_on(Lane::with(&model, plan, options))?)
            }
        };
        let load_ms = begun.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(load_ms, device = gpu.name, "loaded");
        Ok(Loaded {
            lane,
            draft,
            tokenizer,
            template,
            device: gpu.name,
            load_ms,
        })
    }

    /// The model, healed where it is to be, and then also the plan it was healed under.
    fn open(&self) -> Result<(Source, Option<LayerPlan>)> {
        match (open::open(&self.model)?, self.healed.as_deref()) {
            (source, None) => Ok((source, None)),
            (Source::Checkpoint(checkpoint), Some(folder)) => {
                let hashes = [checkpoint.sha256()];
                let healing = healing::open(folder, checkpoint.config(), &hashes)?;
                let plan = healing.record.plan()?;
                let checkpoint = checkpoint.replacing(&healing.tensors)?;
                Ok((Source::Checkpoint(Box::new(checkpoint)), Some(plan)))
            }
            (Source::Pack(..), Some(_)) => bail!(
                "{} is a pack, which runs as it was packed; name the checkpoint that was healed",
                self.model.display()
            ),
        }
    }

    fn choose_plan(&self, source: &Source, config: &LlamaConfig) -> Result<LanePlan> {
        let layers = config.layers;
        if !self.drop.is_empty() {
            return Ok(LayerPlan::without(layers, &self.drop)?.into());
        }
        plan_named(self.plan.as_deref().unwrap_or("full"), source, config)
    }
}

/// A plan of the pack, or one of the two that every model has, or what a plan file says.
fn plan_named(name: &str, source: &Source, config: &LlamaConfig) -> Result<LanePlan> {
    let layers = config.layers;
    if let Some(file) = plan_file(name, config)? {
        return Ok(file.plan()?.into());
    }
    match (source, name) {
        (Source::Pack(_, manifest), name) => Ok(manifest.plan(name)?),
        (_, "full") => Ok(LayerPlan::full(layers)?.into()),
        (_, "half") => Ok(LayerPlan::simple(layers, layers / 2)?.into()),
        _ => bail!(
            "a checkpoint has the plans `full` and `half`; name a file that `halfdepth plan` wrote, or leave layers out by number with --drop"
        ),
    }
}

/// The plan file that `--plan` names, checked against the model's shape; `None` where it names a plan. A file ends in `.json`
/// or has its folder before it, so that no plan's name is taken for one.
pub(crate) fn plan_file(name: &str, config: &LlamaConfig) -> Result<Option<PlanFile>> {
    let path = Path::new(name);
    let is_file = name.ends_with(".json") || path.components().count() > 1;
    if !is_file {
        return Ok(None);
    }
    let file = PlanFile::parse(&read_at_most(path, MAX_PLAN_BYTES)?)
        .with_context(|| format!("cannot use {}", path.display()))?;
    file.fits(config)?;
    Ok(Some(file))
}

impl DeviceChoice {
    /// Opens the device.
    pub(crate) fn open(self) -> Result<(Device, GpuInfo)> {
        if self == Self::Cpu {
            return Ok((decode::cpu(), GpuInfo::cpu()));
        }
        match block_on(decode::open_gpu()) {
            Ok(opened) => Ok(opened),
            Err(error) if self == Self::Gpu => Err(error.into()),
            Err(_) => Ok((decode::cpu(), GpuInfo::cpu())),
        }
    }
}

impl Loaded {
    /// A conversation as the model reads it.
    pub(crate) fn chat_prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let template = self
            .template
            .as_ref()
            .context("this model has no chat template; leave --chat out, or use `generate`")?;
        Ok(self
            .tokenizer
            .encode(&template.render(messages, true)?, false)?)
    }
}

/// Milliseconds, for the library that has no clock of its own.
pub(crate) fn clock_ms() -> f64 {
    use std::sync::OnceLock;
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}

/// A bar on stderr, where that is a terminal.
pub(crate) fn progress(total: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

pub(crate) fn from_checkpoint(
    checkpoint: &Checkpoint,
    dense: bool,
    device: &Device,
) -> Result<Arc<Llama>> {
    let (ends, layers) = formats(checkpoint, dense);
    let config = checkpoint.config();
    let mut builder = LlamaBuilder::new(config.clone(), device);
    let bar = progress(config.layers + 1, "loading");
    builder.embedding(embedding_from_checkpoint(checkpoint, ends)?)?;
    builder.head(HeadWeights::from_checkpoint(checkpoint, ends)?)?;
    bar.inc(1);
    for layer in 0..config.layers {
        builder.layer(
            layer,
            LayerWeights::from_checkpoint(checkpoint, layer, layers)?,
        )?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Arc::new(builder.build()?))
}

/// Formats of the ends (embedding, head) and of the layers. A GGUF file is run in the formats it holds.
fn formats(checkpoint: &Checkpoint, dense: bool) -> (FormatChoice, FormatChoice) {
    match (dense, checkpoint.kind()) {
        (true, _) => (FormatChoice::Dense, FormatChoice::Dense),
        (false, "gguf") => (FormatChoice::Native, FormatChoice::Native),
        (false, _) => (
            FormatChoice::Quantised(Format::Q8),
            FormatChoice::Quantised(Format::Q4),
        ),
    }
}

pub(crate) fn from_pack(
    folder: &std::path::Path,
    manifest: &Manifest,
    device: &Device,
) -> Result<(Arc<Llama>, Tokenizer)> {
    let mut loader = Loader::new(manifest, device)?;
    let files = manifest.files();
    let bar = progress(files.len(), "loading");
    for info in files {
        let bytes = open::map(&folder.join(&info.file))?;
        let mut at = 0;
        // A file shorter than the manifest says is named by its last chunk.
        for chunk in bytes.chunks(CHUNK_BYTES) {
            loader.load_chunk(&info.file, at, chunk)?;
            at += chunk.len() as u64;
        }
        loader.end_of(&info.file)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let tokenizer = loader.take_tokenizer();
    let tokenizer = tokenizer.context("the pack names no tokenizer")?;
    Ok((
        Arc::clone(loader.model()),
        Tokenizer::from_json(&tokenizer)?,
    ))
}

fn template(
    source: Option<&str>,
    bos: Option<&str>,
    eos: Option<&str>,
) -> Result<Option<ChatTemplate>> {
    Ok(source
        .map(|source| ChatTemplate::new(source, bos, eos))
        .transpose()?)
}
