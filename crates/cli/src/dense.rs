//! In: a path. Out: a checkpoint or a pack as a source of f32 weights, its tokenizer, and what it is called.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use halfdepth::checkpoint::{Checkpoint, hex};
use halfdepth::decode::Device;
use halfdepth::dense::{DenseSource, PackSource};
use halfdepth::model::Llama;
use halfdepth::pack::{Manifest, PackError, Role};
use halfdepth::plan::{LanePlan, LayerPlan};
use halfdepth::scan::ScannedModel;
use halfdepth::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};

use crate::model::{from_checkpoint, from_pack, plan_file};
use crate::open::{self, Source};

/// A model to be measured.
pub(crate) struct Model {
    name: String,
    weights: Weights,
}

type Read = Box<dyn Fn(&str) -> Result<&'static [u8], PackError> + Sync>;

enum Weights {
    Checkpoint(Box<Checkpoint<'static>>),
    Pack {
        folder: std::path::PathBuf,
        manifest: Box<Manifest>,
        source: Box<PackSource<Read>>,
    },
}

/// Opens a model folder, a GGUF file or a pack.
pub(crate) fn open(path: &Path) -> Result<Model> {
    Ok(match open::open(path)? {
        Source::Checkpoint(checkpoint) => Model {
            name: open::model_name(path),
            weights: Weights::Checkpoint(checkpoint),
        },
        Source::Pack(folder, manifest) => {
            let files = folder.clone();
            let read: Read = Box::new(move |file| {
                open::map(&files.join(file)).map_err(|error| PackError::Read {
                    file: file.to_string(),
                    source: std::io::Error::other(format!("{error:#}")),
                })
            });
            let source = PackSource::new(&manifest, read)
                .with_context(|| format!("cannot read the pack in {}", folder.display()))?;
            Model {
                name: manifest.name().to_string(),
                weights: Weights::Pack {
                    folder,
                    manifest,
                    source: Box::new(source),
                },
            }
        }
    })
}

impl Model {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `safetensors`, `gguf` or `pack`.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.weights {
            Weights::Checkpoint(checkpoint) => checkpoint.kind(),
            Weights::Pack { .. } => "pack",
        }
    }

    /// What a scan notes of it; `sha256` is its own, which takes a while to reckon.
    pub(crate) fn scanned(&self, sha256: &str) -> ScannedModel {
        ScannedModel {
            name: self.name.clone(),
            kind: self.kind().to_string(),
            sha256: sha256.to_string(),
            config: self.source().config().clone(),
        }
    }

    /// Its weights.
    pub(crate) fn source(&self) -> &dyn DenseSource {
        match &self.weights {
            Weights::Checkpoint(checkpoint) => checkpoint.as_ref(),
            Weights::Pack { source, .. } => source.as_ref(),
        }
    }

    /// The weights that a plan runs, where some are not the model's own.
    pub(crate) fn replaced(&self, plan: &LanePlan) -> Result<Option<Box<dyn DenseSource + '_>>> {
        match &self.weights {
            Weights::Pack { source, .. } if !plan.is_unreplaced() => {
                Ok(Some(Box::new(source.under(plan)?)))
            }
            _ => Ok(None),
        }
    }

    /// Of the files that a plan runs where some are not the model's own; else [`Model::sha256`].
    pub(crate) fn sha256_under(&self, plan: &LanePlan) -> String {
        match &self.weights {
            Weights::Pack { manifest, .. } if !plan.is_unreplaced() => {
                names_sha256(manifest, Role::of_plan(plan))
            }
            _ => self.sha256(),
        }
    }

    /// Of the weight files; of a pack, of its files' hashes. Reads all of a checkpoint.
    pub(crate) fn sha256(&self) -> String {
        match &self.weights {
            Weights::Checkpoint(checkpoint) => checkpoint.sha256(),
            Weights::Pack { manifest, .. } => {
                // Plans, which may be added later, change no weight.
                let layers = (0..manifest.config().layers).map(Role::Layer);
                let ends = [Role::Embedding, Role::Head].into_iter();
                names_sha256(manifest, ends.chain(layers))
            }
        }
    }

    /// What a file made for these weights may name: [`Self::sha256`], and of a pack also its checkpoint's.
    pub(crate) fn hashes(&self) -> Vec<String> {
        let mut hashes = vec![self.sha256()];
        if let Weights::Pack { manifest, .. } = &self.weights {
            hashes.push(manifest.source().sha256.clone());
        }
        hashes
    }

    /// Its tokenizer.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        match &self.weights {
            Weights::Checkpoint(checkpoint) => open::tokenizer(checkpoint),
            Weights::Pack {
                folder, manifest, ..
            } => {
                let file = manifest
                    .file(Role::Tokenizer)
                    .context("the pack names no tokenizer")?;
                let bytes = manifest.read_tokenizer(open::map(&folder.join(file))?)?;
                Ok(Tokenizer::from_json(bytes)?)
            }
        }
    }

    /// A plan by name: of a pack, those it lists; of a checkpoint, `full` and `half`.
    pub(crate) fn plan(&self, name: &str) -> Result<LanePlan> {
        let layers = self.source().config().layers;
        match (&self.weights, name) {
            (Weights::Pack { manifest, .. }, name) => Ok(manifest.plan(name)?),
            (_, "full") => Ok(LayerPlan::full(layers)?.into()),
            (_, "half") => Ok(LayerPlan::simple(layers, layers / 2)?.into()),
            _ => bail!(
                "a checkpoint has the plans `full` and `half`; name a file that `halfdepth plan` wrote, or leave layers out by number with --drop"
            ),
        }
    }

    /// A plan of whole layers by name, or from a file that `halfdepth plan` wrote.
    pub(crate) fn layer_plan(&self, name: &str) -> Result<LayerPlan> {
        match plan_file(name, self.source().config())? {
            Some(file) => Ok(file.whole_layers()?),
            None => Ok(self.plan(name)?.unreplaced()?),
        }
    }

    /// The model as lanes run it: a checkpoint in f32, a pack as it is packed.
    pub(crate) fn llama(&self, device: &Device) -> Result<Arc<Llama>> {
        match &self.weights {
            Weights::Checkpoint(checkpoint) => from_checkpoint(checkpoint, true, device),
            Weights::Pack {
                folder, manifest, ..
            } => Ok(from_pack(folder, manifest, device)?.0),
        }
    }
}

/// Names are hashes, so a name stands for its file.
fn names_sha256(manifest: &Manifest, roles: impl IntoIterator<Item = Role>) -> String {
    let mut hash = Sha256::new();
    for role in roles {
        hash.update(manifest.file(role).unwrap_or_default());
    }
    hex(&hash.finalize())
}

/// What tells one tokenizer from another: models of equal weights may read texts in other ways.
pub(crate) fn tokenizer_digest(tokenizer: &Tokenizer) -> String {
    format!(
        "{:x?}",
        Sha256::digest(tokenizer.to_json().unwrap_or_default())
    )
}
