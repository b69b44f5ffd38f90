//! A file of a pack as it arrives: bytes in, in chunks of any size; out, the words of its sections, each chunk's at once,
//! and at the end the word that it is the file the manifest names.

use sha2::{Digest, Sha256};

use super::PackError;
use super::manifest::Role;
use super::shard::Section;
use crate::checkpoint::hex;

/// Reads one file. What it hands on is not to be trusted before [`FileStream::finish`] has said so.
#[derive(Debug)]
pub struct FileStream {
    file: String,
    role: Role,
    expected_bytes: u64,
    sha256: String,
    hasher: Sha256,
    sections: Vec<Section>,
    /// The section at hand, and where in the file it begins.
    section: usize,
    section_start: u64,
    received: u64,
    /// The first bytes of a word whose last ones have not come: fewer than four.
    cut: Vec<u8>,
    non_finite: Option<&'static str>,
}

/// Whole words of one section, in the bytes of the file.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'b> {
    /// Which section: its place in the order of docs/format.md.
    pub section: usize,
    /// Where in the section it begins.
    pub first_word: u64,
    /// A multiple of four bytes, little-endian.
    pub bytes: &'b [u8],
}

impl FileStream {
    pub(super) fn new(
        file: &str,
        role: Role,
        bytes: u64,
        sha256: &str,
        sections: Vec<Section>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            role,
            expected_bytes: bytes,
            sha256: sha256.to_owned(),
            hasher: Sha256::new(),
            sections,
            section: 0,
            section_start: 0,
            received: 0,
            cut: Vec::with_capacity(4),
            non_finite: None,
        }
    }

    /// Bytes taken so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the whole file.
    pub fn expected(&self) -> u64 {
        self.expected_bytes
    }

    /// Refuses a file of another length, before any of it is read.
    pub(super) fn check_length(&self, bytes: usize) -> Result<(), PackError> {
        match bytes as u64 == self.expected_bytes {
            true => Ok(()),
            false => Err(self.wrong_length(bytes as u64)),
        }
    }

    /// How many sections [`Piece::section`] counts.
    pub(super) fn section_count(&self) -> usize {
        self.sections.len()
    }

    /// Takes the file's next bytes and gives every whole word among them to `put`; padding is left out.
    ///
    /// # Errors
    /// More bytes than the file has.
    pub fn push(&mut self, bytes: &[u8], put: &mut dyn FnMut(Piece)) -> Result<(), PackError> {
        let received = self.received + bytes.len() as u64;
        if received > self.expected_bytes {
            return Err(self.wrong_length(received));
        }
        self.hasher.update(bytes);
        let mut at = self.received - self.cut.len() as u64;
        self.received = received;
        let mut rest = bytes;
        if !self.cut.is_empty() {
            let missing = (4 - self.cut.len()).min(rest.len());
            self.cut.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if self.cut.len() < 4 {
                return Ok(());
            }
            let word: Vec<u8> = self.cut.drain(..).collect();
            self.deal(at, &word, put);
            at += 4;
        }
        let (whole, cut) = rest.split_at(rest.len() / 4 * 4);
        self.deal(at, whole, put);
        self.cut.extend_from_slice(cut);
        Ok(())
    }

    /// Says whether the whole file came and is what was packed.
    ///
    /// # Errors
    /// Too short, another hash, or a value that is not finite under the right one.
    pub fn finish(self) -> Result<(), PackError> {
        if self.received != self.expected_bytes {
            return Err(self.wrong_length(self.received));
        }
        let found = hex(&self.hasher.finalize());
        let (file, role) = (self.file, self.role);
        if found != self.sha256 {
            return Err(PackError::Hash { file, role, found });
        }
        match self.non_finite {
            None => Ok(()),
            Some(section) => Err(PackError::NonFinite {
                file,
                role,
                section,
            }),
        }
    }

    /// Whole words of the file, from byte `at` on, to their sections.
    fn deal(&mut self, mut at: u64, mut bytes: &[u8], put: &mut dyn FnMut(Piece)) {
        while !bytes.is_empty() {
            let Some(section) = self.sections.get(self.section) else {
                return;
            };
            let from = at - self.section_start;
            if from >= section.padded_bytes() {
                self.section_start += section.padded_bytes();
                self.section += 1;
                continue;
            }
            let is_padding = from >= section.bytes();
            let end = match is_padding {
                true => section.padded_bytes(),
                false => section.bytes(),
            };
            let length = usize::try_from(end - from).map_or(bytes.len(), |n| n.min(bytes.len()));
            let (piece, rest) = bytes.split_at(length);
            if !is_padding {
                let first_word = from / 4;
                if self.non_finite.is_none() && !section.is_finite(first_word, piece) {
                    self.non_finite = Some(section.name);
                }
                put(Piece {
                    section: self.section,
                    first_word,
                    bytes: piece,
                });
            }
            at += length as u64;
            bytes = rest;
        }
    }

    fn wrong_length(&self, found: u64) -> PackError {
        PackError::Length {
            file: self.file.clone(),
            role: self.role,
            expected: self.expected_bytes,
            found,
        }
    }
}
