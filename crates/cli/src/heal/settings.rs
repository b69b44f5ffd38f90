//! In: a method, a preset, flags. Out: what is trained, towards what, for how long.

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::checkpoint::LayerWeight;
use halfdepth::heal::{Base, LowRank, Objective, Schedule, Settings, Tune, part_of_name};
use serde_json::json;

use super::Method;

/// How to heal. What is not given follows the preset, else the method.
#[derive(ClapArgs, Clone, Debug)]
pub(super) struct How {
    /// How to heal
    #[arg(long, value_enum, default_value_t = Method::Distill)]
    pub(super) method: Method,
    /// The hyperparameters that arXiv 2403.17887 healed this model with, by LoRA; without a model they are printed
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Steps of the optimiser [default: 1000]
    #[arg(long)]
    steps: Option<u64>,
    /// Sequences at once [default: 16]
    #[arg(long)]
    batch: Option<usize>,
    /// Batches a step [default: 1]
    #[arg(long)]
    accumulate: Option<usize>,
    /// Predictions a sequence [default: 256, or what the model's context holds]
    #[arg(long)]
    tokens: Option<usize>,
    /// The highest learning rate; it rises to it over --warmup and falls to 0 along a cosine [default: by the method]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Steps until the learning rate is at its highest [default: 100, or a tenth of --steps where that is less]
    #[arg(long)]
    warmup: Option<u64>,
    /// Rank of the low-rank changes [default: 8]
    #[arg(long)]
    rank: Option<usize>,
    /// Low-rank changes count alpha / rank times [default: the rank]
    #[arg(long)]
    alpha: Option<f32>,
    /// Share of the low-rank changes' inputs that a step leaves out [default: 0.05]
    #[arg(long)]
    dropout: Option<f32>,
    /// Matrices that get low-rank changes [default: gate_proj,up_proj,down_proj]
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// What the frozen matrices are under low-rank changes: `q4` as a pack has them, or `f32` [default: q4]
    #[arg(long, value_enum)]
    base: Option<BaseChoice>,
    /// Layers that are trained: `all`, `last:K`, or `around:K`, K on each side of each cut [default: around:2 for distill, last:3 for last-layers]
    #[arg(long)]
    tune: Option<String>,
    /// Train the final norm and the head too [default for last-layers]
    #[arg(long)]
    tune_head: bool,
    /// What the text's own next tokens count [default: 0 for distill, 1 for the others]
    #[arg(long)]
    ce_weight: Option<f32>,
    /// What the full model's predictions count [default: 1 for distill, 0 for the others]
    #[arg(long)]
    kl_weight: Option<f32>,
    /// Divides both models' logits where predictions are compared
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// What the full model's stream at the cut counts
    #[arg(long, default_value_t = 0.0)]
    hidden_weight: f32,
    /// AdamW's weight decay
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f32,
    /// The longest a step's gradient may be
    #[arg(long, default_value_t = 1.0)]
    clip: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BaseChoice {
    F32,
    Q4,
}

/// The models of the paper's appendix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    #[value(name = "llama-2-7b")]
    Llama2Small,
    #[value(name = "llama-2-13b")]
    Llama2Medium,
    #[value(name = "llama-2-70b")]
    Llama2Large,
    #[value(name = "qwen-7b")]
    QwenSmall,
    #[value(name = "qwen-14b")]
    QwenMedium,
    #[value(name = "mistral-7b")]
    Mistral,
    #[value(name = "phi-2")]
    Phi,
}

/// A row of the paper's table; what is the same in all rows stands in [`How::settings`].
struct Row {
    tokens: usize,
    rate: f64,
    rank: usize,
    /// As the model names its feed-forward matrices.
    modules: &'static [&'static str],
}

const STEPS: u64 = 5000;
const BATCH: usize = 16;
const WARMUP: u64 = 100;
const DROPOUT: f32 = 0.05;
const FEED_FORWARD: [LayerWeight; 3] = [LayerWeight::Gate, LayerWeight::Up, LayerWeight::Down];

impl Preset {
    fn row(self) -> Row {
        const GATED: &[&str] = &["gate_proj", "up_proj", "down_proj"];
        let (tokens, rate, rank, modules): (_, _, _, &[&str]) = match self {
            Self::Llama2Small => (2048, 3e-4, 2, GATED),
            Self::Llama2Medium => (4096, 3e-4, 64, GATED),
            Self::Llama2Large => (4096, 3e-5, 8, GATED),
            Self::QwenSmall => (2048, 3e-4, 64, &["w1", "w2", "c_proj"]),
            Self::QwenMedium => (4096, 3e-4, 64, &["w1", "w2", "c_proj"]),
            Self::Mistral => (2048, 3e-6, 4, GATED),
            Self::Phi => (2048, 2e-4, 64, &["fc1", "fc2"]),
        };
        Row {
            tokens,
            rate,
            rank,
            modules,
        }
    }

    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_string())
    }
}

impl How {
    pub(super) fn has_preset(&self) -> bool {
        self.preset.is_some()
    }

    /// Prints the paper's hyperparameters.
    pub(super) fn print_preset(&self, as_json: bool) -> Result<()> {
        let Some(preset) = self.preset else {
            bail!("name a model, or a --preset to be printed");
        };
        let row = preset.row();
        let seen = STEPS * BATCH as u64 * row.tokens as u64;
        let fields = json!({
            "preset": preset.name(), "method": "lora", "modules": row.modules, "rank": row.rank, "alpha": row.rank,
            "dropout": 0.05, "base_bits": 4, "learning_rate": row.rate, "schedule": "cosine", "warmup_steps": WARMUP,
            "steps": STEPS, "batch": BATCH, "tokens_per_sequence": row.tokens, "tokens": seen, "seed": 0,
        });
        if as_json {
            println!("{fields}");
            return Ok(());
        }
        println!(
            "{} as arXiv 2403.17887 healed it (appendix A.1)",
            preset.name()
        );
        for (name, value) in fields.as_object().into_iter().flatten().skip(1) {
            let value = value
                .to_string()
                .replace(['"', '[', ']'], "")
                .replace(',', ", ");
            println!("  {:<20} {value}", name.replace('_', " "));
        }
        Ok(())
    }

    /// All of it together.
    pub(super) fn settings(&self, context: usize, seed: u64) -> Result<Settings> {
        let row = self.preset.map(Preset::row);
        if self.preset.is_some() && self.method != Method::Lora {
            bail!("--preset is the paper's, which heals with --method lora");
        }
        let steps = self
            .steps
            .unwrap_or(if row.is_some() { STEPS } else { 1000 });
        let warmup = if row.is_some() {
            WARMUP
        } else {
            WARMUP.min(steps / 10)
        };
        let peak = row.as_ref().map_or(self.usual_rate(), |row| row.rate);
        let tokens = row.as_ref().map_or(256.min(context), |row| row.tokens);
        let distils = self.method == Method::Distill;
        let adapts = self.method == Method::Lora;
        if !adapts
            && (self.rank.is_some()
                || self.alpha.is_some()
                || self.dropout.is_some()
                || self.base.is_some()
                || !self.targets.is_empty())
        {
            bail!("--rank, --alpha, --dropout, --targets and --base are of --method lora");
        }
        if adapts && (self.tune.is_some() || self.tune_head) {
            bail!(
                "--tune and --tune-head train whole weights, which --method lora leaves alone; take --method distill"
            );
        }
        Ok(Settings {
            tune: self.tune()?,
            head: self.tune_head || self.method == Method::LastLayers,
            low_rank: adapts.then(|| self.low_rank(row.as_ref())).transpose()?,
            base: match self.base {
                Some(BaseChoice::F32) => Base::F32,
                None if !adapts => Base::F32,
                _ => Base::Q4,
            },
            objective: Objective {
                cross_entropy: self.ce_weight.unwrap_or(if distils { 0.0 } else { 1.0 }),
                divergence: self.kl_weight.unwrap_or(if distils { 1.0 } else { 0.0 }),
                temperature: self.temperature,
                hidden: self.hidden_weight,
            },
            schedule: Schedule {
                peak: self.learning_rate.unwrap_or(peak),
                warmup: self.warmup.unwrap_or(warmup),
                steps,
            },
            batch: self.batch.unwrap_or(BATCH),
            accumulate: self.accumulate.unwrap_or(1),
            tokens: self.tokens.unwrap_or(tokens),
            weight_decay: self.weight_decay,
            clip: self.clip,
            seed,
        })
    }

    fn usual_rate(&self) -> f64 {
        match self.method {
            Method::Lora => 3e-4,
            _ => 1e-4,
        }
    }

    fn low_rank(&self, row: Option<&Row>) -> Result<LowRank> {
        let rank = self.rank.unwrap_or(row.map_or(8, |row| row.rank));
        let mut targets = Vec::new();
        for name in &self.targets {
            match part_of_name(name) {
                Some(part) => targets.push(part),
                None => bail!(
                    "--targets {name} names no matrix of a Llama; they are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj"
                ),
            }
        }
        if targets.is_empty() {
            targets = FEED_FORWARD.to_vec();
        }
        targets.sort_unstable();
        targets.dedup();
        Ok(LowRank {
            rank,
            alpha: self.alpha.unwrap_or(rank as f32),
            dropout: self.dropout.unwrap_or(DROPOUT),
            targets,
        })
    }

    fn tune(&self) -> Result<Tune> {
        let Some(text) = self.tune.as_deref() else {
            return Ok(match self.method {
                Method::Lora | Method::Patch | Method::None => Tune::None,
                Method::Distill => Tune::Around(2),
                Method::LastLayers => Tune::Last(3),
            });
        };
        let counted = |name: &str| {
            text.strip_prefix(name)?
                .strip_prefix(':')?
                .parse::<usize>()
                .ok()
        };
        match text {
            "all" => Ok(Tune::All),
            "none" => Ok(Tune::None),
            _ => match (counted("last"), counted("around")) {
                (Some(count), _) if count > 0 => Ok(Tune::Last(count)),
                (_, Some(side)) if side > 0 => Ok(Tune::Around(side)),
                _ => bail!("--tune {text} is neither `all`, `last:K` nor `around:K`, K at least 1"),
            },
        }
    }
}
