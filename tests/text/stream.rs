//! Streams of tokens and of text: what is shown early is what the whole would have shown.

use halfdepth::decode::stop::StopStrings;
use halfdepth::tokenizer::{Detokenizer, Tokenizer};
use proptest::prelude::*;

use crate::tokenizer;
use crate::tokens::{FOLDERS, Golden, VOCABULARIES, goldens, vocabulary};

/// Pushes ids one by one; the pieces, the last one being what `finish` gave.
fn stream(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(skip_special);
    let mut pieces: Vec<_> = ids
        .iter()
        .map(|&id| detokenizer.push(tokenizer, id))
        .collect();
    pieces.push(detokenizer.finish());
    pieces
}

fn all_tokenizers() -> Vec<(String, Tokenizer)> {
    let folders = FOLDERS.iter().filter_map(|(_, folder)| *folder);
    let folders = folders.chain(["models/stories260K", "models/halfdepth-stories-12L"]);
    let from_json = folders.map(|folder| (folder.to_owned(), tokenizer(folder)));
    from_json
        .chain(VOCABULARIES.map(|name| (name.to_owned(), vocabulary(name))))
        .collect()
}

#[test]
fn pieces_of_hard_strings_are_whole_characters_and_join_to_the_text() {
    let mut halves = 0;
    for (name, tokenizer) in all_tokenizers() {
        for Golden { text, .. } in goldens().values().flatten() {
            let ids = tokenizer.encode(text, true).unwrap();
            for skip_special in [true, false] {
                let whole = tokenizer.decode(&ids, skip_special).unwrap();
                let pieces = stream(&tokenizer, &ids, skip_special);
                assert_eq!(pieces.concat(), whole, "{name}: {text:?}");
                let broken = pieces.iter().any(|piece| piece.contains('\u{fffd}'));
                assert!(
                    !broken || whole.contains('\u{fffd}'),
                    "{name}: {text:?}: {pieces:?}"
                );
                halves += pieces.iter().filter(|piece| piece.is_empty()).count();
            }
        }
    }
    // Emoji and CJK do come in bytes here, or the test would prove nothing.
    assert!(halves > 1000, "{halves}");
}

#[test]
fn decoding_agrees_with_the_tokenizers_crate() {
    // tokenizers 0.23 spells added tokens as the normaliser leaves them, so that it neither skips nor decodes those
    // of TinyStories-656K, which ask to be normalised, as transformers does. The goldens are on our side.
    for (name, tokenizer) in all_tokenizers()
        .into_iter()
        .filter(|(name, _)| !name.contains("656K"))
    {
        let reference = tokenizers::Tokenizer::from_bytes(tokenizer.to_json().unwrap()).unwrap();
        for Golden { text, .. } in goldens().values().flatten() {
            let ids = tokenizer.encode(text, true).unwrap();
            for skip_special in [true, false] {
                let expected = reference.decode(&ids, skip_special).unwrap();
                assert_eq!(
                    tokenizer.decode(&ids, skip_special).unwrap(),
                    expected,
                    "{name}: {text:?}"
                );
            }
        }
    }
}

#[test]
fn a_continued_text_keeps_the_space_between() {
    let tokenizer = tokenizer("models/stories260K");
    let prompt = tokenizer.encode("Once upon a time", true).unwrap();
    let whole = tokenizer
        .encode("Once upon a time there was", true)
        .unwrap();
    assert_eq!(whole[..prompt.len()], prompt);
    let mut detokenizer = Detokenizer::after(&tokenizer, &prompt, true);
    let text: String = whole[prompt.len()..]
        .iter()
        .map(|&id| detokenizer.push(&tokenizer, id))
        .collect();
    assert_eq!(text, " there was");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_survives_a_byte_level_tokenizer(text in "\\PC{0,40}|[a-z \\n\\t]{0,60}") {
        thread_local!(static TOKENIZER: Tokenizer = tokenizer("models/halfdepth-stories-12L"));
        TOKENIZER.with(|tokenizer| {
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
            Ok(())
        })?;
    }

    #[test]
    fn any_text_survives_a_tokenizer_with_byte_tokens(text in "\\PC{0,40}|[a-z \\n\\t]{0,60}") {
        thread_local!(static TOKENIZER: Tokenizer = tokenizer("models/stories260K"));
        // The mark itself cannot be told from a space.
        let text = text.replace('\u{2581}', "_");
        TOKENIZER.with(|tokenizer| {
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
            Ok(())
        })?;
    }

    #[test]
    fn any_ids_stream_to_what_they_decode_to(ids in prop::collection::vec(0u32..512, 0..40), skip: bool) {
        thread_local!(static TOKENIZERS: [Tokenizer; 2] =
            ["models/stories260K", "models/halfdepth-stories-12L"].map(tokenizer));
        TOKENIZERS.with(|tokenizers| {
            for tokenizer in tokenizers {
                prop_assert_eq!(stream(tokenizer, &ids, skip).concat(), tokenizer.decode(&ids, skip).unwrap());
            }
            Ok(())
        })?;
    }

    #[test]
    fn stop_strings_end_a_text_wherever_it_is_cut(
        text in "[ab\u{e9}]{0,24}",
        stops in prop::collection::vec("[ab\u{e9}]{0,4}", 0..4),
        cuts in prop::collection::vec(0usize..24, 0..8),
    ) {
        let whole = push_all(&stops, std::iter::once(text.as_str()));
        let characters: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let mut cuts: Vec<_> = cuts.iter().filter_map(|&cut| characters.get(cut)).copied().collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        prop_assert_eq!(&push_all(&stops, cuts.windows(2).map(|cut| &text[cut[0]..cut[1]])), &whole);
        let (shown, stopped) = whole;
        let named = || stops.iter().filter(|stop| !stop.is_empty());
        prop_assert!(named().all(|stop| !shown.contains(stop.as_str())));
        prop_assert_eq!(stopped, named().any(|stop| text.contains(stop.as_str())));
        prop_assert!(text.starts_with(&shown) && (stopped || shown == text));
    }
}

fn push_all<'a>(stops: &[String], pieces: impl Iterator<Item = &'a str>) -> (String, bool) {
    let mut watch = StopStrings::new(stops.to_vec());
    let (mut shown, mut stopped) = (String::new(), false);
    for piece in pieces {
        let emitted = watch.push(piece);
        assert!(
            !stopped || (emitted.text.is_empty() && emitted.stopped),
            "text after the end"
        );
        shown.push_str(&emitted.text);
        stopped = emitted.stopped;
    }
    shown.push_str(&watch.flush());
    (shown, stopped)
}

#[test]
fn only_what_may_become_a_stop_string_is_held_back() {
    for (stops, pieces, shown) in [
        (
            vec!["<|end|>"],
            vec!["Hi <", "|en", "d|> there"],
            vec!["Hi ", "", ""],
        ),
        (vec!["<|end|>"], vec!["a <b", "> c"], vec!["a <b", "> c"]),
        (vec!["<|end|>"], vec!["1 <", " 2"], vec!["1 ", "< 2"]),
        (
            vec!["\n\n"],
            vec!["one\n", "two\n", "\nthree"],
            vec!["one", "\ntwo", ""],
        ),
        (vec!["abcd", "b"], vec!["ab"], vec!["a"]),
        (vec![""], vec!["ab"], vec!["ab"]),
        (vec![], vec!["ab"], vec!["ab"]),
    ] {
        let mut watch = StopStrings::new(stops.iter().map(ToString::to_string).collect());
        let emitted: Vec<_> = pieces.iter().map(|piece| watch.push(piece).text).collect();
        assert_eq!(emitted, shown, "{stops:?} {pieces:?}");
    }
}
