//! In: a full model, what healing begins with, a text, settings. Out: step after step, a model that is nearer to what was asked for.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::corpus::Corpus;
use super::optimiser::{Optimiser, norm};
use super::pass::{Cut, cuts, keeps_activations, shared_layers};
use super::settings::{Base, Settings};
use super::student::{Parameter, Student, Values, to_host};
use crate::config::LlamaConfig;
use crate::dense::{Dense, DenseSource, Positions, default_threads, is_cpu};
use crate::heal::{Adapter, Factors, HealError, Healed, Healing, Record};
use crate::plan::LayerPlan;

/// Steps whose mean loss says whether training diverged.
const RECENT: usize = 8;

/// What a trainer is made from.
pub struct Parts<'s> {
    /// The full model: what is learned from it, and what tensors are laid over.
    pub source: &'s dyn DenseSource,
    /// What the student is read from: `source`, or a healing over it.
    pub start: &'s dyn DenseSource,
    /// The healing that `start` is of.
    pub init: Option<&'s Healing>,
    /// Method, plan, seed, texts.
    pub record: Record,
    /// What is read.
    pub corpus: Corpus,
    /// What is trained, and towards what.
    pub settings: Settings,
    /// Where.
    pub device: Device,
}

/// A training run.
pub struct Trainer<'s> {
    pub(super) parts: Parts<'s>,
    pub(super) student: Student,
    pub(super) optimiser: Optimiser,
    pub(super) progress: Progress,
    /// The values at the lowest held-out loss.
    pub(super) best: Option<Values>,
    pub(super) teacher: Option<Dense<'s>>,
    pub(super) positions: Positions,
    pub(super) threads: usize,
    pub(super) keeps_activations: bool,
    pub(super) cuts: Vec<Cut>,
    /// Leading layers that student and teacher run alike.
    pub(super) shared: usize,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The first step's loss, or the lowest mean of some steps' since.
    pub lowest_loss: f64,
    /// The latest losses, the last one last.
    pub recent: Vec<f64>,
    /// Held-out loss before the first step.
    pub loss_before: Option<f64>,
    /// The lowest held-out loss after a step, and the steps it took.
    pub best: Option<(f64, u64)>,
    /// Held-out losses measured since.
    pub waited: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepNote {
    /// The step, counted from 1.
    pub step: u64,
    /// Predictions learned from, since the beginning.
    pub tokens: u64,
    /// The objective.
    pub loss: f64,
    /// Nats a token.
    pub cross_entropy: f64,
    /// Nats a token.
    pub divergence: f64,
    /// Share of the teacher's square.
    pub hidden: f64,
    /// The learning rate.
    pub rate: f64,
    /// The gradient's length before it was clipped.
    pub gradient_norm: f64,
}

impl<'s> Trainer<'s> {
    /// Loads what runs. Nothing is trained yet.
    ///
    /// # Errors
    /// The settings cannot be trained with, the plan leaves nothing to learn, or weights cannot be read.
    pub fn new(parts: Parts<'s>) -> Result<Self, HealError> {
        let config = parts.source.config();
        parts.settings.check(config)?;
        let plan = parts.record.plan()?;
        parts.settings.check_plan(&plan, config.layers)?;
        let (settings, device) = (&parts.settings, &parts.device);
        let teacher = settings.objective.needs_teacher().then(|| {
            let full = LayerPlan::full(config.layers)?;
            Dense::load(parts.source, full, device, &mut |_, _| {})
        });
        let teacher = teacher.transpose()?;
        let is_source = settings.base == Base::F32 && parts.init.is_none();
        let resident = teacher.as_ref().filter(|_| is_source);
        let student = Student::load(parts.start, &plan.layers, settings, resident, device)?;
        let places = plan.layers.len();
        let mut trainer = Self {
            student,
            optimiser: Optimiser::new(settings.weight_decay),
            progress: Progress::default(),
            best: None,
            teacher,
            positions: Positions::new(config, settings.tokens, device),
            keeps_activations: keeps_activations(config, places, settings, is_cpu(device)),
            threads: default_threads(device),
            cuts: cuts(&plan.layers, config.layers),
            shared: 0,
            parts,
        };
        let (settings, init) = (&trainer.parts.settings, trainer.parts.init);
        trainer.shared = shared_layers(&plan.layers, settings, init, trainer.first_learning());
        Ok(trainer)
    }

    /// Cores to use; as many as there are unless said otherwise.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Whether activations are kept for the way back, or layers run again, which takes a third longer; by what they would take unless
    /// said otherwise.
    pub fn keeping_activations(self, keeps_activations: bool) -> Self {
        Self {
            keeps_activations,
            ..self
        }
    }

    pub(super) fn config(&self) -> &LlamaConfig {
        self.parts.source.config()
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether every step is done.
    pub fn is_done(&self) -> bool {
        self.progress.step >= self.parts.settings.schedule.steps
    }

    /// Predictions that a step learns from.
    pub fn tokens_a_step(&self) -> u64 {
        let settings = &self.parts.settings;
        (settings.batch * settings.accumulate * settings.tokens) as u64
    }

    /// One step of the optimiser.
    ///
    /// # Errors
    /// The loss is no number or far above where it began, or the device failed.
    pub fn step(&mut self) -> Result<StepNote, HealError> {
        let settings = self.parts.settings.clone();
        let step = self.progress.step;
        let count = settings.batch * settings.accumulate;
        let sequences = self.parts.corpus.sequences(step * count as u64, count);
        let (sums, mut gradients) = self.gradients(&sequences)?;
        let loss = settings.objective.value(&sums);
        let gradient_norm = norm(&gradients)?;
        self.watch(loss, gradient_norm)?;
        if gradient_norm > f64::from(settings.clip) {
            let scale = (f64::from(settings.clip) / gradient_norm) as f32;
            gradients
                .values_mut()
                .for_each(|gradient| *gradient = gradient.clone() * scale);
        }
        let rate = settings.schedule.rate(step);
        self.optimiser
            .step(rate, &mut self.student.values, gradients);
        self.progress.step += 1;
        let tokens = sums.tokens as f64;
        Ok(StepNote {
            step: step + 1,
            tokens: (step + 1) * self.tokens_a_step(),
            loss,
            cross_entropy: sums.cross_entropy / tokens,
            divergence: sums.divergence / tokens,
            hidden: sums.hidden / tokens,
            rate,
            gradient_norm,
        })
    }

    fn watch(&mut self, loss: f64, gradient_norm: f64) -> Result<(), HealError> {
        let progress = &mut self.progress;
        if progress.step == 0 {
            progress.lowest_loss = loss;
        }
        progress.recent.push(loss);
        let excess = progress.recent.len().saturating_sub(RECENT);
        progress.recent.drain(..excess);
        let is_full = progress.recent.len() == RECENT;
        let mean = progress.recent.iter().sum::<f64>() / progress.recent.len() as f64;
        let lowest = progress.lowest_loss;
        // From batch to batch a mean moves by less, and training that goes well does not come near.
        let is_far = is_full && mean > 1.5 * lowest + 0.5;
        if !loss.is_finite() || !gradient_norm.is_finite() || is_far {
            return Err(HealError::Diverged {
                step: progress.step + 1,
                loss: if is_far { mean } else { loss },
                lowest,
            });
        }
        if is_full {
            progress.lowest_loss = lowest.min(mean);
        }
        Ok(())
    }

    /// Nats a token on held-out tokens, by `halfdepth eval`'s protocol: what would be written now, measured as it would be read.
    ///
    /// # Errors
    /// The weights are not finite, or the device failed.
    pub fn held_out_loss(
        &self,
        tokens: &[u32],
        window: usize,
        begin: u32,
    ) -> Result<f64, HealError> {
        let healing = self.healing_of(&self.student.values)?;
        let healed = Healed::new(self.parts.source, &healing)?;
        let plan = self.parts.record.plan()?;
        let dense = Dense::load(&healed, plan, &self.parts.device, &mut |_, _| {})?;
        Ok(dense
            .with_threads(self.threads)
            .cross_entropy(tokens, window, begin)?)
    }

    /// Notes a held-out loss; the lowest one's values are kept.
    pub fn note_held_out(&mut self, loss: f64) {
        let progress = &mut self.progress;
        if progress.step == 0 {
            progress.loss_before = Some(loss);
            return;
        }
        if progress.best.is_none_or(|(best, _)| loss < best) {
            progress.best = Some((loss, progress.step));
            progress.waited = 0;
            self.best = Some(self.student.values.clone());
        } else {
            progress.waited += 1;
        }
    }

    /// What training gave: the values of the lowest held-out loss, or the last ones where none was measured.
    ///
    /// # Errors
    /// The device failed, or the weights cannot be read.
    pub fn healing(&self) -> Result<Healing, HealError> {
        let values = self.best.as_ref().unwrap_or(&self.student.values);
        let mut healing = self.healing_of(values)?;
        let steps = self
            .progress
            .best
            .map_or(self.progress.step, |(_, step)| step);
        healing.record.steps = steps;
        healing.record.tokens = steps * self.tokens_a_step();
        healing.record.loss_before = self.progress.loss_before;
        healing.record.loss_after = self.progress.best.map(|(loss, _)| loss);
        Ok(healing)
    }

    /// The low-rank changes of [`Self::healing`], where such were trained.
    ///
    /// # Errors
    /// The device failed.
    pub fn adapter(&self) -> Result<Option<Adapter>, HealError> {
        self.adapter_of(self.best.as_ref().unwrap_or(&self.student.values))
    }

    fn healing_of(&self, values: &Values) -> Result<Healing, HealError> {
        let mut tensors = self
            .parts
            .init
            .map(|init| init.tensors.clone())
            .unwrap_or_default();
        for (parameter, value) in values {
            if let Parameter::Whole(weight) = parameter {
                tensors.insert(*weight, to_host(value)?);
            }
        }
        if let Some(adapter) = self.adapter_of(values)? {
            tensors.extend(adapter.merge(self.parts.start)?);
        }
        Ok(Healing {
            record: self.parts.record.clone(),
            tensors,
        })
    }

    fn adapter_of(&self, values: &Values) -> Result<Option<Adapter>, HealError> {
        let Some(low_rank) = &self.parts.settings.low_rank else {
            return Ok(None);
        };
        let mut factors = BTreeMap::new();
        for (parameter, a) in values {
            if let Parameter::A(layer, part) = parameter
                && let Some(b) = values.get(&Parameter::B(*layer, *part))
            {
                factors.insert(
                    (*layer, *part),
                    Factors {
                        a: to_host(a)?,
                        b: to_host(b)?,
                    },
                );
            }
        }
        Ok(Some(Adapter {
            rank: low_rank.rank,
            alpha: low_rank.alpha,
            dropout: low_rank.dropout,
            factors,
        }))
    }
}
