//! `halfdepth heal`: weights that make a cut model better than the cut left it.

pub(crate) mod patch;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::plan::LayerPlan;
use serde_json::json;

use crate::conduct::Conduct;
use crate::dense::{self, Model};
use crate::healing;
use crate::model::{DeviceChoice, plan_file};

/// Heals a cut model.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack; uncut
    model: PathBuf,
    /// A file that `halfdepth plan` wrote, a plan of the pack, or `half` (the simple half)
    #[arg(long, conflicts_with = "drop", required_unless_present = "drop")]
    plan: Option<String>,
    /// Layers to leave out, counted from 0: `--drop 4,5,6`
    #[arg(long, value_delimiter = ',')]
    drop: Vec<usize>,
    /// How
    #[arg(long, value_enum)]
    method: Method,
    /// Texts to learn from
    #[arg(long, num_args = 1.., required = true)]
    text: Vec<PathBuf>,
    /// Texts that are held out, to choose by [default: a part of --text]
    #[arg(long, num_args = 1..)]
    valid: Vec<PathBuf>,
    /// Predictions of a sequence, after the begin token
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The folder to write; must not exist yet
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    patch: patch::PatchArgs,
    #[command(flatten)]
    conduct: Conduct,
}

/// How to heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Least squares, folded into the layer before each cut; nothing is trained.
    Patch,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    healing::refuse_existing(&args.output)?;
    let model = dense::open(&args.model)?;
    let plan = plan(args, &model)?;
    let (device, gpu) = args.device.open()?;
    let job = patch::Job {
        model: &model,
        plan: &plan,
        text: &args.text,
        valid: &args.valid,
        window: args.window,
        seed: args.conduct.seed,
    };
    let Method::Patch = args.method;
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

fn plan(args: &Args, model: &Model) -> Result<LayerPlan> {
    let config = model.source().config();
    if !args.drop.is_empty() {
        return Ok(LayerPlan::without(config.layers, &args.drop)?);
    }
    let name = args.plan.as_deref().context("give --plan or --drop")?;
    match plan_file(name, config)? {
        Some(file) => Ok(file.whole_layers()?),
        None => model.plan(name),
    }
}
