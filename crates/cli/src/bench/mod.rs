//! `halfdepth bench`: how fast a pack runs on this machine, beside what its memory allows.

mod measure;
mod report;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use crate::model::DeviceChoice;
use crate::open::{self, Source};

/// Measures a pack.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A pack, such as `halfdepth random` or `halfdepth pack` writes
    pack: PathBuf,
    /// Plans to measure in turn; may be given several times. `full` and `half` if not given
    #[arg(long = "plan", value_name = "PLAN")]
    plans: Vec<String>,
    /// Contexts at which to decode
    #[arg(long, value_delimiter = ',', default_value = "16,512,2048")]
    contexts: Vec<usize>,
    /// Lengths of the prompts to read
    #[arg(long, value_delimiter = ',', default_value = "64,256,512")]
    prefill: Vec<usize>,
    /// Tokens to decode at each context
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..))]
    tokens: u32,
    /// Measurements of each figure, of which the median is given; one more comes before them and is thrown away
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..))]
    runs: u32,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The kernels' variant, such as `r4-l8-tree-direct-f32`; what a one-second trial finds quickest if not given
    #[arg(long)]
    variant: Option<halfdepth::kernels::Variant>,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Source::Pack(folder, manifest) = open::open(&args.pack)? else {
        bail!(
            "{} is no pack; make one with `halfdepth pack` or `halfdepth random`",
            args.pack.display()
        );
    };
    let (tokens, positions) = (args.tokens as usize, manifest.config().context);
    let contexts = fitting("context", &args.contexts, tokens, positions)?;
    let prompts = fitting("prompt", &args.prefill, 1, positions)?;
    let longest = contexts.iter().map(|at| at + tokens);
    let Some(context) = longest.chain(prompts.iter().map(|at| at + 1)).max() else {
        bail!(
            "this model holds {positions} positions, fewer than were asked for; ask for shorter contexts and prompts"
        );
    };
    let names = match args.plans.as_slice() {
        [] => vec!["full".to_string(), "half".to_string()],
        plans => plans.to_vec(),
    };
    let mut bench = measure::Bench::load(
        &folder,
        &manifest,
        &names,
        context,
        args.device,
        args.variant,
    )?;
    let report = bench.run(&contexts, &prompts, tokens, args.runs)?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{report}"),
    }
    Ok(())
}

/// Those of `lengths` that leave room for `more` tokens in a model of so many positions; the others are named.
fn fitting(what: &str, lengths: &[usize], more: usize, positions: usize) -> Result<Vec<usize>> {
    if lengths.contains(&0) {
        bail!("a {what} of 0 tokens cannot be measured; ask for at least 1");
    }
    let fits = |length: &usize| length.saturating_add(more) <= positions;
    for length in lengths.iter().filter(|length| !fits(length)) {
        eprintln!(
            "left out: a {what} of {length} and {more} tokens more; this model holds {positions}"
        );
    }
    Ok(lengths.iter().copied().filter(fits).collect())
}
