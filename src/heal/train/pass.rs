//! In: sequences. Out: the objective's gradient with respect to everything that is trained, and the loss.
//!
//! A step's sequences are cut into pieces by their number alone, and the pieces' gradients are summed in their order, so that any
//! number of threads gives the same bits.

use burn::tensor::Tensor;

use super::loss::{Sums, Targets};
use super::settings::{Base, Settings, cut_places};
use super::student::{Draw, Segment, Values};
use super::trainer::Trainer;
use crate::checkpoint::Weight;
use crate::config::LlamaConfig;
use crate::dense::{in_parallel, is_cpu, tensor};
use crate::draws::SplitMix;
use crate::heal::{HealError, Healing};

/// Positions that run at once on one core: enough to fill the products, few enough to stay near its cache.
const CPU_POSITIONS: usize = 1024;
/// Logits that stand in memory at once on one core.
const CPU_LOGITS: usize = 1 << 20;
/// Logits that stand in memory at once on a GPU.
const GPU_LOGITS: usize = 1 << 23;
/// Bytes of a piece's activations up to which they are kept; above it, layers run again on the way back.
const KEPT_BYTES: usize = 1 << 29;

/// The student's stream before the layer at `place` stands for the teacher's before layer `layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    place: usize,
    layer: usize,
}

/// Sequences that run at once.
struct Piece {
    /// What is read: (sequences, tokens).
    inputs: Vec<u32>,
    /// The token after each.
    targets: Vec<u32>,
    /// (sequences, tokens, hidden_size).
    shape: [usize; 3],
    draw: Draw,
    /// What a token counts.
    per_token: f32,
}

/// What the way there left for the way back.
struct Forward {
    /// By layer, from the first that learns on: its place and what it left.
    kept: Vec<(usize, Kept)>,
    last: Tensor<3>,
    /// The student's streams at the cuts.
    at_cuts: Vec<Tensor<3>>,
}

enum Kept {
    Input(Box<Tensor<3>>),
    Segment(Box<Segment>),
}

impl Trainer<'_> {
    /// The objective's gradient over whole sequences, and the loss.
    pub(super) fn gradients(&self, sequences: &[Vec<u32>]) -> Result<(Sums, Values), HealError> {
        let settings = &self.parts.settings;
        let together = sequences_at_once(settings, is_cpu(&self.parts.device));
        let batches = sequences.chunks(settings.batch);
        let pieces = batches.flat_map(|batch| batch.chunks(together));
        let pieces: Vec<(u64, &[Vec<u32>])> = (0..).zip(pieces).collect();
        let per_token = 1.0 / (sequences.len() * settings.tokens) as f32;
        let (mut sums, mut gradients) = (Sums::default(), Values::new());
        // Some at a time, so that the gradients of a large batch do not stand in memory all at once.
        for wave in pieces.chunks(2 * self.threads.max(1)) {
            let done = in_parallel(self.threads, wave, |(number, sequences)| {
                self.piece(&self.cut_out(*number, sequences, per_token))
            })?;
            for (part, of_part) in done {
                sums.add(&part);
                add(&mut gradients, of_part);
            }
        }
        Ok((sums, gradients))
    }

    fn cut_out(&self, number: u64, sequences: &[Vec<u32>], per_token: f32) -> Piece {
        let settings = &self.parts.settings;
        let inputs = sequences.iter().flat_map(|ids| &ids[..ids.len() - 1]);
        let targets = sequences.iter().flat_map(|ids| &ids[1..]);
        let step = self.progress.step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let of_step = SplitMix(settings.seed ^ step).next();
        Piece {
            inputs: inputs.copied().collect(),
            targets: targets.copied().collect(),
            shape: [sequences.len(), settings.tokens, self.config().hidden_size],
            draw: Draw(SplitMix(of_step.wrapping_add(number)).next()),
            per_token,
        }
    }

    /// The gradient of some sequences.
    fn piece(&self, piece: &Piece) -> Result<(Sums, Values), HealError> {
        let objective = &self.parts.settings.objective;
        let embedded = self.parts.start.embed(&piece.inputs)?;
        let mut x = tensor(embedded, piece.shape, &self.parts.device);
        for place in 0..self.shared {
            x = self.student.forward(place, x, &self.positions, None);
        }
        let teacher = self.teacher_streams(x.clone(), piece)?;
        let forward = self.forward(x, piece);
        let rows = [piece.shape[0] * piece.shape[1], piece.shape[2]];
        let last = teacher.last().map(|stream| stream.clone().reshape(rows));
        let targets = Targets {
            tokens: &piece.targets,
            teacher: self.teacher.as_ref().zip(last),
        };
        let logits = match is_cpu(&self.parts.device) {
            true => CPU_LOGITS,
            false => GPU_LOGITS,
        };
        let found = objective.head_loss(
            &self.student,
            forward.last.clone().reshape(rows),
            &targets,
            piece.per_token,
            (logits / self.config().vocab_size).max(1),
        )?;
        let (mut sums, mut gradients) = (found.sums, found.gradients);
        let mut of_cuts = Vec::new();
        if objective.hidden > 0.0 {
            let share = 1.0 / self.cuts.len().max(1) as f32;
            let streams = forward.at_cuts.iter().zip(teacher);
            for (cut, (student, teacher)) in self.cuts.iter().zip(streams) {
                let weight = piece.per_token * share;
                let (sum, gradient) = objective.hidden_loss(student.clone(), teacher, weight)?;
                sums.hidden += sum * f64::from(share);
                of_cuts.push((cut.place, gradient));
            }
        }
        let upstream = found.gradient.reshape(piece.shape);
        self.backward(forward.kept, upstream, &of_cuts, piece, &mut gradients);
        Ok((sums, gradients))
    }

    /// From the stream after the shared layers.
    fn forward(&self, mut x: Tensor<3>, piece: &Piece) -> Forward {
        let first = self.first_learning();
        let (mut kept, mut at_cuts) = (Vec::new(), Vec::new());
        for place in self.shared..=self.student.layers.len() {
            if self.cuts.iter().any(|cut| cut.place == place) {
                at_cuts.push(x.clone());
            }
            if place == self.student.layers.len() {
                break;
            }
            let draw = Some(piece.draw);
            if place >= first && self.keeps_activations {
                let how = (draw, place > first);
                let segment = self.student.segment(place, x, &self.positions, how);
                x = segment.output();
                kept.push((place, Kept::Segment(Box::new(segment))));
            } else {
                if place >= first {
                    kept.push((place, Kept::Input(Box::new(x.clone()))));
                }
                x = self.student.forward(place, x, &self.positions, draw);
            }
        }
        Forward {
            kept,
            last: x,
            at_cuts,
        }
    }

    fn backward(
        &self,
        kept: Vec<(usize, Kept)>,
        mut upstream: Tensor<3>,
        of_cuts: &[(usize, Tensor<3>)],
        piece: &Piece,
        gradients: &mut Values,
    ) {
        let first = self.first_learning();
        for (place, kept) in kept.into_iter().rev() {
            if let Some((_, gradient)) = of_cuts.iter().find(|(cut, _)| *cut == place + 1) {
                upstream = upstream + gradient.clone();
            }
            let segment = match kept {
                Kept::Segment(segment) => *segment,
                Kept::Input(x) => {
                    let how = (Some(piece.draw), place > first);
                    self.student.segment(place, *x, &self.positions, how)
                }
            };
            let (input, of_layer) = segment.backward(upstream);
            add(gradients, of_layer);
            match input {
                Some(input) => upstream = input,
                None => break,
            }
        }
    }

    /// The teacher's streams at the cuts, where they are asked for, and its last one; nothing without a teacher. `shared` is the
    /// stream after the layers that both have.
    fn teacher_streams(
        &self,
        shared: Tensor<3>,
        piece: &Piece,
    ) -> Result<Vec<Tensor<3>>, HealError> {
        let Some(teacher) = &self.teacher else {
            return Ok(Vec::new());
        };
        let mut x = match self.shared {
            0 => tensor(
                self.parts.source.embed(&piece.inputs)?,
                piece.shape,
                &self.parts.device,
            ),
            _ => shared,
        };
        let mut streams = Vec::new();
        let is_wanted = |layer| {
            let is_cut = self.cuts.iter().any(|cut| cut.layer == layer);
            is_cut && self.parts.settings.objective.hidden > 0.0
        };
        let layers = self.config().layers;
        for layer in self.shared..layers {
            if is_wanted(layer) {
                streams.push(x.clone());
            }
            if let Some(block) = teacher.block(layer) {
                x = block.forward(x, &self.positions);
            }
        }
        if is_wanted(layers) {
            streams.push(x.clone());
        }
        streams.push(x);
        Ok(streams)
    }

    /// The place of the first layer that learns; the number of layers where none does.
    pub(super) fn first_learning(&self) -> usize {
        let places = self.student.layers.len();
        let mut learning = (0..places).filter(|place| self.student.learns(*place));
        learning.next().unwrap_or(places)
    }
}

/// The cuts of a plan over `count` layers; none before the first layer that runs, where the student has no layer.
pub(super) fn cuts(layers: &[usize], count: usize) -> Vec<Cut> {
    let places = cut_places(layers, count)
        .into_iter()
        .filter(|place| *place > 0);
    let layer = |place: usize| layers.get(place).copied().unwrap_or(count);
    places
        .map(|place| Cut {
            place,
            layer: layer(place),
        })
        .collect()
}

/// Leading layers that student and teacher run alike, so that they need to run once: there are as many places as layers before
/// them, nothing of them is trained or was, and their matrices are the teacher's.
pub(super) fn shared_layers(
    layers: &[usize],
    settings: &Settings,
    init: Option<&Healing>,
    first_learning: usize,
) -> usize {
    if settings.base != Base::F32 {
        return 0;
    }
    let was_changed = |layer: usize| {
        let mut changed = init.iter().flat_map(|init| init.tensors.keys());
        changed.any(|weight| match weight {
            Weight::Layer(changed, _) => *changed == layer,
            Weight::Embedding => true,
            Weight::FinalNorm | Weight::Head => false,
        })
    };
    let places = layers[..first_learning].iter().enumerate();
    places
        .take_while(|(place, layer)| place == *layer && !was_changed(**layer))
        .count()
}

/// Whether all that a piece's layers compute may stay until the way back. Autodiff rounds some ops otherwise than plain runs do, so
/// that this has to follow from the settings, and not from the cores there are.
pub(super) fn keeps_activations(
    config: &LlamaConfig,
    places: usize,
    settings: &Settings,
    is_cpu: bool,
) -> bool {
    // The outputs of about as many ops as wide as the stream, the MLP and the scores.
    let widths = [
        24 * config.hidden_size,
        8 * config.intermediate_size,
        4 * config.heads * settings.tokens,
    ];
    let positions = places * sequences_at_once(settings, is_cpu) * settings.tokens;
    let floats = positions.saturating_mul(widths.into_iter().sum());
    floats.saturating_mul(size_of::<f32>()) <= KEPT_BYTES
}

/// Sequences of a piece: by their length alone, so that pieces are the same whatever runs them.
fn sequences_at_once(settings: &Settings, is_cpu: bool) -> usize {
    match is_cpu {
        true => (CPU_POSITIONS / settings.tokens).clamp(1, settings.batch),
        false => settings.batch,
    }
}

/// Adds the gradients of a part.
fn add(sum: &mut Values, part: Values) {
    for (parameter, gradient) in part {
        let whole = match sum.remove(&parameter) {
            Some(known) => known + gradient,
            None => gradient,
        };
        sum.insert(parameter, whole);
    }
}
