//! `halfdepth curve`: every depth by every strategy, measured and drawn.

mod healed;
mod run;
mod scanned;
mod store;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use halfdepth::curve::{Curve, Wanted};
use halfdepth::eval::Task;
use halfdepth::plan::Strategy;
use serde_json::json;

use crate::chart::curves;
use crate::conduct::{Conduct, write_whole};
use crate::model::DeviceChoice;
use crate::strategy::parser;

/// Pixels of the PNG for each point of the SVG.
const PNG_SCALE: f32 = 2.0;

/// Measures every depth by every strategy; writes figures against the share of layers dropped, their knees, a table, and JSON.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    pub(super) model: PathBuf,
    /// A text: its first tokens choose the plans, those after them judge them
    #[arg(long, required = true)]
    pub(super) text: PathBuf,
    /// Benchmarks to measure too, by name [default with --data: piqa,arc-easy]
    #[arg(long, value_delimiter = ',')]
    pub(super) tasks: Vec<String>,
    /// The folder of the benchmarks' files
    #[arg(long)]
    pub(super) data: Option<PathBuf>,
    /// How plans are made
    #[arg(long, value_parser = parser(MEASURED), value_delimiter = ',', default_values = DEFAULT.map(Strategy::name))]
    pub(super) strategies: Vec<Strategy>,
    /// Random plans of each length; they are drawn as their mean, with the least and the most of them
    #[arg(long, default_value_t = 3)]
    pub(super) seeds: u64,
    /// Items of a benchmark at most, from its start; 0 for all
    #[arg(long, default_value_t = 200)]
    pub(super) limit: usize,
    /// Tokens of the text that judge, after those that choose
    #[arg(long, default_value_t = 4096)]
    pub(super) tokens: usize,
    /// Runs of 128 tokens, from the start of the text, that are scanned
    #[arg(long, default_value_t = 64)]
    pub(super) samples: usize,
    /// Tokens, from the start of the text, that a greedy search measures its losses on; of those scanned at most
    #[arg(long, default_value_t = 2048)]
    pub(super) search_tokens: usize,
    /// What `halfdepth scan` wrote for this model, in place of a scan of the text
    #[arg(long, conflicts_with = "samples")]
    pub(super) from: Option<PathBuf>,
    /// A folder that `halfdepth heal` wrote for this model, to be measured and drawn beside its unhealed plans; may be given several
    /// times. Those of one method and of different depths are one line
    #[arg(long)]
    pub(super) healed: Vec<PathBuf>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(super) device: DeviceChoice,
    /// The folder of curve.json, curve.md, the figures, the scan, and curve.state, from which a run that was ended goes on
    #[arg(short, long, default_value = "curve")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) conduct: Conduct,
}

/// What makes a plan for every number of layers: all but a hand.
const MEASURED: [Strategy; 6] = [
    Strategy::Similarity,
    Strategy::Simple,
    Strategy::Influence,
    Strategy::Greedy,
    Strategy::Sublayer,
    Strategy::Random,
];
/// Those whose plans every kind of file holds.
const DEFAULT: [Strategy; 5] = [
    Strategy::Similarity,
    Strategy::Simple,
    Strategy::Influence,
    Strategy::Greedy,
    Strategy::Random,
];

impl Args {
    /// The series that are measured, each once.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for &strategy in &self.strategies {
            let seeds: Vec<Option<u64>> = match strategy {
                Strategy::Random => (0..self.seeds)
                    .map(|seed| Some(self.conduct.seed.wrapping_add(seed)))
                    .collect(),
                _ => vec![None],
            };
            for seed in seeds {
                let series = Wanted { strategy, seed };
                if !wanted.contains(&series) {
                    wanted.push(series);
                }
            }
        }
        wanted
    }

    /// The benchmarks, each once. A name may be written as lm-evaluation-harness writes it.
    pub(super) fn benchmarks(&self) -> Result<Vec<Task>> {
        if self.tasks.is_empty() {
            return Ok(match self.data {
                Some(_) => vec![Task::Piqa, Task::ArcEasy],
                None => Vec::new(),
            });
        }
        let mut tasks = Vec::new();
        for name in &self.tasks {
            let task: Task = name.replace('_', "-").parse()?;
            if !task.is_choice() {
                bail!(
                    "{task} is no choice among options, and is not drawn; measure it with `halfdepth eval`"
                );
            }
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.output.is_file() {
        bail!(
            "{} is a file; name a folder for --output",
            args.output.display()
        );
    }
    if args.wanted().is_empty() {
        bail!("no series is left: give --seeds 1 or more, or another strategy");
    }
    let Some(curve) = run::measure(args)? else {
        return Ok(());
    };
    let write = |name: &str, bytes: &[u8]| write_whole(&args.output.join(name), bytes);
    let draw = |name: &str, only: Option<&str>| -> Result<()> {
        let figure = curves(&curve, only);
        write(&format!("{name}.svg"), &figure.to_svg())?;
        write(&format!("{name}.png"), &figure.to_png(PNG_SCALE)?)
    };
    draw("curve", None)?;
    for measure in &curve.measures {
        draw(&format!("curve-{}", measure.name), Some(&measure.name))?;
    }
    write("curve.md", table::markdown(&curve).as_bytes())?;
    write("curve.json", curve.to_json().as_bytes())?;
    report(args, &curve)
}

fn report(args: &Args, curve: &Curve) -> Result<()> {
    if args.conduct.json {
        let report = json!({
            "output": args.output.join("curve.json"), "model": curve.model.name, "device": curve.device,
            "series": curve.series.iter().map(|series| &series.name).collect::<Vec<_>>(), "knees": curve.knees,
        });
        println!("{report}");
        return Ok(());
    }
    print!("{}", table::text(curve));
    let figure = args.output.join("curve.svg");
    let figure = figure.to_str().context("the folder's name is no UTF-8")?;
    println!("\n{figure} and .png, curve.md, curve.json");
    Ok(())
}
