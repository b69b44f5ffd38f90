//! Opens the shared models for tests, on either device.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use halfdepth::checkpoint::{Checkpoint, HuggingFaceFiles};
use halfdepth::decode;
use halfdepth::model::{Llama, LlamaBuilder, Loader};
use halfdepth::pack::{Manifest, PackOptions, write};
use halfdepth::weights::{FormatChoice, HeadWeights, LayerWeights, embedding_from_checkpoint};

use crate::common::shared;

/// The trained models that tests run.
pub const MODELS: [&str; 3] = ["stories260K", "TinyStories-656K", "halfdepth-stories-12L"];

/// Opens a Hugging Face folder, without its chat template. The bytes live as long as the test process.
pub fn open(name: &str) -> Checkpoint<'static> {
    let folder = shared(&format!("models/{name}"));
    let read = |file: &str| leak(&folder.join(file));
    let files = HuggingFaceFiles {
        config: read("config.json").expect("config.json"),
        generation_config: read("generation_config.json"),
        index: None,
        shards: vec![(
            "model.safetensors".to_string(),
            read("model.safetensors").expect("weights"),
        )],
        tokenizer: read("tokenizer.json"),
        tokenizer_config: None,
        chat_template: None,
    };
    Checkpoint::from_hugging_face(files).expect("a good checkpoint")
}

/// A file's bytes for the life of the process, or `None` where there is no file.
pub fn leak(path: &Path) -> Option<&'static [u8]> {
    std::fs::read(path)
        .ok()
        .map(|bytes| &*Box::leak(bytes.into_boxed_slice()))
}

/// Builds a model from a checkpoint.
pub fn build(checkpoint: &Checkpoint, choice: FormatChoice, device: &Device) -> Arc<Llama> {
    let mut builder = LlamaBuilder::new(checkpoint.config().clone(), device);
    builder
        .embedding(embedding_from_checkpoint(checkpoint, choice).expect("embedding"))
        .expect("embedding");
    builder
        .head(HeadWeights::from_checkpoint(checkpoint, choice).expect("head"))
        .expect("head");
    for layer in 0..checkpoint.config().layers {
        let weights = LayerWeights::from_checkpoint(checkpoint, layer, choice).expect("layer");
        builder.layer(layer, weights).expect("layer");
    }
    Arc::new(builder.build().expect("a whole model"))
}

/// Packs a checkpoint into memory and builds the model from the pack, as a page does.
pub fn pack(
    checkpoint: &Checkpoint,
    tokenizer_json: &[u8],
    options: &PackOptions,
) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    let mut put = |file: &str, bytes: &[u8]| {
        files.insert(file.to_string(), bytes.to_vec());
        Ok(())
    };
    let manifest = write(
        checkpoint,
        tokenizer_json,
        options,
        &mut put,
        &mut |_, _| (),
    )
    .expect("a pack");
    (manifest, files)
}

/// Builds a model from a pack's files.
pub fn unpack(manifest: &Manifest, read: impl Fn(&str) -> Vec<u8>, device: &Device) -> Arc<Llama> {
    let mut loader = Loader::new(manifest, device).expect("room for the model");
    for info in manifest.files() {
        let bytes = read(&info.file);
        assert!(
            loader
                .load_chunk(&info.file, 0, &bytes)
                .expect("a good file")
        );
    }
    assert!(loader.is_complete());
    Arc::clone(loader.model())
}

/// The devices there are. A missing GPU is printed, and under CI it fails the test: nothing is skipped silently.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", decode::cpu())];
    match gpu() {
        Some(device) => devices.push(("gpu", device)),
        None if std::env::var_os("CI").is_some() => {
            panic!("no GPU adapter; install mesa-vulkan-drivers")
        }
        None => {
            let test = std::thread::current()
                .name()
                .unwrap_or("a test")
                .to_string();
            say(&format!("halfdepth-skip: {test}: no adapter"));
        }
    }
    devices
}

/// Prints a line that the test runner does not swallow: what was measured is part of what a test says.
pub fn say(line: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}

/// The GPU, opened once for the process.
fn gpu() -> Option<Device> {
    use std::sync::OnceLock;
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    GPU.get_or_init(|| {
        pollster::block_on(decode::open_gpu())
            .ok()
            .map(|(device, _)| device)
    })
    .clone()
}
