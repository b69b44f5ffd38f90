//! In: a text. Out: what of it is measured: windows, pages, prompts.

use std::sync::Arc;

use regex::Regex;

use super::{Ask, EvalError, Item};

/// What is measured on a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextMeasure {
    /// Cross-entropy.
    Loss,
    /// KL divergence from the reference, and how often both pick the same token.
    Compare,
    /// Repetition of greedy continuations.
    Repetition,
}

/// Tokens of the text that a continuation follows.
const PROMPT: usize = 32;
/// Tokens of a continuation.
pub(super) const CONTINUATION: usize = 64;
/// Continuations, unless fewer are asked for.
const CONTINUATIONS: usize = 32;

impl TextMeasure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loss, Self::Compare, Self::Repetition];

    /// What `--tasks` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Compare => "compare",
            Self::Repetition => "repetition",
        }
    }

    /// How it is measured, in a line.
    pub fn protocol(self, window: usize) -> String {
        match self {
            Self::Loss => {
                format!(
                    "disjoint windows of {window} predictions, each after the begin token alone"
                )
            }
            Self::Compare => format!(
                "KL(reference || model) in nats a token and agreement of the likeliest tokens, over disjoint windows of {window} predictions, each after the begin token alone"
            ),
            Self::Repetition => format!(
                "share of 4-grams that came before in the same greedy continuation; {CONTINUATION} tokens after the begin token and {PROMPT} of the text"
            ),
        }
    }

    /// The items of a text's tokens, the first `limit` of them. A remainder shorter than a window is a window, but no prompt.
    ///
    /// # Errors
    /// The text is too short.
    pub fn items(
        self,
        name: &str,
        tokens: &[u32],
        window: usize,
        limit: Option<usize>,
    ) -> Result<Vec<Item>, EvalError> {
        let window = window.max(1);
        let limit = limit.unwrap_or(usize::MAX);
        let windows = tokens.chunks(window).take(limit).map(<[u32]>::to_vec);
        let asks: Vec<Ask> = match self {
            Self::Loss => windows.map(Ask::Window).collect(),
            Self::Compare => windows.map(Ask::Compare).collect(),
            Self::Repetition => (tokens.chunks_exact(PROMPT + CONTINUATION))
                .take(limit.min(CONTINUATIONS))
                .map(|run| Ask::Repetition {
                    prompt: run[..PROMPT].to_vec(),
                    truth: run[PROMPT..].to_vec(),
                })
                .collect(),
        };
        if asks.is_empty() {
            return Err(EvalError::TooShort {
                text: name.into(),
                tokens: tokens.len(),
            });
        }
        let group: Arc<str> = name.into();
        let item = |ask| Item {
            group: Arc::clone(&group),
            ask,
        };
        Ok(asks.into_iter().map(item).collect())
    }
}

/// (context, predictions) of a long text: every token is predicted once, the first window after the prefix, each other one as
/// far back as the model sees.
pub fn rolling_windows(tokens: &[u32], prefix: u32, context: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let context = context.max(1);
    let mut windows = Vec::new();
    let first = tokens.len().min(context);
    if first > 0 {
        windows.push((vec![prefix], tokens[..first].to_vec()));
    }
    let mut predicted = first;
    while predicted < tokens.len() {
        let end = tokens.len().min(predicted + context);
        // The last window reads what it can see of tokens that are predicted already.
        let from = end - context - 1;
        windows.push((
            tokens[from..predicted].to_vec(),
            tokens[predicted..end].to_vec(),
        ));
        predicted = end;
    }
    windows
}

/// The pages of a WikiText file, each from its title to the next.
pub fn wikitext_pages(text: &str) -> Vec<String> {
    let mut pages = Vec::new();
    let mut page: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        let bare = line.replace("= = =", "===").replace("= =", "==");
        let bare = bare.trim();
        if bare.starts_with("= ") && bare.ends_with(" =") {
            pages.push(page.join("\n"));
            page.clear();
        }
        page.push(line);
    }
    pages.push(page.join("\n"));
    pages.retain(|page| !page.trim().is_empty());
    pages
}

/// A WikiText page as it was before it was cut into words: the replacements of lm-evaluation-harness in its order, its two that
/// never match (`/' [0-9]/` looks for slashes) included by doing nothing.
pub fn wikitext_detokenized(page: &str) -> String {
    const FIRST: [(&str, &str); 10] = [
        ("s '", "s'"),
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ];
    // Written so that the dollar signs are the groups, and nothing in a page can be a pattern.
    const PAIRS: [(&str, &str); 5] = [
        (r"\(\s*([^)]*?)\s*\)", "(${1})"),
        (r"\[\s*([^\]]*?)\s*\]", "[${1}]"),
        (r"\{\s*([^}]*?)\s*\}", "{${1}}"),
        (r#""\s*([^"]*?)\s*""#, "\"${1}\""),
        (r"'\s*([^']*?)\s*'", "'${1}'"),
    ];
    const LAST: [(&str, &str); 8] = [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" \u{b0} ", "\u{b0}"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ];
    let replaced = |text: String, pairs: &[(&str, &str)]| {
        (pairs.iter()).fold(text, |text, (from, to)| text.replace(from, to))
    };
    let mut text = replaced(page.to_string(), &FIRST);
    for (pattern, with) in PAIRS {
        if let Ok(pattern) = Regex::new(pattern) {
            text = pattern.replace_all(&text, with).into_owned();
        }
    }
    replaced(text, &LAST)
}
