//! `halfdepth budget`: what a model takes, full and half side by side, without touching a weight.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args as ClapArgs;
use halfdepth::budget::{
    Budget, CARDS, CacheNumber, Depth, FLOPS_FORMULA, Parameters, STORAGES, Storage, article_claims,
};
use halfdepth::config::LlamaConfig;
use halfdepth::plan::LayerPlan;
use halfdepth::shapes::Shape;
use serde_json::{Value, json};

use crate::conduct::Conduct;
use crate::open::{self, Source};
use crate::strategy::Dropped;

/// Reckons parameters, bytes, FLOPs a token, cache and speed of a model at full depth and with layers dropped.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// A model folder, a .gguf file, a pack, a config.json, or a name: llama-2-70b, smollm2-135m, …
    model: PathBuf,
    /// The storage to reckon with: a name from the table, or bits of every weight, such as 4.25
    #[arg(long, default_value = "pack-q4")]
    bits: String,
    /// Layers to drop: a share, 50%, or a number
    #[arg(long, default_value = "50%")]
    drop: String,
    /// Positions in the cache; what the model was trained for, at most 4096, if not given
    #[arg(long)]
    context: Option<usize>,
    /// What the memory reads, in GB/s, for the bound on speed
    #[arg(long, default_value_t = 936.0)]
    bandwidth: f64,
    #[command(flatten)]
    conduct: Conduct,
}

/// What is known of the model beyond its shape.
struct Subject {
    name: String,
    config: LlamaConfig,
    /// The formats of an actual pack, and bytes of its tokenizer.
    pack: Option<(Storage, u64)>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let subject = subject(args)?;
    let config = &subject.config;
    let storage = storage(args, &subject)?;
    let dropped: Result<Dropped, String> = args.drop.parse();
    let dropped = dropped.map_err(|reason| anyhow!("--drop: {reason}"))?;
    let dropped = dropped.of(config.layers);
    // For its errors: no layer left, more dropped than there are.
    let kept = LayerPlan::simple(config.layers, dropped)?.layers.len();
    let context = args.context.unwrap_or(config.context.min(4096));
    if context == 0 || context > config.context {
        bail!(
            "--context {context}: the model was trained for {} positions; give 1 to that many",
            config.context
        );
    }
    if !(args.bandwidth.is_finite() && args.bandwidth > 0.0) {
        bail!("--bandwidth is in GB/s and above 0: 936 is an RTX 3090");
    }
    let table = Table {
        subject: &subject,
        depths: [config.layers, kept].map(Depth::layers),
        storage,
        context,
        bytes_per_second: args.bandwidth * 1e9,
    };
    match args.conduct.json {
        true => println!("{}", table.json()),
        false => table.print(),
    }
    Ok(())
}

fn subject(args: &Args) -> Result<Subject> {
    let text = args.model.to_string_lossy();
    if let Some(shape) = Shape::named(&text) {
        return Ok(Subject {
            name: shape.name.into(),
            config: shape.config(),
            pack: None,
        });
    }
    if !args.model.exists() {
        bail!(
            "{text} does not exist; name a model, a config.json, or one of the shapes {}",
            Shape::names()
        );
    }
    let in_folder = args.model.join("config.json");
    let config_json = match args.model.is_dir() {
        true => in_folder.as_path(),
        false => args.model.as_path(),
    };
    let is_config = config_json.extension().is_some_and(|e| e == "json")
        && !config_json.ends_with("manifest.json")
        && config_json.exists();
    let name = args.model.file_stem();
    let name = name.map_or_else(|| text.to_string(), |n| n.to_string_lossy().into_owned());
    if is_config {
        let config = LlamaConfig::from_hugging_face(open::map(config_json)?, None)
            .with_context(|| format!("cannot read {}", config_json.display()))?;
        return Ok(Subject {
            name,
            config,
            pack: None,
        });
    }
    Ok(match open::open(&args.model)? {
        Source::Checkpoint(checkpoint) => Subject {
            name,
            config: checkpoint.config().clone(),
            pack: None,
        },
        Source::Pack(_, manifest) => {
            let note = "the pack that was given";
            let storage = Storage::of_pack("pack", note, manifest.formats());
            let files = manifest.files();
            let tokenizer = files
                .iter()
                .find(|file| file.role == halfdepth::pack::Role::Tokenizer);
            Subject {
                name: manifest.name().into(),
                config: manifest.config().clone(),
                pack: Some((storage, tokenizer.map_or(0, |file| file.bytes))),
            }
        }
    })
}

/// A pack is reckoned as it is, unless another storage was asked for.
fn storage(args: &Args, subject: &Subject) -> Result<Storage> {
    match (&subject.pack, Storage::named(&args.bits)) {
        (Some((storage, _)), _) if args.bits == "pack-q4" => Ok(*storage),
        (_, Some(storage)) => Ok(storage),
        (_, None) => bail!(
            "--bits {}: give a number of bits such as 4.25, or one of {}",
            args.bits,
            STORAGES.map(|storage| storage.name).join(", ")
        ),
    }
}

struct Table<'s> {
    subject: &'s Subject,
    depths: [Depth; 2],
    storage: Storage,
    context: usize,
    bytes_per_second: f64,
}

impl Table<'_> {
    fn budget(&self, depth: Depth, storage: &Storage, cache: CacheNumber) -> Budget {
        Budget::new(&self.subject.config, depth, storage, self.context, cache)
    }

    /// Full and half, with the cache in f16.
    fn pair(&self, storage: &Storage) -> [Budget; 2] {
        self.depths
            .map(|depth| self.budget(depth, storage, CacheNumber::F16))
    }

    fn json(&self) -> Value {
        let full_and_half = |storage: &Storage| {
            let pair = self.pair(storage);
            let row = |budget: &Budget| {
                let mut row = json!(budget);
                row["memory_bytes"] = budget.memory_bytes().into();
                row["bound_tokens_per_second"] =
                    budget.tokens_per_second(self.bytes_per_second).into();
                row
            };
            json!({ "full": row(&pair[0]), "half": row(&pair[1]) })
        };
        let storages: Vec<Value> = STORAGES
            .iter()
            .map(|storage| {
                let mut row = full_and_half(storage);
                row["name"] = storage.name.into();
                row["note"] = storage.note.into();
                row
            })
            .collect();
        let pair = self.pair(&self.storage);
        let cards: Vec<Value> = CARDS
            .iter()
            .map(|card| {
                json!({
                    "name": card.name, "memory_gib": card.memory_gib, "bytes_per_second": card.bytes_per_second(),
                    "fits": { "full": card.fits(pair[0].memory_bytes()), "half": card.fits(pair[1].memory_bytes()) },
                    "bound_tokens_per_second": {
                        "full": pair[0].tokens_per_second(card.bytes_per_second()),
                        "half": pair[1].tokens_per_second(card.bytes_per_second()),
                    },
                })
            })
            .collect();
        json!({
            "format": "halfdepth-budget", "version": 1,
            "name": self.subject.name, "config": self.subject.config, "context": self.context,
            "parameters": Parameters::of(&self.subject.config),
            "bytes_per_second": self.bytes_per_second,
            "flops_formula": FLOPS_FORMULA,
            "storage": self.storage.name, "budget": full_and_half(&self.storage),
            "tokenizer_bytes": self.subject.pack.map(|(_, bytes)| bytes),
            "storages": storages, "cards": cards,
            "article": self.is_the_articles().then(article_claims),
        })
    }

    fn print(&self) {
        let config = &self.subject.config;
        let parts = Parameters::of(config);
        let [full, half] = self.pair(&self.storage);
        let kept = half.depth.attentions;
        println!(
            "{}: {} layers, {kept} of them at the other depth",
            self.subject.name, config.layers
        );
        println!("\nparameters");
        for (name, count) in [
            ("embedding", parts.embedding),
            ("one layer", parts.layer()),
            ("  attention", parts.attention),
            ("  MLP", parts.mlp),
            ("final norm", parts.final_norm),
            ("head", parts.head),
        ] {
            println!("  {name:<12}{:>18}", grouped(count));
        }
        if config.tied_head {
            println!("  (the head is the embedding)");
        }
        println!(
            "\n{:<34}{:>20}{:>20}{:>9}",
            format!("in {}", self.storage.name),
            "full",
            "half",
            "half"
        );
        let row = |name: &str, full: u64, half: u64| {
            let share = 100.0 * half as f64 / full.max(1) as f64;
            println!(
                "  {name:<32}{:>20}{:>20}{share:>8.1}%",
                grouped(full),
                grouped(half)
            );
        };
        row("parameters", full.parameters, half.parameters);
        row("bytes of weights", full.weight_bytes, half.weight_bytes);
        if let Some((_, bytes)) = self.subject.pack {
            println!(
                "  and {} bytes of tokenizer, and the manifest",
                grouped(bytes)
            );
        }
        row("FLOPs a token", full.flops_per_token, half.flops_per_token);
        for (name, number) in [("f16", CacheNumber::F16), ("f32", CacheNumber::F32)] {
            let [full, half] = self
                .depths
                .map(|depth| self.budget(depth, &self.storage, number));
            let positions = format!("cache {name}, {} positions", self.context);
            row(&positions, full.cache_bytes, half.cache_bytes);
            row(
                "  a position",
                full.cache_bytes_per_position,
                half.cache_bytes_per_position,
            );
        }
        row(
            "bytes read a token",
            full.read_bytes_per_token,
            half.read_bytes_per_token,
        );
        let [bound_full, bound_half] =
            [full, half].map(|b| b.tokens_per_second(self.bytes_per_second));
        println!(
            "  {:<32}{bound_full:>20.1}{bound_half:>20.1}",
            format!("bound, tokens/s at {:.0} GB/s", self.bytes_per_second / 1e9)
        );
        println!("\nFLOPs a token = {FLOPS_FORMULA}");
        self.print_storages();
        self.print_cards([full, half]);
        if self.is_the_articles() {
            println!("\nthe article (arXiv 2403.17887), full -> half depth in 4 bits");
            for claim in article_claims() {
                println!(
                    "  {}: {:.3e} -> {:.3e}",
                    claim.claim, claim.claimed_full, claim.claimed_half
                );
                println!(
                    "    reckoned: {:.4e} -> {:.4e}. {}",
                    claim.full, claim.half, claim.verdict
                );
            }
        }
    }

    fn print_storages(&self) {
        println!(
            "\n{:<14}{:>10}{:>12}{:>12}   tensors",
            "storage", "bits", "full, GB", "half, GB"
        );
        for storage in &STORAGES {
            let [full, half] = self.pair(storage);
            println!(
                "{:<14}{:>10.3}{:>12}{:>12}   {}",
                storage.name,
                full.bits_per_weight,
                gigabytes(full.weight_bytes),
                gigabytes(half.weight_bytes),
                storage.note
            );
        }
    }

    fn print_cards(&self, pair: [Budget; 2]) {
        println!(
            "\n{:<36}{:>6}{:>8}   weights and cache fit; bound, tokens/s",
            "card", "GiB", "GB/s"
        );
        for card in &CARDS {
            let verdict = pair.map(|budget| match card.fits(budget.memory_bytes()) {
                true => format!("{:.1}", budget.tokens_per_second(card.bytes_per_second())),
                false => "no".into(),
            });
            println!(
                "{:<36}{:>6}{:>8.0}   full {:>8}   half {:>8}",
                card.name,
                card.memory_gib,
                card.bytes_per_second() / 1e9,
                verdict[0],
                verdict[1]
            );
        }
    }

    fn is_the_articles(&self) -> bool {
        Shape::named("llama-2-70b").is_some_and(|shape| {
            Parameters::of(&shape.config()) == Parameters::of(&self.subject.config)
        })
    }
}

/// Digits in threes: `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// As many digits as tell small models apart.
fn gigabytes(bytes: u64) -> String {
    let gigabytes = bytes as f64 / 1e9;
    match gigabytes {
        g if g >= 10.0 => format!("{g:.2}"),
        g if g >= 0.1 => format!("{g:.3}"),
        g => format!("{g:.6}"),
    }
}
