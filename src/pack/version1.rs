//! The first version of the manifest, read as the present one: every plan runs the model's own weights, and at most one text was
//! measured on.

use serde::Deserialize;

use super::document::{Document, FORMAT, LayerShard, Shard};
use super::shard::{EmbeddingFormats, HeadFormats};
use super::{Evaluation, File, PackFormats, Source, VERSION};
use crate::checkpoint::SpecialTexts;
use crate::config::LlamaConfig;
use crate::plan::{PlanEntry, PlanFigures};

/// `manifest.json` of version 1, field by field.
#[derive(Deserialize)]
pub(super) struct Document1 {
    name: String,
    source: Source,
    config: LlamaConfig,
    formats: PackFormats,
    tokenizer: File,
    chat_template: Option<String>,
    special: SpecialTexts,
    embedding: Shard<EmbeddingFormats>,
    head: Shard<HeadFormats>,
    layers: Vec<LayerShard>,
    plans: Vec<Plan1>,
    evaluation: Option<Evaluation>,
}

#[derive(Deserialize)]
struct Plan1 {
    name: String,
    title: String,
    layers: Vec<usize>,
    cross_entropy: Option<f64>,
}

impl Document1 {
    pub(super) fn into_document(self) -> Document {
        let evaluation: Vec<Evaluation> = self.evaluation.into_iter().collect();
        // A figure without a text was allowed; it says nothing.
        let texts = evaluation.len();
        let plan = |plan: Plan1| PlanEntry {
            figures: vec![plan.cross_entropy.map(figures); texts],
            ..PlanEntry::new(plan.name, plan.title, plan.layers)
        };
        Document {
            format: FORMAT.into(),
            version: VERSION,
            name: self.name,
            source: self.source,
            config: self.config,
            formats: self.formats,
            tokenizer: self.tokenizer,
            chat_template: self.chat_template,
            special: self.special,
            embedding: self.embedding,
            head: self.head,
            layers: self.layers,
            replacements: Vec::new(),
            heads: Vec::new(),
            plans: self.plans.into_iter().map(plan).collect(),
            evaluation,
        }
    }
}

fn figures(cross_entropy: f64) -> PlanFigures {
    PlanFigures {
        cross_entropy,
        agreement: None,
        kl: None,
    }
}
