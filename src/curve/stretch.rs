//! In: a text's tokens. Out: the stretch that plans are chosen by, and the stretch they are judged by; they share no token.

use super::CurveError;

/// Predictions of a window, each after the begin token alone.
pub const WINDOW: usize = 128;

/// Two stretches of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretches {
    /// Where plans are searched for: the beginning of what was scanned.
    pub search: Vec<u32>,
    /// Where the tokens to judge by begin.
    pub first: usize,
    /// The tokens to judge by.
    pub judge: Vec<u32>,
}

/// Parts a text: its first `chosen` tokens are for choosing, of which a search takes `search` at most; `measured` tokens after them
/// are for judging.
///
/// # Errors
/// The text is too short, or too few tokens are asked for.
pub fn stretches(
    text: &[u32],
    chosen: usize,
    search: usize,
    measured: usize,
) -> Result<Stretches, CurveError> {
    if measured < 2 * WINDOW {
        return Err(CurveError::TooFewTokens { tokens: measured });
    }
    let needed = chosen.saturating_add(measured);
    if text.len() < needed {
        return Err(CurveError::TooShort {
            found: text.len(),
            needed,
            chosen,
            measured,
        });
    }
    Ok(Stretches {
        search: text[..chosen.min(search)].to_vec(),
        first: chosen,
        judge: text[chosen..needed].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_in_both_stretches() {
        let text: Vec<u32> = (0..1000).collect();
        let found = stretches(&text, 600, 500, 400).expect("long enough");
        assert_eq!(found.search, (0..500).collect::<Vec<_>>());
        assert_eq!(
            (found.first, found.judge[0], found.judge.len()),
            (600, 600, 400)
        );
        assert!(matches!(
            stretches(&text, 601, 500, 400),
            Err(CurveError::TooShort { needed: 1001, .. })
        ));
        assert!(matches!(
            stretches(&text, usize::MAX, 1, 400),
            Err(CurveError::TooShort { .. })
        ));
        assert!(matches!(
            stretches(&text, 1, 1, 255),
            Err(CurveError::TooFewTokens { .. })
        ));
    }
}
