//! `halfdepth heal`: makes up for the layers that a plan leaves out.

mod curve;
mod output;
mod settings;
mod text;
mod train;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::dense::DenseSource;
use halfdepth::eval::Encoder;
use halfdepth::heal::{Healed, Healing, Record};
use halfdepth::plan::LayerPlan;
use halfdepth::prune::RecordSource;

use crate::conduct::Conduct;
use crate::dense::{self, Model};
use crate::model::{DeviceChoice, plan_file};

/// Makes up for the layers that a plan leaves out, and writes what has to change in those that stay.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    #[arg(required_unless_present = "preset")]
    model: Option<PathBuf>,
    /// The layers that run: a plan of the pack, or `half` (the simple half: the deepest layers but the last left out), or a file that `halfdepth plan` wrote
    #[arg(long, default_value = "half")]
    plan: String,
    /// Take a plan that was made for other weights
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: settings::How,
    /// Texts to learn from
    #[arg(long, num_args = 1..)]
    text: Vec<PathBuf>,
    /// Texts that are never learned from, to tell when to stop [default: the end of the texts to learn from]
    #[arg(long, num_args = 1..)]
    valid: Vec<PathBuf>,
    /// Windows of the held-out text that are measured at most, from its start
    #[arg(long, default_value_t = 256)]
    valid_windows: usize,
    /// Predictions of a window of the held-out text, as `halfdepth eval` takes them
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Steps from one measurement of the held-out text to the next [default: a twentieth of --steps]
    #[arg(long)]
    evaluate_every: Option<u64>,
    /// Stop after so many measurements without a lower held-out loss
    #[arg(long)]
    patience: Option<u64>,
    /// Steps from one saved state to the next; a run that was ended goes on from the last one
    #[arg(long, default_value_t = 50)]
    checkpoint_every: u64,
    /// Stop after so many minutes; the same command goes on from there
    #[arg(long)]
    minutes: Option<f64>,
    /// A healing to begin with, such as a patch
    #[arg(long)]
    init: Option<PathBuf>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The healing's folder: its weights and record, the log and the loss curve, and `heal.state` until it is finished
    #[arg(short, long, default_value = "healing")]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

/// How to heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Low-rank changes of the feed-forward matrices over a frozen base in 4 bits: the paper's
    Lora,
    /// Layers around the cut learn the full model's predictions
    Distill,
    /// The head and the deepest layers learn the text
    LastLayers,
    /// Nothing: the cut as it is, measured
    None,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Distill => "distill",
            Self::LastLayers => "last-layers",
            Self::None => "none",
        }
    }
}

/// What is healed, opened and checked.
struct Subject<'m> {
    model: &'m Model,
    sha256: String,
    plan: LayerPlan,
    encoder: Encoder<'m>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(path) = &args.model else {
        return args.how.print_preset(args.conduct.json);
    };
    if args.window == 0 || args.valid_windows == 0 || args.checkpoint_every == 0 {
        bail!("--window, --valid-windows and --checkpoint-every are at least 1");
    }
    let model = dense::open(path)?;
    let tokenizer = model.tokenizer()?;
    let sha256 = model.sha256();
    let subject = Subject {
        plan: plan(args, &model, &sha256)?,
        encoder: Encoder::new(&tokenizer, model.source().config())?,
        model: &model,
        sha256,
    };
    let init = init(args, &subject)?;
    let healed = init
        .as_ref()
        .map(|init| Healed::new(model.source(), init))
        .transpose()?;
    let start: &dyn DenseSource = match &healed {
        Some(healed) => healed,
        None => model.source(),
    };
    train::run(args, &subject, init.as_ref(), start)
}

/// The layers that run.
fn plan(args: &Args, model: &Model, sha256: &str) -> Result<LayerPlan> {
    let config = model.source().config();
    let plan = match plan_file(&args.plan, config)? {
        Some(file) => {
            if !args.force
                && file.model.sha256 != sha256
                && !model.is_packed_from(&file.model.sha256)
            {
                bail!(
                    "the plan `{}` was made for other weights, those of {}. Scan and plan again, or give --force",
                    file.name,
                    file.model.name
                );
            }
            file.whole_layers()?
        }
        None => model.plan(&args.plan)?,
    };
    if plan.layers.len() == config.layers {
        bail!(
            "the plan `{}` leaves no layer out, so there is nothing to heal; name one that does",
            plan.name
        );
    }
    Ok(plan)
}

/// The healing to begin with.
fn init(args: &Args, subject: &Subject) -> Result<Option<Healing>> {
    let Some(folder) = &args.init else {
        return Ok(None);
    };
    let healing = output::read(folder, subject.model.source().config())?;
    healing
        .record
        .is_for(&[&subject.sha256])
        .with_context(|| folder.display().to_string())?;
    if healing.record.plan()?.layers != subject.plan.layers {
        bail!(
            "{} is of a plan that runs other layers; begin with a healing of the plan `{}`",
            folder.display(),
            subject.plan.name
        );
    }
    Ok(Some(healing))
}

impl Subject<'_> {
    fn record(&self, args: &Args, method: Method) -> Record {
        let source = RecordSource {
            name: self.model.name().to_string(),
            kind: self.model.kind().to_string(),
            sha256: self.sha256.clone(),
            layers: self.model.source().config().layers,
        };
        Record::new(method.name(), source, &self.plan, args.conduct.seed)
    }
}
