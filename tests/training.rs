//! Training as it is used: it heals, it goes on where it stopped, it stops where it must, it runs on a GPU.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use burn::tensor::Device;
use common::shared;
use halfdepth::checkpoint::{Checkpoint, LayerWeight};
use halfdepth::decode::cpu;
use halfdepth::heal::{
    Base, Corpus, HealError, Healing, LowRank, Objective, Parts, Record, Schedule, Settings,
    Trainer, Tune,
};
use halfdepth::plan::LayerPlan;
use halfdepth::prune::RecordSource;
use halfdepth::tokenizer::Tokenizer;

const BEGIN: u32 = 1;
const WINDOW: usize = 64;

fn settings(steps: u64) -> Settings {
    Settings {
        tune: Tune::All,
        head: false,
        low_rank: None,
        base: Base::F32,
        objective: Objective {
            cross_entropy: 0.0,
            divergence: 1.0,
            temperature: 1.0,
            hidden: 0.0,
        },
        schedule: Schedule {
            peak: 2e-3,
            warmup: 3,
            steps,
        },
        batch: 8,
        accumulate: 1,
        tokens: WINDOW,
        weight_decay: 0.01,
        clip: 1.0,
        seed: 5,
    }
}

fn low_rank(rank: usize) -> LowRank {
    LowRank {
        rank,
        alpha: rank as f32,
        dropout: 0.05,
        targets: vec![LayerWeight::Gate, LayerWeight::Up, LayerWeight::Down],
    }
}

fn tokens(name: &str) -> Vec<u32> {
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    tokenizer.encode(&text[..300_000], false).expect("ids")
}

/// Stories260K without its middle layer: what is learned from begins after the first 4096 tokens, which are held out.
struct Case {
    model: Checkpoint<'static>,
    tokens: Vec<u32>,
    plan: LayerPlan,
}

impl Case {
    fn new() -> Self {
        Self {
            model: model::open("stories260K"),
            tokens: tokens("stories260K"),
            plan: LayerPlan::without(5, &[2]).expect("a plan"),
        }
    }

    fn trainer(&self, settings: Settings, device: Device) -> Result<Trainer<'_>, HealError> {
        let source = RecordSource {
            name: "stories260K".into(),
            kind: "safetensors".into(),
            sha256: String::new(),
            layers: 5,
        };
        let corpus = Corpus::new(
            self.tokens[4096..].to_vec(),
            settings.tokens,
            BEGIN,
            settings.seed,
        )?;
        Trainer::new(Parts {
            source: &self.model,
            start: &self.model,
            init: None,
            record: Record::new("distill", source, &self.plan, settings.seed),
            corpus,
            settings,
            device,
        })
    }

    fn held_out(&self, trainer: &Trainer) -> f64 {
        trainer
            .held_out_loss(&self.tokens[..4096], WINDOW, BEGIN)
            .expect("a loss")
    }

    fn loss(&self, layers: Vec<usize>) -> f64 {
        let plan = LayerPlan::new("measured", layers, 5).expect("a plan");
        let dense = halfdepth::dense::Dense::load(&self.model, plan, &cpu(), &mut |_, _| {});
        dense
            .expect("loads")
            .cross_entropy(&self.tokens[..4096], WINDOW, BEGIN)
            .expect("a loss")
    }
}

fn steps(trainer: &mut Trainer, count: usize) -> Vec<f64> {
    (0..count)
        .map(|_| trainer.step().expect("a step").loss)
        .collect()
}

fn bits(healing: &Healing) -> Vec<u32> {
    let values = healing.tensors.values().flatten();
    values.map(|value| value.to_bits()).collect()
}

#[test]
fn forty_steps_of_any_method_close_a_good_part_of_the_gap() {
    let case = Case::new();
    let (full, cut) = (
        case.loss((0..5).collect()),
        case.loss(case.plan.layers.clone()),
    );
    let text = Objective {
        cross_entropy: 1.0,
        divergence: 0.0,
        ..settings(1).objective
    };
    let adapting = Settings {
        tune: Tune::None,
        low_rank: Some(low_rank(16)),
        ..settings(40)
    };
    let rows = [
        ("distill", 0.4, settings(40)),
        (
            "around the cut",
            0.3,
            Settings {
                tune: Tune::Around(1),
                ..settings(40)
            },
        ),
        (
            "with the stream",
            0.4,
            Settings {
                objective: Objective {
                    hidden: 0.5,
                    ..settings(1).objective
                },
                ..settings(40)
            },
        ),
        (
            "last layers and head",
            0.2,
            Settings {
                tune: Tune::Last(2),
                head: true,
                objective: text,
                ..settings(40)
            },
        ),
        (
            "lora",
            0.2,
            Settings {
                schedule: Schedule {
                    peak: 1e-2,
                    ..settings(40).schedule
                },
                ..adapting.clone()
            },
        ),
        (
            "lora in 4 bits",
            0.2,
            Settings {
                schedule: Schedule {
                    peak: 1e-2,
                    ..settings(40).schedule
                },
                base: Base::Q4,
                ..adapting
            },
        ),
    ];
    for (name, share, settings) in rows {
        let adapts = settings.low_rank.is_some();
        let mut trainer = case.trainer(settings, cpu()).expect("trains");
        assert!(
            (case.held_out(&trainer) - cut).abs() < 1e-6,
            "{name}: nothing is changed before the first step"
        );
        steps(&mut trainer, 40);
        assert!(trainer.is_done());
        let healed = case.held_out(&trainer);
        let closed = (cut - healed) / (cut - full);
        model::say(&format!(
            "{name}: {cut:.4} to {healed:.4}, of a gap to {full:.4}: {:.0} %",
            closed * 100.0
        ));
        assert!(closed > share, "{name} closed {closed}");
        assert_eq!(
            trainer.adapter().expect("reads").is_some(),
            adapts,
            "{name}"
        );
    }
}

#[test]
fn a_run_that_was_saved_and_taken_up_ends_with_the_same_bits() {
    let case = Case::new();
    let adapting = Settings {
        tune: Tune::None,
        low_rank: Some(low_rank(4)),
        ..settings(9)
    };
    for settings in [settings(9), adapting] {
        let new = || case.trainer(settings.clone(), cpu()).expect("trains");
        let mut whole = new();
        for _ in 0..3 {
            steps(&mut whole, 3);
            let loss = case.held_out(&whole);
            whole.note_held_out(loss);
        }
        let mut part = new();
        for taken_up in 0..9 {
            let mut saved = Vec::new();
            part.save("key", &mut saved).expect("saves");
            part = new();
            part.resume("key", &saved).expect("goes on");
            assert_eq!(part.progress().step, taken_up);
            steps(&mut part, 1);
            if taken_up % 3 == 2 {
                let loss = case.held_out(&part);
                part.note_held_out(loss);
            }
        }
        assert_eq!(part.progress(), whole.progress());
        let (part, whole) = (
            part.healing().expect("a healing"),
            whole.healing().expect("a healing"),
        );
        assert!(bits(&part) == bits(&whole));
        assert_eq!(part.record.loss_after, whole.record.loss_after);
    }
}

#[test]
fn a_state_of_another_run_or_a_damaged_one_is_refused() {
    let case = Case::new();
    let new = |settings| case.trainer(settings, cpu()).expect("trains");
    let mut trainer = new(settings(3));
    steps(&mut trainer, 1);
    let mut saved = Vec::new();
    trainer.save("key", &mut saved).expect("saves");
    let wider = Settings {
        head: true,
        ..settings(3)
    };
    let rows: [(&str, &[u8], Settings, &str); 5] = [
        ("other", &saved, settings(3), "other settings"),
        (
            "key",
            &saved[..saved.len() - 1],
            settings(3),
            "cannot be used",
        ),
        ("key", b"", settings(3), "it has 0 bytes"),
        ("key", &[0xff; 64], settings(3), "header claims"),
        ("key", &saved, wider, "is missing"),
    ];
    for (key, bytes, settings, message) in rows {
        let error = new(settings)
            .resume(key, bytes)
            .expect_err("refused")
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_best_weights_are_kept() {
    let case = Case::new();
    let mut trainer = case.trainer(settings(6), cpu()).expect("trains");
    trainer.note_held_out(3.0);
    steps(&mut trainer, 1);
    trainer.note_held_out(2.0);
    let best = bits(&trainer.healing().expect("a healing"));
    for loss in [2.5, 2.1] {
        steps(&mut trainer, 1);
        trainer.note_held_out(loss);
    }
    assert_eq!(trainer.progress().waited, 2);
    let healing = trainer.healing().expect("a healing");
    assert!(bits(&healing) == best);
    let record = &healing.record;
    assert_eq!((record.steps, record.tokens), (1, 8 * 64));
    assert_eq!(
        (record.loss_before, record.loss_after),
        (Some(3.0), Some(2.0))
    );
}

#[test]
fn a_learning_rate_that_diverges_is_told_soon() {
    let case = Case::new();
    let mut settings = settings(200);
    settings.schedule = Schedule {
        peak: 3.0,
        warmup: 0,
        steps: 200,
    };
    let mut trainer = case.trainer(settings, cpu()).expect("trains");
    let error = (0..200)
        .find_map(|_| trainer.step().err())
        .expect("diverges");
    let HealError::Diverged { step, loss, lowest } = error else {
        panic!("{error}")
    };
    assert!(
        step <= 12 && (loss.is_nan() || loss > lowest + 0.5),
        "{step} {loss} {lowest}"
    );
}

#[test]
fn what_cannot_be_trained_is_refused_before_it_begins() {
    let case = Case::new();
    let adapting = |rank| Settings {
        tune: Tune::None,
        low_rank: Some(low_rank(rank)),
        ..settings(3)
    };
    let rows = [
        (adapting(65), "--rank 65 is above"),
        (adapting(0), "--rank is at least 1"),
        (
            Settings {
                tokens: 513,
                ..settings(3)
            },
            "more than the 512 positions",
        ),
        (
            Settings {
                batch: 0,
                ..settings(3)
            },
            "at least 1",
        ),
        (
            Settings {
                tune: Tune::None,
                ..settings(3)
            },
            "nothing is to be trained",
        ),
        (
            Settings {
                schedule: Schedule {
                    peak: f64::NAN,
                    warmup: 0,
                    steps: 3,
                },
                ..settings(3)
            },
            "--learning-rate NaN",
        ),
        (
            Settings {
                objective: Objective {
                    divergence: 0.0,
                    ..settings(3).objective
                },
                ..settings(3)
            },
            "one of them is above",
        ),
        (
            Settings {
                objective: Objective {
                    temperature: 0.0,
                    ..settings(3).objective
                },
                ..settings(3)
            },
            "--temperature 0",
        ),
        (
            Settings {
                base: Base::Q4,
                ..settings(3)
            },
            "--base q4",
        ),
        (
            Settings {
                tune: Tune::All,
                ..adapting(4)
            },
            "not trained together",
        ),
    ];
    for (settings, message) in rows {
        let error = case
            .trainer(settings, cpu())
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let whole = Case {
        plan: LayerPlan::full(5).expect("a plan"),
        ..Case::new()
    };
    let error = whole
        .trainer(settings(3), cpu())
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("nothing to heal"), "{error}");
    let error = Corpus::new(vec![1; 63], 64, 1, 0)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("63 tokens"), "{error}");
}

#[test]
fn every_window_is_read_once_an_epoch_in_an_order_of_its_own() {
    let tokens: Vec<u32> = (0..103).collect();
    let mut corpus = Corpus::new(tokens, 10, 900, 4).expect("text enough");
    assert_eq!(corpus.windows(), 10);
    let mut epochs = Vec::new();
    for epoch in 0..3 {
        let read = corpus.sequences(epoch * 10, 10);
        let mut firsts: Vec<u32> = read.iter().map(|ids| ids[1]).collect();
        assert!(
            read.iter()
                .all(|ids| ids.len() == 11 && ids[0] == 900 && ids[10] == ids[1] + 9)
        );
        epochs.push(firsts.clone());
        firsts.sort_unstable();
        assert_eq!(
            firsts,
            (0..10).map(|window| window * 10).collect::<Vec<_>>()
        );
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    // Across an epoch's end, and back: an order is drawn from its number alone.
    let across: Vec<u32> = corpus.sequences(8, 4).iter().map(|ids| ids[1]).collect();
    assert_eq!(across, [&epochs[0][8..], &epochs[1][..2]].concat());
}

#[test]
fn the_rate_rises_to_its_peak_and_falls_along_a_cosine() {
    let schedule = Schedule {
        peak: 2.0,
        warmup: 4,
        steps: 12,
    };
    let rows = [
        (0, 0.5),
        (3, 2.0),
        (4, 2.0),
        (6, 1.0 + 0.5_f64.sqrt()),
        (8, 1.0),
        (10, 1.0 - 0.5_f64.sqrt()),
        (12, 0.0),
        (99, 0.0),
    ];
    for (step, rate) in rows {
        assert!(
            (schedule.rate(step) - rate).abs() < 1e-12,
            "{step}: {}",
            schedule.rate(step)
        );
    }
    let plain = Schedule {
        peak: 1.0,
        warmup: 0,
        steps: 1,
    };
    assert_eq!(plain.rate(0), 1.0);
}

#[test]
fn every_device_learns_the_same() {
    let case = Case::new();
    let all = Settings {
        tune: Tune::Around(1),
        head: true,
        objective: Objective {
            cross_entropy: 0.5,
            divergence: 0.5,
            temperature: 2.0,
            hidden: 0.1,
        },
        ..settings(4)
    };
    let adapting = Settings {
        tune: Tune::None,
        low_rank: Some(LowRank {
            dropout: 0.3,
            ..low_rank(4)
        }),
        ..all.clone()
    };
    for settings in [all, adapting] {
        on_every_device(&case, &settings);
    }
}

fn on_every_device(case: &Case, settings: &Settings) {
    let run = |device| {
        let mut trainer = case.trainer(settings.clone(), device).expect("trains");
        let losses = steps(&mut trainer, 4);
        (losses, case.held_out(&trainer))
    };
    let mut devices = model::devices().into_iter();
    let (_, device) = devices.next().expect("a CPU");
    let (expected, held_out) = run(device);
    for (name, device) in devices {
        let (losses, other) = run(device);
        for (loss, expected) in losses.iter().zip(&expected) {
            // Four steps of AdamW, which turns a gradient's sign into a whole step: roundings show where gradients are near zero.
            assert!(
                (loss - expected).abs() < 2e-3 * expected,
                "{name}: {losses:?} {expected}"
            );
        }
        assert!(
            (other - held_out).abs() < 2e-3 * held_out,
            "{name}: {other} {held_out}"
        );
    }
}
