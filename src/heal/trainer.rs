//! In: a full model, what healing begins with, a text, settings. Out: step after step, a model that is nearer to what was asked for.
//!
//! A step's sequences are cut into pieces by their number alone, and the pieces' gradients are summed in their order, so that any
//! number of threads gives the same bits.

use burn::tensor::{Device, Tensor};

use super::loss::{Sums, Targets};
use super::optimiser::{Optimiser, norm};
use super::settings::{Settings, is_cut};
use super::student::{Draw, Parameter, Segment, Student, Values, to_host};
use super::{Adapter, Corpus, Factors, HealError, Healed, Healing, Record};
use crate::config::LlamaConfig;
use crate::dense::{Dense, DenseSource, Positions, default_threads, in_parallel, is_cpu, tensor};
use crate::draws::SplitMix;
use crate::plan::LayerPlan;

/// Positions that run at once on one core: enough to fill the products, few enough to stay near its cache.
const CPU_POSITIONS: usize = 1024;
/// Logits that stand in memory at once on one core.
const CPU_LOGITS: usize = 1 << 20;
/// Logits that stand in memory at once on a GPU.
const GPU_LOGITS: usize = 1 << 23;
/// Bytes of activations up to which they are kept; above it, layers run again on the way back.
const KEPT_BYTES: usize = 1 << 30;
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
    teacher: Option<Dense<'s>>,
    positions: Positions,
    threads: usize,
    keeps_activations: bool,
    cuts: Vec<Cut>,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The first step's loss.
    pub first_loss: f64,
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

/// The student's stream after `place - 1` stands for the teacher's before `layer`.
#[derive(Clone, Copy, Debug)]
struct Cut {
    place: usize,
    layer: usize,
}

/// What a layer left for the way back.
enum Kept {
    Input(Tensor<3>),
    Segment(Box<Segment>),
}

impl<'s> Trainer<'s> {
    /// Loads what runs. Nothing is trained yet.
    ///
    /// # Errors
    /// The settings cannot be trained with, the plan keeps everything, or weights cannot be read.
    pub fn new(parts: Parts<'s>) -> Result<Self, HealError> {
        let config = parts.source.config();
        parts.settings.check(config)?;
        let plan = parts.record.plan()?;
        if plan.layers.len() == config.layers {
            let plan = plan.name;
            return Err(HealError::Settings {
                what: format!(
                    "the plan `{plan}` leaves no layer out, so there is nothing to heal; name one that does"
                ),
            });
        }
        let (settings, device) = (&parts.settings, &parts.device);
        let student = Student::load(parts.start, &plan.layers, settings, device)?;
        let teacher = settings.objective.needs_teacher().then(|| {
            let full = LayerPlan::full(config.layers)?;
            Dense::load(parts.source, full, device, &mut |_, _| {})
        });
        let threads = default_threads(device);
        Ok(Self {
            student,
            optimiser: Optimiser::new(settings.weight_decay),
            progress: Progress::default(),
            best: None,
            teacher: teacher.transpose()?,
            positions: Positions::new(config, settings.tokens, device),
            threads,
            keeps_activations: kept_bytes(config, &plan.layers, settings, device, threads)
                <= KEPT_BYTES,
            cuts: cuts(&plan.layers, config.layers),
            parts,
        })
    }

    /// Cores to use; as many as there are unless said otherwise.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Whether activations are kept for the way back, or layers run again; by what they would take unless said otherwise.
    pub fn keeping_activations(self, keeps_activations: bool) -> Self {
        Self {
            keeps_activations,
            ..self
        }
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
            progress.first_loss = loss;
        }
        progress.recent.push(loss);
        let excess = progress.recent.len().saturating_sub(RECENT);
        progress.recent.drain(..excess);
        let mean = progress.recent.iter().sum::<f64>() / progress.recent.len() as f64;
        // Noise moves a loss by less, and training that goes well never comes near.
        let far = progress.recent.len() == RECENT && mean > 1.5 * progress.first_loss + 0.5;
        match loss.is_finite() && gradient_norm.is_finite() && !far {
            true => Ok(()),
            false => Err(HealError::Diverged {
                step: progress.step + 1,
                loss: if far { mean } else { loss },
                first: progress.first_loss,
            }),
        }
    }

    /// The objective's gradient over whole sequences, and the loss.
    pub(super) fn gradients(&self, sequences: &[Vec<u32>]) -> Result<(Sums, Values), HealError> {
        let settings = &self.parts.settings;
        let together = match is_cpu(&self.parts.device) {
            true => (CPU_POSITIONS / settings.tokens).clamp(1, settings.batch),
            false => settings.batch,
        };
        let batches = sequences.chunks(settings.batch);
        let pieces: Vec<&[Vec<u32>]> = batches.flat_map(|batch| batch.chunks(together)).collect();
        let numbered: Vec<(u64, &[Vec<u32>])> = (0..).zip(pieces).collect();
        let per_token = 1.0 / (sequences.len() * settings.tokens) as f32;
        let (mut sums, mut gradients) = (Sums::default(), Values::new());
        // Some at a time, so that the gradients of a large batch do not stand in memory all at once.
        for wave in numbered.chunks(2 * self.threads.max(1)) {
            for (part, of_part) in in_parallel(self.threads, wave, |(number, piece)| {
                self.piece(*number, piece, per_token)
            })? {
                sums.add(&part);
                add(&mut gradients, of_part);
            }
        }
        Ok((sums, gradients))
    }

    /// The gradient of some sequences.
    fn piece(
        &self,
        number: u64,
        sequences: &[Vec<u32>],
        per_token: f32,
    ) -> Result<(Sums, Values), HealError> {
        let settings = &self.parts.settings;
        let inputs: Vec<u32> = sequences
            .iter()
            .flat_map(|ids| &ids[..ids.len() - 1])
            .copied()
            .collect();
        let tokens: Vec<u32> = sequences
            .iter()
            .flat_map(|ids| &ids[1..])
            .copied()
            .collect();
        let shape = [
            sequences.len(),
            settings.tokens,
            self.parts.source.config().hidden_size,
        ];
        let draw = self.draw(number);
        let (kept, last, at_cuts) = self.forward(&inputs, shape, draw)?;
        let teacher = self.teacher_streams(&inputs, shape)?;
        let rows = [shape[0] * shape[1], shape[2]];
        let targets = Targets {
            tokens: &tokens,
            teacher: self
                .teacher
                .as_ref()
                .zip(teacher.last().map(|stream| stream.clone().reshape(rows))),
        };
        let logits = if is_cpu(&self.parts.device) {
            CPU_LOGITS
        } else {
            GPU_LOGITS
        };
        let rows_at_once = (logits / self.parts.source.config().vocab_size).max(1);
        let objective = &settings.objective;
        let found = objective.head_loss(
            &self.student,
            last.reshape(rows),
            &targets,
            per_token,
            rows_at_once,
        )?;
        let (mut sums, mut gradients) = (found.sums, found.gradients);
        let mut of_cuts = Vec::new();
        if objective.hidden > 0.0 {
            let share = 1.0 / self.cuts.len().max(1) as f32;
            for ((cut, student), teacher) in self.cuts.iter().zip(at_cuts).zip(teacher) {
                let (sum, gradient) = objective.hidden_loss(student, teacher, per_token * share)?;
                sums.hidden += sum * f64::from(share);
                of_cuts.push((cut.place, gradient));
            }
        }
        self.backward(
            kept,
            found.gradient.reshape(shape),
            &of_cuts,
            draw,
            &mut gradients,
        )?;
        Ok((sums, gradients))
    }

    /// What is kept of each layer that the way back passes, the last stream, and the student's streams at the cuts.
    #[allow(clippy::type_complexity)]
    fn forward(
        &self,
        inputs: &[u32],
        shape: [usize; 3],
        draw: Draw,
    ) -> Result<(Vec<(usize, Kept)>, Tensor<3>, Vec<Tensor<3>>), HealError> {
        let mut x = tensor(self.parts.start.embed(inputs)?, shape, &self.parts.device);
        let places = self.student.layers.len();
        let first = self.first_learning();
        let (mut kept, mut at_cuts) = (Vec::new(), Vec::new());
        for place in 0..places {
            if place < first {
                x = self.student.forward(place, x, &self.positions, draw);
            } else if self.keeps_activations {
                let segment =
                    self.student
                        .segment(place, x, &self.positions, (draw, place > first));
                x = segment.output();
                kept.push((place, Kept::Segment(Box::new(segment))));
            } else {
                kept.push((place, Kept::Input(x.clone())));
                x = self.student.forward(place, x, &self.positions, draw);
            }
            if self.cuts.iter().any(|cut| cut.place == place + 1) {
                at_cuts.push(x.clone());
            }
        }
        Ok((kept, x, at_cuts))
    }

    fn backward(
        &self,
        kept: Vec<(usize, Kept)>,
        mut upstream: Tensor<3>,
        of_cuts: &[(usize, Tensor<3>)],
        draw: Draw,
        gradients: &mut Values,
    ) -> Result<(), HealError> {
        let first = self.first_learning();
        for (place, kept) in kept.into_iter().rev() {
            if let Some((_, gradient)) = of_cuts.iter().find(|(cut, _)| *cut == place + 1) {
                upstream = upstream + gradient.clone();
            }
            let segment = match kept {
                Kept::Segment(segment) => *segment,
                Kept::Input(x) => {
                    self.student
                        .segment(place, x, &self.positions, (draw, place > first))
                }
            };
            let (input, of_layer) = segment.backward(upstream);
            add(gradients, of_layer);
            match input {
                Some(input) => upstream = input,
                None => break,
            }
        }
        Ok(())
    }

    /// The teacher's streams at the cuts, where they are asked for, and its last one; nothing without a teacher.
    fn teacher_streams(
        &self,
        inputs: &[u32],
        shape: [usize; 3],
    ) -> Result<Vec<Tensor<3>>, HealError> {
        let Some(teacher) = &self.teacher else {
            return Ok(Vec::new());
        };
        let mut x = tensor(self.parts.source.embed(inputs)?, shape, &self.parts.device);
        let mut streams = Vec::new();
        let wanted = self.parts.settings.objective.hidden > 0.0;
        for layer in 0..self.parts.source.config().layers {
            if wanted && self.cuts.iter().any(|cut| cut.layer == layer) {
                streams.push(x.clone());
            }
            if let Some(block) = teacher.block(layer) {
                x = block.forward(x, &self.positions);
            }
        }
        if wanted
            && self
                .cuts
                .iter()
                .any(|cut| cut.layer == self.parts.source.config().layers)
        {
            streams.push(x.clone());
        }
        streams.push(x);
        Ok(streams)
    }

    fn first_learning(&self) -> usize {
        let places = self.student.layers.len();
        (0..places)
            .find(|place| self.student.learns(*place))
            .unwrap_or(places)
    }

    fn draw(&self, piece: u64) -> Draw {
        let step = SplitMix(
            self.parts.settings.seed ^ self.progress.step.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
        .next();
        // Zero stands for no dropout.
        Draw(SplitMix(step.wrapping_add(piece)).next() | 1)
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
        let mut factors = std::collections::BTreeMap::new();
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

fn add(sum: &mut Values, part: Values) {
    for (parameter, gradient) in part {
        let whole = match sum.remove(&parameter) {
            Some(known) => known + gradient,
            None => gradient,
        };
        sum.insert(parameter, whole);
    }
}

fn cuts(layers: &[usize], count: usize) -> Vec<Cut> {
    let inner = (1..layers.len()).filter(|place| is_cut(layers, *place));
    let mut cuts: Vec<Cut> = inner
        .map(|place| Cut {
            place,
            layer: layers[place],
        })
        .collect();
    if layers.last().is_some_and(|last| last + 1 < count) {
        cuts.push(Cut {
            place: layers.len(),
            layer: count,
        });
    }
    cuts
}

/// About what a step's activations take where all are kept: every op's output of every layer.
fn kept_bytes(
    config: &LlamaConfig,
    layers: &[usize],
    settings: &Settings,
    device: &Device,
    threads: usize,
) -> usize {
    let sequences = match is_cpu(device) {
        true => threads * (CPU_POSITIONS / settings.tokens).clamp(1, settings.batch),
        false => settings.batch,
    };
    let widths =
        24 * config.hidden_size + 8 * config.intermediate_size + 4 * config.heads * settings.tokens;
    let floats = layers
        .len()
        .saturating_mul(sequences * settings.tokens)
        .saturating_mul(widths);
    floats.saturating_mul(size_of::<f32>())
}
