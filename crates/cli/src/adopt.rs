//! `halfdepth adopt`: takes up an adapter that PEFT trained on a pruned folder.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use halfdepth::config::LlamaConfig;
use halfdepth::dense::DenseSource;
use halfdepth::heal::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter, Healed, Healing, Record, Text};
use halfdepth::plan::LayerPlan;
use halfdepth::prune::{RECORD, Record as PruneRecord};
use serde_json::json;

use crate::conduct::{Conduct, read_at_most};
use crate::dense::{self, Model};
use crate::healing;
use crate::model::plan_file;
use crate::open;

/// Makes a healing of a LoRA adapter that PEFT trained on a folder that `halfdepth prune` wrote.
#[derive(ClapArgs)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Args {
    /// The model that was pruned: a Hugging Face folder, a .gguf file, or a pack
    model: PathBuf,
    /// The folder with adapter_config.json and adapter_model.safetensors
    #[arg(long)]
    adapter: PathBuf,
    /// The pruned folder that the adapter was trained on, whose halfdepth.json says which layers it has
    #[arg(long, group = "which")]
    pruned: Option<PathBuf>,
    /// Or its plan: a file that `halfdepth plan` wrote, a plan of the pack, or `half`
    #[arg(long, group = "which")]
    plan: Option<String>,
    /// The healing with which the pruned folder was written, where it was
    #[arg(long)]
    healed: Option<PathBuf>,
    /// The healing's folder; must not exist yet
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    healing::refuse_existing(&args.output)?;
    let model = dense::open(&args.model)?;
    let config = model.source().config();
    let hashes = model.hashes();
    let earlier = args.healed.as_deref();
    let earlier = earlier.map(|folder| healing::open(folder, config, &hashes));
    let earlier = earlier.transpose()?;
    let plan = plan(args, &model, &hashes, earlier.as_ref())?;
    let adapter = read(args, &plan, config)?;
    let overlay = earlier
        .as_ref()
        .map(|healing| Healed::new(model.source(), healing));
    let overlay = overlay.transpose()?;
    let source: &dyn DenseSource = overlay.as_ref().map_or(model.source(), |healed| healed);
    let merged = adapter.merge(source)?;
    let healing = Healing {
        record: record(args, &model, &plan, &adapter, earlier.as_ref())?,
        tensors: earlier.map_or_else(Default::default, |healing| healing.tensors),
    };
    let healing = Healing {
        tensors: healing.tensors.into_iter().chain(merged).collect(),
        ..healing
    };
    let count = healing.tensors.len();
    if !args.conduct.dry_run {
        healing::write(
            &args.output,
            &healing,
            config,
            Some(&adapter.to_peft(&plan, config)?),
        )?;
    }
    if args.conduct.json {
        let report = json!({
            "format": "halfdepth-adopt", "version": 1, "dry_run": args.conduct.dry_run, "output": args.output,
            "plan": plan.name, "layers": plan.layers, "rank": adapter.rank, "alpha": adapter.alpha, "tensors": count,
        });
        println!("{report}");
        return Ok(());
    }
    println!(
        "{}{}: rank {}, alpha {}, {} matrices of {} layers; {count} tensors in all",
        if args.conduct.dry_run {
            "would write "
        } else {
            ""
        },
        args.output.display(),
        adapter.rank,
        adapter.alpha,
        adapter.factors.len(),
        plan.layers.len()
    );
    Ok(())
}

/// The layers of the folder that the adapter was trained on.
fn plan(
    args: &Args,
    model: &Model,
    hashes: &[String],
    earlier: Option<&Healing>,
) -> Result<LayerPlan> {
    let config = model.source().config();
    let plan = match (&args.pruned, args.plan.as_deref()) {
        (Some(folder), _) => {
            let open::Source::Checkpoint(pruned) = open::open(folder)? else {
                bail!("{} is a pack; name the pruned folder", folder.display());
            };
            let path = folder.join(RECORD);
            let record = read_at_most(&path, 1 << 20)?;
            let record = PruneRecord::parse(&record, pruned.config().layers)
                .with_context(|| format!("cannot use {}", path.display()))?;
            if !hashes.contains(&record.source.sha256) {
                bail!(
                    "{} was cut from {}, SHA-256 {:.12}…, which {} is not; name the model it was cut from",
                    folder.display(),
                    record.source.name,
                    record.source.sha256,
                    args.model.display()
                );
            }
            let has_healing = record.healing.map(|healing| healing.sha256);
            let given = earlier.map(|healing| healing.record.note().sha256);
            if has_healing != given {
                bail!(
                    "{} was written {}; the adapter counts from those weights: name that healing, and no other, with --healed",
                    folder.display(),
                    if has_healing.is_some() {
                        "with a healing"
                    } else {
                        "without a healing"
                    }
                );
            }
            let kept = (0..config.layers).filter(|layer| !record.dropped.contains(layer));
            LayerPlan::new(record.plan.clone(), kept.collect(), config.layers)?
        }
        (None, Some(name)) => match plan_file(name, config)? {
            Some(file) => file.whole_layers()?,
            None => model.plan(name)?.unreplaced()?,
        },
        (None, None) => bail!("give --pruned or --plan"),
    };
    match earlier {
        Some(healing) if healing.record.plan()?.layers != plan.layers => bail!(
            "the healing is of plan `{}`, which runs other layers than plan `{}`",
            healing.record.plan()?.name,
            plan.name
        ),
        _ => Ok(plan),
    }
}

fn read(args: &Args, plan: &LayerPlan, config: &LlamaConfig) -> Result<Adapter> {
    let about = args.adapter.join(ADAPTER_CONFIG);
    let weights = args.adapter.join(ADAPTER_WEIGHTS);
    if !weights.is_file() {
        bail!(
            "there is no {}; PEFT writes it with save_pretrained (safe_serialization, its default)",
            weights.display()
        );
    }
    let about = read_at_most(&about, 1 << 20)?;
    Adapter::from_peft(&about, open::map(&weights)?, plan, config)
        .with_context(|| format!("cannot use {}", args.adapter.display()))
}

/// What is known of how it came about: the adapter's own shape, and what the healing before it was made of.
fn record(
    args: &Args,
    model: &Model,
    plan: &LayerPlan,
    adapter: &Adapter,
    earlier: Option<&Healing>,
) -> Result<Record> {
    let mut record = Record::new("lora", healing::source(model), plan, args.conduct.seed);
    let texts: Vec<Text> = earlier.map_or_else(Vec::new, |healing| healing.record.texts.clone());
    record.texts = texts;
    for (name, value) in [
        ("trained_by", json!("PEFT")),
        ("adapter", json!(open::file_name(&args.adapter))),
        ("rank", json!(adapter.rank)),
        ("alpha", json!(adapter.alpha)),
        ("dropout", json!(adapter.dropout)),
        ("after", json!(earlier.map(|healing| healing.record.note()))),
    ] {
        record.settings.insert(name.to_string(), value);
    }
    Ok(record)
}
