//! A checkpoint with replaced weights is read as one that was stored with them, and is written as such.

use halfdepth::checkpoint::{Checkpoint, CheckpointError, HuggingFaceFiles, LayerWeight, Weight};
use halfdepth::decode::cpu;
use halfdepth::heal::Healed;
use halfdepth::prune::{
    Cut, Expected, FolderOptions, NumberType, PruneError, Record, RecordSource, SHARD_BYTES,
    verify, write_folder, write_gguf,
};

use crate::common::shared;
use crate::model::{leak, open};
use crate::support::{healing, logits, plan, values};

fn gguf(kind: &str) -> Checkpoint<'static> {
    let path = shared(&format!("models/stories260K/stories260K-{kind}.gguf"));
    Checkpoint::from_gguf(leak(&path).expect("a file")).expect("a good file")
}

#[test]
fn replaced_weights_are_read_in_place_of_the_files() {
    for checkpoint in [open("stories260K"), gguf("f32"), gguf("q8_0")] {
        let made = healing(&checkpoint);
        let expected = logits(&Healed::new(&checkpoint, &made).expect("fits"), &plan());
        let kind = checkpoint.kind();
        let replaced = checkpoint.replacing(&made.tensors).expect("fits");
        for (weight, healed) in &made.tensors {
            assert_eq!(&values(&replaced, *weight), healed, "{kind} {weight:?}");
        }
        // Its head was the embedding, which stays.
        assert!(!replaced.config().tied_head);
        assert_eq!(logits(&replaced, &plan()), expected, "{kind}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    for (weight, count) in [
        (Weight::FinalNorm, 63),
        (Weight::Layer(0, LayerWeight::Query), 64),
        (Weight::Layer(5, LayerWeight::MlpNorm), 64),
    ] {
        let replaced = open("stories260K").replacing(&[(weight, vec![0.0; count])].into());
        assert!(
            matches!(
                replaced,
                Err(CheckpointError::Shape { .. } | CheckpointError::NoSuchWeight { .. })
            ),
            "{weight:?}"
        );
    }
}

fn written(checkpoint: &Checkpoint, to: &str) -> Result<Checkpoint<'static>, PruneError> {
    let (plan, source) = (
        plan(),
        RecordSource {
            layers: 5,
            ..RecordSource::default()
        },
    );
    let record = Record::new(source, &plan, None);
    let cut = Cut {
        checkpoint,
        plan: &plan,
        record: &record,
    };
    if to == "gguf" {
        let mut bytes = Vec::new();
        write_gguf(cut, NumberType::Stored, &mut bytes, &mut |_, _| ())?;
        return Ok(Checkpoint::from_gguf(bytes.leak())?);
    }
    let (mut config, mut weights) = (Vec::new(), Vec::new());
    let mut put = |name: &str, content: &mut halfdepth::prune::Content| match name {
        "config.json" => content(&mut config),
        "model.safetensors" => content(&mut weights),
        _ => content(&mut Vec::new()),
    };
    let options = FolderOptions {
        shard_bytes: SHARD_BYTES,
    };
    write_folder(cut, options, &mut put, &mut |_, _| ())?;
    let files = HuggingFaceFiles {
        config: config.leak(),
        shards: vec![("model.safetensors".into(), weights.leak())],
        ..HuggingFaceFiles::default()
    };
    Ok(Checkpoint::from_hugging_face(files)?)
}

#[test]
fn a_healed_model_is_written_as_it_runs() {
    type Make = fn() -> Checkpoint<'static>;
    let sources: [(Make, &str, &[&str]); 3] = [
        (|| open("stories260K"), "a folder", &["hf", "gguf"]),
        (|| gguf("f32"), "a GGUF file", &["hf", "gguf"]),
        (|| gguf("q4_0"), "a GGUF file in 4 bits", &["gguf"]),
    ];
    for (make, name, targets) in sources {
        let plain = make();
        let made = healing(&plain);
        let expected = logits(&Healed::new(&plain, &made).expect("fits"), &plan());
        let healed = make().replacing(&made.tensors).expect("fits");
        for to in targets {
            let written = written(&healed, to).expect(name);
            assert!(!written.config().tied_head, "{name} to {to}");
            let plan = plan();
            let wanted = Expected::new(&healed, &plan, NumberType::Stored);
            let verified = verify(&wanted, &written, 0, &cpu(), &mut |_, _| ()).expect(name);
            assert_eq!(verified.largest_difference, 0.0, "{name} to {to}");
            let all = halfdepth::plan::LayerPlan::full(3).expect("a plan");
            assert_eq!(logits(&written, &all), expected, "{name} to {to}");
        }
    }
}

#[test]
fn a_tied_table_stored_as_the_head_stays_the_embedding_when_the_head_is_healed() {
    // Its file has `lm_head.weight` alone.
    let checkpoint = open("TinyStories-656K");
    let (vocabulary, hidden) = (
        checkpoint.config().vocab_size,
        checkpoint.config().hidden_size,
    );
    let head = vec![0.01; vocabulary * hidden];
    let embedding = values(&checkpoint, Weight::Embedding);
    let record = Record::new(
        RecordSource {
            layers: 2,
            ..RecordSource::default()
        },
        &one(),
        None,
    );
    let healed = checkpoint
        .replacing(&[(Weight::Head, head.clone())].into())
        .expect("fits");
    let plan = one();
    let cut = Cut {
        checkpoint: &healed,
        plan: &plan,
        record: &record,
    };
    let (mut config, mut weights) = (Vec::new(), Vec::new());
    let mut put = |name: &str, content: &mut halfdepth::prune::Content| match name {
        "config.json" => content(&mut config),
        "model.safetensors" => content(&mut weights),
        _ => content(&mut Vec::new()),
    };
    let options = FolderOptions {
        shard_bytes: SHARD_BYTES,
    };
    write_folder(cut, options, &mut put, &mut |_, _| ()).expect("writes");
    let files = HuggingFaceFiles {
        config: &config,
        shards: vec![("model.safetensors".into(), &weights)],
        ..HuggingFaceFiles::default()
    };
    let written = Checkpoint::from_hugging_face(files).expect("a good folder");
    assert_eq!(values(&written, Weight::Embedding), embedding);
    assert_eq!(values(&written, Weight::Head), head);
}

fn one() -> halfdepth::plan::LayerPlan {
    halfdepth::plan::LayerPlan::new("one", vec![0], 2).expect("a plan")
}
