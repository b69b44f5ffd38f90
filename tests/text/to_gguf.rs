//! Tokenizers as llama.cpp has them: converted, they give the same ids.

use halfdepth::tokenizer::{Tokenizer, gguf_vocabulary};

use crate::tokens::{FOLDERS, goldens};
use crate::{bytes, text, tokenizer};

fn converted(folder: &str, rows: usize) -> Tokenizer {
    let json = bytes(&format!("{folder}/tokenizer.json"));
    let vocabulary = gguf_vocabulary(&json, rows, Some(1), Some(2)).expect("converts");
    assert_eq!(vocabulary.tokens.len(), rows);
    Tokenizer::from_gguf(&vocabulary).expect("builds")
}

#[test]
fn a_converted_tokenizer_gives_the_original_ids() {
    let goldens = goldens();
    for (name, folder) in FOLDERS {
        let Some(folder) = folder else { continue };
        // More rows than tokens, as some embeddings have.
        let rows = tokenizer(folder).vocab_size() + 3;
        let converted = converted(folder, rows);
        for golden in &goldens[name] {
            let ids = converted.encode(&golden.text, false).expect("encodes");
            assert_eq!(ids, golden.ids, "{name}: {:?}", golden.text);
        }
    }
}

#[test]
fn long_texts_come_apart_the_same_way() {
    let story = text("text/tinystories_val_0.8MB.txt");
    for folder in [
        "models/stories260K",
        "models/TinyStories-656K",
        "models/halfdepth-stories-12L",
        "tokenizers/smollm2",
        "tokenizers/llama-spm-32k",
    ] {
        let original = tokenizer(folder);
        let converted = converted(folder, original.vocab_size());
        for line in story.lines().filter(|line| !line.is_empty()).take(300) {
            let [a, b] = [&original, &converted].map(|t| t.encode(line, true).expect("encodes"));
            assert_eq!(a, b, "{folder}: {line:?}");
        }
    }
}

#[test]
fn a_vocabulary_that_does_not_fit_the_embedding_is_refused() {
    let json = bytes("models/stories260K/tokenizer.json");
    let error = gguf_vocabulary(&json, 500, None, None).expect_err("refused");
    assert!(error.to_string().contains("ids end below 500"), "{error}");
}
