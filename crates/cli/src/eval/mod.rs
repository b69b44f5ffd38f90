//! `halfdepth eval`: what a model scores at full depth or under a plan, beside what guessing scores.

pub(crate) mod data;
mod print;
mod run;
mod state;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use halfdepth::eval::{Task, TextMeasure};

use crate::conduct::Conduct;
use crate::model::DeviceChoice;

/// Measures a model: loss, distance from full depth, benchmarks, what it writes.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    pub(super) model: PathBuf,
    /// A plan of the pack, or `full` or `half` (the simple half: the deepest layers but the last left out), or a file that `halfdepth plan` wrote
    #[arg(long, conflicts_with = "drop")]
    pub(super) plan: Option<String>,
    /// Layers to leave out, counted from 0: `--drop 4,5,6`
    #[arg(long, value_delimiter = ',')]
    pub(super) drop: Vec<usize>,
    /// A folder that `halfdepth heal` wrote for this model: its layers run, healed
    #[arg(long, conflicts_with_all = ["plan", "drop"])]
    pub(super) healed: Option<PathBuf>,
    /// What to measure: `loss`, `compare` and `repetition` on every --text; benchmarks by name, `choice` for all of multiple
    /// choice but MMLU's variants, `all` for everything there is data for [default: loss,compare,repetition]
    #[arg(long, value_delimiter = ',')]
    pub(super) tasks: Vec<String>,
    /// The folder of the benchmarks' files
    #[arg(long)]
    pub(super) data: Option<PathBuf>,
    /// Texts to measure loss, distance and repetition on
    #[arg(long, num_args = 1..)]
    pub(super) text: Vec<PathBuf>,
    /// Predictions of a window of a text, after the begin token alone
    #[arg(long, default_value_t = 128)]
    pub(super) window: usize,
    /// Items of a task at most, from its start (of MMLU: of each subject; of a text: windows)
    #[arg(long)]
    pub(super) limit: Option<usize>,
    /// What `compare` compares with, at full depth [default: the same model]
    #[arg(long)]
    pub(super) reference: Option<PathBuf>,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub(super) device: DeviceChoice,
    /// The folder of what is done, from which a run that was ended goes on [default: halfdepth/eval in the user's cache]
    #[arg(long)]
    pub(super) state: Option<PathBuf>,
    /// Measure again what was measured
    #[arg(long)]
    pub(super) fresh: bool,
    /// Also write the report to a file, as JSON
    #[arg(short, long)]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) conduct: Conduct,
}

/// One thing to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    Bench(Task),
    Text(TextMeasure, PathBuf),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.window == 0 {
        bail!("--window 0 measures nothing; give at least 1");
    }
    let jobs = jobs(args)?;
    let report = run::measure(args, &jobs)?;
    let Some(report) = report else {
        return Ok(());
    };
    let json = serde_json::to_string(&report)?;
    if let Some(path) = &args.output {
        crate::conduct::make_folder_of(path)?;
        crate::conduct::write_whole(path, json.as_bytes())?;
    }
    if args.conduct.json {
        println!("{json}");
    } else {
        print!("{}", print::report(&report));
    }
    Ok(())
}

/// The jobs that `--tasks` names, in its order.
fn jobs(args: &Args) -> Result<Vec<Job>> {
    let default = ["loss", "compare", "repetition"].map(String::from);
    let names = match args.tasks.is_empty() {
        true => &default[..],
        false => &args.tasks[..],
    };
    let mut jobs = Vec::new();
    let mut add = |job: Job| {
        if !jobs.contains(&job) {
            jobs.push(job);
        }
    };
    for name in names {
        let measures = TextMeasure::ALL.into_iter();
        match name.as_str() {
            "all" => {
                for measure in measures {
                    texts(args, measure, false)?.into_iter().for_each(&mut add);
                }
                Task::ALL.into_iter().map(Job::Bench).for_each(&mut add);
            }
            "choice" => {
                let choices = Task::ALL.into_iter().filter(|task| task.is_choice());
                let once = choices.filter(|task| !task.name().starts_with("mmlu-"));
                once.map(Job::Bench).for_each(&mut add);
            }
            name => match measures.clone().find(|measure| measure.name() == name) {
                Some(measure) => texts(args, measure, true)?.into_iter().for_each(&mut add),
                None => {
                    let known = TextMeasure::ALL.map(TextMeasure::name).join(", ");
                    let task = name.parse().with_context(|| {
                        format!("--tasks takes {known}, choice, all, or a benchmark")
                    })?;
                    add(Job::Bench(task));
                }
            },
        }
    }
    let needs_data = |job: &Job| matches!(job, Job::Bench(task) if !task.files().is_empty());
    if args.data.is_none() && jobs.iter().any(needs_data) {
        bail!("benchmarks need --data FOLDER, where their files are");
    }
    Ok(jobs)
}

fn texts(args: &Args, measure: TextMeasure, required: bool) -> Result<Vec<Job>> {
    if args.text.is_empty() && required {
        bail!("{} is measured on a text; give --text FILE", measure.name());
    }
    let job = |path: &PathBuf| Job::Text(measure, path.clone());
    Ok(args.text.iter().map(job).collect())
}
