//! Weights as they arrive: any chunks give the words of the whole; what is wrong is named and may come again; lanes need not
//! wait for the weights.

#[path = "common/mod.rs"]
mod common;
#[path = "common/model.rs"]
mod model;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor};
use common::shared;
use halfdepth::decode::Lane;
use halfdepth::model::{Llama, LlamaBuilder, LoadError, Loader};
use halfdepth::pack::{MANIFEST, Manifest, PackError, PackOptions, Role};
use halfdepth::plan::{LanePlan, LayerPlan, PlanEntry};
use halfdepth::quant::Format;
use pollster::block_on;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const MODEL: &str = "stories260K";

/// A plan of these layers.
fn run(layers: &[usize]) -> LanePlan {
    let plan = LayerPlan::new("test", layers.to_vec(), 5).expect("plan");
    plan.into()
}

/// A pack in memory.
struct Stored {
    manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    fn new(layers: Format, embedding: Format) -> Self {
        let half = LayerPlan::simple(5, 2).expect("plan");
        let options = PackOptions {
            name: MODEL.into(),
            source: Default::default(),
            layers,
            embedding,
            plans: vec![PlanEntry::new(half.name, "Half depth", half.layers)],
        };
        let json = std::fs::read(shared(&format!("models/{MODEL}/tokenizer.json")));
        let (manifest, files) =
            model::pack(&model::open(MODEL), &json.expect("tokenizer"), &options);
        Self { manifest, files }
    }

    fn name(&self, role: Role) -> &str {
        self.manifest.file(role).expect("a file of the pack")
    }

    fn file(&self, role: Role) -> &[u8] {
        &self.files[self.name(role)]
    }

    /// The model from parts that were read whole.
    fn whole(&self, device: &Device) -> Llama {
        let mut builder = LlamaBuilder::new(self.manifest.config().clone(), device);
        let embedding = self.manifest.read_embedding(self.file(Role::Embedding));
        builder
            .embedding(embedding.expect("embedding"))
            .expect("embedding");
        let head = self.manifest.read_head(self.file(Role::Head));
        builder.head(head.expect("head")).expect("head");
        for layer in 0..self.manifest.config().layers {
            let weights = self
                .manifest
                .read_layer(layer, self.file(Role::Layer(layer)));
            builder
                .layer(layer, weights.expect("layer"))
                .expect("layer");
        }
        builder.build().expect("a whole model")
    }

    fn load(&self, loader: &mut Loader, sizes: &[usize]) {
        for info in self.manifest.files() {
            let loaded = send(loader, &info.file, &self.files[&info.file], sizes);
            assert!(loaded.expect("a good file"));
        }
        assert!(loader.is_complete());
    }
}

/// Sends a file in chunks of these sizes, over and over.
fn send(loader: &mut Loader, file: &str, bytes: &[u8], sizes: &[usize]) -> Result<bool, LoadError> {
    let (mut at, mut whole) = (0, false);
    let mut sizes = sizes.iter().cycle();
    while at < bytes.len() {
        let size = sizes.next().map_or(bytes.len(), |size| *size);
        let end = bytes.len().min(at + size);
        whole = loader.load_chunk(file, at as u64, &bytes[at..end])?;
        at = end;
    }
    Ok(whole)
}

/// The words of every tensor, in the module's order.
fn words(model: &Llama) -> Vec<Vec<u32>> {
    struct Reader(Vec<Vec<u32>>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param
                .val()
                .into_data()
                .iter::<f32>()
                .map(f32::to_bits)
                .collect();
            self.0.push(values);
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.0.push(param.val().into_data().iter::<u32>().collect());
        }
    }
    let mut reader = Reader(Vec::new());
    model.visit(&mut reader);
    // A format without scales binds a word that nobody writes.
    reader.0.retain(|words| words.len() > 1);
    reader.0
}

#[test]
fn any_chunks_give_the_words_of_the_whole() {
    for (layers, embedding) in [(Format::Q4, Format::Q8), (Format::F32, Format::Q4)] {
        let stored = Stored::new(layers, embedding);
        for (name, device) in model::devices() {
            Loader::fits(&stored.manifest, &device).expect("a small model");
            let expected = words(&stored.whole(&device));
            assert!(expected.len() > 30 && expected.iter().any(|w| w.len() > 1000));
            let sizes = prop_oneof![1usize..9, 1usize..3000, 200usize..300, Just(1 << 20)];
            let cases = ProptestConfig {
                failure_persistence: None,
                ..ProptestConfig::with_cases(12)
            };
            proptest!(cases, |(sizes in vec(sizes, 1..40))| {
                let mut loader = Loader::new(&stored.manifest, &device).expect("room");
                stored.load(&mut loader, &sizes);
                prop_assert!(words(loader.model()) == expected, "{} {:?}", name, layers);
            });
        }
    }
}

#[test]
fn broken_files_are_named_however_they_are_cut_and_may_come_again() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    let role = Role::Layer(2);
    let (file, shard) = (stored.name(role), stored.file(role));
    let changed = |at: usize| {
        let mut bytes = shard.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let rows = [
        ("its first bit", changed(0), "is damaged: its SHA-256 is"),
        (
            "its last bit",
            changed(shard.len() - 1),
            "is damaged: its SHA-256 is",
        ),
        (
            "another layer",
            stored.file(Role::Layer(3)).to_vec(),
            "is damaged",
        ),
    ];
    for (device_name, device) in model::devices() {
        let expected = words(&stored.whole(&device));
        let mut loader = Loader::new(&stored.manifest, &device).expect("room");
        stored_but(&stored, &mut loader, role);
        for (row, bytes, message) in &rows {
            for size in [1, 3, 4, 7, 1000, 1 << 20] {
                let about = format!("{row}, {size} at a time, on {device_name}");
                let error = send(&mut loader, file, bytes, &[size]).expect_err(&about);
                let error = error.to_string();
                assert!(
                    error.contains(message) && error.contains("(layer 2)"),
                    "{about}: {error}"
                );
                assert!(
                    !loader.is_complete() && !loader.holds(&run(&[0, 2])),
                    "{about}"
                );
                assert!(loader.holds(&run(&[0, 1, 3, 4])), "{about}");
            }
        }
        for size in [1000, 1 << 20] {
            let longer = [shard, &[0]].concat();
            let error = send(&mut loader, file, &longer, &[size]).expect_err("too long");
            assert!(error.to_string().contains("has 26881 bytes"), "{error}");
        }
        for length in [0, 1, shard.len() - 1] {
            send(&mut loader, file, &shard[..length], &[1000]).expect("so far so good");
            let error = loader.end_of(file).expect_err("too short").to_string();
            assert!(error.contains(&format!("has {length} bytes")), "{error}");
        }
        // What came of the broken ones is overwritten by the right one.
        assert!(send(&mut loader, file, shard, &[100]).expect("the right one"));
        assert!(loader.is_complete());
        loader.end_of(file).expect("whole");
        assert!(words(loader.model()) == expected, "{device_name}");
    }
}

/// Everything but one file.
fn stored_but(stored: &Stored, loader: &mut Loader, role: Role) {
    for info in stored.manifest.files() {
        if info.role != role {
            send(loader, &info.file, &stored.files[&info.file], &[5000]).expect("a good file");
        }
    }
}

#[test]
fn values_that_are_not_finite_are_named_however_they_are_cut() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    // The norm (256 bytes), the last scale of q, k and v (after 4096 bytes of words, 512 of scales), one of the output.
    for (at, section) in [
        (0, "attention_norm"),
        (256 + 4096 + 508, "qkv"),
        (256 + 4096 + 512 + 2048, "output"),
    ] {
        let mut bytes = stored.file(Role::Layer(0)).to_vec();
        bytes[at..at + 4].fill(0xff);
        let sha256: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut json: serde_json::Value =
            serde_json::from_str(&stored.manifest.to_json()).expect("json");
        json["layers"][0]["file"] = format!("{sha256}.bin").into();
        json["layers"][0]["sha256"] = sha256.into();
        let manifest = Manifest::parse(json.to_string().as_bytes()).expect(MANIFEST);
        let file = manifest.file(Role::Layer(0)).expect("file").to_owned();
        for size in [1, 2, 3, 6, 100, 1 << 20] {
            let mut loader = Loader::new(&manifest, &halfdepth::decode::cpu()).expect("room");
            let error = send(&mut loader, &file, &bytes, &[size]).expect_err(section);
            assert!(
                matches!(error, LoadError::Pack(PackError::NonFinite { section: found, .. }) if found == section),
                "{section}, {size} at a time: {error}"
            );
        }
    }
}

#[test]
fn chunks_follow_each_other_or_begin_anew() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    let (file, shard) = (stored.name(Role::Embedding), stored.file(Role::Embedding));
    let mut loader = Loader::new(&stored.manifest, &halfdepth::decode::cpu()).expect("room");
    let error = loader
        .load_chunk("nothing.bin", 0, shard)
        .expect_err("no such file");
    assert!(
        error
            .to_string()
            .contains("nothing.bin is no file of this pack"),
        "{error}"
    );
    let error = loader
        .load_chunk(file, 8, &shard[8..16])
        .expect_err("a gap");
    assert!(
        matches!(
            error,
            LoadError::Gap {
                expected: 0,
                found: 8,
                ..
            }
        ),
        "{error}"
    );

    assert!(!loader.load_chunk(file, 0, &shard[..1001]).expect("begun"));
    let error = loader
        .load_chunk(file, 1000, &shard[1000..])
        .expect_err("an overlap");
    assert!(
        matches!(
            error,
            LoadError::Gap {
                expected: 1001,
                found: 1000,
                ..
            }
        ),
        "{error}"
    );
    assert!(!loader.load_chunk(file, 0, &shard[..7]).expect("anew"));
    assert!(!loader.load_chunk(file, 7, &[]).expect("nothing"));
    assert!(loader.load_chunk(file, 7, &shard[7..]).expect("the rest"));
    // It is in: whatever else comes under its name is not looked at.
    assert!(loader.load_chunk(file, 3, b"more").expect("ignored"));
}

#[test]
fn the_tokenizer_is_handed_over_whole_and_once() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    let (file, json) = (stored.name(Role::Tokenizer), stored.file(Role::Tokenizer));
    let mut loader = Loader::new(&stored.manifest, &halfdepth::decode::cpu()).expect("room");
    loader.load_chunk(file, 0, &json[..100]).expect("begun");
    assert_eq!(loader.take_tokenizer(), None);
    // A connection that begins again.
    assert!(send(&mut loader, file, json, &[999]).expect("good"));
    assert_eq!(loader.take_tokenizer().as_deref(), Some(json));
    assert_eq!(loader.take_tokenizer(), None);
}

#[test]
fn a_lane_made_before_the_weights_answers_like_one_made_after() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    let prompt = [1, 403, 407, 261, 378];
    let plan = |name: &str| stored.manifest.plan(name).expect("plan");
    for (name, device) in model::devices() {
        let answer = |lane: &mut Lane| {
            block_on(lane.prefill(&prompt)).expect("prefill");
            block_on(lane.decode(16)).expect("decode")
        };
        let mut loader = Loader::new(&stored.manifest, &device).expect("room");
        let lane = |plan| block_on(Lane::new(loader.model(), plan, 64)).expect("lane");
        let mut early = ["half", "full"].map(|name| lane(plan(name)));
        let half = early[0].plan().clone();
        // In the order of a download the half plan's files are in first, and it answers while the others come.
        let mut answers_meanwhile = 0;
        for info in stored.manifest.files() {
            send(&mut loader, &info.file, &stored.files[&info.file], &[4096]).expect("good");
            if loader.holds(&half) && !loader.is_complete() {
                answer(&mut early[0]);
                early[0].truncate(0);
                answers_meanwhile += 1;
            }
        }
        assert_eq!(
            answers_meanwhile, 2,
            "{name}: of five layers the half runs three"
        );
        let whole = std::sync::Arc::new(stored.whole(&device));
        for lane in &mut early {
            let about = format!("{} on {name}", lane.plan().layers().name);
            let mut late = block_on(Lane::new(&whole, lane.plan().clone(), 64)).expect("lane");
            assert_eq!(answer(lane), answer(&mut late), "{about}");
        }
    }
}

#[test]
fn a_cpu_model_that_ran_too_early_says_so() {
    let stored = Stored::new(Format::Q4, Format::Q8);
    let mut loader = Loader::new(&stored.manifest, &halfdepth::decode::cpu()).expect("room");
    words(loader.model());
    let shard = stored.file(Role::Layer(0));
    let error = loader
        .load_chunk(stored.name(Role::Layer(0)), 0, shard)
        .expect_err("too late");
    assert!(error.to_string().contains("load it again"), "{error}");
}
