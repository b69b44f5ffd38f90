//! How much to ask of a device at once. In: what earlier requests took. Out: the tokens of the next batch, or of the next chunk of a
//! prompt.
//!
//! A batch is as long as a reader likes, and its readback costs little; where a readback takes a while (Firefox looks only about
//! every 100 ms), the next batch is asked for before the last one is read.

use super::lane::LARGEST_BATCH;
use super::machine::BATCH;

/// A reader sees text come in pieces of this many milliseconds as streaming.
const PIECE_MS: f64 = 150.0;
/// A device on which [`BATCH`] tokens take longer gets fewer at once, or stopping it would take seconds.
const SLOW_BATCH_MS: f64 = 2000.0;
/// The share of a batch that its readback may take before the next one is asked for ahead.
const READBACK_SHARE: f64 = 0.03;
/// What a chunk of a prompt may take: a screen draws every 16 ms, and shares the GPU.
const CHUNK_MS: f64 = 16.0;
/// A "GPU" in software deals out the rows of a pass to its cores whether or not they take part, so that half a pass would be half
/// of its cores: no chunk is smaller than the largest pass of such devices.
const SMALLEST_CHUNK: usize = 64;
/// The first chunk, of a device of which nothing is known.
const FIRST_CHUNK: usize = 64;

/// What was measured of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From asking an idle device for a few words until they are there.
    readback_ms: Option<f64>,
    token_ms: Option<f64>,
    chunk: usize,
    largest_chunk: usize,
}

/// Decode steps to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// To wait for.
    pub(super) now: usize,
    /// To leave the device with meanwhile.
    pub(super) ahead: usize,
}

impl Pace {
    /// Of a lane that reads up to `largest_chunk` tokens of a prompt at once.
    pub(super) fn new(largest_chunk: usize) -> Self {
        Self {
            readback_ms: None,
            token_ms: None,
            chunk: FIRST_CHUNK.min(largest_chunk),
            largest_chunk,
        }
    }

    /// Whether a readback has been timed.
    pub(super) fn knows_readback(&self) -> bool {
        self.readback_ms.is_some()
    }

    /// What a readback of an idle device took.
    pub(super) fn readback_took(&mut self, ms: f64) {
        self.readback_ms = Some(ms);
    }

    /// What `passes` decode steps took.
    pub(super) fn decoded(&mut self, passes: usize, ms: f64) {
        if passes > 0 && ms > 0.0 {
            self.token_ms = Some(ms / passes as f64);
        }
    }

    /// What a decode step took the last time.
    pub(super) fn token_ms(&self) -> Option<f64> {
        self.token_ms
    }

    /// What to ask for when `left` tokens are wanted.
    pub(super) fn batch(&self, left: usize) -> Request {
        let readback_ms = self.readback_ms.unwrap_or(0.0);
        let Some(token_ms) = self.token_ms else {
            return Request {
                now: BATCH.min(left),
                ahead: 0,
            };
        };
        let smallest = match token_ms * BATCH as f64 <= SLOW_BATCH_MS {
            true => BATCH,
            false => 1,
        };
        // Whole batches: one graph each. Long enough that the readback of one passes while the next is computed.
        let wanted = PIECE_MS.max(readback_ms) / token_ms;
        let tokens = (wanted as usize / BATCH * BATCH).clamp(smallest, LARGEST_BATCH);
        let pays = readback_ms > READBACK_SHARE * token_ms * tokens as f64;
        let now = tokens.min(left);
        Request {
            now,
            ahead: if pays { tokens.min(left - now) } else { 0 },
        }
    }

    /// Tokens of the next chunk of a prompt.
    pub(super) fn chunk(&self) -> usize {
        self.chunk
    }

    /// What a chunk of `tokens` took, waiting included.
    pub(super) fn read_chunk(&mut self, tokens: usize, ms: f64) {
        let ms = ms - self.readback_ms.unwrap_or(0.0);
        if tokens < self.chunk {
            return; // the end of a prompt says little
        }
        if ms < CHUNK_MS / 2.0 {
            self.chunk = (self.chunk * 2).min(self.largest_chunk);
        } else if ms > CHUNK_MS * 1.5 {
            self.chunk = (self.chunk / 2).max(SMALLEST_CHUNK.min(self.largest_chunk));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(readback_ms: f64, token_ms: f64) -> Pace {
        let mut pace = Pace::new(256);
        pace.readback_took(readback_ms);
        pace.decoded(1, token_ms);
        pace
    }

    #[test]
    fn batches_fit_the_reader_and_the_readback() {
        // (readback ms, ms a token, tokens left) -> (now, ahead)
        for (readback_ms, token_ms, left, now, ahead) in [
            (0.5, 5.0, 100, 24, 0),    // a laptop: a piece of text at a time
            (3.0, 1.0, 100, 24, 24),   // a quick GPU: the readback shows, so ahead
            (100.0, 5.0, 100, 24, 24), // a browser that looks every 100 ms
            (1.0, 85.0, 100, 8, 0),    // a GPU in software
            (1.0, 900.0, 100, 1, 0),   // a large model on it: stop must not take seconds
            (3.0, 1.0, 30, 24, 6),     // the end of an answer
            (3.0, 1.0, 5, 5, 0),
        ] {
            let request = pace(readback_ms, token_ms).batch(left);
            assert_eq!(
                request,
                Request { now, ahead },
                "{readback_ms} ms a readback, {token_ms} ms a token, {left} left"
            );
        }
        assert_eq!(Pace::new(256).batch(100), Request { now: 8, ahead: 0 });
    }

    #[test]
    fn chunks_grow_and_shrink_to_what_a_frame_allows() {
        let mut pace = Pace::new(256);
        for _ in 0..4 {
            pace.read_chunk(pace.chunk(), 2.0);
        }
        assert_eq!(pace.chunk(), 256);
        pace.read_chunk(20, 100.0);
        assert_eq!(pace.chunk(), 256, "a prompt's end says nothing");
        for _ in 0..8 {
            pace.read_chunk(pace.chunk(), 500.0);
        }
        assert_eq!(pace.chunk(), SMALLEST_CHUNK);
    }
}
