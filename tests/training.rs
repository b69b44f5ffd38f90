//! Training.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::time::Instant;

use common::shared;
use halfdepth::decode::cpu;
use halfdepth::heal::*;
use halfdepth::plan::LayerPlan;
use halfdepth::prune::RecordSource;
use halfdepth::tokenizer::Tokenizer;

#[test]
fn speed() {
    let model = model::open("halfdepth-stories-12L");
    let json = std::fs::read(shared("models/halfdepth-stories-12L/tokenizer.json")).unwrap();
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).unwrap();
    let ids = Tokenizer::from_json(&json)
        .unwrap()
        .encode(&text, false)
        .unwrap();
    let plan = LayerPlan::simple(12, 6).unwrap();
    let source = RecordSource {
        name: "x".into(),
        kind: "safetensors".into(),
        sha256: String::new(),
        layers: 12,
    };
    let settings = Settings {
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
            peak: 1e-3,
            warmup: 5,
            steps: 100,
        },
        batch: 16,
        accumulate: 1,
        tokens: 256,
        weight_decay: 0.0,
        clip: 1.0,
        seed: 0,
    };
    let valid = ids[..8192].to_vec();
    let corpus = Corpus::new(ids[8192..].to_vec(), 256, 1, 0).unwrap();
    let parts = Parts {
        source: &model,
        start: &model,
        init: None,
        record: Record::new("distill", source, &plan, 0),
        corpus,
        settings,
        device: cpu(),
    };
    let mut trainer = Trainer::new(parts).unwrap();
    let begun = Instant::now();
    println!(
        "before {} in {:?}",
        trainer.held_out_loss(&valid, 128, 1).unwrap(),
        begun.elapsed()
    );
    for _ in 0..12 {
        let begun = Instant::now();
        let note = trainer.step().unwrap();
        println!(
            "{note:?} {:.0} tokens/s",
            trainer.tokens_a_step() as f64 / begun.elapsed().as_secs_f64()
        );
    }
    println!("after {}", trainer.held_out_loss(&valid, 128, 1).unwrap());
}
