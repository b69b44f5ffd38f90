//! `halfdepth lens`: what a model would answer after each of its layers.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use halfdepth::dense::Dense;
use halfdepth::plan::LayerPlan;
use halfdepth::trace::{Lens, LensDocument, Question};
use serde_json::json;

use crate::chart::lens_grid;
use crate::conduct::{Conduct, write_whole};
use crate::dense;
use crate::model::{DeviceChoice, progress};
use crate::trace::notes;

/// Pixels of the PNG for each point of the SVG.
const PNG_SCALE: f32 = 2.0;

/// The logit lens (nostalgebraist 2020): the final norm and the head, applied to the residual stream after every layer. Writes lens.json,
/// lens.svg and lens.png.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    model: PathBuf,
    /// What the model reads; special tokens may be spelled out
    #[arg(long)]
    prompt: String,
    /// Likeliest tokens to keep of every layer and position
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// A plan to hold the lens against: one of the pack, `half`, or a file that `halfdepth plan` wrote
    #[arg(long)]
    plan: Option<String>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The folder to write to
    #[arg(short, long, default_value = "lens")]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.top == 0 {
        bail!("--top 0 shows nothing; take at least 1");
    }
    let model = dense::open(&args.model)?;
    let tokenizer = model.tokenizer()?;
    let config = model.source().config();
    let ids = Question::new(&tokenizer, config, &args.prompt)?.prompt;
    let plan = (args.plan.as_deref().map(|name| model.layer_plan(name))).transpose()?;
    let (device, gpu) = args.device.open()?;
    if args.conduct.dry_run {
        say_what_would_be_done(args, ids.len(), config.layers, &gpu.name);
        return Ok(());
    }
    let bar = progress(config.layers + 1, "loading");
    let full = LayerPlan::full(config.layers)?;
    let dense = Dense::load(model.source(), full, &device, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let lens = Lens::new(&dense, &ids, args.top)?;
    // Every id below the vocabulary decodes; what the model has beyond its tokenizer has no text.
    let text = |id| tokenizer.decode(&[id], false).unwrap_or_default();
    let scanned = model.scanned(&model.sha256());
    let document = LensDocument::new(
        scanned,
        (&args.prompt, notes(&tokenizer, &ids)?),
        &lens,
        plan.as_ref(),
        text,
    );
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let grid = lens_grid(&document);
    let file = |name: &str| args.output.join(name);
    write_whole(&file("lens.svg"), &grid.to_svg())?;
    write_whole(&file("lens.png"), &grid.to_png(PNG_SCALE)?)?;
    write_whole(&file("lens.json"), document.to_json().as_bytes())?;
    report(args, &document, &gpu.name)
}

fn say_what_would_be_done(args: &Args, tokens: usize, layers: usize, device: &str) {
    if args.conduct.json {
        let report = json!({
            "dry_run": true, "tokens": tokens, "depths": layers + 1, "device": device, "output": args.output,
        });
        println!("{report}");
    } else {
        println!(
            "would read {tokens} tokens at {} depths on {device}, and write {}",
            layers + 1,
            args.output.display()
        );
    }
}

fn report(args: &Args, lens: &LensDocument, device: &str) -> Result<()> {
    let last = lens.tokens.len() - 1;
    let (first, stays) = lens.first_chosen[last];
    if args.conduct.json {
        let at = |depth: usize| &lens.readings[depth][last];
        let readings: Vec<_> = (0..lens.readings.len()).map(at).collect();
        let report = json!({
            "output": args.output, "model": lens.model.name, "device": device, "answer": lens.chosen[last],
            "first_at_depth": first, "stays_from_depth": stays, "last_position": readings, "plan": lens.plan,
        });
        println!("{report}");
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let answer = &lens.chosen[last].text;
    writeln!(
        out,
        "after {:?} the model answers {answer:?}\n",
        lens.tokens[last].text
    )?;
    writeln!(out, "     after     p   rank     KL  likeliest")?;
    for (depth, readings) in lens.readings.iter().enumerate() {
        let reading = &readings[last];
        let top = reading.top.iter();
        let top: Vec<_> = top
            .map(|token| format!("{:?} {:.3}", token.text, token.probability))
            .collect();
        writeln!(
            out,
            "{:>10} {:.3} {:>6} {:>6.3}  {}",
            depth_name(depth),
            reading.probability,
            reading.rank,
            reading.kl,
            top.join("  ")
        )?;
    }
    writeln!(
        out,
        "\nfirst the likeliest after {}, and from {} on",
        depth_name(first),
        depth_name(stays)
    )?;
    if let Some(plan) = &lens.plan {
        let whether = if plan.cuts_it {
            "leaves"
        } else {
            "does not leave"
        };
        writeln!(out, "{} {whether} that layer out", plan.plan)?;
    }
    let grid = args.output.join("lens.svg");
    writeln!(out, "\n{}, .png and .json", grid.display())?;
    Ok(())
}

fn depth_name(depth: usize) -> String {
    match depth.checked_sub(1) {
        None => "embedding".into(),
        Some(layer) => format!("layer {layer}"),
    }
}
