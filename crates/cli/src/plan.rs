//! `halfdepth plan`: from a scan to the layers that are to go, and what that would save.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use halfdepth::dense::Dense;
use halfdepth::eval;
use halfdepth::plan::{LayerPlan, PlanFile, Removal, Search, Strategy, SublayerPlan};
use halfdepth::scan::{MAX_SCAN_BYTES, Scan};
use serde_json::json;

use crate::conduct::{Conduct, make_folder_of, read_at_most, write_whole};
use crate::dense;
use crate::model::{DeviceChoice, progress};
use crate::open::file_name;
use crate::strategy::{Dropped, parser};

/// Predictions of a measuring window, after the begin token alone.
const WINDOW: usize = 128;

/// Chooses the layers that are to go, and says what that would save.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// What `halfdepth scan` wrote
    scan: PathBuf,
    /// How many layers are to go: a number, or a share of all of them (`50%`, rounded down)
    #[arg(long, required_unless_present = "layers", conflicts_with = "layers")]
    drop: Option<Dropped>,
    /// How they are chosen; `greedy` needs --model and --text
    #[arg(long, value_parser = parser(Strategy::ALL), default_value = Strategy::Similarity.name())]
    strategy: Strategy,
    /// The layers to leave out, counted from 0, for `--strategy manual`
    #[arg(long, value_delimiter = ',')]
    layers: Vec<usize>,
    /// The model that was scanned, for `--strategy greedy`
    #[arg(long)]
    model: Option<PathBuf>,
    /// What the loss is measured on, for `--strategy greedy`
    #[arg(long)]
    text: Option<PathBuf>,
    /// Tokens of the text to measure on
    #[arg(long, default_value_t = 2048)]
    tokens: usize,
    /// After the greedy removals, exchange single layers while that lowers the loss
    #[arg(long)]
    exchange: bool,
    /// Where to measure; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The plan, which every verb takes as `--plan`
    #[arg(short, long, default_value = "plan.json")]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if (args.strategy == Strategy::Manual) == args.layers.is_empty() {
        bail!("--layers and --strategy manual go together: name the layers to leave out");
    }
    if args.output.is_dir() {
        bail!(
            "{} is a folder; name a file for --output",
            args.output.display()
        );
    }
    let scan = Scan::parse(&read_at_most(&args.scan, MAX_SCAN_BYTES)?)
        .with_context(|| format!("cannot read {}", args.scan.display()))?;
    let layers = scan.layers();
    let dropped = args.drop.map_or(args.layers.len(), |drop| drop.of(layers));
    if dropped == 0 {
        bail!("nothing would go: of {layers} layers drop at least one");
    }
    let (plan, search) = match args.strategy {
        Strategy::Greedy if args.conduct.dry_run => {
            return say_what_greedy_would_do(args, &scan, dropped);
        }
        Strategy::Greedy => greedy(args, &scan, dropped)?,
        _ => (choose(args, &scan, dropped)?, None),
    };
    let seed = (args.strategy == Strategy::Random).then_some(args.conduct.seed);
    let model = (scan.model.name.as_str(), scan.model.sha256.as_str());
    let file = PlanFile::new(
        args.strategy,
        seed,
        model,
        &scan.model.config,
        &plan,
        search,
    );
    if !args.conduct.dry_run {
        make_folder_of(&args.output)?;
        write_whole(&args.output, file.to_json().as_bytes())?;
    }
    report(args, &file, &plan)
}

fn choose(args: &Args, scan: &Scan, dropped: usize) -> Result<SublayerPlan> {
    match scan.plan(args.strategy, dropped, args.conduct.seed)? {
        Some(plan) => Ok(plan),
        None => Ok(manual(scan.layers(), &args.layers)?.into()),
    }
}

fn manual(layers: usize, dropped: &[usize]) -> Result<LayerPlan> {
    let mut sorted = dropped.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(
            "layer {} is named twice in --layers; name each layer once",
            pair[0]
        );
    }
    Ok(LayerPlan::without(layers, dropped)?)
}

fn greedy(args: &Args, scan: &Scan, dropped: usize) -> Result<(SublayerPlan, Option<Search>)> {
    let (Some(model), Some(text)) = (&args.model, &args.text) else {
        bail!(
            "--strategy greedy measures a loss: give it the model and a text with --model and --text"
        );
    };
    let layers = scan.layers();
    if dropped >= layers {
        // For the message.
        LayerPlan::simple(layers, dropped)?;
    }
    let model = dense::open(model)?;
    let config = model.source().config();
    if *config != scan.model.config || model.sha256() != scan.model.sha256 {
        bail!(
            "{} is not the model that was scanned ({}), or has changed since; scan it again",
            args.model.as_deref().unwrap_or(Path::new("")).display(),
            scan.model.name
        );
    }
    let bos = config
        .bos_token
        .context("the model names no begin token, after which to measure")?;
    let content =
        std::fs::read_to_string(text).with_context(|| format!("cannot read {}", text.display()))?;
    let mut tokens = model.tokenizer()?.encode(&content, false)?;
    tokens.truncate(args.tokens);
    if tokens.len() < args.tokens || tokens.is_empty() {
        bail!(
            "{} has {} tokens, fewer than the {} to measure on; give a longer text or a smaller --tokens (at least 1)",
            text.display(),
            tokens.len(),
            args.tokens
        );
    }
    let (device, _) = args.device.open()?;
    let bar = progress(layers + 1, "loading");
    let full = LayerPlan::full(layers)?;
    let full = Dense::load(model.source(), full, &device, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let bar = progress(measurements(layers, dropped), "searching");
    let loss = |kept: &[usize]| -> Result<f64> {
        let plan = LayerPlan::new("measured", kept.to_vec(), layers)?;
        bar.inc(1);
        Ok(full.with_plan(plan)?.cross_entropy(&tokens, WINDOW, bos)?)
    };
    let path = eval::greedy(layers, layers - dropped, loss)?;
    let (mut kept, mut least) = path.last().cloned().unwrap_or_default();
    if args.exchange {
        (kept, least) = eval::exchange(layers, (kept, least), loss)?;
    }
    bar.finish_and_clear();
    let removals = path.windows(2).filter_map(|pair| {
        let layer = pair[0]
            .0
            .iter()
            .copied()
            .find(|layer| !pair[1].0.contains(layer))?;
        Some(Removal {
            layer,
            loss: pair[1].1,
        })
    });
    let search = Search {
        text: file_name(text),
        protocol: format!(
            "nats a token; disjoint windows of {WINDOW} predictions, each after the begin token alone"
        ),
        tokens: tokens.len(),
        full: path.first().map_or(0.0, |(_, loss)| *loss),
        removals: removals.collect(),
        loss: least,
    };
    let plan = LayerPlan::new(format!("greedy-{dropped}"), kept, layers)?;
    Ok((plan.into(), Some(search)))
}

/// Losses that a greedy search measures.
fn measurements(layers: usize, dropped: usize) -> usize {
    1 + (0..dropped).map(|gone| layers - gone).sum::<usize>()
}

fn say_what_greedy_would_do(args: &Args, scan: &Scan, dropped: usize) -> Result<()> {
    let layers = scan.layers();
    if dropped >= layers {
        LayerPlan::simple(layers, dropped)?;
    }
    let losses = measurements(layers, dropped);
    match args.conduct.json {
        true => println!(
            "{}",
            json!({ "dry_run": true, "losses": losses, "tokens": args.tokens })
        ),
        false => println!(
            "would measure {losses} losses on {} tokens each",
            args.tokens
        ),
    }
    Ok(())
}

fn report(args: &Args, file: &PlanFile, plan: &SublayerPlan) -> Result<()> {
    if args.conduct.json {
        println!("{}", serde_json::to_string(file)?);
        return Ok(());
    }
    let p = &file.predicted;
    println!(
        "{}: leaves out layers {:?} of {}",
        file.name,
        file.dropped(),
        file.model.layers
    );
    if !plan.is_whole_layers() {
        println!(
            "  mutes attention of {:?} and the MLP of {:?}",
            plan.mute_attention(),
            plan.mute_mlp()
        );
        println!(
            "  runs wherever a plan does, but folders, GGUF files and packs that are written hold whole layers"
        );
    }
    println!(
        "  {:.2} M weights left, {:.1} %",
        p.parameters as f64 / 1e6,
        100.0 * p.parameters_share
    );
    println!(
        "  {} bytes in 16 bits, {} as a pack in 4 bits",
        p.bytes_16_bit, p.bytes_pack
    );
    println!(
        "  {:.3e} FLOPs a token, {:.1} %",
        p.flops_per_token as f64,
        100.0 * p.flops_share
    );
    println!("  decodes at most {:.2} times as fast", p.speed_at_most);
    if let Some(search) = &file.search {
        println!(
            "  loss {:.4} nats a token, {:.4} with every layer ({})",
            search.loss, search.full, search.text
        );
    }
    if !args.conduct.dry_run {
        println!("{}", args.output.display());
    }
    Ok(())
}
