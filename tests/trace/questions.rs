use halfdepth::config::LlamaConfig;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::trace::{Occurrence, Question, TraceError};

use crate::common::shared;
use crate::model;

fn tokenizer(name: &str) -> (Tokenizer, LlamaConfig) {
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("reads");
    let config = model::open(name).config().clone();
    (Tokenizer::from_json(&json).expect("a tokenizer"), config)
}

const TWICE: &str = "Lily had a dog. The dog liked Lily";

#[test]
fn the_subject_s_tokens_decode_to_the_subject() {
    // One tokenizer of bytes, one of SentencePiece with a space put before the text; letters of one, two and four bytes.
    for model in ["halfdepth-stories-12L", "stories260K"] {
        let (tokenizer, config) = tokenizer(model);
        let rows = [
            ("Once there was a girl named Lily", "Lily", Occurrence::Only),
            ("Lily had a dog", "Lily", Occurrence::Only),
            ("The café of Zoë was near", "café of Zoë", Occurrence::Only),
            ("A 🐶 and a cat", "🐶", Occurrence::Only),
            (TWICE, "Lily", Occurrence::Nth(2)),
            (TWICE, "dog. The dog", Occurrence::Only),
        ];
        for (prompt, subject, occurrence) in rows {
            let question =
                Question::with_subject(&tokenizer, &config, prompt, (subject, occurrence), None);
            let question = question.expect("a question");
            let ids: Vec<u32> = question
                .subject
                .iter()
                .map(|at| question.prompt[*at])
                .collect();
            let text = tokenizer.decode(&ids, false).expect("decodes");
            assert!(
                text.contains(subject),
                "{model}: {text:?} is not {subject:?}"
            );
            assert!(text.len() <= subject.len() + 4, "{model}: {text:?} is more");
            let steps = question.subject.windows(2);
            assert!(steps.into_iter().all(|pair| pair[1] == pair[0] + 1));
        }
    }
}

#[test]
fn every_occurrence_is_taken_where_all_are_asked_for() {
    let (tokenizer, config) = tokenizer("halfdepth-stories-12L");
    let subject = |occurrence| {
        Question::with_subject(&tokenizer, &config, TWICE, ("Lily", occurrence), None)
            .expect("a question")
            .subject
    };
    let (first, second) = (subject(Occurrence::Nth(1)), subject(Occurrence::Nth(2)));
    assert!(first.last() < second.first());
    assert_eq!(subject(Occurrence::All), [first, second].concat());
}

#[test]
fn a_question_that_cannot_be_traced_is_refused_with_a_way_out() {
    let (tokenizer, config) = tokenizer("halfdepth-stories-12L");
    let long = "Lily ran. ".repeat(400);
    let rows = [
        (TWICE, "Tom", Occurrence::Only, None, "is not in the prompt"),
        (TWICE, "", Occurrence::Only, None, "the subject is empty"),
        ("", "Lily", Occurrence::Only, None, "the prompt is empty"),
        (TWICE, "Lily", Occurrence::Only, None, "--occurrence 1 to 2"),
        (TWICE, "Lily", Occurrence::Nth(3), None, "they are 1 to 2"),
        (TWICE, "Lily", Occurrence::Nth(0), None, "they are 1 to 2"),
        (
            TWICE,
            "Lily",
            Occurrence::All,
            Some(""),
            "the answer is empty",
        ),
        (
            "Once there was a girl named Li",
            "girl",
            Occurrence::Only,
            Some("ly"),
            "holds both the prompt's end and the answer's begin",
        ),
        (
            &long,
            "Lily",
            Occurrence::Nth(7),
            None,
            "the model takes 512",
        ),
    ];
    for (prompt, subject, occurrence, answer, expected) in rows {
        let error =
            Question::with_subject(&tokenizer, &config, prompt, (subject, occurrence), answer);
        let message = error.expect_err("refused").to_string();
        assert!(message.contains(expected), "{message}");
    }
    let error = Question::new(&tokenizer, &config, "").expect_err("refused");
    assert!(matches!(error, TraceError::Empty { what: "prompt" }));
}

#[test]
fn a_text_that_spells_its_begin_token_has_it_once() {
    let (tokenizer, config) = tokenizer("halfdepth-stories-12L");
    let ids = |text| {
        Question::new(&tokenizer, &config, text)
            .expect("a question")
            .prompt
    };
    let begin = config.bos_token.expect("a begin token");
    assert_eq!(ids("Once"), ids("<|begin|>Once"));
    assert_eq!(ids("Once")[0], begin);
}
