//! The bench: packs of random weights, natively and in a browser, alone or beside other engines. Out: one JSON object,
//! and the tables of docs/results.md.

mod models;
mod results;

use crate::process::{capture, command};
use crate::root::{at, scratch};
use crate::{browser, graphics, npm, site};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What to measure. Without --native or --browser both are measured.
///
/// Every figure is the median of at least three runs in which the compared take turns, after one that is thrown away. A
/// software GPU takes half an hour a shape; leave other programs alone meanwhile.
#[derive(clap::Args)]
pub(crate) struct BenchOptions {
    /// Measure `halfdepth bench`: this machine's GPU, or lavapipe where there is none
    #[arg(long)]
    native: bool,
    /// Measure the built page's engine in headless Chromium
    #[arg(long)]
    browser: bool,
    /// Which WebGPU the browser has. `stock`: what Chromium finds (`CHROMIUM` may name one). `lavapipe`: a Chromium whose
    /// path `CHROMIUM_LAVAPIPE` gives, with the Vulkan layer beside it that lets it take Mesa's lavapipe: f16, subgroups
    #[arg(long, value_enum, default_value_t = Adapter::Stock)]
    adapter: Adapter,
    /// Run wllama and transformers.js beside ours, in the same browser, on random weights of the same shape; the first
    /// time this installs them from npm and, to make their models, several gigabytes from PyPI under target/
    #[arg(long)]
    peers: bool,
    /// A shape to measure; may be given several times
    #[arg(long = "shape", value_enum, value_name = "SHAPE", default_values_t = [Shape::SmolLm2_135M])]
    shapes: Vec<Shape>,
    /// Contexts at which to decode
    #[arg(long, default_value = "16,512,2048", value_name = "N,N")]
    contexts: String,
    /// Lengths of prompts to read
    #[arg(long, default_value = "64,256,512", value_name = "N,N")]
    prefill: String,
    /// Tokens to decode at each context
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..))]
    tokens: u32,
    /// Runs of each figure
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..))]
    runs: u32,
    /// What to call this machine in the tables; what the system says of itself if not given
    #[arg(long, value_name = "TEXT")]
    machine: Option<String>,
    /// Write everything that was measured as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables, such as docs/results.md; without it they are printed
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Only write the tables, from a JSON file that an earlier run left; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["native", "browser", "peers", "json"])]
    from: Vec<PathBuf>,
    /// Measure the command that `cargo build` makes instead of building an optimised one, which takes minutes
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    site: site::SiteOptions,
}

/// Which WebGPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Adapter {
    Stock,
    Lavapipe,
}

/// A model, by its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// The page's own model, with its trained weights; peers have no model of it
    #[value(name = "embedded")]
    Embedded,
    #[value(name = "smollm2-135m")]
    SmolLm2_135M,
    #[value(name = "llama-3.2-1b")]
    Llama32_1B,
    #[value(name = "llama-3.1-8b")]
    Llama31_8B,
}

/// Measures what was asked for and writes it down.
pub(crate) fn run(options: &BenchOptions) -> Result<()> {
    let reports = match options.from.as_slice() {
        [] => vec![measure(options)?],
        files => files
            .iter()
            .map(|file| earlier(file))
            .collect::<Result<_>>()?,
    };
    if let (Some(file), [report]) = (&options.json, reports.as_slice()) {
        write(file, &format!("{report}\n"))?;
    }
    let tables = results::markdown(&reports);
    match &options.markdown {
        Some(file) => write(&at(file), &tables),
        None => {
            print!("{tables}");
            Ok(())
        }
    }
}

fn earlier(file: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} holds no JSON; --json writes such a file",
            file.display()
        )
    })
}

fn measure(options: &BenchOptions) -> Result<Value> {
    let both = !options.native && !options.browser;
    let in_browser = options.browser || both;
    ensure!(
        in_browser || !options.peers,
        "--peers run in a browser; leave --native out or add --browser"
    );
    // What is missing is missed now, not after half an hour.
    let chromium = if in_browser {
        Some(chromium(options.adapter)?)
    } else {
        None
    };
    let halfdepth = models::build_command(options.dev)?;
    let dist = at("dist");
    if in_browser {
        npm::install()?;
        site::build(&dist, &options.site)?;
    }
    let (mut native, mut browser) = (Vec::new(), Vec::new());
    for shape in &options.shapes {
        let pack = models::pack(&halfdepth, *shape)?;
        if options.native || both {
            native.push(measure_native(&halfdepth, &pack, options)?);
        }
        if let Some(chromium) = &chromium {
            browser.push(measure_browser(chromium, &dist, &pack, *shape, options)?);
        }
    }
    Ok(json!({
        "command": command_line(options),
        "machine": options.machine.clone().unwrap_or_else(this_machine),
        "date": today(),
        "native": native,
        "browser": browser,
    }))
}

fn measure_native(halfdepth: &Path, pack: &Path, options: &BenchOptions) -> Result<Value> {
    let mut bench = command(halfdepth);
    bench
        .arg("bench")
        .arg(pack)
        .args(["--device", "gpu", "--json"])
        .args([
            "--contexts",
            &options.contexts,
            "--prefill",
            &options.prefill,
        ])
        .args(["--tokens", &options.tokens.to_string()])
        .args(["--runs", &options.runs.to_string()])
        .envs(graphics::environment());
    graphics::install()?;
    parse(&capture(&mut bench).context("measuring natively")?)
}

fn measure_browser(
    chromium: &Path,
    dist: &Path,
    pack: &Path,
    shape: Shape,
    options: &BenchOptions,
) -> Result<Value> {
    let mut bench = command("node");
    bench
        .arg("benches/browser/run.mjs")
        .args(["--adapter", &value_name(options.adapter)])
        .arg("--site")
        .arg(dist)
        .arg("--pack")
        .arg(pack)
        .args([
            "--contexts",
            &options.contexts,
            "--prefill",
            &options.prefill,
        ])
        .args(["--tokens", &options.tokens.to_string()])
        .args(["--runs", &options.runs.to_string()]);
    bench.env(variable(options.adapter), chromium);
    if options.peers && shape != Shape::Embedded {
        let peers = models::install_peers()?;
        let models = models::of_peers(pack, &value_name(shape))?;
        bench.arg("--peers").arg(peers).arg("--models").arg(models);
    }
    parse(&capture(&mut bench).context("measuring in Chromium")?)
}

/// The environment's name for the browser.
fn variable(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Stock => "CHROMIUM",
        Adapter::Lavapipe => "CHROMIUM_LAVAPIPE",
    }
}

fn chromium(adapter: Adapter) -> Result<PathBuf> {
    if adapter == Adapter::Stock {
        return browser::chromium();
    }
    let path = std::env::var_os(variable(adapter)).map(PathBuf::from);
    path.filter(|path| path.is_file()).context(
        "--adapter lavapipe needs a Chromium whose WebGPU runs on lavapipe: set CHROMIUM_LAVAPIPE to its path",
    )
}

fn parse(printed: &str) -> Result<Value> {
    serde_json::from_str(printed).with_context(|| format!("the bench printed no JSON: {printed:?}"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn value_name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What to type to measure this again.
fn command_line(options: &BenchOptions) -> String {
    let mut line = "cargo xtask bench".to_owned();
    let mut add = |flag: &str, given: bool| {
        if given {
            line.push_str(flag);
        }
    };
    add(" --native", options.native);
    add(" --browser", options.browser);
    add(" --adapter lavapipe", options.adapter == Adapter::Lavapipe);
    add(" --peers", options.peers);
    for shape in &options.shapes {
        add(&format!(" --shape {}", value_name(*shape)), true);
    }
    add(&format!(" --contexts {}", options.contexts), true);
    add(&format!(" --prefill {}", options.prefill), true);
    add(
        &format!(" --tokens {} --runs {}", options.tokens, options.runs),
        true,
    );
    add(" --dev", options.dev);
    add(" --quick", options.site.quick);
    line
}

/// Cores and the name of the processor, as far as the system tells.
fn this_machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{cores} cores, {name}, {}", std::env::consts::OS)
}

/// Such as `25 Nov 2026`.
fn today() -> String {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now()); // Wed, 25 Nov 2026 10:00:00 GMT
    date.get(5..16).unwrap_or_default().to_owned()
}

/// Where packs and models of the bench lie.
fn folder() -> PathBuf {
    scratch().join("bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_one() {
        let date = today();
        assert_eq!(date.len(), "25 Nov 2026".len(), "{date}");
        assert!(date.ends_with(char::is_numeric), "{date}");
    }
}
