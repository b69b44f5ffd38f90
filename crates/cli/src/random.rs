//! `halfdepth random`: writes a pack of random weights in the shape of a model people use. For measuring.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use halfdepth::pack::{PackOptions, Source, write_random};
use halfdepth::shapes::Shape;

use crate::model::progress;
use crate::pack::{Bits, default_plans, put};

/// Writes a pack of random weights.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Whose shape: llama-3.2-1b, smollm2-135m, …; a wrong name lists them
    #[arg(value_parser = known_shape)]
    shape: Shape,
    /// The pack's folder; made if it is not there
    #[arg(short, long)]
    output: PathBuf,
    /// Another seed gives other weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Bits of the layers' weights
    #[arg(long, value_enum, default_value_t = Bits::Q4)]
    layers: Bits,
    /// Bits of the embedding and the head
    #[arg(long, value_enum, default_value_t = Bits::Q4)]
    embedding: Bits,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let (config, name) = (args.shape.config(), args.shape.name);
    let options = PackOptions {
        name: format!("{name}, random weights"),
        source: Source {
            name: format!("random weights in the shape of {name}, seed {}", args.seed),
            kind: "random".to_string(),
            sha256: String::new(),
            licence: None,
        },
        layers: args.layers.into(),
        embedding: args.embedding.into(),
        plans: default_plans(config.layers)?,
    };
    let bar = progress(config.layers + 2, "drawing");
    let manifest = write_random(
        &config,
        args.seed,
        &options,
        &mut |file, bytes| put(&args.output, file, bytes),
        &mut |done, _| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    let bytes: u64 = manifest.files().iter().map(|file| file.bytes).sum();
    println!(
        "{}: {} files, {bytes} bytes of random weights",
        args.output.display(),
        manifest.files().len() + 1
    );
    Ok(())
}

fn known_shape(name: &str) -> Result<Shape, String> {
    Shape::named(name).ok_or_else(|| format!("the shapes known are {}", Shape::names()))
}
