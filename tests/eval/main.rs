//! Evaluation against lm-evaluation-harness item by item, against goldens, against what must come out of models that know nothing;
//! and what it does with files that are not what they should be.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod harness;
mod losses;
#[path = "../common/model.rs"]
mod model;
mod reports;

use std::io::Read;

use common::shared;
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::eval::{Files, Item, Task};
use halfdepth::plan::LayerPlan;
use halfdepth::tokenizer::Tokenizer;

pub(crate) fn tokenizer(name: &str) -> Tokenizer {
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    Tokenizer::from_json(&json).expect("tokenizer")
}

pub(crate) fn full(source: &dyn DenseSource) -> Dense<'_> {
    let plan = LayerPlan::full(source.config().layers).expect("a plan");
    Dense::load(source, plan, &halfdepth::decode::cpu(), &mut |_, _| ()).expect("a model")
}

/// A benchmark's file, unpacked.
pub(crate) fn bench_file(name: &str) -> Vec<u8> {
    match name {
        "hellaswag_val_full.txt" => {
            let packed = std::fs::File::open(shared(&format!("bench/{name}.bz2"))).expect("opens");
            let mut bytes = Vec::new();
            bzip2::read::MultiBzDecoder::new(packed)
                .read_to_end(&mut bytes)
                .expect("unpacks");
            bytes
        }
        "wiki.test.raw" => std::fs::read(shared(&format!("text/{name}"))).expect("reads"),
        _ => std::fs::read(shared(&format!("bench/{name}"))).expect("reads"),
    }
}

pub(crate) fn items(task: Task, limit: Option<usize>) -> Vec<Item> {
    let files: Files = (task.files().into_iter())
        .map(|name| (name.clone(), bench_file(&name)))
        .collect();
    task.items(&files, limit, 0).expect("items")
}
