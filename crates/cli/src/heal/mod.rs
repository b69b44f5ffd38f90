//! `halfdepth heal`: makes up for the layers that a plan leaves out.

mod curve;
pub(crate) mod patch;
mod settings;
mod text;
mod train;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::dense::DenseSource;
use halfdepth::eval::Encoder;
use halfdepth::heal::{Healed, Healing, Record};
use halfdepth::plan::LayerPlan;
use serde_json::json;

use crate::conduct::Conduct;
use crate::dense::{self, Model};
use crate::healing;
use crate::model::{DeviceChoice, plan_file};

/// Makes up for the layers that a plan leaves out, and writes what has to change in those that stay.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    #[arg(required_unless_present = "preset")]
    model: Option<PathBuf>,
    /// The layers that run: a plan of the pack, or `half` (the simple half: the deepest layers but the last left out), a file that `halfdepth plan` wrote,
    /// or `full`, which learns the text and is the control
    #[arg(long, default_value = "half", conflicts_with = "drop")]
    plan: String,
    /// Layers to leave out, counted from 0: `--drop 4,5,6`
    #[arg(long, value_delimiter = ',')]
    drop: Vec<usize>,
    /// Take a plan that was made for other weights
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: settings::How,
    #[command(flatten)]
    patch: patch::PatchArgs,
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
    /// Least squares, folded into the layer before each cut; nothing is trained
    Patch,
    /// Nothing: the cut as it is, measured
    None,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Distill => "distill",
            Self::LastLayers => "last-layers",
            Self::Patch => "patch",
            Self::None => "none",
        }
    }
}

/// What is healed, opened and checked.
struct Subject<'m> {
    model: &'m Model,
    /// What files made for it may name.
    hashes: Vec<String>,
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
    let hashes = model.hashes();
    let subject = Subject {
        plan: plan(args, &model, &hashes)?,
        encoder: Encoder::new(&tokenizer, model.source().config())?,
        model: &model,
        hashes,
    };
    match args.how.method {
        Method::Patch => return run_patch(args, &subject),
        Method::None => return train::measure(args, &subject),
        Method::Lora | Method::Distill | Method::LastLayers => {}
    }
    let init = init(args, &subject)?;
    let healed = init.as_ref().map(|init| Healed::new(model.source(), init));
    let healed = healed.transpose()?;
    let start: &dyn DenseSource = match &healed {
        Some(healed) => healed,
        None => model.source(),
    };
    train::run(args, &subject, init.as_ref(), start)
}

fn run_patch(args: &Args, subject: &Subject) -> Result<()> {
    if args.text.is_empty() {
        bail!("there is nothing to fit a patch on; name texts with --text");
    }
    if args.init.is_some() {
        bail!(
            "a patch is fitted to the model as it is, so --init does not go with --method patch; begin with the patch instead"
        );
    }
    let (device, gpu) = args.device.open()?;
    let (model, plan) = (subject.model, &subject.plan);
    if args.conduct.dry_run {
        let tokens = args.patch.patch_tokens;
        if args.conduct.json {
            let (output, device) = (&args.output, gpu.name);
            println!(
                "{}",
                json!({
                    "dry_run": true, "output": output, "method": "patch", "plan": plan.name, "device": device, "tokens": tokens,
                })
            );
        } else {
            println!(
                "would fit a patch of plan {} to {tokens} tokens of the texts on {}, and write {}",
                plan.name,
                gpu.name,
                args.output.display()
            );
        }
        return Ok(());
    }
    healing::refuse_existing(&args.output)?;
    let job = patch::Job {
        model,
        plan,
        text: &args.text,
        valid: &args.valid,
        window: args.window,
        seed: args.conduct.seed,
    };
    let (healed, patched) = patch::run(&job, &args.patch, &device)?;
    healing::write(&args.output, &healed, model.source().config(), None)?;
    if args.conduct.json {
        let report = json!({
            "format": "halfdepth-heal", "version": 1, "method": "patch", "output": args.output, "device": gpu.name,
            "plan": plan.name, "layers": plan.layers, "cuts": patched.cuts,
            "loss_before": patched.loss_before, "loss_after": patched.loss_after,
        });
        println!("{report}");
        return Ok(());
    }
    println!("{}", patch::table(&patched));
    Ok(())
}

/// The layers that run.
fn plan(args: &Args, model: &Model, hashes: &[String]) -> Result<LayerPlan> {
    let config = model.source().config();
    let file = match args.drop.is_empty() {
        true => plan_file(&args.plan, config)?,
        false => None,
    };
    let plan = match file {
        Some(file) => {
            if !args.force && !hashes.contains(&file.model.sha256) {
                bail!(
                    "the plan `{}` was made for other weights, those of {}. Scan and plan again, or give --force",
                    file.name,
                    file.model.name
                );
            }
            file.whole_layers()?
        }
        None if args.drop.is_empty() => model.plan(&args.plan)?.unreplaced()?,
        None => LayerPlan::without(config.layers, &args.drop)?,
    };
    // What trains asks its settings.
    let trains = !matches!(args.how.method, Method::Patch | Method::None);
    if plan.layers.len() == config.layers && !trains {
        let (plan, method) = (plan.name, args.how.method.name());
        bail!(
            "the plan `{plan}` leaves no layer out, so there is nothing for `--method {method}`; name one that does"
        );
    }
    Ok(plan)
}

/// The healing to begin with.
fn init(args: &Args, subject: &Subject) -> Result<Option<Healing>> {
    let Some(folder) = &args.init else {
        return Ok(None);
    };
    let config = subject.model.source().config();
    let healing = healing::open(folder, config, &subject.hashes)?;
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
    fn record(&self, args: &Args) -> Record {
        let source = healing::source(self.model);
        Record::new(
            args.how.method.name(),
            source,
            &self.plan,
            args.conduct.seed,
        )
    }
}
