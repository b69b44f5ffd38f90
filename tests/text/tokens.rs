//! Texts and ids that the original tokenizers gave.

use std::collections::BTreeMap;

use halfdepth::checkpoint::GgufVocabulary;
use halfdepth::tokenizer::Tokenizer;
use serde::Deserialize;

use crate::{bytes, json, shared, text, tokenizer};

#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) decoded: Option<String>,
}

/// Goldens by the name of the tokenizer that made them.
pub(crate) fn goldens() -> BTreeMap<String, Vec<Golden>> {
    let file: BTreeMap<String, serde_json::Value> = json("goldens/tokenizers.json");
    // One entry is a note on how the others were made.
    let lists = file.into_iter().filter(|(_, rows)| rows.is_array());
    lists
        .map(|(name, rows)| (name, serde_json::from_value(rows).unwrap()))
        .collect()
}

/// Golden names, the folder whose tokenizer they are for, and why a name has none.
pub(crate) const FOLDERS: [(&str, Option<&str>); 5] = [
    ("smollm2", Some("tokenizers/smollm2")),
    ("tinystories656k", Some("models/TinyStories-656K")),
    // Mistral's vocabulary with two added tokens: the folder's config.json is that of Minueza-32M.
    ("mistral32k-minueza", Some("tokenizers/llama-spm-32k")),
    ("llama2-derived", None), // its tokenizer is not among the data; the GGUF vocabulary of Llama 2 stands in below
    ("llama3-derived", None), // its tokenizer is not among the data
];

pub(crate) const VOCABULARIES: [&str; 3] = ["llama-spm", "gpt-2", "phi-3"];

pub(crate) fn vocabulary(name: &str) -> Tokenizer {
    let path = format!("tokenizers/gguf-vocab/ggml-vocab-{name}.gguf");
    let vocabulary =
        GgufVocabulary::from_gguf(&bytes(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Tokenizer::from_gguf(&vocabulary).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_tokenizer_json_gives_the_ids_and_texts_of_the_original() {
    let goldens = goldens();
    assert_eq!(
        goldens.len(),
        FOLDERS.len(),
        "a golden set without a row here"
    );
    let (mut checked, mut left_out) = (0, 0);
    for (name, folder) in FOLDERS {
        let rows = &goldens[name];
        let Some(folder) = folder else {
            println!(
                "{name}: {} strings left out, no tokenizer.json for them",
                rows.len()
            );
            left_out += rows.len();
            continue;
        };
        let tokenizer = tokenizer(folder);
        for Golden { text, ids, decoded } in rows {
            assert_eq!(
                &tokenizer.encode(text, false).unwrap(),
                ids,
                "{name}: {text:?}"
            );
            let decoded = decoded.as_ref().expect("these goldens have a decoded text");
            assert_eq!(
                &tokenizer.decode(ids, false).unwrap(),
                decoded,
                "{name}: {ids:?}"
            );
            checked += 1;
        }
    }
    println!("{checked} strings checked, {left_out} left out");
    assert_eq!((checked, left_out), (75, 50));
}

#[test]
fn llama_2_from_gguf_gives_the_ids_of_the_llama_2_goldens() {
    let tokenizer = vocabulary("llama-spm");
    let rows = &goldens()["llama2-derived"];
    for Golden { text, ids, decoded } in rows {
        // A special token inside a text is followed by a new space in llama.cpp and the old converter alike.
        assert_eq!(&tokenizer.encode(text, false).unwrap(), ids, "{text:?}");
        assert_eq!(
            Some(&tokenizer.decode(ids, false).unwrap()),
            decoded.as_ref(),
            "{ids:?}"
        );
    }
    let by_name: BTreeMap<String, serde_json::Value> = json("goldens/llama_ids.json");
    let mut checked = 0;
    for (name, rows) in by_name {
        let Ok(rows) = serde_json::from_value::<Vec<Golden>>(rows) else {
            continue;
        };
        if name != "Xenova/llama-tokenizer" {
            println!(
                "{name}: {} strings left out, no tokenizer for them",
                rows.len()
            );
            continue;
        }
        for Golden { text, ids, .. } in rows {
            assert_eq!(tokenizer.encode(&text, true).unwrap(), ids, "{text:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 35);
}

#[test]
fn gguf_vocabularies_give_the_ids_llama_cpp_gives() {
    for name in VOCABULARIES {
        let tokenizer = vocabulary(name);
        let path = format!("tokenizers/gguf-vocab/ggml-vocab-{name}.gguf");
        let (inputs, outputs) = (text(&format!("{path}.inp")), text(&format!("{path}.out")));
        let inputs: Vec<_> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let outputs: Vec<_> = outputs.lines().collect();
        // The marker ends every text, so the last piece is empty.
        assert_eq!(inputs.len(), outputs.len() + 1, "{name}");
        for (text, ids) in inputs.iter().zip(outputs) {
            let ids: Vec<u32> = ids
                .split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect();
            assert_eq!(
                tokenizer.encode(text, false).unwrap(),
                ids,
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn stories260k_tokenizes_alike_from_gguf_and_from_json() {
    let from_json = tokenizer("models/stories260K");
    let gguf = bytes("models/stories260K/stories260K-f32.gguf");
    let from_gguf = Tokenizer::from_gguf(&GgufVocabulary::from_gguf(&gguf).unwrap()).unwrap();
    assert_eq!(from_json.vocab_size(), from_gguf.vocab_size());
    let stories = text("text/tinystories_val_0.8MB.txt");
    for line in stories.lines().take(2000) {
        let ids = from_json.encode(line, true).unwrap();
        assert_eq!(from_gguf.encode(line, true).unwrap(), ids, "{line:?}");
        assert_eq!(
            from_gguf.decode(&ids, true).unwrap(),
            from_json.decode(&ids, true).unwrap()
        );
    }
}

#[test]
fn a_tokenizer_written_as_json_is_the_same_tokenizer() {
    let names = VOCABULARIES.map(|name| (name, vocabulary(name)));
    let hard = goldens();
    for (name, tokenizer) in names {
        let again = Tokenizer::from_json(tokenizer.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{name}");
        for Golden { text, .. } in &hard["smollm2"] {
            let ids = tokenizer.encode(text, true).unwrap();
            assert_eq!(again.encode(text, true).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(
                again.decode(&ids, true),
                tokenizer.decode(&ids, true),
                "{name}: {text:?}"
            );
        }
    }
}

/// Parts that models outside the data use, in the spellings of their files.
#[test]
fn parts_of_a_file_mean_what_they_mean_to_the_tokenizers_crate() {
    let file = |parts: serde_json::Value| {
        let vocab = [
            "<unk>", "<s>", "▁", "a", "b", "1", "▁a", "ab", "▁ab", "Ġ", "Ġa", "c",
        ];
        let vocab: BTreeMap<_, _> = vocab.into_iter().zip(0..).collect();
        let merges = ["▁ a", "a b", "▁ ab", "Ġ a"];
        let mut file = serde_json::json!({
            "model": { "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>" },
            "added_tokens": [
                { "id": 1, "content": "<s>", "special": true, "lstrip": false, "rstrip": true,
                  "single_word": false, "normalized": false },
                { "id": 40, "content": "<gap>", "special": false, "lstrip": false, "rstrip": false,
                  "single_word": true, "normalized": true },
            ],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        });
        // The gap's id is in the vocabulary, or the crate would count it down.
        file["model"]["vocab"]["<gap>"] = 40.into();
        for (name, part) in parts.as_object().unwrap() {
            file[name] = part.clone();
        }
        file.to_string()
    };
    let a = serde_json::json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let b = serde_json::json!({ "Sequence": { "id": "B", "type_id": 1 } });
    let begin = serde_json::json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
    let byte_level = |regex| serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": regex });
    let rows = [
        serde_json::json!({
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false },
            "decoder": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false },
        }),
        serde_json::json!({
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "add_prefix_space": true },
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" },
                { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 } ] },
        }),
        serde_json::json!({
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": "\\p{N}{1,3}|\\s+(?!\\S)" }, "behavior": "Isolated", "invert": false },
                byte_level(false) ] },
            "post_processor": { "type": "Sequence", "processors": [ byte_level(true), {
                "type": "TemplateProcessing", "single": [begin, a], "pair": [begin, a, begin, b],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } } ] },
        }),
        serde_json::json!({
            "normalizer": { "type": "Sequence", "normalizers": [ { "type": "NFKC" }, { "type": "Lowercase" },
                { "type": "Strip", "strip_left": true, "strip_right": true } ] },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Digits", "individual_digits": true }, { "type": "Punctuation", "behavior": "Isolated" },
                { "type": "WhitespaceSplit" } ] },
        }),
    ];
    for parts in rows {
        let file = file(parts);
        let reference = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        let tokenizer = Tokenizer::from_json(file.as_bytes()).unwrap();
        for text in [
            "",
            "a",
            " ab 11",
            "<s> ab<gap> <gap>a",
            "AB, a-b",
            "1a  b c\u{e9}",
            "ab <s>  a",
        ] {
            let encoding = reference.encode(text, true).unwrap();
            assert_eq!(
                tokenizer.encode(text, true).unwrap(),
                encoding.get_ids(),
                "{file}: {text:?}"
            );
            for skip in [true, false] {
                let decoded = reference.decode(encoding.get_ids(), skip).unwrap();
                assert_eq!(
                    tokenizer.decode(encoding.get_ids(), skip).unwrap(),
                    decoded,
                    "{file}: {text:?}"
                );
            }
        }
    }
}

#[test]
fn prompts_of_the_model_goldens_have_their_ids() {
    #[derive(Deserialize)]
    struct Model {
        plans: BTreeMap<String, Plan>,
    }
    #[derive(Deserialize)]
    struct Plan {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        prompt: String,
        prompt_ids: Vec<u32>,
    }
    for name in ["stories260K", "TinyStories-656K", "halfdepth-stories-12L"] {
        let tokenizer = tokenizer(&format!("models/{name}"));
        let model: Model = json(&format!("goldens/{name}.json"));
        for Case { prompt, prompt_ids } in model.plans.values().flat_map(|plan| &plan.cases) {
            assert_eq!(
                &tokenizer.encode(prompt, true).unwrap(),
                prompt_ids,
                "{name}: {prompt:?}"
            );
        }
    }
}

#[test]
fn ids_and_tokens_find_each_other() {
    for (folder, vocab_size, token, id) in [
        ("tokenizers/smollm2", 49152, "<|im_end|>", 2),
        ("tokenizers/llama-spm-32k", 32002, "<|im_start|>", 32001),
        ("models/stories260K", 512, "<s>", 1),
        ("models/halfdepth-stories-12L", 2048, "<|user|>", 3),
    ] {
        let tokenizer = tokenizer(folder);
        assert_eq!(tokenizer.vocab_size(), vocab_size, "{folder}");
        assert_eq!(tokenizer.token_to_id(token), Some(id), "{folder}");
        assert_eq!(
            tokenizer.id_to_token(id).as_deref(),
            Some(token),
            "{folder}"
        );
        assert!(tokenizer.is_special(id), "{folder}");
        assert!(
            tokenizer.fits(vocab_size).is_ok() && tokenizer.fits(vocab_size - 1).is_err(),
            "{folder}"
        );
    }
    assert!(shared("tokenizers").is_dir());
}
