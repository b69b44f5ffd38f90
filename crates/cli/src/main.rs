//! `halfdepth`: packs, inspects, serves and runs models at full and at half depth.

mod adopt;
mod bench;
mod budget;
mod chart;
mod chat;
mod conduct;
mod curve;
mod dense;
mod eval;
mod generate;
mod heal;
mod healing;
mod inspect;
mod journal;
mod lens;
mod model;
mod open;
mod pack;
mod plan;
mod prune;
mod random;
mod sampling;
mod scan;
mod serve;
mod strategy;
mod trace;

use clap::{Parser, Subcommand};

/// A large language model and its half-depth self.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Quantises a model into the files that a page fetches.
    Pack(pack::Args),
    /// Says what a model or a pack holds.
    Inspect(inspect::Args),
    /// Continues a text.
    Generate(generate::Args),
    /// Talks with a model in the terminal.
    Chat(chat::Args),
    /// Writes a pack of random weights in the shape of a known model, to measure with.
    Random(random::Args),
    /// Measures a pack on this machine: decoding, prefill, loading, memory.
    Bench(bench::Args),
    /// Reckons what a model takes: parameters, bytes, FLOPs, cache, speed; full and half side by side.
    Budget(budget::Args),
    /// Measures how far each block of layers turns the residual stream.
    Scan(scan::Args),
    /// Chooses the layers that are to go, and says what that would save.
    Plan(plan::Args),
    /// Writes a model without the layers that a plan leaves out.
    Prune(prune::Args),
    /// Takes up an adapter that PEFT trained on a pruned folder.
    Adopt(adopt::Args),
    /// Makes up for the layers that a plan leaves out: trains those that stay, or patches them.
    Heal(Box<heal::Args>),
    /// Measures a model at some depth: loss, distance from full depth, benchmarks, what it writes.
    Eval(eval::Args),
    /// Measures every depth by every strategy: figures against the share of layers dropped, and their knees.
    Curve(curve::Args),
    /// Shows where in layers and tokens an answer is held, by noise on the subject and states put back; and whether a plan cuts it out.
    Trace(trace::Args),
    /// Shows what a model would answer after each of its layers.
    Lens(lens::Args),
    /// Serves a pack to a page, with ranges and CORS.
    Serve(serve::Args),
}

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("HALFDEPTH_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let result = match Cli::parse().verb {
        Verb::Pack(args) => pack::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Chat(args) => chat::run(&args),
        Verb::Random(args) => random::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Budget(args) => budget::run(&args),
        Verb::Scan(args) => scan::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Prune(args) => prune::run(&args),
        Verb::Adopt(args) => adopt::run(&args),
        Verb::Heal(args) => heal::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Curve(args) => curve::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Lens(args) => lens::run(&args),
        Verb::Serve(args) => serve::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
