//! Writes a pack: a checkpoint in, files out through `put`, one layer in memory at a time.

use std::collections::BTreeSet;
use std::io;

use sha2::{Digest, Sha256};

use super::document::{Document, FORMAT, LayerShard, Shard};
use super::shard::Content;
use super::{File, MANIFEST, Manifest, PackError, PackFormats, Source, VERSION};
use crate::checkpoint::{Checkpoint, SpecialTexts, hex};
use crate::config::LlamaConfig;
use crate::plan::{LayerPlan, PlanEntry};
use crate::quant::{Format, Packed};
use crate::weights::{
    FormatChoice, HeadWeights, LayerWeights, WeightsError, embedding_from_checkpoint,
};

/// What to call a pack and how to pack it.
#[derive(Clone, Debug, PartialEq)]
pub struct PackOptions {
    /// What the model calls itself.
    pub name: String,
    /// Where it came from.
    pub source: Source,
    /// Format of the layers' matrices.
    pub layers: Format,
    /// Format of the embedding and the head.
    pub embedding: Format,
    /// Plans to list; `full` is put before them if it is not among them.
    pub plans: Vec<PlanEntry>,
}

/// Gives every file of the pack to `put(name, bytes)`, `manifest.json` last, and counts shards to `progress(done, of)`.
pub fn write(
    checkpoint: &Checkpoint,
    tokenizer_json: &[u8],
    options: &PackOptions,
    put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Manifest, PackError> {
    let parts = Quantised {
        checkpoint,
        layers: FormatChoice::Quantised(options.layers),
        embedding: FormatChoice::Quantised(options.embedding),
    };
    let texts = Texts {
        tokenizer_json,
        chat_template: checkpoint.chat_template().map(str::to_owned),
        special: checkpoint.special().clone(),
    };
    write_parts(&parts, texts, options, put, progress)
}

/// Where a pack's weights come from: one part at a time, so that one is in memory.
pub(super) trait Parts {
    fn config(&self) -> &LlamaConfig;
    fn embedding(&self) -> Result<Packed, WeightsError>;
    fn head(&self) -> Result<HeadWeights, WeightsError>;
    fn layer(&self, layer: usize) -> Result<LayerWeights, WeightsError>;
}

/// What a pack holds besides weights.
pub(super) struct Texts<'t> {
    pub(super) tokenizer_json: &'t [u8],
    pub(super) chat_template: Option<String>,
    pub(super) special: SpecialTexts,
}

struct Quantised<'c> {
    checkpoint: &'c Checkpoint<'c>,
    layers: FormatChoice,
    embedding: FormatChoice,
}

impl Parts for Quantised<'_> {
    fn config(&self) -> &LlamaConfig {
        self.checkpoint.config()
    }

    fn embedding(&self) -> Result<Packed, WeightsError> {
        embedding_from_checkpoint(self.checkpoint, self.embedding)
    }

    fn head(&self) -> Result<HeadWeights, WeightsError> {
        HeadWeights::from_checkpoint(self.checkpoint, self.embedding)
    }

    fn layer(&self, layer: usize) -> Result<LayerWeights, WeightsError> {
        LayerWeights::from_checkpoint(self.checkpoint, layer, self.layers)
    }
}

pub(super) fn write_parts(
    parts: &dyn Parts,
    texts: Texts,
    options: &PackOptions,
    put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Manifest, PackError> {
    let config = parts.config();
    let total = config.layers + 2;
    let plans = plans(options, config.layers)?;
    let mut store = Store::new(put, []);

    let tokenizer = store.file(texts.tokenizer_json, "json")?;
    progress(0, total);
    let embedding = store.shard(&parts.embedding()?)?;
    progress(1, total);
    let head = store.shard(&parts.head()?)?;
    progress(2, total);
    let mut layers = Vec::new();
    for original in 0..config.layers {
        let Shard {
            file,
            bytes,
            sha256,
            formats,
        } = store.shard(&parts.layer(original)?)?;
        layers.push(LayerShard {
            original,
            file,
            bytes,
            sha256,
            formats,
        });
        progress(original + 3, total);
    }

    let manifest = Manifest::check(Document {
        format: FORMAT.into(),
        version: VERSION,
        name: options.name.clone(),
        source: options.source.clone(),
        config: config.clone(),
        formats: PackFormats {
            layers: options.layers,
            embedding: options.embedding,
            head: options.embedding,
        },
        tokenizer,
        chat_template: texts.chat_template,
        special: texts.special,
        embedding,
        head,
        layers,
        replacements: Vec::new(),
        heads: Vec::new(),
        plans,
        evaluation: Vec::new(),
    })?;
    store.put(MANIFEST, manifest.to_json().as_bytes())?;
    Ok(manifest)
}

/// Checked before the work begins, not after an hour of it.
fn plans(options: &PackOptions, layers: usize) -> Result<Vec<PlanEntry>, PackError> {
    for entry in &options.plans {
        entry.plan(layers)?;
    }
    let mut plans = options.plans.clone();
    let full = LayerPlan::full(layers)?;
    if !plans.iter().any(|entry| entry.name == full.name) {
        let full = PlanEntry::new(full.name, "Full depth", full.layers);
        plans.insert(0, full);
    }
    Ok(plans)
}

/// Where files go; each is written once.
pub(super) struct Store<'p> {
    put: &'p mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    written: BTreeSet<String>,
}

impl<'p> Store<'p> {
    /// One that takes some files as written.
    pub(super) fn new(
        put: &'p mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
        written: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            put,
            written: written.into_iter().collect(),
        }
    }

    pub(super) fn shard<C: Content>(
        &mut self,
        content: &C,
    ) -> Result<Shard<C::Formats>, PackError> {
        let File {
            file,
            bytes,
            sha256,
        } = self.file(&content.to_bytes(), "bin")?;
        Ok(Shard {
            file,
            bytes,
            sha256,
            formats: content.formats(),
        })
    }

    fn file(&mut self, content: &[u8], ending: &str) -> Result<File, PackError> {
        let sha256 = hex(&Sha256::digest(content));
        let file = format!("{sha256}.{ending}");
        if self.written.insert(file.clone()) {
            self.put(&file, content)?;
        }
        Ok(File {
            file,
            bytes: content.len() as u64,
            sha256,
        })
    }

    fn put(&mut self, file: &str, bytes: &[u8]) -> Result<(), PackError> {
        (self.put)(file, bytes).map_err(|source| PackError::Write {
            file: file.into(),
            source,
        })
    }
}
