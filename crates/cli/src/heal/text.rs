//! In: paths. Out: tokens to learn from, and tokens that are never learned from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use halfdepth::checkpoint::hex;
use halfdepth::heal::Text;
use halfdepth::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};

use super::Args;
use crate::model::progress;
use crate::open::{self, file_name};

/// What is learned from, and what it is measured on.
pub(super) struct Texts {
    pub(super) train: Vec<u32>,
    pub(super) texts: Vec<Text>,
    pub(super) held_out: Vec<u32>,
    pub(super) held_out_texts: Vec<Text>,
}

/// Bytes that are encoded at once: what a tokenizer notes of a text takes fifty times the text.
const AT_ONCE: usize = 1 << 18;
/// Of a text to learn from, at most this share is set aside where no held-out text is given.
const SET_ASIDE: usize = 10;

/// Reads everything.
pub(super) fn read(args: &Args, tokenizer: &Tokenizer) -> Result<Texts> {
    if args.text.is_empty() {
        bail!("there is nothing to learn from; name texts with --text");
    }
    let mut texts = Texts {
        train: Vec::new(),
        texts: Vec::new(),
        held_out: Vec::new(),
        held_out_texts: Vec::new(),
    };
    for path in &args.text {
        let (text, note) = open_text(path)?;
        if args.valid.iter().any(|valid| is_same(path, valid)) {
            bail!(
                "{} is to be learned from and held out; it cannot be both",
                path.display()
            );
        }
        encode(text, tokenizer, &mut texts.train)?;
        texts.texts.push(note);
    }
    let limit = args.valid_windows.saturating_mul(args.window);
    for path in &args.valid {
        let (text, note) = open_text(path)?;
        // In one piece, as `halfdepth eval` reads it.
        let mut ids = tokenizer.encode(text, false)?;
        if args.valid.len() > 1 {
            // As much of each, in whole windows, so that none reaches from one text into the next.
            let windows = args.valid_windows / args.valid.len();
            ids.truncate(windows.max(1).min(ids.len() / args.window) * args.window);
        }
        texts.held_out.extend(ids);
        texts.held_out_texts.push(note);
    }
    if args.valid.is_empty() {
        let aside = limit.min(texts.train.len() / SET_ASIDE);
        texts.held_out = texts.train.split_off(texts.train.len() - aside);
    }
    texts.held_out.truncate(limit);
    Ok(texts)
}

impl Texts {
    /// Refuses a held-out text that tells nothing.
    pub(super) fn check_held_out(&self) -> Result<()> {
        if self.held_out.is_empty() {
            bail!("the held-out text has no token; name a longer one with --valid");
        }
        Ok(())
    }
}

fn open_text(path: &Path) -> Result<(&'static str, Text)> {
    if path.is_dir() {
        bail!("{} is a folder; name text files", path.display());
    }
    let bytes = open::map(path)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        bail!(
            "{} is empty; there is nothing to learn from",
            path.display()
        );
    }
    let binary = || {
        format!(
            "{} is not UTF-8 text but binary; convert it to plain text",
            path.display()
        )
    };
    let text = std::str::from_utf8(bytes).with_context(binary)?;
    if bytes.contains(&0) {
        bail!(binary());
    }
    let note = Text {
        name: file_name(path),
        sha256: hex(&Sha256::digest(bytes)),
    };
    Ok((text, note))
}

/// Encodes a text in pieces that end where a line does.
fn encode(text: &str, tokenizer: &Tokenizer, ids: &mut Vec<u32>) -> Result<()> {
    let bar = progress(text.len(), "encoding");
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .as_bytes()
            .iter()
            .enumerate()
            .skip(AT_ONCE)
            .find(|(_, byte)| **byte == b'\n');
        let (piece, left) = rest.split_at(end.map_or(rest.len(), |(at, _)| at + 1));
        ids.extend(tokenizer.encode(piece, false)?);
        bar.inc(piece.len() as u64);
        rest = left;
    }
    bar.finish_and_clear();
    Ok(())
}

fn is_same(left: &PathBuf, right: &PathBuf) -> bool {
    left == right
        || left
            .canonicalize()
            .ok()
            .zip(right.canonicalize().ok())
            .is_some_and(|(left, right)| left == right)
}
