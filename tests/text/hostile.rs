//! Tokenizers and templates that mean harm or are broken: a named error each, soon, and no panic.

use std::time::{Duration, Instant};

use halfdepth::chat::{ChatError, ChatTemplate, Message, Role, special_text};
use halfdepth::checkpoint::GgufVocabulary;
use halfdepth::tokenizer::{MAX_TEXT_BYTES, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bytes;
use crate::tokens::vocabulary;

/// A tokenizer of three tokens that is in order.
fn small() -> Value {
    json!({
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] },
        "added_tokens": [{ "id": 3, "content": "<s>", "special": true }],
        "decoder": { "type": "ByteLevel" },
    })
}

/// The same with one part replaced.
fn with(path: &str, part: Value) -> Vec<u8> {
    let mut file = small();
    match file.pointer_mut(path) {
        Some(place) => *place = part,
        None => {
            let (parent, key) = path.rsplit_once('/').unwrap();
            file.pointer_mut(parent).unwrap()[key] = part;
        }
    }
    file.to_string().into_bytes()
}

fn template(single: Value, ids: Value) -> Vec<u8> {
    let pair = json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }]);
    let special = json!({ "<s>": { "id": "<s>", "ids": ids, "tokens": ["<s>"] } });
    with(
        "/post_processor",
        json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special }),
    )
}

fn nested(part: &str, list: &str, depth: usize) -> Vec<u8> {
    let inner = json!({ "type": "Sequence", list: [] });
    let deep = (0..depth).fold(
        inner,
        |inner, _| json!({ "type": "Sequence", list: [inner] }),
    );
    with(&format!("/{part}"), deep)
}

#[test]
fn a_bad_tokenizer_json_is_named() {
    assert!(Tokenizer::from_json(&serde_json::to_vec(&small()).unwrap()).is_ok());
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let named = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let growing = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aaaaaaaa" });
    let wholes = small().to_string();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "Malformed"),
        ("not JSON", b"GGUF".to_vec(), "Malformed"),
        (
            "cut off",
            wholes.as_bytes()[..wholes.len() - 9].to_vec(),
            "Malformed",
        ),
        (
            "cut off in the model",
            wholes.as_bytes()[..40].to_vec(),
            "Malformed",
        ),
        ("not UTF-8", b"{\"model\": \"\xff\"}".to_vec(), "Malformed"),
        ("too long", vec![b' '; (64 << 20) + 1], "TooLarge"),
        ("a list", b"[]".to_vec(), "Malformed"),
        (
            "nested without end",
            [b"[".repeat(100_000), b"]".repeat(100_000)].concat(),
            "Malformed",
        ),
        ("no model", with("/model", Value::Null), "Malformed"),
        (
            "vocabulary of the wrong type",
            with("/model/vocab", json!(["a"])),
            "Malformed",
        ),
        (
            "ids of the wrong type",
            with("/model/vocab/a", json!("0")),
            "Malformed",
        ),
        (
            "a negative id",
            with("/model/vocab/a", json!(-1)),
            "Malformed",
        ),
        (
            "an id past 32 bits",
            with("/model/vocab/a", json!(1u64 << 40)),
            "Malformed",
        ),
        (
            "a huge id",
            with("/model/vocab/a", json!(u32::MAX)),
            "IdTooLarge",
        ),
        (
            "a huge added id",
            with("/added_tokens/0/id", json!(u32::MAX)),
            "IdTooLarge",
        ),
        ("an id twice", with("/model/vocab/a", json!(1)), "Ambiguous"),
        (
            "an added id that is taken",
            with("/added_tokens/0/id", json!(1)),
            "Ambiguous",
        ),
        (
            "an added token with another id",
            with("/added_tokens/0/content", json!("a")),
            "Ambiguous",
        ),
        (
            "a merge of unknown tokens",
            with("/model/merges", json!(["a c"])),
            "UnknownToken",
        ),
        (
            "a merge into an unknown token",
            with("/model/merges", json!([["b", "a"]])),
            "UnknownToken",
        ),
        (
            "a merge of one",
            with("/model/merges", json!(["ab"])),
            "Malformed",
        ),
        (
            "a merge of three",
            with("/model/merges", json!([["a", "b", "ab"]])),
            "Malformed",
        ),
        (
            "an unknown token that is none",
            with("/model/unk_token", json!("<unk>")),
            "UnknownToken",
        ),
        ("dropout", with("/model/dropout", json!(0.5)), "Unsupported"),
        (
            "a prefix",
            with("/model/continuing_subword_prefix", json!("##")),
            "Unsupported",
        ),
        (
            "a suffix",
            with("/model/end_of_word_suffix", json!("</w>")),
            "Unsupported",
        ),
        (
            "another model",
            with("/model/type", json!("Unigram")),
            "Unsupported",
        ),
        ("no decoder", with("/decoder", Value::Null), "Unsupported"),
        (
            "a decoder from elsewhere",
            with("/decoder", json!({ "type": "CTC" })),
            "Unsupported",
        ),
        (
            "a strip past the end",
            with(
                "/decoder",
                json!({ "type": "Strip", "content": " ", "start": 0, "stop": 9 }),
            ),
            "Unsupported",
        ),
        (
            "a normalizer with a table",
            with(
                "/normalizer",
                json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" }),
            ),
            "Unsupported",
        ),
        (
            "a normalizer without its field",
            with("/normalizer", json!({ "type": "Prepend" })),
            "Malformed",
        ),
        (
            "a normalizer that multiplies",
            with(
                "/normalizer",
                json!({ "type": "Sequence", "normalizers": [growing, growing, growing] }),
            ),
            "TooLarge",
        ),
        (
            "normalizers without end",
            nested("normalizer", "normalizers", 60),
            "TooLarge",
        ),
        (
            "pre-tokenizers without end",
            nested("pre_tokenizer", "pretokenizers", 60),
            "TooLarge",
        ),
        (
            "an unclosed expression",
            with("/pre_tokenizer", split("(")),
            "Refused",
        ),
        (
            "an expression that unrolls",
            with("/pre_tokenizer", split("((a{999}){999}){999}(?=b)")),
            "TooLarge",
        ),
        (
            "a text twice",
            template(json!([sequence("A"), sequence("A")]), json!([3])),
            "Malformed",
        ),
        (
            "a second text there is not",
            template(json!([sequence("A"), sequence("B")]), json!([3])),
            "Malformed",
        ),
        (
            "a special token there is not",
            template(json!([named("</s>"), sequence("A")]), json!([3])),
            "UnknownToken",
        ),
        (
            "a special id past the end",
            template(json!([named("<s>"), sequence("A")]), json!([4])),
            "IdTooLarge",
        ),
        (
            "more ids than tokens",
            template(json!([named("<s>"), sequence("A")]), json!([3, 3])),
            "Malformed",
        ),
    ];
    println!("{} tokenizer files", rows.len());
    for (what, file, name) in rows {
        let begun = Instant::now();
        let error = Tokenizer::from_json(&file)
            .err()
            .unwrap_or_else(|| panic!("{what} was taken"));
        assert!(format!("{error:?}").starts_with(name), "{what}: {error:?}");
        assert!(!error.to_string().is_empty());
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{what}: {:?}",
            begun.elapsed()
        );
    }
}

fn split(regex: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false })
}

#[test]
fn padding_and_truncation_of_a_file_are_left_aside() {
    let mut file = small();
    file["padding"] =
        json!({ "strategy": { "Fixed": 4_000_000_000u32 }, "direction": "Right", "pad_id": 0 });
    file["truncation"] = json!({ "max_length": 1, "strategy": "LongestFirst", "stride": 0 });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("abab", true).unwrap(), [2, 2]);
}

#[test]
fn ids_and_texts_out_of_range_are_named() {
    let tokenizer = Tokenizer::from_json(small().to_string().as_bytes()).unwrap();
    assert_eq!(
        tokenizer.decode(&[2, 4], true),
        Err(TokenizerError::UnknownId {
            id: 4,
            vocab_size: 4
        })
    );
    assert_eq!(tokenizer.fits(4), Ok(()));
    assert!(matches!(
        tokenizer.fits(3),
        Err(TokenizerError::IdTooLarge {
            id: 3,
            limit: 3,
            ..
        })
    ));
    let long = "a".repeat(MAX_TEXT_BYTES + 1);
    assert!(matches!(
        tokenizer.encode(&long, false),
        Err(TokenizerError::TooLarge { .. })
    ));
    // An expression that tries every way ends with an error, or with another split, but it ends.
    let slow = Tokenizer::from_json(&with("/pre_tokenizer", split("(a|ab|b)*(?=c)c"))).unwrap();
    let begun = Instant::now();
    let _ = slow.encode(&"ab".repeat(2000), false);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_bad_gguf_vocabulary_is_named() {
    let path = "tokenizers/gguf-vocab/ggml-vocab-llama-spm.gguf";
    let good = || GgufVocabulary::from_gguf(&bytes(path)).unwrap();
    let edited = |edit: fn(&mut GgufVocabulary)| {
        let mut vocabulary = good();
        edit(&mut vocabulary);
        vocabulary
    };
    for (what, vocabulary, name) in [
        (
            "another model",
            edited(|v| v.model = "t5".to_owned()),
            "Unsupported",
        ),
        (
            "another pre-tokenizer",
            edited(|v| {
                v.model = "gpt2".to_owned();
                v.pre = Some("new".to_owned())
            }),
            "Unsupported",
        ),
        ("fewer scores", edited(|v| v.scores.truncate(9)), "Lengths"),
        (
            "fewer types",
            edited(|v| v.token_types.truncate(9)),
            "Lengths",
        ),
        (
            "a token twice",
            edited(|v| v.tokens[400] = v.tokens[300].clone()),
            "Ambiguous",
        ),
        (
            "a first token past the end",
            edited(|v| v.bos = Some(u32::MAX)),
            "UnknownToken",
        ),
        (
            "an unknown token past the end",
            edited(|v| v.unknown = Some(32000)),
            "UnknownToken",
        ),
        (
            "one endless token",
            edited(|v| v.tokens[300] = "x".repeat(1 << 16)),
            "TooLarge",
        ),
        (
            "too many tokens",
            edited(|v| v.tokens.resize((1 << 20) + 1, String::new())),
            "TooLarge",
        ),
        (
            "a merge of one",
            edited(|v| {
                v.model = "gpt2".to_owned();
                v.merges = vec!["ab".to_owned()]
            }),
            "UnknownToken",
        ),
    ] {
        let error = Tokenizer::from_gguf(&vocabulary)
            .err()
            .unwrap_or_else(|| panic!("{what} was taken"));
        assert!(format!("{error:?}").starts_with(name), "{what}: {error:?}");
    }
    let odd = edited(|v| v.scores.fill(f32::NAN));
    assert!(Tokenizer::from_gguf(&odd).is_ok());
    assert_eq!(vocabulary("llama-spm").vocab_size(), 32000);
}

#[test]
fn a_bad_template_is_named() {
    let doubling = "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}";
    let messages = [Message::new(Role::User, "Hi")];
    let rows = [
        ("{% if %}", "Syntax"),
        ("{{ messages", "Syntax"),
        ("{% for m in messages %}", "Syntax"),
        ("{% include 'x' %}{{", "Syntax"),
        ("{{ '\\", "Syntax"),
        ("{{ messages|unheard_of }}", "Render"),
        ("{{ messages[0].content.unheard_of() }}", "Render"),
        ("{{ strftime_now('%d') }}", "Render"),
        ("{{ 1 / 0 }}", "Render"),
        ("{{ messages[0]['no']['such'] }}", "Render"),
        (
            "{{ raise_exception('Roles must alternate') }}",
            "Raised(\"Roles must alternate\")",
        ),
        (
            "{% for m in messages %}{{ raise_exception('no ' + m.role) }}{% endfor %}",
            "Raised(\"no user\")",
        ),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "OutOfFuel",
        ),
        (
            "{% for i in range(99999) %}{{ messages }}{% endfor %}",
            "OutOfFuel",
        ),
        (
            "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
            "Render",
        ),
        (
            "{% macro f(s) %}{{ f(s ~ s) }}{% endmacro %}{{ f('aaaaaaaaaaaaaaaa') }}",
            "Render",
        ),
        (doubling, "OutOfFuel"),
        ("{{ 'a' * 1000000000 }}", "OutOfFuel"),
        ("{{ ('a' * 10000).replace('a', 'b' * 10000) }}", "OutOfFuel"),
        ("{{ '%999999999d'|format(1) }}", "OutOfFuel"),
        ("{{ 'a'|indent(999999999) }}", "OutOfFuel"),
        ("{{ range(1000000000)|list }}", "Render"),
        (
            "{% set n = namespace(a=1) %}{% for i in range(50) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a|tojson }}",
            "Render",
        ),
        (
            "{% set n = namespace(a=[1]) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}",
            "OutOfFuel",
        ),
    ];
    println!("{} templates", rows.len());
    for (source, name) in rows {
        let begun = Instant::now();
        let rendered = ChatTemplate::new(source, None, None)
            .and_then(|template| template.render(&messages, true));
        let error = rendered
            .err()
            .unwrap_or_else(|| panic!("{source} was rendered"));
        assert!(
            format!("{error:?}").starts_with(name),
            "{source}: {error:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{source}: {:?}",
            begun.elapsed()
        );
    }
    let long = "x".repeat((1 << 20) + 1);
    assert!(matches!(
        ChatTemplate::new(&long, None, None),
        Err(ChatError::TooLarge { .. })
    ));
    for config in [
        "",
        "7",
        "{\"bos_token\": 3}",
        "{\"chat_template\": {}}",
        "{\"chat_template\": \"x\"",
    ] {
        assert!(
            matches!(special_text(config.as_bytes()), Err(ChatError::Config(_))),
            "{config}"
        );
    }
}

#[test]
fn nesting_ends_before_the_stack_of_a_worker_does() {
    let source =
        "{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set n.a = [n.a] %}{% endfor %}";
    let template = ChatTemplate::new(source, None, None).unwrap();
    let render = move || template.render(&[Message::new(Role::User, "x".repeat(1 << 20))], true);
    let worker = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(render)
        .unwrap();
    assert!(matches!(
        worker.join().unwrap(),
        Err(ChatError::OutOfFuel { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_tokenizer_json_never_panics(at in 0usize..1000, byte: u8, cut in 0usize..1000) {
        let mut file = small().to_string().into_bytes();
        let length = file.len();
        file[at % length] = byte;
        file.truncate(length - cut % 8);
        if let Ok(tokenizer) = Tokenizer::from_json(&file)
            && let Ok(ids) = tokenizer.encode("ab <s> \u{1f999}", true)
        {
            prop_assert!(tokenizer.decode(&ids, true).is_ok());
        }
    }

    #[test]
    fn a_random_template_never_panics(source in "(\\{\\{|\\{%|%\\}|\\}\\}|for|in|set|if|endif|endfor|messages|[ 'a-c0-9\\[\\]\\.\\|~\\*\\(\\),=-]){0,24}") {
        if let Ok(template) = ChatTemplate::new(&source, Some("<s>"), None) {
            let _ = template.render(&[Message::new(Role::User, "Hi")], true);
        }
    }
}
