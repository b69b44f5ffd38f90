//! Ends an answer at a stop string: text goes in as it is decoded, text that is safe to show comes out.
//!
//! A stop string may be spread over several tokens, so a tail that may still become one is held back. Where the
//! text was cut into pieces changes nothing: the stop string that is complete first wins.

/// Watches a stream of text for stop strings.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String, // a proper prefix of a stop string, or empty
    stopped: bool,
}

/// What one piece of text led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// Text to show now.
    pub text: String,
    /// Whether a stop string was met; nothing comes after it.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for these strings; empty ones are left out.
    pub fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self {
            stops,
            held: String::new(),
            stopped: false,
        }
    }

    /// Takes the next piece of text. The stop string itself is never shown, nor anything after it.
    pub fn push(&mut self, text: &str) -> Emitted {
        if self.stopped {
            return Emitted {
                text: String::new(),
                stopped: true,
            };
        }
        self.held.push_str(text);
        if let Some(start) = self.first_stop() {
            self.stopped = true;
            self.held.truncate(start);
            return Emitted {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let tail = self.held.split_off(self.safe_bytes());
        Emitted {
            text: std::mem::replace(&mut self.held, tail),
            stopped: false,
        }
    }

    /// What is still held back, for the end of an answer that no stop string ended.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the stop string that ends first begins; of several that end together, the longest.
    fn first_stop(&self) -> Option<usize> {
        let found = self.stops.iter().filter_map(|stop| {
            self.held
                .find(stop.as_str())
                .map(|at| (at + stop.len(), at))
        });
        found.min().map(|(_, at)| at)
    }

    /// How many bytes cannot belong to a stop string that has begun.
    fn safe_bytes(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let begins = |at: &usize| {
            let tail = self.held.get(*at..);
            tail.is_some_and(|tail| self.stops.iter().any(|stop| stop.starts_with(tail)))
        };
        (from..self.held.len())
            .find(begins)
            .unwrap_or(self.held.len())
    }
}
