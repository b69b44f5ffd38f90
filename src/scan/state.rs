//! A half-done scan as bytes: a line of JSON that says of what it is, then its sums as little-endian f64 (to the last bit, so that
//! a scan that was killed ends as one that was not) and the streams as f32.

use std::io::{BufRead, Read, Write};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::measure::{Progress, Scanner, Shape, Sums};
use super::{Sampling, ScanError};
use crate::dense::DenseSource;

/// Of what a scan is: two scans with equal keys have equal results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// SHA-256 of the model.
    pub model: String,
    /// SHA-256 of the text.
    pub text: String,
    /// Which runs of the text.
    pub sampling: Sampling,
    /// What they were drawn from.
    pub seed: u64,
    /// Runs read.
    pub samples: usize,
    /// Tokens a run.
    pub tokens: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
    key: Key,
    /// Layers that have run.
    done: usize,
}

const FORMAT: &str = "halfdepth-scan-state";
const VERSION: u64 = 1;

/// Real ones have under 400.
const MAX_HEADER_BYTES: u64 = 1 << 16;

impl<'s> Scanner<'s> {
    /// Writes what it takes to go on from here.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, key: &Key, to: &mut dyn Write) -> std::io::Result<()> {
        let header = Header {
            format: FORMAT.into(),
            version: VERSION,
            key: key.clone(),
            done: self.done(),
        };
        serde_json::to_writer(&mut *to, &header)?;
        to.write_all(b"\n")?;
        let sums = &self.progress.sums;
        let lists = sums
            .distances
            .iter()
            .chain([&sums.block, &sums.attention, &sums.mlp]);
        for sum in lists.flatten() {
            to.write_all(&sum.to_le_bytes())?;
        }
        for floats in [&self.progress.x, &self.progress.last] {
            for value in floats {
                to.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// Goes on from what [`Scanner::save`] wrote.
    ///
    /// # Errors
    /// It is the state of another scan, or damaged.
    pub fn resume(
        source: &'s dyn DenseSource,
        samples: &[Vec<u32>],
        device: &Device,
        key: &Key,
        from: &mut dyn BufRead,
    ) -> Result<Self, ScanError> {
        let mut line = Vec::new();
        from.take(MAX_HEADER_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(damaged)?;
        let header: Header = serde_json::from_slice(&line).map_err(damaged)?;
        if (header.format.as_str(), header.version) != (FORMAT, VERSION) {
            return Err(damaged("it is of another format or version"));
        }
        header.key.must_equal(key)?;
        let shape = Shape::of(source, samples);
        let done = header.done;
        if done > shape.layers {
            return Err(damaged("it has more layers than the model"));
        }
        let distances: Result<_, _> = (1..=done).map(|depths| sums(from, depths)).collect();
        let sums = Sums {
            distances: distances?,
            block: sums(from, done)?,
            attention: sums(from, done)?,
            mlp: sums(from, done)?,
        };
        let progress = Progress {
            sums,
            x: floats(from, shape.floats())?,
            last: floats(from, shape.samples * shape.hidden * (done + 1))?,
        };
        if from.read(&mut [0]).map_err(damaged)? != 0 {
            return Err(damaged("it is too long"));
        }
        Ok(Self::at(source, device, shape, progress))
    }
}

impl Key {
    fn must_equal(&self, now: &Self) -> Result<(), ScanError> {
        let rows = [
            ("model", self.model.clone(), now.model.clone()),
            ("text", self.text.clone(), now.text.clone()),
            (
                "sampling",
                format!("{:?}", self.sampling),
                format!("{:?}", now.sampling),
            ),
            ("seed", self.seed.to_string(), now.seed.to_string()),
            (
                "number of samples",
                self.samples.to_string(),
                now.samples.to_string(),
            ),
            (
                "length of samples",
                self.tokens.to_string(),
                now.tokens.to_string(),
            ),
        ];
        for (what, found, expected) in rows {
            if found != expected {
                let found = found.chars().take(64).collect();
                return Err(ScanError::OtherScan {
                    what,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// So many floats, and room for no more than has really been read.
fn floats(from: &mut dyn BufRead, count: usize) -> Result<Vec<f32>, ScanError> {
    let mut floats = Vec::new();
    let mut bytes = vec![0; 1 << 16];
    while floats.len() < count {
        let chunk = &mut bytes[..(4 * (count - floats.len())).min(1 << 16)];
        from.read_exact(chunk).map_err(damaged)?;
        let values = chunk.chunks_exact(4);
        floats.extend(values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(floats)
}

fn sums(from: &mut dyn BufRead, count: usize) -> Result<Vec<f64>, ScanError> {
    let sum = |_| {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes).map_err(damaged)?;
        Ok(f64::from_le_bytes(bytes))
    };
    (0..count).map(sum).collect()
}

fn damaged(reason: impl ToString) -> ScanError {
    ScanError::State {
        reason: reason.to_string(),
    }
}
