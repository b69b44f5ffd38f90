//! Gradients against differences of losses, on a model of random weights that is small enough to be moved weight by weight.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use super::loss::Sums;
use super::student::{Parameter, to_host};
use super::{Base, Corpus, LowRank, Objective, Parts, Schedule, Settings, Trainer, Tune};
use crate::checkpoint::LayerWeight;
use crate::config::{LlamaConfig, Rope, RopeScaling};
use crate::decode::cpu;
use crate::dense::{DenseError, DenseLayer, DenseSource};
use crate::draws::SplitMix;
use crate::heal::Record;
use crate::plan::LayerPlan;
use crate::prune::RecordSource;

/// Five layers of random weights; those in `identities` add nothing to the stream.
struct Random {
    config: LlamaConfig,
    identities: Vec<usize>,
}

impl Random {
    fn new(identities: &[usize]) -> Self {
        let config = LlamaConfig {
            hidden_size: 24,
            intermediate_size: 40,
            layers: 5,
            heads: 4,
            kv_heads: 2,
            head_dim: 6,
            vocab_size: 50,
            context: 32,
            rms_norm_eps: 1e-5,
            rope: Rope {
                theta: 1e4,
                scaling: RopeScaling::None,
            },
            tied_head: true,
            bos_token: Some(1),
            eos_tokens: vec![2],
        };
        Self {
            config,
            identities: identities.to_vec(),
        }
    }

    fn values(&self, seed: u64, count: usize, spread: f32) -> Vec<f32> {
        let mut random = SplitMix(seed);
        let unit = |number: u64| (number >> 40) as f32 / (1 << 24) as f32 - 0.5;
        (0..count).map(|_| unit(random.next()) * spread).collect()
    }
}

impl DenseSource for Random {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let rows = ids
            .iter()
            .map(|id| self.head(*id as usize..*id as usize + 1));
        Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let part = |part: LayerWeight| {
            let (rows, cols) = part.shape(&self.config);
            let seed = (index * LayerWeight::ALL.len() + part as usize) as u64;
            let adds = matches!(part, LayerWeight::Output | LayerWeight::Down);
            match part.is_norm() {
                true => self
                    .values(seed, cols, 0.5)
                    .iter()
                    .map(|v| 1.0 + v)
                    .collect(),
                false if adds && self.identities.contains(&index) => vec![0.0; rows * cols],
                false => self.values(seed, rows * cols, 3.0 / (cols as f32).sqrt()),
            }
        };
        Ok(DenseLayer {
            attention_norm: part(LayerWeight::AttentionNorm),
            query: part(LayerWeight::Query),
            key: part(LayerWeight::Key),
            value: part(LayerWeight::Value),
            output: part(LayerWeight::Output),
            mlp_norm: part(LayerWeight::MlpNorm),
            gate: part(LayerWeight::Gate),
            up: part(LayerWeight::Up),
            down: part(LayerWeight::Down),
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        Ok(vec![1.0; self.config.hidden_size])
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        let hidden = self.config.hidden_size;
        let all = self.values(999, self.config.vocab_size * hidden, 1.0);
        Ok(all[rows.start * hidden..rows.end * hidden].to_vec())
    }
}

fn settings() -> Settings {
    Settings {
        tune: Tune::All,
        head: true,
        low_rank: None,
        base: Base::F32,
        objective: Objective {
            cross_entropy: 0.6,
            divergence: 0.8,
            temperature: 2.0,
            hidden: 0.5,
        },
        schedule: Schedule {
            peak: 1e-3,
            warmup: 0,
            steps: 10,
        },
        batch: 3,
        accumulate: 1,
        tokens: 16,
        weight_decay: 0.0,
        clip: 1e9,
        seed: 7,
    }
}

fn low_rank() -> Settings {
    Settings {
        tune: Tune::None,
        head: false,
        low_rank: Some(LowRank {
            rank: 3,
            alpha: 6.0,
            dropout: 0.25,
            targets: vec![LayerWeight::Query, LayerWeight::Up, LayerWeight::Down],
        }),
        ..settings()
    }
}

fn trainer<'s>(source: &'s Random, layers: &[usize], settings: Settings) -> Trainer<'s> {
    let mut random = SplitMix(3);
    let tokens = (0..640).map(|_| random.below(50) as u32).collect();
    let plan = LayerPlan::new("kept", layers.to_vec(), 5).expect("a plan");
    let record = RecordSource {
        layers: 5,
        ..RecordSource::default()
    };
    let parts = Parts {
        source,
        start: source,
        init: None,
        record: Record::new("distill", record, &plan, settings.seed),
        corpus: Corpus::new(tokens, settings.tokens, 1, settings.seed).expect("text enough"),
        settings,
        device: cpu(),
    };
    Trainer::new(parts).expect("trains")
}

/// As after some steps: B begins at zero, which leaves A nothing to learn and a test nothing to see.
fn under_way<'s>(source: &'s Random, layers: &[usize], settings: Settings) -> Trainer<'s> {
    let mut trainer = trainer(source, layers, settings);
    let parameters: Vec<Parameter> = trainer.student.values.keys().copied().collect();
    for parameter in parameters.iter().filter(|p| matches!(p, Parameter::B(..))) {
        let count = trainer.student.values[parameter].dims().iter().product();
        let direction = source.values(5, count, 0.5);
        trainer.moved(*parameter, &direction, 1.0);
    }
    trainer
}

impl Trainer<'_> {
    fn loss_of(&self, sequences: &[Vec<u32>]) -> f64 {
        let (sums, _) = self.gradients(sequences).expect("runs");
        self.parts.settings.objective.value(&sums)
    }

    fn moved(&mut self, parameter: Parameter, direction: &[f32], by: f64) {
        let old = &self.student.values[&parameter];
        let values = to_host(old).expect("reads");
        let moved = values.iter().zip(direction);
        let moved: Vec<f32> = moved
            .map(|(value, d)| (f64::from(*value) + f64::from(*d) * by) as f32)
            .collect();
        let moved = Tensor::from_data(TensorData::new(moved, old.dims()), &old.device());
        self.student.values.insert(parameter, moved);
    }
}

#[test]
fn every_gradient_is_the_slope_of_the_loss() {
    let source = Random::new(&[]);
    for (layers, settings) in [
        (vec![0, 1, 4], settings()),
        (vec![1, 2, 3], settings()),
        (vec![0, 3, 4], low_rank()),
    ] {
        let mut trainer = under_way(&source, &layers, settings);
        let parameters: Vec<Parameter> = trainer.student.values.keys().copied().collect();
        let sequences = trainer.parts.corpus.sequences(0, 3);
        let (_, gradients) = trainer.gradients(&sequences).expect("runs");
        assert_eq!(gradients.len(), parameters.len());
        for (index, parameter) in parameters.into_iter().enumerate() {
            let gradient = to_host(&gradients[&parameter]).expect("reads");
            let random = source.values(index as u64 + 40, gradient.len(), 1.0);
            // Along the gradient itself every error shows in full; another direction shows what is at right angles to it.
            for direction in [&gradient, &random] {
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    products.sum()
                };
                let expected = dot(&gradient, direction);
                let length = dot(direction, direction).sqrt();
                assert!(length > 1e-5, "{parameter:?} learns nothing");
                // So far that the loss, known to 1e-7 of itself, moves by much more; so near that it moves in a straight line.
                let by = 4e-3 / length;
                trainer.moved(parameter, direction, by);
                let above = trainer.loss_of(&sequences);
                trainer.moved(parameter, direction, -2.0 * by);
                let below = trainer.loss_of(&sequences);
                trainer.moved(parameter, direction, by);
                let found = (above - below) / (2.0 * by);
                let scale = dot(&gradient, &gradient).sqrt() * length;
                assert!(
                    (found - expected).abs() < 0.02 * scale,
                    "{layers:?} {parameter:?}: {found} is not {expected}"
                );
            }
        }
    }
}

#[test]
fn cutting_layers_that_add_nothing_leaves_nothing_to_learn() {
    let source = Random::new(&[1, 3]);
    let settings = Settings {
        objective: Objective {
            cross_entropy: 0.0,
            ..settings().objective
        },
        ..settings()
    };
    let trainer = trainer(&source, &[0, 2, 4], settings);
    let mut corpus = Corpus::new((0..48).collect(), 16, 1, 0).expect("text enough");
    let (sums, gradients) = trainer.gradients(&corpus.sequences(0, 3)).expect("runs");
    // Sums of equal terms in f32, in the same order: nothing is left but what log and exp round.
    assert!(
        sums.divergence.abs() < 1e-4 && sums.hidden < 1e-9,
        "{sums:?}"
    );
    for (parameter, gradient) in &gradients {
        let largest = to_host(gradient)
            .expect("reads")
            .into_iter()
            .fold(0.0_f32, |most, g| most.max(g.abs()));
        assert!(largest < 1e-5, "{parameter:?} {largest}");
    }
}

/// The sums, and every gradient on the host.
fn run(trainer: Trainer, sequences: usize) -> (Sums, Vec<(Parameter, Vec<f32>)>) {
    let mut trainer = trainer;
    let sequences = trainer.parts.corpus.sequences(0, sequences);
    let (sums, gradients) = trainer.gradients(&sequences).expect("runs");
    let read = |(parameter, gradient)| (parameter, to_host(&gradient).expect("reads"));
    (sums, gradients.into_iter().map(read).collect())
}

/// The largest difference, as a share of the largest gradient.
fn apart(left: &[f32], right: &[f32]) -> f32 {
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0_f32, |a, b| a.max(b.abs()));
    let off = most(&mut left.iter().zip(right).map(|(a, b)| a - b));
    off / most(&mut left.iter().copied())
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let source = Random::new(&[]);
    for settings in [settings(), low_rank()] {
        // More than one piece of 1024 positions.
        let settings = Settings {
            batch: 150,
            ..settings
        };
        let run = |threads| {
            let trainer = under_way(&source, &[0, 1, 4], settings.clone());
            run(trainer.with_threads(threads), 150)
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(run(threads) == one, "{threads} threads");
        }
    }
}

#[test]
fn layers_that_run_again_on_the_way_back_learn_what_kept_ones_learn() {
    let source = Random::new(&[]);
    for settings in [settings(), low_rank()] {
        let run = |keeps| {
            let trainer = under_way(&source, &[0, 1, 4], settings.clone());
            run(trainer.keeping_activations(keeps), 6)
        };
        let ((kept, of_kept), (again, of_again)) = (run(true), run(false));
        assert_eq!(kept.tokens, again.tokens);
        for ((parameter, kept), (_, again)) in of_kept.iter().zip(&of_again) {
            // A softmax under autodiff rounds otherwise than one without: some roundings of 6e-8 through five layers.
            let apart = apart(kept, again);
            assert!(apart < 1e-5, "{parameter:?}: {apart}");
        }
    }
}

#[test]
fn batches_that_are_accumulated_learn_what_one_batch_learns() {
    let source = Random::new(&[]);
    let run = |batch, accumulate| {
        let settings = Settings {
            batch,
            accumulate,
            ..settings()
        };
        run(trainer(&source, &[0, 1, 4], settings), batch * accumulate)
    };
    let (sums, whole) = run(12, 1);
    for (batch, accumulate) in [(3, 4), (1, 12), (6, 2)] {
        let (other, parts) = run(batch, accumulate);
        assert_eq!(other.tokens, sums.tokens);
        assert!((other.cross_entropy - sums.cross_entropy).abs() < 1e-4 * sums.cross_entropy);
        for ((parameter, whole), (_, parts)) in whole.iter().zip(&parts) {
            // The same terms, added in another order: some tens of roundings of 6e-8.
            assert!(apart(whole, parts) < 1e-5, "{parameter:?}");
        }
    }
}

#[test]
fn an_adapter_that_was_not_trained_changes_nothing() {
    let source = Random::new(&[]);
    let settings = Settings {
        base: Base::F32,
        ..low_rank()
    };
    let adapted = trainer(&source, &[0, 1, 4], settings.clone());
    let plain = trainer(
        &source,
        &[0, 1, 4],
        Settings {
            low_rank: None,
            tune: Tune::All,
            ..settings
        },
    );
    let mut corpus = Corpus::new((0..48).collect(), 16, 1, 0).expect("text enough");
    let sequences = corpus.sequences(0, 3);
    assert_eq!(adapted.loss_of(&sequences), plain.loss_of(&sequences));
    let healing = adapted.healing().expect("a healing");
    for (weight, values) in &healing.tensors {
        let crate::checkpoint::Weight::Layer(layer, part) = weight else {
            panic!("{weight:?} was not adapted")
        };
        assert_eq!(
            values,
            source.layer(*layer).expect("a layer").part(*part),
            "{weight:?}"
        );
    }
    assert_eq!(healing.tensors.len(), 9);
}
