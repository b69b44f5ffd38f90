//! In: a model and a text. Out: the scan that plans are made of: given, kept from an earlier run, or made; and which of the text's
//! tokens it has read.

use std::path::Path;

use anyhow::{Context, Result, bail};
use halfdepth::decode::Device;
use halfdepth::scan::{Key, MAX_SCAN_BYTES, Sampling, Scan, ScannedText, Scanner, draw};

use super::Args;
use super::run::Text;
use crate::conduct::{read_at_most, write_whole};
use crate::dense::Model;
use crate::model::progress;

/// Tokens of a run that is scanned.
pub(super) const RUN: usize = 128;

/// Tokens, from the start of the text, that chose plans or may have: nothing is judged on them.
pub(super) fn tokens_read(args: &Args, scan: Option<&Scan>, text: &Text) -> Result<usize> {
    let Some(scan) = scan else {
        return Ok(args.samples.saturating_mul(RUN));
    };
    if scan.text.sha256 != text.sha256 {
        return Ok(args.search_tokens);
    }
    if scan.sampling == Sampling::Random {
        bail!(
            "the scan drew its runs from all of {}, so no stretch of it is left to judge on; give another --text, or a sequential scan",
            text.name
        );
    }
    Ok(scan.samples * scan.tokens_per_sample)
}

/// The scan that `--from` names, checked against the model.
pub(super) fn given(path: &Path, model: &Model, sha256: &str) -> Result<Scan> {
    let scan = Scan::parse(&read_at_most(path, MAX_SCAN_BYTES)?)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if scan.model.config != *model.source().config() || scan.model.sha256 != sha256 {
        bail!(
            "{} is of {}, which is not this model, or has changed since; scan it again",
            path.display(),
            scan.model.name
        );
    }
    Ok(scan)
}

/// The scan of an earlier run into the same folder where it is this one, else a new one, which is kept there.
pub(super) fn made(
    args: &Args,
    model: &Model,
    sha256: &str,
    text: &Text,
    device: &Device,
) -> Result<Scan> {
    let path = args.output.join("scan.json");
    if let Ok(scan) = read_at_most(&path, MAX_SCAN_BYTES)
        && let Ok(scan) = Scan::parse(&scan)
        && scan.model.sha256 == sha256
        && scan.text.sha256 == text.sha256
        && (scan.sampling, scan.samples, scan.tokens_per_sample)
            == (Sampling::Sequential, args.samples, RUN)
    {
        return Ok(scan);
    }
    let runs = draw(&text.ids, args.samples, RUN, Sampling::Sequential, 0)?;
    let mut scanner = Scanner::new(model.source(), &runs, device)?;
    let bar = progress(model.source().config().layers, "scanning");
    while scanner.step()? {
        bar.inc(1);
    }
    bar.finish_and_clear();
    let key = Key {
        model: sha256.to_string(),
        text: text.sha256.clone(),
        sampling: Sampling::Sequential,
        seed: 0,
        samples: args.samples,
        tokens: RUN,
    };
    let read = ScannedText {
        files: vec![text.name.clone()],
        sha256: text.sha256.clone(),
        tokens: text.ids.len(),
    };
    let scan = Scan::new(model.scanned(sha256), read, &key, scanner.finish());
    write_whole(&path, scan.to_json().as_bytes())?;
    Ok(scan)
}
