//! `halfdepth scan`: how far each block of layers turns the residual stream.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::checkpoint::hex;
use halfdepth::scan::{Key, Sampling, Scan, ScannedText, Scanner, draw, memory_bytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::chart::heat_map;
use crate::conduct::{Conduct, make_folder_of, write_whole, write_whole_with};
use crate::dense::{self, Model};
use crate::model::{DeviceChoice, progress};
use crate::open::file_name;

/// Samples where none are asked for and the text has so many.
const SAMPLES: usize = 128;
/// Pixels of the PNG for each point of the SVG.
const PNG_SCALE: f32 = 2.0;

/// Measures how far each block of layers turns the residual stream; writes a scan for `plan`, and a heat map of it.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A Hugging Face folder, a .gguf file, or a pack
    model: PathBuf,
    /// What to read; several files are read one after the other
    #[arg(long, required = true, num_args = 1..)]
    text: Vec<PathBuf>,
    /// Runs of the text to read [default: 128, or as many as the text has]
    #[arg(long)]
    samples: Option<usize>,
    /// Tokens a run
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Which runs: one after the other from the start of the text, or drawn out of the whole text by the seed
    #[arg(long, value_enum, default_value_t = Which::Sequential)]
    sampling: Which,
    /// Where to run; `auto` takes a GPU where there is one
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The scan; its heat map is written beside it, as SVG and PNG. What is half done lies in `FILE.state` until it is finished
    #[arg(short, long, default_value = "scan.json")]
    output: PathBuf,
    #[command(flatten)]
    conduct: Conduct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Sequential,
    Random,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.output.is_dir() {
        bail!(
            "{} is a folder; name a file for --output",
            args.output.display()
        );
    }
    let model = dense::open(&args.model)?;
    let (text, samples) = read_samples(args, &model)?;
    let (device, gpu) = args.device.open()?;
    let config = model.source().config();
    let memory = memory_bytes(config, samples.len(), args.tokens, &device);
    if args.conduct.dry_run {
        return say_what_would_be_done(args, &text, samples.len(), memory, &gpu.name);
    }
    let key = Key {
        model: model.sha256(),
        text: text.sha256.clone(),
        sampling: args.sampling.into(),
        seed: args.conduct.seed,
        samples: samples.len(),
        tokens: args.tokens,
    };
    tracing::debug!(memory, device = gpu.name, "scanning");
    make_folder_of(&args.output)?;
    let state = beside(&args.output, ".state");
    let mut scanner = match File::open(&state) {
        Ok(file) => {
            let mut file = BufReader::new(file);
            Scanner::resume(model.source(), &samples, &device, &key, &mut file)
                .with_context(|| format!("cannot go on from {}", state.display()))?
        }
        Err(_) => Scanner::new(model.source(), &samples, &device)?,
    };
    let resumed = scanner.done();
    if resumed > 0 && !args.conduct.json {
        println!("going on after {resumed} of {} layers", config.layers);
    }
    let bar = progress(config.layers, "scanning");
    bar.set_position(resumed as u64);
    while scanner.step()? {
        bar.inc(1);
        // The last state would be overtaken by the scan itself.
        if scanner.done() < config.layers {
            write_whole_with(&state, |file| scanner.save(&key, file))?;
        }
    }
    bar.finish_and_clear();
    let scan = Scan::new(model.scanned(&key.model), text, &key, scanner.finish());
    let heat_map = heat_map(&scan);
    write_whole(&args.output.with_extension("svg"), &heat_map.to_svg())?;
    write_whole(
        &args.output.with_extension("png"),
        &heat_map.to_png(PNG_SCALE)?,
    )?;
    write_whole(&args.output, scan.to_json().as_bytes())?;
    match std::fs::remove_file(&state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", state.display()));
        }
        _ => {}
    }
    report(args, &scan, resumed, &gpu.name)
}

/// The text's tokens, and the runs of them to be read.
fn read_samples(args: &Args, model: &Model) -> Result<(ScannedText, Vec<Vec<u32>>)> {
    let tokenizer = model.tokenizer()?;
    tokenizer.fits(model.source().config().vocab_size)?;
    let mut hash = Sha256::new();
    let (mut files, mut ids) = (Vec::new(), Vec::new());
    for path in &args.text {
        let content = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        hash.update(content.as_bytes());
        ids.extend(tokenizer.encode(&content, false)?);
        files.push(file_name(path));
    }
    let samples = args
        .samples
        .unwrap_or_else(|| SAMPLES.min(ids.len() / args.tokens.max(1)).max(1));
    let runs = draw(
        &ids,
        samples,
        args.tokens,
        args.sampling.into(),
        args.conduct.seed,
    )?;
    let text = ScannedText {
        files,
        sha256: hex(&hash.finalize()),
        tokens: ids.len(),
    };
    Ok((text, runs))
}

fn say_what_would_be_done(
    args: &Args,
    text: &ScannedText,
    samples: usize,
    memory: u64,
    device: &str,
) -> Result<()> {
    let read = samples * args.tokens;
    if args.conduct.json {
        let report = json!({
            "dry_run": true, "samples": samples, "tokens_per_sample": args.tokens, "text_tokens": text.tokens,
            "memory_bytes": memory, "device": device, "output": args.output,
        });
        println!("{report}");
    } else {
        println!(
            "would read {samples} runs of {} tokens ({read} of the text's {}) on {device}, in about {:.2} GB, and write {}",
            args.tokens,
            text.tokens,
            memory as f64 / 1e9,
            args.output.display()
        );
    }
    Ok(())
}

fn report(args: &Args, scan: &Scan, resumed: usize, device: &str) -> Result<()> {
    let distance = |n: &usize, start: &usize| scan.distance[n][*start];
    if args.conduct.json {
        let best = scan.best_start.iter().map(|(n, start)| {
            json!({ "layers": n, "first": start, "last": start + n - 1, "distance": distance(n, start) })
        });
        let report = json!({
            "output": args.output, "model": scan.model.name, "device": device, "samples": scan.samples,
            "tokens_per_sample": scan.tokens_per_sample, "resumed_after_layers": resumed,
            "best": best.collect::<Vec<_>>(), "block_influence": scan.block_influence, "sublayers": scan.sublayers,
        });
        println!("{report}");
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "layers  best block  distance")?;
    for (n, start) in &scan.best_start {
        let block = match n {
            1 => start.to_string(),
            _ => format!("{start}-{}", start + n - 1),
        };
        writeln!(out, "{n:>6}  {block:>10}  {:.4}", distance(n, start))?;
    }
    writeln!(out, "\n layer  influence  attention     MLP")?;
    let halves = scan.sublayers.attention.iter().zip(&scan.sublayers.mlp);
    for (layer, (block, (attention, mlp))) in scan.block_influence.iter().zip(halves).enumerate() {
        writeln!(
            out,
            "{layer:>6}  {block:>9.4}  {attention:>9.4}  {mlp:>6.4}"
        )?;
    }
    writeln!(
        out,
        "\n{}, and a heat map in {} and .png",
        args.output.display(),
        args.output.with_extension("svg").display()
    )?;
    Ok(())
}

impl From<Which> for Sampling {
    fn from(which: Which) -> Self {
        match which {
            Which::Sequential => Self::Sequential,
            Which::Random => Self::Random,
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}
