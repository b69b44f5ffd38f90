//! A scan as the JSON file that people read and `plan` takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Measured, Sampling, ScanError};
use crate::config::LlamaConfig;
use crate::header::{HeaderError, check_header, pretty};
use crate::plan::{self, LayerPlan, PlanError, Strategy, SublayerPlan};

/// The format version this code writes and reads.
const VERSION: u64 = 1;
const FORMAT: &str = "halfdepth-scan";

/// More than the scan of a model with 1,024 layers has.
pub const MAX_SCAN_BYTES: usize = 1 << 24;

/// What was scanned, how, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    format: String,
    version: u64,
    /// What was scanned.
    pub model: ScannedModel,
    /// On which text.
    pub text: ScannedText,
    /// Which runs of the text.
    pub sampling: Sampling,
    /// What they were drawn from.
    pub seed: u64,
    /// Runs read.
    pub samples: usize,
    /// Tokens a run.
    pub tokens_per_sample: usize,
    /// Whether each run was read after the begin token.
    pub bos_prepended: bool,
    /// What the numbers are, in words.
    pub protocol: String,
    /// By n: the mean angular distance in units of pi, for each first layer l.
    pub distance: BTreeMap<usize, Vec<f64>>,
    /// By n, all but every layer: the l of least distance.
    pub best_start: BTreeMap<usize, usize>,
    /// By layer.
    pub block_influence: Vec<f64>,
    /// Attention and MLP apart.
    pub sublayers: Sublayers,
}

/// The model that was scanned: with its shape, so that a plan can be weighed without the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScannedModel {
    /// What it is called.
    pub name: String,
    /// `safetensors`, `gguf` or `pack`.
    pub kind: String,
    /// Of the weight files; of the manifest, for a pack.
    pub sha256: String,
    /// Its shape.
    pub config: LlamaConfig,
}

/// The text that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedText {
    /// Names of the files, in the order read.
    pub files: Vec<String>,
    /// Of their bytes, one after the other.
    pub sha256: String,
    /// Tokens in all of it.
    pub tokens: usize,
}

/// By layer: 1 minus the mean cosine between the stream before and after each half of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sublayers {
    /// Of attention.
    pub attention: Vec<f64>,
    /// Of the MLP.
    pub mlp: Vec<f64>,
}

const PROTOCOL: &str = "distance: arccos of the cosine between the last token's residual stream (before any final norm) before layer l and before layer l + n, over pi, mean over samples; block_influence and sublayers: 1 - mean cosine between the stream before and after, over all positions of all samples";

impl Scan {
    /// Puts a scan together.
    pub fn new(
        model: ScannedModel,
        text: ScannedText,
        key: &super::Key,
        measured: Measured,
    ) -> Self {
        // The whole model is no block to drop.
        let rows = measured.distance.iter().filter(|(_, row)| row.len() > 1);
        let best_start = rows.map(|(n, row)| (*n, least(row)));
        Self {
            format: FORMAT.into(),
            version: VERSION,
            model,
            text,
            sampling: key.sampling,
            seed: key.seed,
            samples: key.samples,
            tokens_per_sample: key.tokens,
            bos_prepended: false,
            protocol: PROTOCOL.into(),
            best_start: best_start.collect(),
            distance: measured.distance,
            block_influence: measured.block_influence,
            sublayers: Sublayers {
                attention: measured.attention,
                mlp: measured.mlp,
            },
        }
    }

    /// Parses and checks a scan.
    ///
    /// # Errors
    /// It is none, of another version, or contradicts itself.
    pub fn parse(json: &[u8]) -> Result<Self, ScanError> {
        check_header(json, (FORMAT, VERSION), MAX_SCAN_BYTES).map_err(|error| match error {
            HeaderError::Other(reason) => not_a_scan(reason),
            HeaderError::Version(found) => ScanError::Version {
                found,
                known: VERSION,
            },
        })?;
        let scan: Self = serde_json::from_slice(json).map_err(not_a_scan)?;
        scan.check()
    }

    /// The scan as its file's text.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Layers of the scanned model.
    pub fn layers(&self) -> usize {
        self.model.config.layers
    }

    /// The plan that a strategy makes of this scan; `None` for those that need something else: a loss, or a hand. `seed` is for what
    /// is drawn.
    ///
    /// # Errors
    /// No layer would be left.
    pub fn plan(
        &self,
        strategy: Strategy,
        dropped: usize,
        seed: u64,
    ) -> Result<Option<SublayerPlan>, PlanError> {
        let layers = self.layers();
        Ok(Some(match strategy {
            Strategy::Similarity => {
                // More layers than there are have no best block, and the plan says why they cannot go.
                let first = self.best_start.get(&dropped).copied().unwrap_or(0);
                plan::similarity(layers, first, dropped)?.into()
            }
            Strategy::Simple => {
                let plan = LayerPlan::simple(layers, dropped)?;
                plan.named(format!("simple-{dropped}"))?.into()
            }
            Strategy::Influence => plan::influence(&self.block_influence, dropped)?.into(),
            Strategy::Sublayer => {
                plan::sublayer(&self.sublayers.attention, &self.sublayers.mlp, dropped)?
            }
            Strategy::Random => plan::random(layers, dropped, seed)?.into(),
            Strategy::Greedy | Strategy::Manual => return Ok(None),
        }))
    }

    fn check(mut self) -> Result<Self, ScanError> {
        self.model.config = self.model.config.validate().map_err(not_a_scan)?;
        let layers = self.layers();
        let whole = self.distance.len() == layers
            && (1..=layers).all(|n| {
                self.distance
                    .get(&n)
                    .is_some_and(|row| row.len() == layers + 1 - n)
            });
        if !whole {
            return Err(not_a_scan(format!(
                "`distance` is not that of {layers} layers"
            )));
        }
        if self
            .distance
            .values()
            .flatten()
            .any(|d| !(0.0..=1.0).contains(d))
        {
            return Err(not_a_scan("`distance` holds a number outside 0 to 1"));
        }
        for (field, list) in [
            ("block_influence", &self.block_influence),
            ("sublayers.attention", &self.sublayers.attention),
            ("sublayers.mlp", &self.sublayers.mlp),
        ] {
            if list.len() != layers || list.iter().any(|score| !(0.0..=2.0).contains(score)) {
                return Err(not_a_scan(format!(
                    "`{field}` is not {layers} numbers from 0 to 2"
                )));
            }
        }
        let is_best = |(n, row): (&usize, &Vec<f64>)| {
            let claimed = self.best_start.get(n).and_then(|start| row.get(*start));
            // Numbers as read may be off by their last digit, so a tie may look like none.
            claimed.is_some_and(|d| *d <= row[least(row)] + 1e-12)
        };
        let mut rows = self.distance.iter().filter(|(_, row)| row.len() > 1);
        if self.best_start.len() != layers - 1 || !rows.all(is_best) {
            return Err(not_a_scan("`best_start` is not where `distance` is least"));
        }
        Ok(self)
    }
}

/// Where a row is least; the first such place.
fn least(row: &[f64]) -> usize {
    let better = |best: usize, at: usize| if row[at] < row[best] { at } else { best };
    (0..row.len()).fold(0, better)
}

fn not_a_scan(reason: impl ToString) -> ScanError {
    ScanError::NotAScan {
        reason: reason.to_string(),
    }
}
