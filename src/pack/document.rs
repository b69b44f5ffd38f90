//! What a manifest holds, and whether it contradicts itself. In: `manifest.json`'s fields as they came. Out: the same, checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::shard::{Content, EmbeddingFormats, HeadFormats};
use super::{Evaluation, File, PackError, PackFormats, Role, Source};
use crate::checkpoint::SpecialTexts;
use crate::config::LlamaConfig;
use crate::plan::{LanePlan, PlanEntry, PlanFigures};
use crate::quant::Packed;
use crate::weights::{HeadWeights, LayerFormats, LayerWeights};

pub(super) const FORMAT: &str = "halfdepth-pack";

const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

/// `manifest.json`, field by field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) format: String,
    pub(super) version: u64,
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) config: LlamaConfig,
    pub(super) formats: PackFormats,
    pub(super) tokenizer: File,
    pub(super) chat_template: Option<String>,
    pub(super) special: SpecialTexts,
    pub(super) embedding: Shard<EmbeddingFormats>,
    pub(super) head: Shard<HeadFormats>,
    pub(super) layers: Vec<LayerShard>,
    pub(super) replacements: Vec<ReplacementShard>,
    pub(super) heads: Vec<Shard<HeadFormats>>,
    pub(super) plans: Vec<PlanEntry>,
    pub(super) evaluation: Vec<Evaluation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shard<F> {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) formats: F,
}

/// A [`Shard`] and the layer it was; flattening would let serde buffer whatever a hostile entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerShard {
    pub(super) original: usize,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) formats: LayerFormats,
}

/// A [`Shard`] and the position of the layer in whose place it may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReplacementShard {
    pub(super) layer: usize,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) formats: LayerFormats,
}

impl Document {
    /// Refuses what contradicts itself: sizes follow from the shape, names from the hashes, and every plan runs layers that
    /// are there.
    pub(super) fn checked(mut self) -> Result<Self, PackError> {
        self.config = self.config.validate()?;
        let config = &self.config;
        check_name(
            "tokenizer",
            &self.tokenizer.file,
            &self.tokenizer.sha256,
            "json",
        )?;
        if self.tokenizer.bytes > MAX_TOKENIZER_BYTES {
            let reason = format!(
                "has {} bytes, over the limit of {MAX_TOKENIZER_BYTES}",
                self.tokenizer.bytes
            );
            return Err(damaged("tokenizer", reason));
        }
        check_shard::<Packed, _>("embedding", config, &self.embedding)?;
        check_shard::<HeadWeights, _>("head", config, &self.head)?;
        if self.head.formats.head.is_none() != config.tied_head {
            return Err(damaged(
                "head",
                "and config.tied_head contradict each other".into(),
            ));
        }
        if self.layers.len() != config.layers {
            let reason = format!(
                "lists {} layers, the configuration {}",
                self.layers.len(),
                config.layers
            );
            return Err(damaged("layers", reason));
        }
        let mut previous = None;
        for (position, layer) in self.layers.iter().enumerate() {
            let field = format!("layers[{position}]");
            layer.check(&field, config)?;
            if previous.is_some_and(|previous| layer.original <= previous) {
                return Err(damaged(
                    &field,
                    "does not follow the layer before it in the checkpoint".into(),
                ));
            }
            previous = Some(layer.original);
        }
        self.check_replacements()?;
        self.check_plans()?;
        Ok(self)
    }

    /// What an entry of `plans` runs.
    pub(super) fn plan(&self, entry: &PlanEntry) -> Result<LanePlan, PackError> {
        let field = || format!("plans.{}", entry.name);
        let mut replaced = BTreeMap::new();
        for &number in &entry.replacements {
            let Some(shard) = self.replacements.get(number) else {
                let reason = format!(
                    "runs replacement {number}; there are {}",
                    self.replacements.len()
                );
                return Err(damaged(&field(), reason));
            };
            if replaced.insert(shard.layer, number).is_some() {
                let reason = format!("replaces layer {} twice", shard.layer);
                return Err(damaged(&field(), reason));
            }
        }
        if let Some(head) = entry.head
            && head >= self.heads.len()
        {
            let reason = format!("runs replaced head {head}; there are {}", self.heads.len());
            return Err(damaged(&field(), reason));
        }
        let layers = entry.plan(self.layers.len())?;
        Ok(LanePlan::new(layers, replaced, entry.head)?)
    }

    fn check_replacements(&self) -> Result<(), PackError> {
        for (number, shard) in self.replacements.iter().enumerate() {
            let field = format!("replacements[{number}]");
            check_name(&field, &shard.file, &shard.sha256, "bin")?;
            let expected = LayerWeights::byte_count(&self.config, shard.formats);
            check_bytes(&field, shard.bytes, expected)?;
            if shard.layer >= self.layers.len() {
                let reason = format!("is for layer {}, which is not there", shard.layer);
                return Err(damaged(&field, reason));
            }
        }
        for (number, shard) in self.heads.iter().enumerate() {
            let field = format!("heads[{number}]");
            check_shard::<HeadWeights, _>(&field, &self.config, shard)?;
            if shard.formats.head.is_none() && !self.config.tied_head {
                let reason = "has no head, which only a tied model can do without".into();
                return Err(damaged(&field, reason));
            }
        }
        Ok(())
    }

    fn check_plans(&self) -> Result<(), PackError> {
        let mut names = BTreeSet::new();
        for entry in &self.plans {
            self.plan(entry)?;
            let name = &entry.name;
            if !names.insert(name) {
                return Err(damaged("plans", format!("has two plans named `{name}`")));
            }
            if !entry.figures.iter().flatten().all(PlanFigures::is_sound) {
                let reason = format!("has a figure that is none for `{name}`");
                return Err(damaged("plans", reason));
            }
            if entry.figures.len() > self.evaluation.len() {
                let reason = format!("has more figures than texts for `{name}`");
                return Err(damaged("plans", reason));
            }
        }
        Ok(())
    }

    /// Name, length and hash of a file.
    pub(super) fn entry(&self, role: Role) -> Option<(&str, u64, &str)> {
        Some(match role {
            Role::Tokenizer => (
                &self.tokenizer.file,
                self.tokenizer.bytes,
                &self.tokenizer.sha256,
            ),
            Role::Embedding => (
                &self.embedding.file,
                self.embedding.bytes,
                &self.embedding.sha256,
            ),
            Role::Head => (&self.head.file, self.head.bytes, &self.head.sha256),
            Role::Layer(layer) => {
                let shard = self.layers.get(layer)?;
                (&shard.file, shard.bytes, &shard.sha256)
            }
            Role::Replacement(number) => {
                let shard = self.replacements.get(number)?;
                (&shard.file, shard.bytes, &shard.sha256)
            }
            Role::ReplacedHead(number) => {
                let shard = self.heads.get(number)?;
                (&shard.file, shard.bytes, &shard.sha256)
            }
        })
    }
}

impl LayerShard {
    fn check(&self, field: &str, config: &LlamaConfig) -> Result<(), PackError> {
        check_name(field, &self.file, &self.sha256, "bin")?;
        check_bytes(
            field,
            self.bytes,
            LayerWeights::byte_count(config, self.formats),
        )
    }
}

fn check_shard<C: Content<Formats = F>, F: Copy>(
    field: &str,
    config: &LlamaConfig,
    shard: &Shard<F>,
) -> Result<(), PackError> {
    check_name(field, &shard.file, &shard.sha256, "bin")?;
    check_bytes(field, shard.bytes, C::byte_count(config, shard.formats))
}

/// A name is the hash and an ending, so it cannot lead out of the pack's folder.
fn check_name(field: &str, file: &str, sha256: &str, ending: &str) -> Result<(), PackError> {
    let is_hash = sha256.len() == 64
        && sha256
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        return Err(damaged(
            field,
            "has a sha256 that is not 64 lower-case hexadecimal digits".into(),
        ));
    }
    if file
        .strip_prefix(sha256)
        .and_then(|rest| rest.strip_prefix('.'))
        != Some(ending)
    {
        return Err(damaged(
            field,
            format!("has a file that is not named <sha256>.{ending}"),
        ));
    }
    Ok(())
}

fn check_bytes(field: &str, found: u64, expected: u64) -> Result<(), PackError> {
    if found == expected {
        return Ok(());
    }
    Err(damaged(
        field,
        format!("has {found} bytes; its shape and formats make {expected}"),
    ))
}

pub(super) fn damaged(field: &str, reason: String) -> PackError {
    PackError::Manifest {
        field: field.into(),
        reason,
    }
}
