//! `halfdepth random`: writes a pack of random weights in the shape of a model people use. For measuring.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::config::{LlamaConfig, Rope, RopeScaling};
use halfdepth::pack::{PackOptions, Source, write_random};

use crate::model::progress;
use crate::pack::{Bits, default_plans, put};

/// Writes a pack of random weights.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Whose shape
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

/// A published model, by its sizes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// 30 layers of 576, tied.
    #[value(name = "smollm2-135m")]
    SmolLm2_135M,
    /// 16 layers of 2048, tied.
    #[value(name = "llama-3.2-1b")]
    Llama32_1B,
    /// 32 layers of 4096.
    #[value(name = "llama-3.1-8b")]
    Llama31_8B,
}

impl Shape {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_string())
    }

    fn config(self) -> LlamaConfig {
        let llama3 = |factor| Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 8192,
            },
        };
        match self {
            Self::SmolLm2_135M => LlamaConfig {
                hidden_size: 576,
                intermediate_size: 1536,
                layers: 30,
                heads: 9,
                kv_heads: 3,
                head_dim: 64,
                vocab_size: 49_152,
                context: 8192,
                rms_norm_eps: 1e-5,
                rope: Rope {
                    theta: 100_000.0,
                    scaling: RopeScaling::None,
                },
                tied_head: true,
                bos_token: Some(1),
                eos_tokens: vec![2],
            },
            Self::Llama32_1B => LlamaConfig {
                hidden_size: 2048,
                intermediate_size: 8192,
                layers: 16,
                heads: 32,
                kv_heads: 8,
                head_dim: 64,
                vocab_size: 128_256,
                context: 131_072,
                rms_norm_eps: 1e-5,
                rope: llama3(32.0),
                tied_head: true,
                bos_token: Some(128_000),
                eos_tokens: vec![128_001, 128_008, 128_009],
            },
            Self::Llama31_8B => LlamaConfig {
                hidden_size: 4096,
                intermediate_size: 14_336,
                layers: 32,
                head_dim: 128,
                rope: llama3(8.0),
                tied_head: false,
                ..Self::Llama32_1B.config()
            },
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let (config, name) = (args.shape.config(), args.shape.name());
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
