//! Losses: on the stretch that the goldens cover, of a model that knows nothing, and of one that is compared with itself.

use halfdepth::config::{LlamaConfig, Rope, RopeScaling};
use halfdepth::dense::{Dense, PackSource};
use halfdepth::eval::{Answer, Answerer, Encoder, Figures, Item, TextMeasure, Writer, summarise};
use halfdepth::pack::{PackOptions, Source, write_random};
use halfdepth::plan::{LayerPlan, PlanEntry};
use halfdepth::quant::Format;
use pollster::block_on;
use serde_json::Value;

use crate::common::shared;
use crate::model::{self, MODELS, say};
use crate::{full, tokenizer};

fn text_ids(name: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    tokenizer(name).encode(&text[..40_000], false).expect("ids")
}

fn figures(answerer: &mut Answerer, items: &[Item]) -> Figures {
    let asked: Vec<&Item> = items.iter().collect();
    let answers: Vec<Answer> = block_on(answerer.answer(&asked)).expect("answers");
    let vocab_size = answerer.model.config().vocab_size;
    summarise(items, &answers, vocab_size).expect("figures").0
}

#[test]
fn cross_entropy_equals_the_goldens_on_their_stretch() {
    for name in MODELS {
        let bytes = std::fs::read(shared(&format!("goldens/{name}.json"))).expect("goldens");
        let goldens: Value = serde_json::from_slice(&bytes).expect("JSON");
        let checkpoint = model::open(name);
        let whole = full(&checkpoint);
        let tokenizer = tokenizer(name);
        for (plan_name, golden) in goldens["plans"].as_object().expect("plans") {
            let number = |field: &str| golden[field].as_u64().expect("a number") as usize;
            let window = number("ce_window");
            let limit = number("ce_tokens") / window;
            let items = TextMeasure::Loss.items("text", &text_ids(name), window, Some(limit));
            let items = items.expect("windows");
            let dropped: Vec<usize> =
                serde_json::from_value(golden["dropped"].clone()).expect("layers");
            let plan = LayerPlan::without(whole.config().layers, &dropped).expect("a plan");
            let dense = whole.with_plan(plan).expect("layers");
            let mut answerer = Answerer {
                encoder: Encoder::new(&tokenizer, dense.config()).expect("an encoder"),
                model: &dense,
                reference: None,
                writer: None,
            };
            let Figures::Loss { cross_entropy, .. } = figures(&mut answerer, &items) else {
                panic!("no loss")
            };
            let expected = golden["ce_nats"].as_f64().expect("a number");
            let off = (cross_entropy.value - expected).abs();
            // The bound asked for; f32 against f64 is seen to differ by less than 1e-5.
            assert!(off < 1e-3, "{name} {plan_name}: {off}");
        }
    }
}

fn random_model(
    seed: u64,
) -> PackSource<impl Fn(&str) -> Result<Vec<u8>, halfdepth::pack::PackError> + Sync> {
    let config = LlamaConfig {
        hidden_size: 128,
        intermediate_size: 384,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        vocab_size: 2048,
        context: 512,
        rms_norm_eps: 1e-5,
        rope: Rope {
            theta: 10_000.0,
            scaling: RopeScaling::None,
        },
        tied_head: true,
        bos_token: Some(1),
        eos_tokens: vec![2],
    };
    let plan = PlanEntry {
        name: "full".into(),
        title: "Full depth".into(),
        layers: (0..config.layers).collect(),
        cross_entropy: None,
    };
    let options = PackOptions {
        name: "random".into(),
        source: Source {
            name: "random".into(),
            kind: "random".into(),
            sha256: String::new(),
            licence: None,
        },
        layers: Format::Q8,
        embedding: Format::Q8,
        plans: vec![plan],
    };
    let mut files = std::collections::BTreeMap::new();
    let mut put = |file: &str, bytes: &[u8]| {
        files.insert(file.to_string(), bytes.to_vec());
        Ok(())
    };
    let manifest = write_random(&config, seed, &options, &mut put, &mut |_, _| ()).expect("a pack");
    PackSource::new(&manifest, move |file: &str| Ok(files[file].clone())).expect("a source")
}

#[test]
fn a_random_model_scores_one_of_ln_v_and_no_more_than_a_little() {
    for seed in 0..3 {
        let source = random_model(seed);
        let dense = full(&source);
        let tokenizer = tokenizer("halfdepth-stories-12L");
        let items =
            TextMeasure::Loss.items("text", &text_ids("halfdepth-stories-12L"), 128, Some(16));
        let mut answerer = Answerer {
            encoder: Encoder::new(&tokenizer, dense.config()).expect("an encoder"),
            model: &dense,
            reference: None,
            writer: None,
        };
        let Figures::Loss { over_ln_v, .. } = figures(&mut answerer, &items.expect("windows"))
        else {
            panic!("no loss")
        };
        say(&format!(
            "random weights, seed {seed}: cross-entropy / ln V = {over_ln_v:.4}"
        ));
        assert!((0.98..1.05).contains(&over_ln_v), "{over_ln_v}");
    }
}

#[test]
fn a_model_is_no_way_off_itself_and_some_way_off_without_layers() {
    let name = "halfdepth-stories-12L";
    let checkpoint = model::open(name);
    let whole = full(&checkpoint);
    let tokenizer = tokenizer(name);
    let items = TextMeasure::Compare
        .items("text", &text_ids(name), 128, Some(4))
        .expect("windows");
    let distance = |dense: &Dense| {
        let mut answerer = Answerer {
            encoder: Encoder::new(&tokenizer, dense.config()).expect("an encoder"),
            model: dense,
            reference: Some(&whole),
            writer: None,
        };
        match figures(&mut answerer, &items) {
            Figures::Distance {
                kl,
                agreement,
                tokens,
            } => (kl.value, agreement.value, tokens),
            other => panic!("{other:?}"),
        }
    };
    let (kl, agreement, tokens) = distance(&whole);
    // The same sums in the same order.
    assert!(
        kl.abs() < 1e-6 && agreement == 1.0 && tokens == 512,
        "{kl} {agreement} {tokens}"
    );
    let distances: Vec<(f64, f64)> = [&[8][..], &[0]]
        .iter()
        .map(|dropped| {
            let plan = LayerPlan::without(12, dropped).expect("a plan");
            let (kl, agreement, _) = distance(&whole.with_plan(plan).expect("layers"));
            (kl, agreement)
        })
        .collect();
    // A deep layer costs 0.02 nats of loss, the first layer 5.7.
    assert!(
        distances[0].0 > 0.0 && distances[0].0 < 0.3,
        "{distances:?}"
    );
    assert!(
        distances[1].0 > 2.0 && distances[1].1 < distances[0].1,
        "{distances:?}"
    );
}

#[test]
fn a_lane_and_the_dense_model_repeat_themselves_alike() {
    let name = "stories260K";
    let checkpoint = model::open(name);
    let dense = full(&checkpoint);
    let tokenizer = tokenizer(name);
    let items = TextMeasure::Repetition
        .items("text", &text_ids(name), 128, Some(3))
        .expect("prompts");
    let llama = model::build(
        &checkpoint,
        halfdepth::weights::FormatChoice::Dense,
        &halfdepth::decode::cpu(),
    );
    let plan = LayerPlan::full(5).expect("a plan");
    let mut lane = block_on(halfdepth::decode::Lane::new(&llama, plan, 512)).expect("a lane");
    let mut rates = Vec::new();
    for writer in [Writer::Lane(&mut lane), Writer::Dense(&dense)] {
        let mut answerer = Answerer {
            encoder: Encoder::new(&tokenizer, dense.config()).expect("an encoder"),
            model: &dense,
            reference: None,
            writer: Some(writer),
        };
        rates.push(figures(&mut answerer, &items));
    }
    assert_eq!(rates[0], rates[1]);
}
