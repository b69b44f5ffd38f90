//! In: a pack's manifest and the checkpoint it was made from, healed. Out: a plan more, and shards for what healing changed alone;
//! every other file is shared.

use std::collections::BTreeSet;
use std::io;

use super::document::{ReplacementShard, Shard};
use super::write::Store;
use super::{Manifest, PackError};
use crate::checkpoint::{Checkpoint, Weight};
use crate::config::LlamaConfig;
use crate::plan::PlanEntry;
use crate::weights::{FormatChoice, HeadWeights, LayerFormats, LayerWeights};

/// Adds a plan of a healed checkpoint's layers, or puts it in the place of the one of its name, and gives `put(name, bytes)` every
/// file that the pack does not have yet. What [`Checkpoint::replacing`] changed is packed as the pack's other weights are; which
/// replacements the plan runs follows from it.
///
/// # Errors
/// The checkpoint is of another shape, a layer was changed that does not run, or `put` failed.
pub fn add_healed(
    manifest: &mut Manifest,
    healed: &Checkpoint,
    mut entry: PlanEntry,
    put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<(), PackError> {
    let layers = changed_layers(manifest, healed, &entry)?;
    let formats = manifest.formats();
    let mut document = manifest.document().clone();
    let files = manifest.files().into_iter();
    let mut store = Store::new(put, files.map(|info| info.file));
    entry.replacements = Vec::new();
    for layer in layers {
        let choice = FormatChoice::Quantised(formats.layers);
        let shard = store.shard(&LayerWeights::from_checkpoint(healed, layer, choice)?)?;
        // So small a change that no bit of the packed weights tells of it.
        if document.layers[layer].file != shard.file {
            let shard = replacement(layer, shard);
            let number = number_of(&mut document.replacements, shard);
            entry.replacements.push(number);
        }
    }
    entry.replacements.sort_unstable();
    entry.head = None;
    if healed.replaced().any(|(weight, _)| is_head(weight)) {
        let choice = FormatChoice::Quantised(formats.head);
        let shard = store.shard(&HeadWeights::from_checkpoint(healed, choice)?)?;
        if document.head.file != shard.file {
            entry.head = Some(number_of(&mut document.heads, shard));
        }
    }
    match document
        .plans
        .iter_mut()
        .find(|plan| plan.name == entry.name)
    {
        Some(known) => *known = entry,
        None => document.plans.push(entry),
    }
    *manifest = Manifest::check(document)?;
    Ok(())
}

/// The layers whose weights changed, once everything is known to fit.
fn changed_layers(
    manifest: &Manifest,
    healed: &Checkpoint,
    entry: &PlanEntry,
) -> Result<BTreeSet<usize>, PackError> {
    let refused = |reason: String| PackError::Healed {
        plan: entry.name.clone(),
        reason,
    };
    let own = LlamaConfig {
        tied_head: manifest.config().tied_head,
        ..healed.config().clone()
    };
    if *manifest.config() != own {
        let reason = "the pack was made from a model of another shape; pack this one";
        return Err(refused(reason.into()));
    }
    let plan = entry.plan(own.layers)?;
    let mut layers = BTreeSet::new();
    for (weight, _) in healed.replaced() {
        match weight {
            Weight::Layer(layer, _) if !plan.layers.contains(&layer) => {
                let reason = format!("it changes layer {layer}, which the plan leaves out");
                return Err(refused(reason));
            }
            Weight::Layer(layer, _) => drop(layers.insert(layer)),
            Weight::Embedding => {
                let reason = "it changes the embedding, which all plans of a pack share";
                return Err(refused(reason.into()));
            }
            Weight::FinalNorm | Weight::Head => {}
        }
    }
    Ok(layers)
}

fn is_head(weight: Weight) -> bool {
    matches!(weight, Weight::FinalNorm | Weight::Head)
}

/// The place of a shard in a list; at its end where it is new.
fn number_of<S: PartialEq>(list: &mut Vec<S>, shard: S) -> usize {
    let known = list.iter().position(|known| *known == shard);
    known.unwrap_or_else(|| {
        list.push(shard);
        list.len() - 1
    })
}

fn replacement(layer: usize, shard: Shard<LayerFormats>) -> ReplacementShard {
    let Shard {
        file,
        bytes,
        sha256,
        formats,
    } = shard;
    ReplacementShard {
        layer,
        file,
        bytes,
        sha256,
        formats,
    }
}
