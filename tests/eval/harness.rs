//! Every task's prompts, choices and likelihoods against lm_eval.json, which lm_eval.py writes with lm-evaluation-harness itself.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use halfdepth::decode::{Lane, cpu};
use halfdepth::eval::{
    Answer, Answerer, Ask, Encoder, Item, Task, Writer, choose, choose_by_length,
};
use halfdepth::plan::LayerPlan;
use halfdepth::weights::FormatChoice;
use pollster::block_on;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{self, say};
use crate::{full, items, tokenizer};

type Tasks = BTreeMap<String, Vec<Vec<Value>>>;

#[derive(Deserialize)]
struct Fixture {
    lm_eval: String,
    models: BTreeMap<String, Tasks>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| serde_json::from_str(include_str!("lm_eval.json")).expect("a fixture"))
}

/// The first eight digits of the hash of all that is asked, as lm_eval.py makes it.
fn hash(ask: &Ask) -> String {
    let parts: Vec<&str> = match ask {
        Ask::Choice { requests, .. } => (requests.iter())
            .flat_map(|request| [&*request.context, request.continuation.as_str()])
            .collect(),
        Ask::Greedy(request) => vec![&request.context, &request.continuation],
        Ask::Number { prompt, .. } => vec![prompt],
        Ask::Page { text, .. } => vec![text],
        _ => panic!("no benchmark asks this"),
    };
    let hash = Sha256::digest(parts.join("\0"));
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Items as the fixture has them: its first ones, of MMLU as many of each subject.
fn asked(task: Task, expected: &[Vec<Value>]) -> Vec<Item> {
    let limit = match task {
        Task::Mmlu { .. } => expected.len() / halfdepth::eval::MMLU_SUBJECTS.len(),
        _ => expected.len(),
    };
    items(task, Some(limit))
}

#[derive(Default)]
struct Tally {
    items: usize,
    /// Items with an option that the harness gives the 0 of no token: it merged into its context.
    unscored: usize,
    same: usize,
    same_by_length: usize,
    same_verdict: usize,
    /// Largest difference of a log-likelihood, and of one over its own size.
    off: f64,
    off_relative: f64,
}

impl Tally {
    fn log(&mut self, found: f64, expected: &Value) {
        let expected = expected.as_f64().expect("a number");
        let off = (found - expected).abs();
        self.off = self.off.max(off);
        self.off_relative = self.off_relative.max(off / expected.abs().max(1.0));
    }

    fn item(&mut self, item: &Item, answer: &Answer, expected: &[Value]) {
        let number = |at: usize| expected[at].as_u64().expect("a number") as usize;
        let logs = expected.get(4).and_then(Value::as_array);
        if logs.is_some_and(|logs| logs.iter().any(|log| log.as_f64() == Some(0.0))) {
            self.unscored += 1;
            return;
        }
        self.items += 1;
        match (&item.ask, answer) {
            (Ask::Choice { lengths, gold, .. }, Answer::Choice { logs, .. }) => {
                self.same += usize::from(choose(logs) == number(1));
                self.same_by_length += usize::from(choose_by_length(logs, lengths) == number(2));
                self.same_verdict += usize::from(usize::from(choose(logs) == *gold) == number(3));
                for (log, expected) in logs.iter().zip(expected[4].as_array().expect("logs")) {
                    self.log(*log, expected);
                }
            }
            (_, Answer::Greedy { log, is_right, .. }) => {
                self.log(*log, &expected[1]);
                self.same += usize::from(usize::from(*is_right) == number(2));
                self.same_by_length += 1;
                self.same_verdict += 1;
            }
            (_, Answer::Log { log, .. }) => {
                self.log(*log, &expected[1]);
                self.same += 1;
                self.same_by_length += 1;
                self.same_verdict += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check(name: &str) {
    let checkpoint = model::open(name);
    let dense = full(&checkpoint);
    let tokenizer = tokenizer(name);
    let encoder = Encoder::new(&tokenizer, dense.config()).expect("an encoder");
    let mut answerer = Answerer {
        encoder,
        model: &dense,
        reference: None,
        writer: None,
    };
    assert_eq!(fixture().lm_eval, "0.4.13");
    for (task_name, expected) in &fixture().models[name] {
        let task: Task = task_name.parse().expect("a task");
        let asked = asked(task, expected);
        assert_eq!(asked.len(), expected.len(), "{task}");
        for (index, (item, expected)) in asked.iter().zip(expected).enumerate() {
            assert_eq!(
                hash(&item.ask),
                expected[0],
                "{task} {index}: {:?}",
                item.ask
            );
        }
        if matches!(asked[0].ask, Ask::Number { .. }) {
            continue;
        }
        let references: Vec<&Item> = asked.iter().collect();
        let answers = block_on(answerer.answer(&references)).expect("answers");
        let mut tally = Tally::default();
        for ((item, answer), expected) in asked.iter().zip(&answers).zip(expected) {
            tally.item(item, answer, expected);
        }
        say(&format!(
            "{name} {task}: {} of {} choices, {} by length; log-likelihoods off by {:.1e}, relative {:.1e}; {} the harness did not score",
            tally.same,
            tally.items,
            tally.same_by_length,
            tally.off,
            tally.off_relative,
            tally.unscored
        ));
        // TinyStories-656K's tokenizer merges across words; of OpenBookQA's endings that are one word, three merge.
        assert!(tally.unscored <= 3, "{task}: {} unscored", tally.unscored);
        // Two options may lie closer together than f32 sums in another order; more than one in a hundred would be a fault.
        let enough = tally.items as f64 * 0.99;
        for same in [tally.same, tally.same_by_length, tally.same_verdict] {
            assert!(same as f64 >= enough, "{task}: {same} of {}", tally.items);
        }
        // f32 against f32: a log-likelihood is a sum of up to a few thousand terms, each right to about 1e-5, printed to 1e-4.
        assert!(tally.off_relative < 2e-4, "{task}: {}", tally.off_relative);
    }
}

#[test]
fn tinystories_656k_is_scored_as_by_the_harness() {
    check("TinyStories-656K");
}

#[test]
fn halfdepth_stories_12l_is_scored_as_by_the_harness() {
    check("halfdepth-stories-12L");
}

#[test]
fn greedy_answers_are_the_harnesss() {
    let name = "halfdepth-stories-12L";
    let checkpoint = model::open(name);
    let dense = full(&checkpoint);
    let tokenizer = tokenizer(name);
    let encoder = Encoder::new(&tokenizer, dense.config()).expect("an encoder");
    let llama = model::build(&checkpoint, FormatChoice::Dense, &cpu());
    let plan = LayerPlan::full(dense.config().layers).expect("a plan");
    let mut lane = block_on(Lane::new(&llama, plan, dense.config().context)).expect("a lane");
    let mut answerer = Answerer {
        encoder,
        model: &dense,
        reference: None,
        writer: Some(Writer::Lane(&mut lane)),
    };
    let (mut same, mut all, mut shared) = (0, 0, Vec::new());
    for task in [Task::Gsm8k, Task::Gsm8kCot] {
        let expected = &fixture().models[name][task.name()];
        for (item, expected) in asked(task, expected).iter().zip(expected) {
            let answers = block_on(answerer.answer(&[item])).expect("an answer");
            let Answer::Number { text, .. } = &answers[0] else {
                panic!("{answers:?}")
            };
            let expected = expected[1].as_str().expect("a text");
            let agree = text
                .chars()
                .zip(expected.chars())
                .take_while(|(a, b)| a == b);
            shared.push(agree.count());
            same += usize::from(text == expected);
            all += 1;
        }
    }
    say(&format!(
        "{same} of {all} answers to the letter; characters shared: {shared:?}"
    ));
    // A near tie of two tokens may part two greedy texts for good; most have none in 256 tokens, and none parts at once.
    assert!(same * 2 >= all, "{same} of {all}");
    assert!(shared.iter().all(|count| *count >= 20), "{shared:?}");
}
