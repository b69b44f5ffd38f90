//! In: a file's JSON. Out: whether it is of the format and version that are expected; the rest is for its own parser.

use serde::Deserialize;

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

/// Why a file is not read on.
pub(crate) enum HeaderError {
    /// Another file, or a damaged one.
    Other(String),
    /// The version found.
    Version(u64),
}

/// Checks length, format and version.
pub(crate) fn check_header(
    json: &[u8],
    (format, version): (&str, u64),
    limit: usize,
) -> Result<(), HeaderError> {
    if json.len() > limit {
        return Err(HeaderError::Other(format!("it has {} bytes", json.len())));
    }
    let header: Header =
        serde_json::from_slice(json).map_err(|error| HeaderError::Other(error.to_string()))?;
    if header.format != format {
        let found: String = header.format.chars().take(40).collect();
        return Err(HeaderError::Other(format!("its format is {found:?}")));
    }
    match header.version == version {
        true => Ok(()),
        false => Err(HeaderError::Version(header.version)),
    }
}

/// JSON for people, of what JSON can hold: texts, finite numbers, maps with keys that are texts.
pub(crate) fn pretty(document: &impl serde::Serialize) -> String {
    let mut json = serde_json::to_string_pretty(document).unwrap_or_default();
    json.push('\n');
    json
}
