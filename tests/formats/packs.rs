//! Packs: what is written comes back, always the same bytes, in the order in which it is needed.

use std::collections::BTreeMap;

use halfdepth::checkpoint::Checkpoint;
use halfdepth::pack::{Evaluation, MANIFEST, Manifest, PackOptions, Piece, Role, Source, write};
use halfdepth::plan::{LayerPlan, PlanEntry, PlanFigures};
use halfdepth::quant::Format;
use halfdepth::weights::{FormatChoice, HeadWeights, LayerWeights, embedding_from_checkpoint};
use safetensors::Dtype;

use crate::files::{Folder, MODELS, gguf, safetensors_of};
use crate::memory::peak_bytes;

/// A written pack, held in memory.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) manifest: Manifest,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Names in the order of writing.
    pub(crate) order: Vec<String>,
}

pub(crate) fn pack(checkpoint: &Checkpoint, layers: Format, embedding: Format) -> Stored {
    let n = checkpoint.config().layers;
    let half = LayerPlan::simple(n, n / 2).unwrap();
    let options = PackOptions {
        name: "a test".into(),
        source: Source {
            name: "stories".into(),
            kind: checkpoint.kind().into(),
            sha256: checkpoint.sha256(),
            licence: Some("MIT".into()),
        },
        layers,
        embedding,
        plans: vec![PlanEntry::new(half.name, "Half depth", half.layers)],
    };
    let (mut files, mut order, mut steps) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut put = |file: &str, bytes: &[u8]| {
        order.push(file.to_owned());
        files.insert(file.to_owned(), bytes.to_vec());
        Ok(())
    };
    let manifest = write(checkpoint, b"{}", &options, &mut put, &mut |done, of| {
        steps.push((done, of))
    })
    .unwrap();
    assert_eq!(
        steps,
        (0..=n + 2).map(|done| (done, n + 2)).collect::<Vec<_>>()
    );
    Stored {
        manifest,
        files,
        order,
    }
}

impl Stored {
    pub(crate) fn file(&self, role: Role) -> &[u8] {
        let info = self
            .manifest
            .files()
            .into_iter()
            .find(|info| info.role == role)
            .unwrap();
        &self.files[&info.file]
    }
}

#[test]
fn what_is_written_comes_back() {
    for model in MODELS {
        let folder = Folder::of(model);
        let checkpoint = folder.open().unwrap();
        for (layers, embedding) in [
            (Format::Q4, Format::Q8),
            (Format::Q8, Format::Q4),
            (Format::F32, Format::F32),
        ] {
            let stored = pack(&checkpoint, layers, embedding);
            let manifest = Manifest::parse(&stored.files[MANIFEST]).unwrap();
            assert_eq!(manifest, stored.manifest);
            assert_eq!(manifest.to_json().as_bytes(), stored.files[MANIFEST]);
            assert_eq!(manifest.config(), checkpoint.config());
            assert_eq!(
                manifest
                    .read_tokenizer(stored.file(Role::Tokenizer))
                    .unwrap(),
                b"{}"
            );

            let choice = FormatChoice::Quantised(embedding);
            let found = manifest
                .read_embedding(stored.file(Role::Embedding))
                .unwrap();
            assert_eq!(
                found,
                embedding_from_checkpoint(&checkpoint, choice).unwrap()
            );
            let found = manifest.read_head(stored.file(Role::Head)).unwrap();
            assert_eq!(
                found,
                HeadWeights::from_checkpoint(&checkpoint, choice).unwrap()
            );
            for layer in 0..checkpoint.config().layers {
                let expected = LayerWeights::from_checkpoint(
                    &checkpoint,
                    layer,
                    FormatChoice::Quantised(layers),
                )
                .unwrap();
                assert_eq!(
                    manifest
                        .read_layer(layer, stored.file(Role::Layer(layer)))
                        .unwrap(),
                    expected
                );
            }
        }
    }
}

#[test]
fn quantised_checkpoints_pack_without_loss() {
    for (file, format) in [("q4_0", Format::Q4), ("q8_0", Format::Q8)] {
        let bytes = gguf(file);
        let checkpoint = Checkpoint::from_gguf(&bytes).unwrap();
        let stored = pack(&checkpoint, format, format);
        let found = stored
            .manifest
            .read_layer(2, stored.file(Role::Layer(2)))
            .unwrap();
        let dense = LayerWeights::from_checkpoint(&checkpoint, 2, FormatChoice::Dense).unwrap();
        assert!(found.qkv.dequantise() == dense.qkv.dequantise());
        assert!(found.gate_up.dequantise() == dense.gate_up.dequantise());
        assert_eq!(found.down.format, format, "stored as F16, packed as asked");
    }
}

#[test]
fn a_separate_head_is_packed_apart() {
    let mut folder = Folder::of("TinyStories-656K");
    let mut tensors = folder.tensors();
    let (_, shape, values) = tensors
        .iter()
        .find(|(name, ..)| name == "lm_head.weight")
        .unwrap()
        .clone();
    tensors.push((
        "model.embed_tokens.weight".into(),
        shape,
        values.iter().map(|v| -v).collect(),
    ));
    folder.shards[0].1 = safetensors_of(&tensors, Dtype::F32);
    folder.edit_config(|config| {
        config.insert("tie_word_embeddings".into(), false.into());
    });
    let checkpoint = folder.open().unwrap();
    let stored = pack(&checkpoint, Format::Q4, Format::Q8);
    let manifest = Manifest::parse(&stored.files[MANIFEST]).unwrap();
    let head = manifest.read_head(stored.file(Role::Head)).unwrap();
    assert_eq!(
        head,
        HeadWeights::from_checkpoint(&checkpoint, FormatChoice::Quantised(Format::Q8)).unwrap()
    );
    assert_eq!(head.head.unwrap().rows, 2048);
}

#[test]
fn two_writes_give_the_same_bytes() {
    let folder = Folder::of("halfdepth-stories-12L");
    let [a, b] = [(); 2].map(|()| pack(&folder.open().unwrap(), Format::Q4, Format::Q8));
    assert_eq!(a.order, b.order);
    assert!(a.files == b.files);
    assert_eq!(a.order.last().unwrap(), MANIFEST);
}

#[test]
fn files_come_in_the_order_of_need() {
    let folder = Folder::of("halfdepth-stories-12L");
    let stored = pack(&folder.open().unwrap(), Format::Q4, Format::Q8);
    let files = stored.manifest.files();
    let roles: Vec<Role> = files.iter().map(|info| info.role).collect();
    let layers = [0, 1, 2, 3, 4, 11, 5, 6, 7, 8, 9, 10].map(Role::Layer);
    assert_eq!(
        roles,
        [&[Role::Tokenizer, Role::Embedding, Role::Head][..], &layers].concat()
    );
    for info in files {
        assert_eq!(stored.files[&info.file].len() as u64, info.bytes);
    }
}

#[test]
fn sections_begin_at_multiples_of_256() {
    let folder = Folder::of("stories260K");
    let checkpoint = folder.open().unwrap();
    let stored = pack(&checkpoint, Format::Q4, Format::Q8);
    let shard = stored.file(Role::Layer(3));
    let layer = stored.manifest.read_layer(3, shard).unwrap();
    let bytes = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let norm = |gains: &[f32]| {
        gains
            .iter()
            .flat_map(|gain| gain.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let sections = [
        norm(&layer.attention_norm),
        bytes(&layer.qkv.words),
        bytes(&layer.qkv.scale_words()),
        bytes(&layer.output.words),
        bytes(&layer.output.scale_words()),
        norm(&layer.mlp_norm),
        bytes(&layer.gate_up.words),
        bytes(&layer.gate_up.scale_words()),
        bytes(&layer.down.words),
        bytes(&layer.down.scale_words()),
    ];
    let mut at = 0;
    for section in sections {
        assert_eq!(shard[at..at + section.len()], section);
        let end = at + section.len();
        at = end.next_multiple_of(256);
        assert!(shard[end..at].iter().all(|byte| *byte == 0));
    }
    assert_eq!(at, shard.len());
}

#[test]
fn a_file_that_arrives_in_chunks_is_not_gathered() {
    let folder = Folder::of("halfdepth-stories-12L");
    let stored = pack(&folder.open().unwrap(), Format::Q4, Format::Q8);
    let file = stored.file(Role::Embedding);
    let (bytes, peak) = peak_bytes(|| {
        let mut stream = stored.manifest.stream(Role::Embedding).unwrap();
        let mut bytes = 0;
        for chunk in file.chunks(1001) {
            let mut count = |piece: Piece| bytes += piece.bytes.len();
            stream.push(chunk, &mut count).unwrap();
        }
        stream.finish().unwrap();
        bytes
    });
    assert_eq!(bytes, file.len(), "this one has no padding");
    // Names, the list of sections and the state of a hash.
    assert!(peak < 4096, "{peak}");
}

#[test]
fn plans_and_measurements_can_be_added() {
    let folder = Folder::of("halfdepth-stories-12L");
    let mut manifest = pack(&folder.open().unwrap(), Format::Q4, Format::Q8).manifest;
    let names = |manifest: &Manifest| {
        manifest
            .plans()
            .iter()
            .map(|plan| plan.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&manifest), ["full", "half"]);
    assert_eq!(
        manifest.plan("half").unwrap(),
        LayerPlan::simple(12, 6).unwrap().into()
    );
    let entry = |name: &str, layers: &[usize]| PlanEntry::new(name, "Best measured", layers);
    manifest.set_plan(entry("best", &[0, 1, 11])).unwrap();
    manifest
        .set_plan(entry("half", &[0, 2, 4, 6, 8, 11]))
        .unwrap();
    let text = |name: &str| Evaluation {
        text: name.into(),
        tokens: 2048,
        protocol: "16 windows of 128".into(),
    };
    let figures = PlanFigures {
        cross_entropy: 2.5287930437325397,
        agreement: Some(0.75),
        kl: Some(0.5),
    };
    let texts = vec![text("tinystories"), text("dialogues")];
    (manifest.set_evaluation(texts.clone(), vec![vec![figures; 2]; 3])).unwrap();
    assert_eq!(manifest.evaluation(), texts);
    assert_eq!(
        manifest.plans()[2].cross_entropy(),
        Some(2.5287930437325397)
    );
    // As many as there are plans, and no more than there are texts.
    assert!(
        manifest
            .set_evaluation(texts.clone(), vec![vec![figures; 2]; 2])
            .is_err()
    );
    assert!(
        manifest
            .set_evaluation(texts, vec![vec![figures; 3]; 3])
            .is_err()
    );
    assert_eq!(names(&manifest), ["full", "half", "best"]);
    assert_eq!(
        Manifest::parse(manifest.to_json().as_bytes()).unwrap(),
        manifest
    );
    assert_eq!(
        manifest.files()[3..6]
            .iter()
            .map(|f| f.role)
            .collect::<Vec<_>>(),
        [0, 1, 11].map(Role::Layer)
    );
    let before = manifest.clone();
    assert!(manifest.set_plan(entry("deep", &[12])).is_err());
    assert_eq!(manifest, before);
    let error = manifest.plan("quarter").unwrap_err().to_string();
    assert!(
        error.contains("there is no plan `quarter`; the pack has: full, half, best"),
        "{error}"
    );
}

#[test]
fn layers_of_equal_content_share_a_file() {
    let mut folder = Folder::of("TinyStories-656K");
    let mut tensors = folder.tensors();
    for index in 0..tensors.len() {
        if let Some(rest) = tensors[index].0.strip_prefix("model.layers.1.") {
            let twin = format!("model.layers.0.{rest}");
            tensors[index].2 = tensors
                .iter()
                .find(|(name, ..)| *name == twin)
                .unwrap()
                .2
                .clone();
        }
    }
    folder.shards[0].1 = safetensors_of(&tensors, Dtype::F32);
    let stored = pack(&folder.open().unwrap(), Format::Q4, Format::Q4);
    let files = stored.manifest.files();
    assert_eq!(files[3].file, files[4].file);
    assert_eq!(
        stored.order.len(),
        5,
        "tokenizer, embedding, head, one layer, manifest"
    );
}

#[test]
fn a_failed_write_names_the_file() {
    let folder = Folder::of("stories260K");
    let checkpoint = folder.open().unwrap();
    let options = PackOptions {
        name: "a test".into(),
        source: Source::default(),
        layers: Format::Q4,
        embedding: Format::Q8,
        plans: vec![],
    };
    let mut put = |_: &str, bytes: &[u8]| match bytes.len() {
        0..100 => Ok(()),
        _ => Err(std::io::Error::other("no room")),
    };
    let error = write(&checkpoint, b"{}", &options, &mut put, &mut |_, _| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(".bin could not be written: no room"),
        "{error}"
    );
}
