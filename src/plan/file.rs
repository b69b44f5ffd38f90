//! A plan as the JSON file that `halfdepth plan` writes and every verb takes.

use serde::{Deserialize, Serialize};

use super::{LayerPlan, PlanError, Prediction, Strategy, SublayerPlan};
use crate::config::LlamaConfig;
use crate::header::{HeaderError, check_header, pretty};

const FORMAT: &str = "halfdepth-plan";
const VERSION: u64 = 1;

/// More than the plan of a model with 1,024 layers has.
pub const MAX_PLAN_BYTES: usize = 1 << 20;

/// A plan, what it is for, and what it is expected to save.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    format: String,
    version: u64,
    /// What it is called.
    pub name: String,
    /// How it was made.
    pub strategy: Strategy,
    /// What was drawn at random was drawn from this.
    pub seed: Option<u64>,
    /// The model it is for.
    pub model: PlannedModel,
    layers: Vec<usize>,
    dropped: Vec<usize>,
    #[serde(default)]
    mute_attention: Vec<usize>,
    #[serde(default)]
    mute_mlp: Vec<usize>,
    /// What is left, beside the whole model.
    pub predicted: Prediction,
    /// What a search measured on its way.
    pub search: Option<Search>,
}

/// The model a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// What it is called.
    pub name: String,
    /// As in the scan.
    pub sha256: String,
    /// Layers there are.
    pub layers: usize,
    /// Weights there are: with the layers, enough to notice a plan for a model of another shape.
    pub parameters: u64,
}

/// A search's losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Name of the text.
    pub text: String,
    /// What was measured, in words.
    pub protocol: String,
    /// Predictions measured.
    pub tokens: usize,
    /// Of the whole model: nats a token.
    pub full: f64,
    /// Layers in the order they went, and the loss without them.
    pub removals: Vec<Removal>,
    /// Of the plan.
    pub loss: f64,
}

/// A layer that went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// Which.
    pub layer: usize,
    /// Nats a token without it and those before it.
    pub loss: f64,
}

impl PlanFile {
    /// Puts a plan together.
    pub fn new(
        strategy: Strategy,
        seed: Option<u64>,
        (name, sha256): (&str, &str),
        config: &LlamaConfig,
        plan: &SublayerPlan,
        search: Option<Search>,
    ) -> Self {
        let kept = &plan.layers().layers;
        Self {
            format: FORMAT.into(),
            version: VERSION,
            name: plan.layers().name.clone(),
            strategy,
            seed,
            model: PlannedModel {
                name: name.to_string(),
                sha256: sha256.to_string(),
                layers: config.layers,
                parameters: config.parameters(),
            },
            layers: kept.clone(),
            dropped: (0..config.layers)
                .filter(|layer| !kept.contains(layer))
                .collect(),
            mute_attention: plan.mute_attention().to_vec(),
            mute_mlp: plan.mute_mlp().to_vec(),
            predicted: Prediction::new(config, plan),
            search,
        }
    }

    /// Parses and checks a plan.
    ///
    /// # Errors
    /// It is none, of another version, or no plan of the model that it names.
    pub fn parse(json: &[u8]) -> Result<Self, PlanError> {
        check_header(json, (FORMAT, VERSION), MAX_PLAN_BYTES).map_err(|error| match error {
            HeaderError::Other(reason) => not_a_plan(reason),
            HeaderError::Version(found) => PlanError::Version {
                found,
                known: VERSION,
            },
        })?;
        let file: Self = serde_json::from_slice(json).map_err(not_a_plan)?;
        file.plan()?;
        let mut all = [file.layers.clone(), file.dropped.clone()].concat();
        all.sort_unstable();
        if !all.into_iter().eq(0..file.model.layers) {
            let reason = "`layers` and `dropped` are not all layers of the model, each once";
            return Err(not_a_plan(reason));
        }
        Ok(file)
    }

    /// The plan as its file's text.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// The plan, with its muted sublayers.
    ///
    /// # Errors
    /// The lists are no plan of so many layers.
    pub fn plan(&self) -> Result<SublayerPlan, PlanError> {
        let layers = LayerPlan::new(self.name.clone(), self.layers.clone(), self.model.layers)?;
        SublayerPlan::new(layers, self.mute_attention.clone(), self.mute_mlp.clone())
    }

    /// The plan, where only whole layers can be left out.
    ///
    /// # Errors
    /// It mutes sublayers.
    pub fn whole_layers(&self) -> Result<LayerPlan, PlanError> {
        let plan = self.plan()?;
        if plan.is_whole_layers() {
            return Ok(plan.layers().clone());
        }
        Err(PlanError::Sublayers {
            plan: self.name.clone(),
        })
    }

    /// Refuses a model of another shape. Equal weights are not asked for: a plan holds for a checkpoint and for the pack made of it.
    ///
    /// # Errors
    /// Its layers or weights are not as many as those of the plan's model.
    pub fn fits(&self, config: &LlamaConfig) -> Result<(), PlanError> {
        if (config.layers, config.parameters()) == (self.model.layers, self.model.parameters) {
            return Ok(());
        }
        Err(PlanError::OtherModel {
            plan: self.name.clone(),
            model: self.model.name.chars().take(64).collect(),
            layers: self.model.layers,
            found: config.layers,
        })
    }

    /// The layers that go.
    pub fn dropped(&self) -> &[usize] {
        &self.dropped
    }
}

fn not_a_plan(reason: impl ToString) -> PlanError {
    PlanError::NotAPlan {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Rope, RopeScaling};

    fn config() -> LlamaConfig {
        LlamaConfig {
            hidden_size: 8192,
            intermediate_size: 28_672,
            layers: 80,
            heads: 64,
            kv_heads: 8,
            head_dim: 128,
            vocab_size: 32_000,
            context: 4096,
            rms_norm_eps: 1e-5,
            rope: Rope {
                theta: 10_000.0,
                scaling: RopeScaling::None,
            },
            tied_head: false,
            bos_token: Some(1),
            eos_tokens: vec![2],
        }
    }

    fn file(plan: &SublayerPlan) -> PlanFile {
        PlanFile::new(Strategy::Simple, None, ("70B", "00"), &config(), plan, None)
    }

    #[test]
    fn a_plan_of_the_70b_model_is_weighed_as_in_the_literature() {
        let full = file(&LayerPlan::full(80).expect("a plan").into()).predicted;
        assert_eq!(full.parameters, config().parameters());
        assert_eq!((full.parameters_share, full.speed_at_most), (1.0, 1.0));
        // 137.95 GB in 16 bits, 1.374e11 operations a token.
        assert_eq!(full.bytes_16_bit / 10_000_000, 13_795);
        assert_eq!(full.flops_per_token / 100_000_000, 1374);
        let half = file(&LayerPlan::simple(80, 40).expect("a plan").into()).predicted;
        assert!((half.parameters_share - 0.504).abs() < 5e-4);
        assert!((half.flops_share - 0.502).abs() < 5e-4);
        assert!(half.speed_at_most > 1.9 && half.speed_at_most < 2.0);
    }

    #[test]
    fn muting_the_halves_of_a_layer_weighs_as_dropping_it() {
        let full = LayerPlan::full(80).expect("a plan");
        let muted = SublayerPlan::new(full, vec![3, 9], vec![3, 9]).expect("a plan");
        let cut = LayerPlan::without(80, &[3, 9]).expect("a plan");
        assert_eq!(file(&muted).predicted, file(&cut.into()).predicted);
    }

    #[test]
    fn a_plan_survives_its_file() {
        let layers = LayerPlan::without(80, &[4, 5]).expect("a plan");
        let plan = SublayerPlan::new(layers, vec![7], vec![0, 79]).expect("a plan");
        let read = PlanFile::parse(file(&plan).to_json().as_bytes()).expect("its own file");
        assert_eq!(read.plan().expect("a plan"), plan);
        assert!(matches!(
            read.whole_layers(),
            Err(PlanError::Sublayers { .. })
        ));
        read.fits(&config()).expect("its own model");
        for other in [
            LlamaConfig {
                layers: 79,
                ..config()
            },
            LlamaConfig {
                hidden_size: 4096,
                ..config()
            },
        ] {
            assert!(matches!(
                read.fits(&other),
                Err(PlanError::OtherModel { .. })
            ));
        }
    }

    #[test]
    fn files_that_are_no_plans_are_refused() {
        let layers = LayerPlan::without(80, &[4, 5]).expect("a plan");
        let good = file(&SublayerPlan::new(layers, vec![7], vec![]).expect("a plan")).to_json();
        let compact = |json: &str| json.split_whitespace().collect::<String>();
        let good = compact(&good);
        PlanFile::parse(good.as_bytes()).expect("a good one");
        for (from, to) in [
            ("halfdepth-plan", "something"),
            ("\"version\":1", "\"version\":2"),
            ("\"layers\":[0,1,2,", "\"layers\":[0,1,1,"),
            ("\"layers\":[0,1,2,", "\"layers\":[1,0,2,"),
            ("\"layers\":[0,1,2,", "\"layers\":[0,1,"),
            (",79]", ",80]"),
            ("\"dropped\":[4,5]", "\"dropped\":[4,5,6]"),
            ("\"dropped\":[4,5]", "\"dropped\":[4,5,5]"),
            ("\"mute_attention\":[7]", "\"mute_attention\":[5]"),
            ("\"mute_attention\":[7]", "\"mute_attention\":[7,7]"),
            ("\"mute_attention\":[7]", "\"mute_attention\":[-1]"),
            ("\"name\":\"without-4-5\"", "\"name\":\"\""),
            ("\"layers\":80", "\"layers\":18446744073709551615"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let error = PlanFile::parse(good.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert!(error.to_string().starts_with("plan"), "{error}");
        }
        for bytes in [&b""[..], b"[]", b"\xff", &vec![b' '; 2 << 20]] {
            assert!(matches!(
                PlanFile::parse(bytes),
                Err(PlanError::NotAPlan { .. })
            ));
        }
    }
}
