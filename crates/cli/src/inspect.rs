//! `halfdepth inspect`: says what a model or a pack holds.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args as ClapArgs;
use halfdepth::config::LlamaConfig;
use serde::Serialize;
use serde_json::{Value, json};

use crate::healing;
use crate::open::{self, Source};

/// Says what a model, a pack or a healing holds.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, a pack, or a folder that `halfdepth heal` wrote
    model: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    kind: &'static str,
    name: String,
    parameters: u64,
    config: &'a LlamaConfig,
    chat_template: bool,
    /// Bytes of the pack's files; `null` for a checkpoint.
    bytes: Option<u64>,
    plans: Vec<Value>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if healing::is_healing(&args.model) {
        return healing(args);
    }
    let source = open::open(&args.model)?;
    let report = match &source {
        Source::Checkpoint(checkpoint) => Report {
            kind: checkpoint.kind(),
            name: open::file_name(&args.model),
            parameters: checkpoint.config().parameters(),
            config: checkpoint.config(),
            chat_template: checkpoint.chat_template().is_some(),
            bytes: None,
            plans: Vec::new(),
        },
        Source::Pack(_, manifest) => Report {
            kind: "pack",
            name: manifest.name().to_string(),
            parameters: manifest.config().parameters(),
            config: manifest.config(),
            chat_template: manifest.chat_template().is_some(),
            bytes: Some(manifest.files().iter().map(|file| file.bytes).sum()),
            plans: manifest.plans().iter().map(|plan| json!(plan)).collect(),
        },
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    let c = report.config;
    println!(
        "{} ({}): {:.1} M parameters",
        report.name,
        report.kind,
        report.parameters as f64 / 1e6
    );
    println!(
        "  layers {}, hidden size {}, intermediate size {}",
        c.layers, c.hidden_size, c.intermediate_size
    );
    println!(
        "  heads {} query, {} key-value, of {}",
        c.heads, c.kv_heads, c.head_dim
    );
    println!(
        "  vocabulary {}, context {}, head {}",
        c.vocab_size,
        c.context,
        if c.tied_head { "tied" } else { "its own" }
    );
    println!(
        "  chat template: {}",
        if report.chat_template { "yes" } else { "no" }
    );
    if let Source::Pack(_, manifest) = &source {
        println!(
            "  {} bytes in {} files",
            report.bytes.unwrap_or_default(),
            manifest.files().len()
        );
        for plan in manifest.plans() {
            let loss = plan
                .cross_entropy()
                .map_or_else(|| "not measured".to_string(), |ce| format!("{ce:.4} nats"));
            let replaced = match manifest.plan(&plan.name)?.replaced().len() {
                0 => String::new(),
                some => format!(", {some} in weights of their own"),
            };
            println!(
                "  plan {}: layers {:?}{replaced}, {loss}",
                plan.name, plan.layers
            );
        }
    }
    Ok(())
}

/// Its record is small; its weights are not read.
fn healing(args: &Args) -> Result<()> {
    let record = healing::read_record(&args.model)?;
    let plan = record.plan()?;
    if args.json {
        println!("{}", serde_json::to_string(&record)?);
        return Ok(());
    }
    println!(
        "{} (healing): {} of {}, SHA-256 {}",
        open::file_name(&args.model),
        record.method,
        record.source.name,
        record.source.sha256
    );
    println!("  plan {}: layers {:?}", plan.name, plan.layers);
    println!(
        "  {} steps, {} tokens of {} texts, seed {}",
        record.steps,
        record.tokens,
        record.texts.len(),
        record.seed
    );
    if let (Some(before), Some(after)) = (record.loss_before, record.loss_after) {
        println!("  held out: {before:.4} nats a token before, {after:.4} after");
    }
    for (name, value) in &record.settings {
        println!("  {name}: {value}");
    }
    if args.model.join(healing::ADAPTER).is_dir() {
        println!("  with an adapter in PEFT's files");
    }
    Ok(())
}
