//! Packs of random weights: whole, their own, and good enough to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use halfdepth::config::{LlamaConfig, Rope, RopeScaling};
use halfdepth::decode::{Lane, cpu};
use halfdepth::model::LlamaBuilder;
use halfdepth::pack::{Manifest, PackOptions, Role, Source, write_random};
use halfdepth::plan::LayerPlan;
use halfdepth::quant::Format;
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;

fn config(tied_head: bool) -> LlamaConfig {
    LlamaConfig {
        hidden_size: 96,
        intermediate_size: 200,
        layers: 3,
        heads: 6,
        kv_heads: 2,
        head_dim: 16,
        vocab_size: 300,
        context: 64,
        rms_norm_eps: 1e-5,
        rope: Rope {
            theta: 10_000.0,
            scaling: RopeScaling::None,
        },
        tied_head,
        bos_token: Some(1),
        eos_tokens: vec![2],
    }
}

fn pack(
    config: &LlamaConfig,
    seed: u64,
    formats: (Format, Format),
) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let options = PackOptions {
        name: "random".to_string(),
        source: Source {
            kind: "random".to_string(),
            ..Source::default()
        },
        layers: formats.0,
        embedding: formats.1,
        plans: Vec::new(),
    };
    let mut files = BTreeMap::new();
    let mut put = |name: &str, bytes: &[u8]| {
        files.insert(name.to_string(), bytes.to_vec());
        Ok(())
    };
    let manifest = write_random(config, seed, &options, &mut put, &mut |_, _| ()).expect("written");
    (manifest, files)
}

#[test]
fn a_random_pack_runs_and_its_logits_are_finite_and_differ() {
    for tied in [true, false] {
        for formats in [
            (Format::Q4, Format::Q4),
            (Format::Q8, Format::Q8),
            (Format::F32, Format::F32),
        ] {
            let (manifest, files) = pack(&config(tied), 1, formats);
            let manifest_json = &files["manifest.json"];
            assert_eq!(
                Manifest::parse(manifest_json).expect("a manifest"),
                manifest
            );
            let mut builder = LlamaBuilder::new(manifest.config().clone(), &cpu());
            for info in manifest.files() {
                let bytes = &files[&info.file];
                match info.role {
                    Role::Tokenizer => {
                        let json = manifest.read_tokenizer(bytes).expect("whole");
                        let tokenizer = Tokenizer::from_json(json).expect("a tokenizer");
                        tokenizer.fits(300).expect("one token a row");
                        let text = "Round trips: \u{e4} \u{1f999}";
                        let ids = tokenizer.encode(text, false).expect("ids");
                        assert_eq!(tokenizer.decode(&ids, false).expect("text"), text);
                        continue;
                    }
                    Role::Embedding => {
                        builder.embedding(manifest.read_embedding(bytes).expect("whole"))
                    }
                    Role::Head => builder.head(manifest.read_head(bytes).expect("whole")),
                    Role::Layer(layer) => {
                        builder.layer(layer, manifest.read_layer(layer, bytes).expect("whole"))
                    }
                    role => panic!("{role} in a random pack"),
                }
                .expect("of the right shape");
            }
            let model = Arc::new(builder.build().expect("complete"));
            let plan = LayerPlan::full(3).expect("a plan");
            let mut lane = block_on(Lane::new(&model, plan, 64)).expect("a lane");
            block_on(lane.prefill(&[5, 6, 7, 8])).expect("read");
            let logits = block_on(lane.logits()).expect("logits");
            assert!(logits.iter().all(|logit| logit.is_finite()), "{formats:?}");
            let spread = logits
                .iter()
                .fold(0.0_f32, |most, logit| most.max(logit.abs()));
            // Neither dying out nor growing without bound.
            assert!(
                (0.1..100.0).contains(&spread),
                "{formats:?}, tied {tied}: {spread}"
            );
        }
    }
}

#[test]
fn a_seed_is_a_pack_and_every_layer_has_its_own_file() {
    let q4 = (Format::Q4, Format::Q4);
    let (manifest, files) = pack(&config(false), 7, q4);
    assert_eq!(pack(&config(false), 7, q4), (manifest.clone(), files));
    let (other, _) = pack(&config(false), 8, q4);
    let names = |manifest: &Manifest| -> BTreeSet<String> {
        let weights = manifest.files().into_iter();
        weights
            .filter(|info| info.role != Role::Tokenizer)
            .map(|info| info.file)
            .collect()
    };
    // Embedding, head and three layers.
    assert_eq!(names(&manifest).len(), 5);
    assert!(names(&manifest).is_disjoint(&names(&other)));
}

#[test]
fn a_shape_that_contradicts_itself_is_refused() {
    let bad = LlamaConfig {
        kv_heads: 4,
        ..config(true)
    };
    let options = PackOptions {
        name: String::new(),
        source: Source::default(),
        layers: Format::Q4,
        embedding: Format::Q4,
        plans: Vec::new(),
    };
    let refused = write_random(&bad, 0, &options, &mut |_, _| Ok(()), &mut |_, _| ());
    assert!(
        refused
            .expect_err("refused")
            .to_string()
            .contains("kv_heads")
    );
}
