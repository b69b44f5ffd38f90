//! What to train, towards what, for how long.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::checkpoint::LayerWeight;
use crate::config::LlamaConfig;
use crate::heal::HealError;
use crate::plan::LayerPlan;

/// All that a training run depends on beside the model, the plan and the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whole layers that are trained.
    pub tune: Tune,
    /// Whether the final norm and the head are trained too.
    pub head: bool,
    /// Low-rank changes that are trained.
    pub low_rank: Option<LowRank>,
    /// What the frozen matrices are.
    pub base: Base,
    /// What is made small.
    pub objective: Objective,
    /// Rate by step, and how many steps there are.
    pub schedule: Schedule,
    /// Sequences at once.
    pub batch: usize,
    /// Batches a step.
    pub accumulate: usize,
    /// Predictions a sequence.
    pub tokens: usize,
    /// AdamW's, of all but norms.
    pub weight_decay: f32,
    /// The longest a step's gradient may be.
    pub clip: f32,
    /// Of the order of the text, the first factors and the dropout.
    pub seed: u64,
}

/// Whole layers that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tune {
    /// No layer.
    None,
    /// All that run.
    All,
    /// The deepest that run.
    Last(usize),
    /// So many on each side of each cut.
    Around(usize),
}

/// Low-rank changes: W + alpha / rank * B A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowRank {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Changes count alpha / rank times.
    pub alpha: f32,
    /// Share of A's inputs that a step leaves out.
    pub dropout: f32,
    /// The matrices, of every layer that runs.
    #[serde(with = "parts")]
    pub targets: Vec<LayerWeight>,
}

/// What the frozen matrices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// As the model has them.
    F32,
    /// As a pack in 4 bits has them.
    Q4,
}

/// What is made small: `cross_entropy` * CE + `divergence` * T^2 KL(teacher || student) + `hidden` * H.
///
/// H is the squared distance of the student's stream before each cut from the teacher's stream after what was cut, over the teacher's
/// square, a token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Weight of the text's own next tokens.
    pub cross_entropy: f32,
    /// Weight of the full model's next tokens.
    pub divergence: f32,
    /// T: both models' logits are divided by it.
    pub temperature: f32,
    /// Weight of the full model's stream at each cut.
    pub hidden: f32,
}

impl LowRank {
    /// alpha / rank.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}

impl Objective {
    /// Whether the full model has to run.
    pub fn needs_teacher(&self) -> bool {
        self.divergence > 0.0 || self.hidden > 0.0
    }
}

impl Settings {
    /// Places, in the list of layers that run of `count`, of those that are trained whole.
    pub(super) fn trained_layers(&self, layers: &[usize], count: usize) -> Vec<usize> {
        let cuts = cut_places(layers, count);
        let is_trained = |place: &usize| match self.tune {
            Tune::None => false,
            Tune::All => true,
            Tune::Last(last) => place + last >= layers.len(),
            Tune::Around(side) => {
                let is_near = |cut: &usize| place + side >= *cut && *place < cut + side;
                cuts.iter().any(is_near)
            }
        };
        (0..layers.len()).filter(is_trained).collect()
    }

    /// Refuses a plan that leaves no layer out, unless the text alone is learned: training the whole model further is the control
    /// that tells healing from that.
    ///
    /// # Errors
    /// All of `layers` run, and full depth would be its own teacher.
    pub fn check_plan(&self, plan: &LayerPlan, layers: usize) -> Result<(), HealError> {
        if plan.layers.len() < layers || !self.objective.needs_teacher() {
            return Ok(());
        }
        let plan = &plan.name;
        Err(HealError::Settings {
            what: format!(
                "the plan `{plan}` leaves no layer out, so there is nothing to heal; name one that does, or train the whole model on the text \
                 with `--method lora` or `last-layers`"
            ),
        })
    }

    /// Refuses what cannot be trained.
    ///
    /// # Errors
    /// A size is zero, a rank is above a dimension, a share is no share, or nothing would be trained.
    pub fn check(&self, config: &LlamaConfig) -> Result<(), HealError> {
        let bad = |what: String| Err(HealError::Settings { what });
        if self.batch == 0 || self.accumulate == 0 || self.tokens == 0 || self.schedule.steps == 0 {
            return bad("--batch, --accumulate, --tokens and --steps are at least 1".into());
        }
        if self.tokens > config.context {
            return bad(format!(
                "--tokens {} is more than the {} positions of the model",
                self.tokens, config.context
            ));
        }
        let rate = self.schedule.peak;
        if !(rate.is_finite() && rate > 0.0) {
            return bad(format!("--learning-rate {rate} is not above 0"));
        }
        let objective = &self.objective;
        let weights = [
            objective.cross_entropy,
            objective.divergence,
            objective.hidden,
        ];
        let is_weight = |weight: &f32| weight.is_finite() && *weight >= 0.0;
        if !weights.iter().all(is_weight) || weights.iter().sum::<f32>() == 0.0 {
            return bad(
                "the weights of the losses are at least 0, and one of them is above".into(),
            );
        }
        if !(objective.temperature.is_finite() && objective.temperature > 0.0) {
            return bad(format!(
                "--temperature {} is not above 0",
                objective.temperature
            ));
        }
        if !(self.weight_decay >= 0.0 && self.clip > 0.0) {
            return bad("--weight-decay is at least 0, and --clip above 0".into());
        }
        if self.low_rank.is_some() && self.tune != Tune::None {
            return bad(
                "whole layers and low-rank changes are not trained together; take --tune none"
                    .into(),
            );
        }
        if self.low_rank.is_none() && self.base == Base::Q4 {
            return bad(
                "--base q4 is for low-rank changes: weights that are trained are f32".into(),
            );
        }
        match &self.low_rank {
            Some(low_rank) => low_rank.check(config),
            None if self.tune == Tune::None && !self.head => {
                bad("nothing is to be trained; name layers with --tune".into())
            }
            None => Ok(()),
        }
    }
}

impl LowRank {
    fn check(&self, config: &LlamaConfig) -> Result<(), HealError> {
        let bad = |what: String| Err(HealError::Settings { what });
        if self.rank == 0 || self.targets.is_empty() {
            return bad("--rank is at least 1, and --targets names a matrix".into());
        }
        let is_alpha = self.alpha.is_finite() && self.alpha > 0.0;
        if !(0.0..1.0).contains(&self.dropout) || !is_alpha {
            return bad("--dropout is from 0 to below 1, and --alpha above 0".into());
        }
        for part in &self.targets {
            let (rows, cols) = part.shape(config);
            if self.rank > rows.min(cols) {
                return bad(format!(
                    "--rank {} is above what {} ({rows} x {cols}) has; a change of full rank has {}",
                    self.rank,
                    part_name(*part),
                    rows.min(cols)
                ));
            }
        }
        Ok(())
    }
}

/// The places of the list before which layers are missing; its length, where the deepest are.
pub(super) fn cut_places(layers: &[usize], count: usize) -> Vec<usize> {
    let is_cut = |place: &usize| {
        let before = place.checked_sub(1).map_or(0, |place| layers[place] + 1);
        before < layers.get(*place).copied().unwrap_or(count)
    };
    (0..=layers.len()).filter(is_cut).collect()
}

/// The name a matrix has in PEFT's `target_modules`.
pub fn part_name(part: LayerWeight) -> &'static str {
    match part {
        LayerWeight::AttentionNorm => "input_layernorm",
        LayerWeight::Query => "q_proj",
        LayerWeight::Key => "k_proj",
        LayerWeight::Value => "v_proj",
        LayerWeight::Output => "o_proj",
        LayerWeight::MlpNorm => "post_attention_layernorm",
        LayerWeight::Gate => "gate_proj",
        LayerWeight::Up => "up_proj",
        LayerWeight::Down => "down_proj",
    }
}

/// The matrix of this name.
pub fn part_of_name(name: &str) -> Option<LayerWeight> {
    let matrices = LayerWeight::ALL.into_iter().filter(|part| !part.is_norm());
    matrices.into_iter().find(|part| part_name(*part) == name)
}

mod parts {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{LayerWeight, part_name, part_of_name};

    pub(super) fn serialize<S: Serializer>(
        parts: &[LayerWeight],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = parts.iter().map(|part| part_name(*part)).collect();
        names.serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Vec<LayerWeight>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        let part = |name: &String| {
            part_of_name(name)
                .ok_or_else(|| D::Error::custom(format!("no matrix is called {name}")))
        };
        names.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_around_cuts_are_found_wherever_the_cut_is() {
        let rows: [(&[usize], &[usize], &[usize]); 5] = [
            (&[0, 1, 2, 3, 4, 11], &[5], &[4, 5]),
            (&[0, 1, 5, 6, 9, 10, 11], &[2, 4], &[1, 2, 3, 4]),
            (&[0, 1, 2], &[3], &[2]),
            (&[3, 4, 5, 6, 7, 8, 9, 10, 11], &[0], &[0]),
            (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[], &[]),
        ];
        for (layers, cuts, around) in rows {
            assert_eq!(cut_places(layers, 12), cuts, "{layers:?}");
            let one = trained(Tune::Around(1), layers);
            assert_eq!(one, around, "{layers:?}");
        }
        assert_eq!(trained(Tune::Last(2), &[0, 1, 2, 11]), [2, 3]);
        assert_eq!(trained(Tune::Last(9), &[0, 1, 11]), [0, 1, 2]);
        assert_eq!(trained(Tune::All, &[0, 1, 11]), [0, 1, 2]);
    }

    fn trained(tune: Tune, layers: &[usize]) -> Vec<usize> {
        let settings = Settings {
            tune,
            head: false,
            low_rank: None,
            base: Base::F32,
            objective: Objective {
                cross_entropy: 1.0,
                divergence: 0.0,
                temperature: 1.0,
                hidden: 0.0,
            },
            schedule: Schedule {
                peak: 1.0,
                warmup: 0,
                steps: 1,
            },
            batch: 1,
            accumulate: 1,
            tokens: 1,
            weight_decay: 0.0,
            clip: 1.0,
            seed: 0,
        };
        settings.trained_layers(layers, 12)
    }
}
