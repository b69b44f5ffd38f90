//! Files that are not what they should be: an error that says what and where, never a panic. And the real ones, counted.

use halfdepth::eval::data::{Form, boolq, gsm8k, hellaswag, instruct, lambada, mmlu};
use halfdepth::eval::{
    Answer, Ask, EvalError, Item, StateKey, Task, header, parse_state, record,
    wikitext_detokenized, wikitext_pages,
};
use proptest::prelude::*;

use crate::{bench_file, items};

#[test]
fn every_item_of_every_file_is_read() {
    let rows = [
        ("mmlu", 14_042),
        ("mmlu-cloze-0shot", 14_042),
        ("boolq", 3_270),
        ("hellaswag", 10_042),
        ("arc-easy", 2_376),
        ("arc-challenge", 1_172),
        ("piqa", 1_838),
        ("winogrande", 1_267),
        ("openbookqa", 500),
        ("lambada", 5_153),
        ("gsm8k", 1_319),
        ("arithmetic", 200),
        ("wikitext", 62),
    ];
    for (name, count) in rows {
        let task: Task = name.parse().expect("a task");
        let items = items(task, None);
        assert_eq!(items.len(), count, "{name}");
        let empty = |item: &&Item| match &item.ask {
            Ask::Choice { requests, .. } => requests
                .iter()
                .any(|r| r.context.is_empty() && name != "winogrande"),
            _ => false,
        };
        assert_eq!(items.iter().find(empty), None, "{name}");
    }
}

/// What a parser says of bytes.
fn parse(kind: &str, bytes: &[u8]) -> Result<usize, EvalError> {
    Ok(match kind {
        "mmlu" => mmlu("f", bytes)?.len(),
        "boolq" => boolq("f", bytes)?.len(),
        "hellaswag" => hellaswag("f", bytes)?.len(),
        "answer" => instruct("f", bytes, Form::Answer)?.len(),
        "option" => instruct("f", bytes, Form::Option)?.len(),
        "lambada" => lambada("f", bytes)?.len(),
        "gsm8k" => gsm8k("f", bytes)?.len(),
        _ => panic!("{kind}"),
    })
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let head = "question,choice0,choice1,choice2,choice3,answer\n";
    let row = |instruction: &str, answer: &str| {
        serde_json::json!([{ "instruction": instruction, "answer": answer }]).to_string()
    };
    let good = "x to the question: Q\n\nAnswer1: a Answer2: b\n\nAnswer format: answer1/answer2";
    // (parser, file, a part of the message)
    let rows = [
        ("mmlu", head.to_string(), "no item"),
        ("mmlu", format!("{head}q,a,b,c,d,4\n"), "answer is 4 of 4"),
        ("mmlu", format!("{head}q,a,b,c\n"), "row 1"),
        ("mmlu", format!("{head}q,a,b,c,d,-1\n"), "row 1"),
        ("mmlu", "a,b\n1,2\n".into(), "does not begin with"),
        ("boolq", "[]".into(), "no item"),
        ("boolq", "{}".into(), "invalid type"),
        ("hellaswag", "a: b\n3\nw\nx\ny".into(), "no multiple of 6"),
        ("hellaswag", "a: b\n4\nw\nx\ny\nz\n".into(), "answer is 4"),
        (
            "hellaswag",
            "a: b\n3\nw\n\ny\nz\n".into(),
            "option is empty",
        ),
        ("hellaswag", "ab\n3\nw\nx\ny\nz\n".into(), "no activity"),
        ("answer", row(good, "answer3"), "answer is 2 of 2"),
        ("answer", row(good, "answer0"), "no `answer`"),
        ("answer", row("Q", "answer1"), "Answer format"),
        ("option", row(good, "option1"), "Option1: "),
        ("lambada", "{\"text\": \"word\"}".into(), "no last word"),
        ("lambada", "{\"text\": \"a word\"}\n{".into(), "line 2"),
        (
            "gsm8k",
            "{\"question\": \"q\", \"answer\": \"7\"}".into(),
            "after `####`",
        ),
    ];
    for (kind, file, part) in rows {
        let message = parse(kind, file.as_bytes())
            .expect_err("refused")
            .to_string();
        assert!(message.contains(part), "{kind}: {message}");
    }
    assert_eq!(
        parse("answer", row(good, "answer2").as_bytes()).expect("read"),
        1
    );
    assert!(
        parse("boolq", &[0xff, 0xfe])
            .expect_err("refused")
            .to_string()
            .contains("UTF-8")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_makes_a_parser_panic(at in 0.0..1.0_f64, length in 0..60_usize, bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
        let files = [
            ("mmlu", "mmlu/dev/anatomy_dev.csv"),
            ("boolq", "boolq_validation.json"),
            ("hellaswag", "hellaswag_val_full.txt"),
            ("answer", "ARC-Challenge/test.json"),
            ("option", "winogrande/test.json"),
            ("lambada", "lambada_test.jsonl"),
            ("gsm8k", "gsm8k_test.jsonl"),
        ];
        for (kind, name) in files {
            // The start of a file is enough to be damaged in every way.
            let mut file = bench_head(name);
            let from = (file.len() as f64 * at) as usize;
            let to = (from + length).min(file.len());
            file.splice(from..to, bytes.iter().copied());
            let _ = parse(kind, &file);
        }
    }
}

fn bench_head(name: &str) -> Vec<u8> {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    static HEADS: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut heads = HEADS.lock().expect("heads");
    let head = heads.entry(name.to_string()).or_insert_with(|| {
        let mut bytes = bench_file(name);
        bytes.truncate(4_000);
        bytes
    });
    head.clone()
}

#[test]
fn a_state_gives_back_what_was_answered_and_refuses_what_is_not_its_own() {
    let items = items("arithmetic".parse().expect("a task"), Some(3));
    let key = StateKey::new(&["model"], &items);
    let answer = |log: f64| Answer::Greedy {
        log,
        is_right: log > -1.0,
        is_cut: false,
    };
    let whole = header(&key) + &record(0, &answer(-0.1 - 0.2)) + &record(2, &answer(-7.25));
    let all = vec![Some(answer(-0.1 - 0.2)), None, Some(answer(-7.25))];
    assert_eq!(parse_state(&whole, &key, &items).expect("read"), all);
    // Cut off anywhere: what ended before stands.
    for end in 0..whole.len() {
        let answers = parse_state(&whole[..end], &key, &items).expect("read");
        let lines = whole[..end].matches('\n').count();
        let kept = answers.iter().flatten().count();
        assert_eq!(kept, lines.saturating_sub(1), "{end}");
    }
    let other = StateKey::new(&["another"], &items);
    let rows = [
        (whole.clone(), &other, "another model"),
        (whole.replace("\"item\":2", "\"item\":3"), &key, "line 3"),
        (whole.replace("-7.25", "1e999"), &key, "line 3"),
        (whole.replace("halfdepth-eval-state", "x"), &key, "format"),
        ("{}\n".into(), &key, "line 1"),
    ];
    for (text, key, part) in rows {
        let message = parse_state(&text, key, &items)
            .expect_err("refused")
            .to_string();
        assert!(message.contains(part), "{message}");
    }
    assert_ne!(key, StateKey::new(&["model"], &items[..2]));
}

#[test]
fn pages_are_parted_at_titles_and_read_as_they_were_written() {
    let text = " \n = A = \n \n One , two . \n = = Part = = \n \n 3 @,@ 000 \n = B = \n \n x \n";
    let pages = wikitext_pages(text);
    assert_eq!(pages.len(), 2);
    assert!(pages[1].starts_with(" = B = "));
    let rows = [
        ("One , two . ", "One, two. "),
        ("3 @,@ 000 @.@ 5 well @-@ known", "3,000.5 well-known"),
        ("( a b ) [ c ] { d } \" e \"", "(a b) [c] {d} \"e\""),
        (" = = Part = = \n \n x", " == Part ==\nx"),
        ("the dogs ' bone , it 's", "the dogs' bone, it's"),
    ];
    for (page, expected) in rows {
        assert_eq!(wikitext_detokenized(page), expected);
    }
}
