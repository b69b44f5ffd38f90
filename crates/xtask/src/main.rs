//! The project's own commands. In: a clean clone, Rust and Node. Out: a page in `dist/`, a demo, tested code.

mod bench;
mod browser;
mod bundle;
mod check;
mod crates;
mod demo;
mod graphics;
mod npm;
mod process;
mod root;
mod site;
mod size;
mod stamp;
mod tally;
mod test;
mod wasm;
mod wrappers;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Halfdepth's own commands", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the page, serve it and print its address; with --check, ask it in headless Chromium and print JSON
    Demo(demo::DemoOptions),
    /// Run every check and test; installs what they need
    Test(test::TestOptions),
    /// Run the quick checks: formatting, clippy natively and for wasm, types and lints of the page
    Check,
    /// Measure decoding, prefill, loading and memory: natively, in a browser, beside other engines
    Bench(bench::BenchOptions),
    /// Build the page into a folder that any static host can serve from any path
    Site(SiteArguments),
    /// Print raw, gzip and brotli bytes of all code the page loads
    Size {
        /// One JSON object instead of a table; `brotli_bytes` is the total
        #[arg(long)]
        json: bool,
        /// The built page
        #[arg(long, default_value = "dist", value_name = "FOLDER")]
        dist: PathBuf,
    },
}

#[derive(clap::Args)]
struct SiteArguments {
    /// Where the page goes; what lies there is replaced
    #[arg(long, default_value = "dist", value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    options: site::SiteOptions,
}

fn main() -> ExitCode {
    let done =
        process::stop_children_on_signals().and_then(|()| match Arguments::parse().command {
            Command::Demo(options) => demo::run(&options),
            Command::Test(options) => test::run(&options),
            Command::Check => check::run(),
            Command::Bench(options) => bench::run(&options),
            Command::Site(arguments) => site::build(&root::at(&arguments.out), &arguments.options),
            Command::Size { json, dist } => size::run(&root::at(&dist), json),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if process::is_stopping() => ExitCode::from(process::STOPPED),
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_documented_commands_are_understood() {
        for line in [
            "demo",
            "demo --port 0 --quick",
            "demo --check Hello --max-tokens 16",
            "test",
            "test native browser",
            "check",
            "site --out elsewhere",
            "size --json",
            "bench",
            "bench --native --shape llama-3.2-1b --shape llama-3.1-8b --json out.json",
            "bench --browser --adapter lavapipe --peers --markdown docs/results.md",
            "bench --from out.json --markdown docs/results.md",
        ] {
            let words = ["xtask"].into_iter().chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
        assert!(
            Arguments::try_parse_from(["xtask", "demo", "--max-tokens", "3"]).is_err(),
            "nothing is asked"
        );
        for line in [
            "bench --runs 2",
            "bench --tokens 15",
            "bench --adapter other",
            "bench --shape other",
            "bench --from out.json --peers",
        ] {
            let words = ["xtask"].into_iter().chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
