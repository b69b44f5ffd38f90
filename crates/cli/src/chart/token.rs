//! In: what a token decodes to. Out: a label that fits.

/// A token without the space before it, line breaks spelled out.
pub(super) fn label(text: &str) -> String {
    let trimmed = text.trim_matches(' ');
    if trimmed.is_empty() {
        return "(space)".into();
    }
    let escape = |letter: char| match letter {
        '\n' => "\\n".to_string(),
        '\t' => "\\t".to_string(),
        letter if letter.is_control() => "?".to_string(),
        letter => letter.to_string(),
    };
    trimmed.chars().map(escape).collect()
}

/// A text's first letters, with dots where some are left out.
pub(super) fn clip(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_string();
    }
    let kept: String = text.chars().take(letters.saturating_sub(2)).collect();
    format!("{kept}..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_show_what_cannot_be_seen() {
        let rows = [
            (" Lily", "Lily"),
            ("\n\n", "\\n\\n"),
            (" ", "(space)"),
            ("", "(space)"),
            ("<|assistant|>", "<|assista.."),
        ];
        for (text, expected) in rows {
            assert_eq!(clip(&label(text), 11), expected);
        }
    }
}
