//! Everything that must hold, from formatting to the page in a real browser; the last line counts it.

use crate::process::{command, run_watched};
use crate::root::{at, scratch, target};
use crate::tally::{Libtest, SKIP_MARK, Tally};
use crate::{browser, check, graphics, npm, process, site, size, wasm};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::time::{Duration, Instant};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct TestOptions {
    /// Only these stages, in their usual order
    #[arg(value_enum)]
    only: Vec<Stage>,
    #[command(flatten)]
    site: site::SiteOptions,
}

/// The stages in the order they run: what fails fast comes first.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Stage {
    /// What the others need: wasm target, npm packages, Chromium, a Vulkan driver
    Tools,
    /// cargo fmt --check
    Format,
    /// Clippy, natively
    Clippy,
    /// Clippy for wasm
    ClippyWasm,
    /// cargo test, with doc tests
    Native,
    /// The page's types, lints and layout
    PageCheck,
    /// The page's unit tests
    PageUnit,
    /// The page as it is published
    Site,
    /// The size limit
    Size,
    /// The page in headless Chromium
    Browser,
}

/// What one stage came to.
struct Outcome {
    stage: Stage,
    tally: Tally,
    took: Duration,
}

/// Runs the stages; a failure does not keep the others from running, unless they need what failed.
pub(crate) fn run(options: &TestOptions) -> Result<()> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let begun = Instant::now();
    for stage in Stage::value_variants()
        .iter()
        .copied()
        .filter(|stage| wanted(*stage, &options.only))
    {
        heading(stage);
        let failed = |needed: Stage| {
            outcomes
                .iter()
                .any(|o| o.stage == needed && o.tally.failed > 0)
        };
        let start = Instant::now();
        let tally = if matches!(stage, Stage::Size | Stage::Browser) && failed(Stage::Site) {
            eprintln!("error: not run, because the page was not built");
            Tally::FAIL
        } else {
            run_stage(stage, options)
        };
        outcomes.push(Outcome {
            stage,
            tally,
            took: start.elapsed(),
        });
    }
    let total = summarise(&outcomes, begun.elapsed());
    // Exit codes are for programs; people have read the lines above.
    if total.failed > 0 {
        bail!(
            "{} of these failed; what to run by hand stands above, below each heading",
            total.failed
        );
    }
    if is_ci() && total.skipped > 0 {
        bail!(
            "{} tests were skipped; under CI=true every test has to run",
            total.skipped
        );
    }
    Ok(())
}

fn wanted(stage: Stage, only: &[Stage]) -> bool {
    only.is_empty() || stage == Stage::Tools || only.contains(&stage)
}

fn run_stage(stage: Stage, options: &TestOptions) -> Tally {
    match stage {
        Stage::Tools => checked(tools(&options.only)),
        Stage::Format => checked(check::format()),
        Stage::Clippy => checked(check::clippy_native()),
        Stage::ClippyWasm => checked(check::clippy_wasm()),
        Stage::Native => native(),
        Stage::PageCheck => checked(check::page()),
        Stage::PageUnit => page_unit(),
        Stage::Site => checked(site::build(&at("dist"), &options.site)),
        Stage::Size => checked(size::assert_within_limit(&at("dist"))),
        Stage::Browser => in_browser().unwrap_or_else(|error| checked(Err(error))),
    }
}

/// Installs what the wanted stages need, so that a missing tool is known after seconds and not after an hour.
fn tools(only: &[Stage]) -> Result<()> {
    if wanted(Stage::ClippyWasm, only) || wanted(Stage::Site, only) {
        wasm::install_target()?;
    }
    if [
        Stage::PageCheck,
        Stage::PageUnit,
        Stage::Site,
        Stage::Browser,
    ]
    .iter()
    .any(|stage| wanted(*stage, only))
    {
        npm::install()?;
    }
    if wanted(Stage::Browser, only) {
        eprintln!("browser: {}", browser::chromium()?.display());
    }
    if wanted(Stage::Native, only) {
        graphics::install()?;
    }
    Ok(())
}

fn native() -> Tally {
    let mut counts = Libtest::default();
    let mut verdict = Ok(());
    for selection in check::NATIVE {
        let mut tests = command("cargo");
        tests
            .args(["test", "--no-fail-fast"])
            .args(*selection)
            .envs(graphics::environment());
        // Both run, also when the first fails; its error is printed at once, the last one is kept.
        if let Err(error) = run_watched(&mut tests, &mut |line| counts.read(line)) {
            eprintln!("error: {error:#}");
            verdict = Err(error.context("native tests"));
        }
    }
    if counts.without_adapter() > 0 {
        eprintln!(
            "{} tests found no GPU adapter and did not run (their lines begin with {SKIP_MARK})",
            counts.without_adapter()
        );
    }
    with_verdict(counts.tally(), verdict)
}

fn page_unit() -> Tally {
    let report = scratch().join("vitest.json");
    let mut vitest = npm::script("test");
    vitest
        .args(["--", "--reporter=default", "--reporter=json"])
        .arg(format!("--outputFile={}", report.display()));
    let ended = forget(&report)
        .and_then(|()| process::run(&mut vitest))
        .context("the page's unit tests");
    reported(Tally::of_vitest(&report), ended)
}

fn in_browser() -> Result<Tally> {
    // Below a path, as on most static hosts: an address that begins with "/" fails here.
    let serving = halfdepth_serve::serve(&at("dist"), "127.0.0.1:0", "/some/path/")?;
    let report = scratch().join("playwright.json");
    let mut playwright = npm::tool("playwright");
    playwright
        .args(["test", "--reporter=list,json"])
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report)
        .env("HALFDEPTH_URL", serving.url())
        // What the native tests left: packs and ids, shader texts, and the command line itself.
        .env("HALFDEPTH_TEST_FILES", target().join("tmp"))
        .env("HALFDEPTH_BIN", target().join("debug/halfdepth"))
        .env("CHROMIUM", browser::chromium()?);
    let ended = forget(&report)
        .and_then(|()| process::run(&mut playwright))
        .context("browser tests");
    Ok(reported(Tally::of_playwright(&report), ended))
}

/// A report of an earlier run must not be counted for this one.
fn forget(report: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(scratch()).context("creating the folder for reports")?;
    match std::fs::remove_file(report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing the last report")
        }
        _ => Ok(()),
    }
}

fn reported(counted: Result<Tally>, ended: Result<()>) -> Tally {
    match (counted, ended) {
        (Ok(tally), ended) => with_verdict(tally, ended),
        (Err(_), Err(error)) | (Err(error), Ok(())) => checked(Err(error)),
    }
}

/// The counts, and one failure more if the runner failed without naming one (it did not compile, or crashed).
fn with_verdict(mut tally: Tally, ended: Result<()>) -> Tally {
    if let Err(error) = ended {
        eprintln!("error: {error:#}");
        if tally.failed == 0 {
            tally += Tally::FAIL;
        }
    } else if tally == Tally::default() {
        eprintln!("error: no test ran");
        tally += Tally::FAIL;
    }
    tally
}

fn checked(result: Result<()>) -> Tally {
    match result {
        Ok(()) => Tally::PASS,
        Err(error) => {
            eprintln!("error: {error:#}");
            Tally::FAIL
        }
    }
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

fn heading(stage: Stage) {
    eprintln!("\n==== {} ====", name(stage));
}

fn name(stage: Stage) -> String {
    stage
        .to_possible_value()
        .map_or_else(|| format!("{stage:?}"), |value| value.get_name().to_owned())
}

fn summarise(outcomes: &[Outcome], took: Duration) -> Tally {
    let mut total = Tally::default();
    println!("\n==== summary ====");
    for Outcome { stage, tally, took } in outcomes {
        let verdict = if tally.failed > 0 { "FAILED" } else { "ok" };
        println!(
            "{verdict:<7}{:<12}{:<40}{:>6.0} s",
            name(*stage),
            tally.words(),
            took.as_secs_f64()
        );
        total += *tally;
    }
    println!("{} in {:.1} min", total.words(), took.as_secs_f64() / 60.0);
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_fails_or_runs_nothing_is_never_a_pass() {
        let three = Tally {
            passed: 3,
            failed: 0,
            skipped: 0,
        };
        let failed = || Err(anyhow::anyhow!("did not compile"));
        assert_eq!(with_verdict(three, Ok(())), three);
        assert_eq!(with_verdict(three, failed()).failed, 1);
        assert_eq!(
            with_verdict(Tally { failed: 2, ..three }, failed()).failed,
            2
        );
        assert_eq!(with_verdict(Tally::default(), Ok(())).failed, 1);
        assert_eq!(reported(failed().map(|()| three), Ok(())).failed, 1);
        assert_eq!(reported(Ok(three), failed()), Tally { failed: 1, ..three });
    }

    #[test]
    fn tools_come_with_every_choice_of_stages() {
        let chosen: Vec<Stage> = Stage::value_variants()
            .iter()
            .copied()
            .filter(|stage| wanted(*stage, &[Stage::Size, Stage::Format]))
            .collect();
        assert_eq!(chosen, [Stage::Tools, Stage::Format, Stage::Size]);
    }
}
