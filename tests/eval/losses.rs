//! Losses: on the stretch that the goldens cover, of a model that knows nothing, and of one that is compared with itself.

use std::ops::Range;

use halfdepth::config::LlamaConfig;
use halfdepth::dense::{Dense, DenseError, DenseLayer, DenseSource};
use halfdepth::eval::{Answer, Answerer, Encoder, Figures, Item, TextMeasure, Writer, summarise};
use halfdepth::plan::LayerPlan;
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

/// Weights as training begins with them: normal, of standard deviation 0.02 (`initializer_range`), the norms 1.
struct Untrained {
    config: LlamaConfig,
    seed: u64,
}

impl Untrained {
    /// A sum of twelve uniform numbers is normal enough.
    fn draw(&self, stream: u64, count: usize) -> Vec<f32> {
        let mut state = self.seed.wrapping_mul(1_000_003).wrapping_add(stream) | 1;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32
        };
        (0..count)
            .map(|_| 0.02 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0))
            .collect()
    }
}

impl DenseSource for Untrained {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let row = |id: &u32| self.draw(1_000_000 + u64::from(*id), self.config.hidden_size);
        Ok(ids.iter().flat_map(row).collect())
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let c = &self.config;
        let (hidden, wide) = (c.hidden_size, c.intermediate_size);
        let matrix = |part: u64, size: usize| self.draw(index as u64 * 10 + part, size);
        Ok(DenseLayer {
            attention_norm: vec![1.0; hidden],
            query: matrix(0, c.query_rows() * hidden),
            key: matrix(1, c.kv_rows() * hidden),
            value: matrix(2, c.kv_rows() * hidden),
            output: matrix(3, hidden * c.query_rows()),
            mlp_norm: vec![1.0; hidden],
            gate: matrix(4, wide * hidden),
            up: matrix(5, wide * hidden),
            down: matrix(6, hidden * wide),
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        Ok(vec![1.0; self.config.hidden_size])
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        let ids: Vec<u32> = rows.map(|row| row as u32).collect();
        self.embed(&ids)
    }
}

#[test]
fn a_random_model_scores_one_of_ln_v_and_no_more_than_a_little() {
    for seed in 0..3 {
        let checkpoint = model::open("halfdepth-stories-12L");
        let config = checkpoint.config().clone();
        let source = Untrained { config, seed };
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
