//! The `Range` header: which bytes of a file are asked for.

/// What a `Range` header asks of a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Wanted {
    /// Everything: no range, several ranges, or a form we do not know, all of which HTTP lets a server ignore.
    Whole,
    /// `length` bytes from `start`; both lie inside the file and `length` is not 0.
    Part { start: u64, length: u64 },
    /// Well formed, but no byte of the file is in it.
    Unsatisfiable,
}

/// Reads `header` (such as `bytes=0-99`, `bytes=100-`, `bytes=-50`) against a file of `size` bytes.
pub(crate) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header
        .trim()
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(size)),
        (Some(start), None) if last.trim().is_empty() => (start, size),
        (None, Some(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Wanted::Whole,
    };
    if start >= end {
        Wanted::Unsatisfiable
    } else {
        Wanted::Part {
            start,
            length: end - start,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    // `parse` alone would take "+1".
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::Wanted::{Part, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file_or_ignored() {
        for (header, size, expected) in [
            (
                "bytes=0-9",
                100,
                Part {
                    start: 0,
                    length: 10,
                },
            ),
            (
                "bytes=90-200",
                100,
                Part {
                    start: 90,
                    length: 10,
                },
            ),
            (
                "bytes=99-",
                100,
                Part {
                    start: 99,
                    length: 1,
                },
            ),
            (
                "bytes=-30",
                100,
                Part {
                    start: 70,
                    length: 30,
                },
            ),
            (
                "bytes=-300",
                100,
                Part {
                    start: 0,
                    length: 100,
                },
            ),
            (
                "bytes=0-18446744073709551615",
                100,
                Part {
                    start: 0,
                    length: 100,
                },
            ),
            ("bytes=100-", 100, Unsatisfiable),
            ("bytes=200-300", 100, Unsatisfiable),
            ("bytes=-0", 100, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-", 100, Whole),
            ("bytes=9-3", 100, Whole),
            ("bytes=+1-3", 100, Whole),
            ("bytes=0-1,5-6", 100, Whole),
            ("bytes=99999999999999999999-", 100, Whole),
            ("lines=0-1", 100, Whole),
            ("", 100, Whole),
        ] {
            assert_eq!(wanted(header, size), expected, "{header} of {size}");
        }
    }
}
