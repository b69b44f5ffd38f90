//! `halfdepth prune`: writes a model without the layers that a plan leaves out, and runs what it wrote before it says done.

mod output;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::budget::{Budget, CacheNumber, Depth, Storage};
use halfdepth::checkpoint::{Checkpoint, Dtype, LayerWeight, TokenizerSource, Weight};
use halfdepth::config::LlamaConfig;
use halfdepth::decode;
use halfdepth::pack::Manifest;
use halfdepth::plan::{LayerPlan, PlanEntry, PlanFile};
use halfdepth::prune::{
    Cut, Expected, FolderOptions, NumberType, RECORD, Record, RecordSource, Verified,
    recorded_layers, verify, write_folder, write_gguf,
};
use halfdepth::tokenizer::Tokenizer;
use serde_json::{Value, json};

use self::output::{FilePart, FolderPart, say_full};
use crate::conduct::{Conduct, read_at_most, write_whole};
use crate::healing;
use crate::model::{plan_file, progress};
use crate::open::{self, Source};

/// Writes a model without the layers that a plan leaves out: a Hugging Face folder, a GGUF file, or a plan in a pack.
#[derive(ClapArgs)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Args {
    /// A Hugging Face folder or a .gguf file; for `--to plan` a pack
    model: PathBuf,
    /// A file that `halfdepth plan` wrote, a plan of the pack, or `half` (the simple half)
    #[arg(long, group = "which")]
    plan: Option<String>,
    /// The layers to leave out, counted from 0: `--drop 4,5,6`
    #[arg(long, value_delimiter = ',', group = "which")]
    drop: Vec<usize>,
    /// The layers to keep, counted from 0
    #[arg(long, value_delimiter = ',', group = "which")]
    layers: Vec<usize>,
    /// A folder that `halfdepth heal` wrote for this model: its layers, healed
    #[arg(long, group = "which")]
    healed: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum)]
    to: Target,
    /// The folder or file to write; must not exist yet. Not needed for `--to plan`
    #[arg(short, long, required_if_eq_any = [("to", "hf"), ("to", "gguf")])]
    output: Option<PathBuf>,
    /// What to call the plan; in a pack, a plan of this name is replaced
    #[arg(long)]
    name: Option<String>,
    /// What a GGUF file's matrices are stored in, where the source is a folder
    #[arg(long = "type", value_enum, default_value_t = Type::Stored)]
    number_type: Type,
    /// Gigabytes of a weight file of a folder before another is begun
    #[arg(long, default_value_t = 5.0)]
    shard_gb: f64,
    /// Go on although the plan was made for other weights
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    conduct: Conduct,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A Hugging Face folder, weights as they are.
    Hf,
    /// A GGUF file.
    Gguf,
    /// An entry in the pack's manifest, and nothing else.
    Plan,
}

/// What matrices are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// As in the source.
    Stored,
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
    /// 16 bits, 8 of them exponent.
    Bf16,
    /// 8 bits and a scale for 32 weights.
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits and a scale for 32 weights.
    #[value(name = "q4_0")]
    Q4_0,
}

impl From<Type> for NumberType {
    fn from(number_type: Type) -> Self {
        match number_type {
            Type::Stored => Self::Stored,
            Type::F32 => Self::As(Dtype::F32),
            Type::F16 => Self::As(Dtype::F16),
            Type::Bf16 => Self::As(Dtype::Bf16),
            Type::Q8_0 => Self::As(Dtype::Q8_0),
            Type::Q4_0 => Self::As(Dtype::Q4_0),
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let report = match (open::open(&args.model)?, args.to) {
        (Source::Pack(folder, manifest), Target::Plan) => add_plan(args, &folder, *manifest)?,
        (Source::Pack(..), _) => bail!(
            "{} is a pack; cut the checkpoint it was made from, or put a plan beside the pack with --to plan",
            args.model.display()
        ),
        (Source::Checkpoint(_), Target::Plan) => bail!(
            "{} is a checkpoint; --to plan adds a plan to a pack: make one with `halfdepth pack`, or write with --to hf or --to gguf",
            args.model.display()
        ),
        (Source::Checkpoint(checkpoint), _) => cut(args, *checkpoint)?,
    };
    match args.conduct.json {
        true => println!("{report}"),
        false => say(&report),
    }
    Ok(())
}

fn cut(args: &Args, checkpoint: Checkpoint) -> Result<Value> {
    let sha256 = (!args.conduct.dry_run || args.healed.is_some()).then(|| checkpoint.sha256());
    let healing = match (args.healed.as_deref(), &sha256) {
        (Some(folder), Some(sha256)) => {
            let hashes = std::slice::from_ref(sha256);
            Some(healing::open(folder, checkpoint.config(), hashes)?)
        }
        _ => None,
    };
    let (plan, file) = match &healing {
        Some(healing) => (named(args, healing.record.plan()?)?, None),
        None => choose(args, checkpoint.config(), None)?,
    };
    let checkpoint = &match &healing {
        Some(healing) => checkpoint.replacing(&healing.tensors)?,
        None => checkpoint,
    };
    let config = checkpoint.config();
    let output = args.output.as_deref().unwrap_or(Path::new(""));
    output::refuse_existing(output)?;
    if !(args.shard_gb.is_finite() && args.shard_gb > 0.0) {
        bail!("--shard-gb is in gigabytes and above 0");
    }
    let Some(sha256) = sha256.filter(|_| !args.conduct.dry_run) else {
        return Ok(foresee(args, checkpoint, &plan));
    };
    if let Some(file) = &file {
        refuse_other_weights(args, file, &[&sha256])?;
    }
    let source = RecordSource {
        name: open::model_name(&args.model),
        kind: checkpoint.kind().into(),
        sha256,
        layers: config.layers,
    };
    let mut record = Record::new(source, &plan, original_layers(args, checkpoint)?.as_deref());
    record.healing = healing.map(|healing| healing.record.note());
    let cut = Cut {
        checkpoint,
        plan: &plan,
        record: &record,
    };
    let done = match args.to {
        Target::Gguf => to_gguf(args, cut, output),
        _ => to_folder(args, cut, output),
    };
    let mut report = done.map_err(say_full)?;
    report["plan"] = plan.name.clone().into();
    report["layers"] = json!(plan.layers);
    report["original_layers"] = json!(record.original_layers);
    report["dropped"] = json!(record.dropped);
    report["source_sha256"] = record.source.sha256.clone().into();
    report["healing"] = json!(record.healing);
    Ok(report)
}

fn to_folder(args: &Args, cut: Cut, output: &Path) -> Result<Value> {
    let part = FolderPart::begin(output)?;
    let bar = progress(0, "writing");
    let options = FolderOptions {
        shard_bytes: (args.shard_gb * 1e9) as u64,
    };
    write_folder(
        cut,
        options,
        &mut |name, content| part.put(name, content),
        &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        },
    )?;
    bar.finish_and_clear();
    if args.model.is_dir() {
        part.copy_others(&args.model)?;
    }
    let Source::Checkpoint(written) = open::open(part.path())? else {
        bail!("{} became a pack", output.display());
    };
    let verified = run_both(args, cut, &written, NumberType::Stored)?;
    let bytes = part.bytes()?;
    part.finish(output)?;
    Ok(report("hf", output, bytes, verified, None))
}

fn to_gguf(args: &Args, cut: Cut, output: &Path) -> Result<Value> {
    if output.extension().is_none_or(|ending| ending != "gguf") {
        bail!(
            "{} should end in .gguf, by which programs know the file",
            output.display()
        );
    }
    let number_type = args.number_type.into();
    let part = FilePart::begin(output)?;
    let bar = progress(0, "writing");
    part.write(&mut |out: &mut dyn Write| {
        write_gguf(cut, number_type, out, &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })
    })?;
    bar.finish_and_clear();
    let bytes = open::map(part.path())?;
    let written = Checkpoint::from_gguf(bytes).context("cannot read what was written")?;
    let verified = run_both(args, cut, &written, number_type)?;
    let tokenizer = compare_tokenizers(cut.checkpoint, &written)?;
    part.finish(output)?;
    Ok(report(
        "gguf",
        output,
        bytes.len() as u64,
        verified,
        tokenizer,
    ))
}

fn run_both(
    args: &Args,
    cut: Cut,
    written: &Checkpoint,
    number_type: NumberType,
) -> Result<Verified> {
    let expected = Expected::new(cut.checkpoint, cut.plan, number_type);
    let bar = progress(cut.plan.layers.len(), "comparing");
    let device = decode::cpu();
    let found = verify(
        &expected,
        written,
        args.conduct.seed,
        &device,
        &mut |done, _| {
            bar.set_position(done as u64);
        },
    )?;
    bar.finish_and_clear();
    Ok(found)
}

fn report(
    to: &str,
    output: &Path,
    bytes: u64,
    verified: Verified,
    tokenizer: Option<Value>,
) -> Value {
    json!({
        "format": "halfdepth-prune", "version": 1,
        "to": to, "output": output.display().to_string(), "bytes": bytes,
        "verified": {
            "positions": verified.positions, "largest_difference": verified.largest_difference,
            "largest_logit": verified.largest_logit,
        },
        "tokenizer": tokenizer,
    })
}

/// What SentencePiece and BPE may disagree on: words, spaces, digits, code, other scripts.
const PROBES: [&str; 12] = [
    "Once upon a time, there was a little girl named Lily.",
    "She didn't want to go. \"Why not?\" he asked.",
    "  two spaces,   three, and a trailing one ",
    "1234567890 3.14159 2026-11-25",
    "for i in range(10):\n    print(i)\n",
    "fn main() { let x = a[0] + b->c; }",
    "Der Fuchs springt über den faulen Hund.",
    "La vie est belle, n'est-ce pas?",
    "こんにちは世界。你好，世界。",
    "Привет, мир! Γειά σου Κόσμε.",
    "😀👩‍👩‍👧 emoji, and a tab\tand a newline\n\nafter",
    "unbelievably internationalisation antidisestablishmentarianism",
];

/// Whether the converted vocabulary cuts texts as the tokenizer it came from.
fn compare_tokenizers(source: &Checkpoint, written: &Checkpoint) -> Result<Option<Value>> {
    let (TokenizerSource::Json { tokenizer, .. }, TokenizerSource::Gguf(vocabulary)) =
        (source.tokenizer(), written.tokenizer())
    else {
        return Ok(None);
    };
    let before = Tokenizer::from_json(tokenizer)?;
    let after = Tokenizer::from_gguf(vocabulary)?;
    let mut differing = Vec::new();
    for probe in PROBES {
        if before.encode(probe, true)? != after.encode(probe, true)? {
            differing.push(probe);
        }
    }
    Ok(Some(
        json!({ "probes": PROBES.len(), "differing": differing }),
    ))
}

/// What a dry run says; weights are not read.
fn foresee(args: &Args, checkpoint: &Checkpoint, plan: &LayerPlan) -> Value {
    let matrix = Weight::Layer(plan.layers[0], LayerWeight::Gate);
    let stored = checkpoint
        .matrix(matrix)
        .map_or(Dtype::F32, |matrix| matrix.dtype);
    let number_type: NumberType = match args.to {
        Target::Gguf => args.number_type.into(),
        _ => NumberType::Stored,
    };
    let name = match number_type.of(stored, checkpoint.config().hidden_size) {
        Dtype::F32 => "f32",
        Dtype::F16 | Dtype::Bf16 => "f16",
        Dtype::Q8_0 => "q8_0",
        Dtype::Q4_0 => "q4_0",
    };
    let bytes = Storage::named(name).map(|storage| {
        let depth = Depth::from(plan);
        Budget::new(checkpoint.config(), depth, &storage, 0, CacheNumber::F16).weight_bytes
    });
    json!({
        "format": "halfdepth-prune", "version": 1, "dry_run": true,
        "output": args.output.as_ref().map(|path| path.display().to_string()),
        "plan": plan.name, "layers": plan.layers, "about_bytes": bytes,
    })
}

/// The plan, and the file it came from.
fn choose(
    args: &Args,
    config: &LlamaConfig,
    manifest: Option<&Manifest>,
) -> Result<(LayerPlan, Option<PlanFile>)> {
    let layers = config.layers;
    let mut sorted = args.drop.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("--drop names layer {} twice", pair[0]);
    }
    let (plan, file) = match args.plan.as_deref() {
        None if !args.drop.is_empty() => (LayerPlan::without(layers, &args.drop)?, None),
        None => (LayerPlan::new("kept", args.layers.clone(), layers)?, None),
        Some(name) => match (plan_file(name, config)?, manifest) {
            (Some(file), _) => (
                file.whole_layers().context(
                    "folders, GGUF files and packs hold whole layers; plan with a strategy that drops layers",
                )?,
                Some(file),
            ),
            (None, Some(manifest)) => (manifest.plan(name)?.unreplaced()?, None),
            (None, None) if name == "half" => (LayerPlan::simple(layers, layers / 2)?, None),
            (None, None) => bail!(
                "there is no plan `{name}`: name a file that `halfdepth plan` wrote (it ends in .json), `half`, or give layers with --drop or --layers"
            ),
        },
    };
    Ok((named(args, plan)?, file))
}

fn named(args: &Args, plan: LayerPlan) -> Result<LayerPlan> {
    Ok(match &args.name {
        Some(name) => plan.named(name.clone())?,
        None => plan,
    })
}

fn refuse_other_weights(args: &Args, file: &PlanFile, sha256: &[&str]) -> Result<()> {
    if args.force || sha256.contains(&file.model.sha256.as_str()) {
        return Ok(());
    }
    bail!(
        "the plan `{}` was made for other weights: those of {} had SHA-256 {}, {} has {}. Scan and plan again, or give --force",
        file.name,
        file.model.name,
        short(&file.model.sha256),
        args.model.display(),
        short(sha256.first().unwrap_or(&""))
    )
}

fn short(sha256: &str) -> String {
    format!("{}…", sha256.chars().take(12).collect::<String>())
}

/// The layers' numbers in the model that was never cut, where this one was cut already.
fn original_layers(args: &Args, checkpoint: &Checkpoint) -> Result<Option<Vec<usize>>> {
    let path = args.model.join(RECORD);
    if !path.exists() {
        return Ok(recorded_layers(checkpoint));
    }
    let record = Record::parse(&read_at_most(&path, 1 << 20)?, checkpoint.config().layers)?;
    Ok(Some(record.original_layers))
}

fn add_plan(args: &Args, folder: &Path, mut manifest: Manifest) -> Result<Value> {
    if args.healed.is_some() {
        bail!(
            "a pack gets its healed plans when it is packed: `halfdepth pack MODEL --healed FOLDER`"
        );
    }
    if args.output.as_ref().is_some_and(|output| output != folder) {
        bail!("--to plan changes the pack itself; leave --output out");
    }
    let (plan, file) = choose(args, manifest.config(), Some(&manifest))?;
    if let Some(file) = &file {
        let own = crate::dense::open(folder)?.sha256();
        refuse_other_weights(args, file, &[&manifest.source().sha256, &own])?;
    }
    let layers = manifest.config().layers;
    if plan.name == "full" && plan.layers.len() != layers {
        bail!("the plan `full` runs every layer; give this one another --name");
    }
    let replaces = manifest.plans().iter().any(|known| known.name == plan.name);
    let title = format!("{} of {layers} layers", plan.layers.len());
    manifest.set_plan(PlanEntry::new(&plan.name, title, plan.layers.clone()))?;
    let path = folder.join("manifest.json");
    if !args.conduct.dry_run {
        write_whole(&path, manifest.to_json().as_bytes())?;
        let written = Manifest::parse(open::map(&path)?)?;
        if written.plan(&plan.name)? != plan.clone().into() {
            bail!("{} does not hold the plan that was written", path.display());
        }
    }
    Ok(json!({
        "format": "halfdepth-prune", "version": 1, "to": "plan", "dry_run": args.conduct.dry_run,
        "output": path.display().to_string(), "plan": plan.name, "layers": plan.layers, "replaces": replaces,
    }))
}

fn say(report: &Value) {
    let text = |field: &str| report[field].as_str().unwrap_or_default().to_string();
    let layers = report["layers"].to_string();
    if report["dry_run"] == true {
        println!(
            "would write {}: plan {}, layers {layers}{}",
            text("output"),
            text("plan"),
            report["about_bytes"]
                .as_u64()
                .map_or_else(String::new, |bytes| format!(
                    ", about {bytes} bytes of weights"
                ))
        );
        return;
    }
    println!("{}: plan {}, layers {layers}", text("output"), text("plan"));
    if let Some(bytes) = report["bytes"].as_u64() {
        let verified = &report["verified"];
        println!(
            "  {bytes} bytes; logits at {} positions differ from the source's by {} at most, of {}",
            verified["positions"], verified["largest_difference"], verified["largest_logit"]
        );
    }
    let differing = report["tokenizer"]["differing"].as_array();
    if let Some(differing) = differing.filter(|list| !list.is_empty()) {
        println!(
            "  warning: llama.cpp will cut {} of {} probing texts into other tokens than this model's tokenizer does, such as {}",
            differing.len(),
            report["tokenizer"]["probes"],
            differing[0]
        );
    }
}
