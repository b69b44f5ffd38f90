//! In: a model and a healing. Out: the healed model, as a source of f32 weights like any other.

use std::ops::Range;

use super::{HealError, Healing};
use crate::checkpoint::{LayerWeight, Weight};
use crate::config::LlamaConfig;
use crate::dense::{DenseError, DenseLayer, DenseSource};

/// A model with some of its weights replaced.
pub struct Healed<'s> {
    source: &'s dyn DenseSource,
    healing: &'s Healing,
}

impl<'s> Healed<'s> {
    /// Lays a healing over its source.
    ///
    /// # Errors
    /// It is for a model of another shape, or holds what no model can run with.
    pub fn new(source: &'s dyn DenseSource, healing: &'s Healing) -> Result<Self, HealError> {
        healing.check(source.config())?;
        Ok(Self { source, healing })
    }

    /// What was healed.
    pub fn source(&self) -> &'s dyn DenseSource {
        self.source
    }

    /// What is laid over it.
    pub fn healing(&self) -> &'s Healing {
        self.healing
    }

    fn replaced(&self, weight: Weight) -> Option<&'s Vec<f32>> {
        self.healing.tensors.get(&weight)
    }
}

impl DenseSource for Healed<'_> {
    fn config(&self) -> &LlamaConfig {
        self.source.config()
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let Some(table) = self.replaced(Weight::Embedding) else {
            return self.source.embed(ids);
        };
        let (vocabulary, hidden) = Weight::Embedding.shape(self.config());
        let mut values = Vec::with_capacity(ids.len() * hidden);
        for &id in ids {
            if id as usize >= vocabulary {
                return Err(DenseError::UnknownToken { id, vocabulary });
            }
            values.extend_from_slice(&table[id as usize * hidden..][..hidden]);
        }
        Ok(values)
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let mut layer = self.source.layer(index)?;
        for part in LayerWeight::ALL {
            if let Some(values) = self.replaced(Weight::Layer(index, part)) {
                layer.part_mut(part).clone_from(values);
            }
        }
        Ok(layer)
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        match self.replaced(Weight::FinalNorm) {
            Some(gains) => Ok(gains.clone()),
            None => self.source.final_norm(),
        }
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        let tied = self.config().tied_head;
        let table = self.replaced(Weight::Head);
        let table = table.or_else(|| self.replaced(Weight::Embedding).filter(|_| tied));
        let hidden = self.config().hidden_size;
        match table {
            Some(table) => Ok(table[rows.start * hidden..rows.end * hidden].to_vec()),
            None => self.source.head(rows),
        }
    }
}
