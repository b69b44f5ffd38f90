use std::ops::Range;

use halfdepth::config::LlamaConfig;
use halfdepth::dense::{Dense, DenseError, DenseLayer, DenseSource};
use halfdepth::plan::LayerPlan;
use halfdepth::trace::{Kind, Lens, Question, Settings, TraceError, Tracer};

use crate::model;

const SIZE: usize = 8;
const LAYERS: usize = 5;
/// The one layer that does something: its attention copies the mean of what was read.
const COPIES: usize = 2;
/// Token 3 is the subject, and the answer: all else is read without it.
const PROMPT: [u32; 4] = [1, 3, 2, 4];
const SUBJECT: usize = 1;
const ANSWER: u32 = 3;

/// Every token has a direction of its own, which is also its row of the head.
struct Toy(LlamaConfig);

fn toy() -> Toy {
    let mut config = model::open("stories260K").config().clone();
    (config.hidden_size, config.intermediate_size) = (SIZE, SIZE);
    (config.heads, config.kv_heads, config.head_dim) = (1, 1, SIZE);
    (config.vocab_size, config.layers) = (SIZE, LAYERS);
    Toy(config)
}

fn diagonal(scale: f32) -> Vec<f32> {
    let at = |at: usize| {
        if at.is_multiple_of(SIZE + 1) {
            scale
        } else {
            0.0
        }
    };
    (0..SIZE * SIZE).map(at).collect()
}

impl DenseSource for Toy {
    fn config(&self) -> &LlamaConfig {
        &self.0
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let rows = ids.iter().flat_map(|id| {
            let id = *id as usize;
            (0..SIZE).map(move |at| f32::from(at == id))
        });
        Ok(rows.collect())
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let copies = if index == COPIES { 3.0 } else { 0.0 };
        Ok(DenseLayer {
            attention_norm: vec![1.0; SIZE],
            query: diagonal(0.0),
            key: diagonal(0.0),
            value: diagonal(1.0),
            output: diagonal(copies),
            mlp_norm: vec![1.0; SIZE],
            gate: diagonal(0.0),
            up: diagonal(0.0),
            down: diagonal(0.0),
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        Ok(vec![1.0; SIZE])
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        Ok(diagonal(4.0)[rows.start * SIZE..rows.end * SIZE].to_vec())
    }
}

fn dense(toy: &Toy) -> Dense<'_> {
    let plan = LayerPlan::full(LAYERS).expect("a plan");
    Dense::load(toy, plan, &halfdepth::decode::cpu(), &mut |_, _| ()).expect("a model")
}

fn question() -> Question {
    Question {
        prompt: PROMPT.to_vec(),
        subject: vec![SUBJECT],
        answer: vec![ANSWER],
    }
}

#[test]
fn what_is_known_to_be_copied_is_found_where_it_is_copied() {
    let toy = toy();
    let dense = dense(&toy);
    let last = PROMPT.len() - 1;
    for kind in [Kind::State, Kind::Attention, Kind::Mlp] {
        let settings = Settings::new(kind, LAYERS);
        assert_eq!((settings.window, settings.samples), (1, 10));
        let tracer = Tracer::new(&dense, &question(), settings).expect("a tracer");
        let map = tracer.map(&|_, _| ()).expect("a map");
        let drop = tracer.corrupted().iter().sum::<f64>() / 10.0 - tracer.clean();
        for (layer, row) in map.effects.iter().enumerate() {
            for (token, effect) in row.iter().enumerate() {
                let holds = match kind {
                    // At the subject until it is copied, at the last token from then on.
                    Kind::State => token == if layer < COPIES { SUBJECT } else { last },
                    Kind::Attention => (layer, token) == (COPIES, last),
                    Kind::Mlp => false,
                };
                let expected = if holds { -drop } else { 0.0 };
                // Sums of f32 over eight numbers.
                let off = (effect.mean - expected).abs();
                assert!(off < 1e-6, "{kind:?} {layer} {token}: {effect:?}");
            }
        }
        let cut: Vec<usize> = (COPIES..LAYERS).collect();
        let share = map.share(&cut);
        match kind {
            Kind::State => assert!((share.expect("a share") - 0.6).abs() < 1e-5),
            Kind::Attention => assert!((share.expect("a share") - 1.0).abs() < 1e-5),
            Kind::Mlp => {}
        }
    }
}

#[test]
fn a_window_holds_the_layers_around_its_middle() {
    let toy = toy();
    let dense = dense(&toy);
    let last = PROMPT.len() - 1;
    // (window, layers around which the copying layer is in the window)
    let rows: [(usize, &[usize]); 4] = [
        (1, &[2]),
        (2, &[2, 3]),
        (3, &[1, 2, 3]),
        (5, &[0, 1, 2, 3, 4]),
    ];
    for (window, expected) in rows {
        let settings = Settings {
            window,
            ..Settings::new(Kind::Attention, LAYERS)
        };
        let tracer = Tracer::new(&dense, &question(), settings).expect("a tracer");
        let map = tracer.map(&|_, _| ()).expect("a map");
        let held = (0..LAYERS).filter(|layer| map.effects[*layer][last].mean > 1e-3);
        assert_eq!(held.collect::<Vec<_>>(), expected, "{window}");
    }
}

#[test]
fn settings_that_measure_nothing_are_refused() {
    let toy = toy();
    let dense = dense(&toy);
    let good = Settings::new(Kind::State, LAYERS);
    let rows = [
        (Settings { samples: 0, ..good }, "--samples"),
        (Settings { noise: 0.0, ..good }, "--noise"),
        (
            Settings {
                noise: f64::NAN,
                ..good
            },
            "--noise",
        ),
        (Settings { window: 0, ..good }, "--window"),
        (Settings { window: 6, ..good }, "--window"),
    ];
    for (settings, expected) in rows {
        let error = Tracer::new(&dense, &question(), settings)
            .err()
            .expect("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let no_answer = Question {
        answer: Vec::new(),
        ..question()
    };
    let error = Tracer::new(&dense, &no_answer, good)
        .err()
        .expect("refused");
    assert!(matches!(error, TraceError::Empty { what: "answer" }));
}

#[test]
fn the_lens_sees_the_answer_from_the_layer_that_copies_it() {
    let toy = toy();
    // The last token reads itself and the three before it, itself twice: what was read once ranks behind.
    let lens = Lens::new(&dense(&toy), &PROMPT, 2).expect("a lens");
    let last = PROMPT.len() - 1;
    assert_eq!(lens.chosen[last], PROMPT[last]);
    for (depth, readings) in lens.readings.iter().enumerate() {
        let subject = readings[last].top.iter().find(|(id, _)| *id == ANSWER);
        let likely = subject.is_some_and(|(_, probability)| *probability > 0.05);
        // Depth l + 1 is the stream after layer l.
        assert!(!likely || depth > COPIES, "depth {depth}: {readings:?}");
        assert_eq!(readings[last].kl < 1e-9, depth > COPIES, "depth {depth}");
    }
    assert_eq!(lens.first_chosen(last), (0, 0));
}
