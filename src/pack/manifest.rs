//! The manifest: parsed and checked once, then the only way to turn a pack's files back into weights.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{Document, FORMAT, damaged};
use super::shard::{Content, Part, Sections};
use super::version1::Document1;
use super::{FileStream, PackError};
use crate::checkpoint::SpecialTexts;
use crate::config::LlamaConfig;
use crate::plan::{LanePlan, PlanEntry, PlanFigures};
use crate::quant::{Format, Packed};
use crate::weights::{HeadWeights, LayerWeights, ModelFormats};

/// The format version this code writes; it reads the one before it too.
pub const VERSION: u64 = 2;

/// A checked manifest: sizes follow from the shape, names from the hashes, and every plan runs layers that are there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Manifest {
    document: Document,
}

/// The checkpoint a pack was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name where it was published.
    pub name: String,
    /// `safetensors` or `gguf`.
    pub kind: String,
    /// Of the weight files, see [`crate::checkpoint::Checkpoint::sha256`].
    pub sha256: String,
    /// Licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// The formats asked for when packing; each shard lists its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackFormats {
    /// Every matrix of the layers.
    pub layers: Format,
    /// The embedding.
    pub embedding: Format,
    /// The head; the embedding's when tied.
    pub head: Format,
}

/// A whole file of the pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Name: its SHA-256 and an ending.
    pub file: String,
    /// Length.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// A text on which the plans were measured, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the text.
    pub text: String,
    /// Predictions measured.
    pub tokens: u64,
    /// Windows, first token, what is counted.
    pub protocol: String,
}

/// What a file of the pack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `tokenizer.json`.
    Tokenizer,
    /// The embedding.
    Embedding,
    /// Final norm and, when not tied, the head.
    Head,
    /// A layer, by its position in the pack.
    Layer(usize),
    /// Other weights for a layer, by their number.
    Replacement(usize),
    /// Another final norm and head, by their number.
    ReplacedHead(usize),
}

impl Role {
    /// Everything that a lane of this plan runs on: the layers in their order, then the head.
    pub fn of_plan(plan: &LanePlan) -> Vec<Self> {
        let layers = plan.layers().layers.iter();
        let layers = layers.map(|layer| match plan.replaced().get(layer) {
            Some(replacement) => Self::Replacement(*replacement),
            None => Self::Layer(*layer),
        });
        let head = plan.head().map_or(Self::Head, Self::ReplacedHead);
        [Self::Embedding]
            .into_iter()
            .chain(layers)
            .chain([head])
            .collect()
    }
}

/// One file to fetch. Layers of equal content share a file and are listed each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Name, relative to the manifest.
    pub file: String,
    /// Length.
    pub bytes: u64,
    /// What it holds.
    pub role: Role,
}

impl Manifest {
    /// Parses and checks `manifest.json`.
    pub fn parse(json: &[u8]) -> Result<Self, PackError> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
            version: u64,
        }

        if json.len() > MAX_MANIFEST_BYTES {
            return Err(PackError::TooLarge {
                bytes: json.len(),
                limit: MAX_MANIFEST_BYTES,
            });
        }
        let header: Header = serde_json::from_slice(json).map_err(|error| PackError::NotAPack {
            reason: error.to_string(),
        })?;
        if header.format != FORMAT {
            let found: String = header.format.chars().take(40).collect();
            return Err(PackError::NotAPack {
                reason: format!("its format is {found:?}"),
            });
        }
        // Before the rest is looked at, which another version may hold in another form.
        let document = match header.version {
            1 => serde_json::from_slice(json).map(Document1::into_document),
            VERSION => serde_json::from_slice(json),
            found => {
                return Err(PackError::Version {
                    found,
                    known: VERSION,
                });
            }
        };
        Self::check(document.map_err(|error| damaged(FORMAT, error.to_string()))?)
    }

    /// The manifest as the text of `manifest.json`; the same manifest gives the same text.
    pub fn to_json(&self) -> String {
        // Maps with text keys, finite numbers: nothing that JSON cannot hold.
        let mut json = serde_json::to_string_pretty(&self.document).unwrap_or_default();
        json.push('\n');
        json
    }

    /// What the model calls itself.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// The checkpoint it was made from.
    pub fn source(&self) -> &Source {
        &self.document.source
    }

    /// The model's shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.document.config
    }

    /// The formats asked for when packing.
    pub fn formats(&self) -> PackFormats {
        self.document.formats
    }

    /// The Jinja text that turns messages into a prompt.
    pub fn chat_template(&self) -> Option<&str> {
        self.document.chat_template.as_deref()
    }

    /// The special tokens a chat template may name.
    pub fn special(&self) -> &SpecialTexts {
        &self.document.special
    }

    /// The plans, in the order the page shows them.
    pub fn plans(&self) -> &[PlanEntry] {
        &self.document.plans
    }

    /// The texts on which the plans were measured, the one that the page shows first.
    pub fn evaluation(&self) -> &[Evaluation] {
        &self.document.evaluation
    }

    /// The checkpoint's number of each layer, by position in the pack.
    pub fn original_layers(&self) -> Vec<usize> {
        self.document
            .layers
            .iter()
            .map(|layer| layer.original)
            .collect()
    }

    /// What the plan of this name runs.
    pub fn plan(&self, name: &str) -> Result<LanePlan, PackError> {
        match self.plans().iter().find(|plan| plan.name == name) {
            Some(entry) => self.document.plan(entry),
            None => {
                let known: Vec<_> = self.plans().iter().map(|plan| plan.name.as_str()).collect();
                let found = name.chars().take(64).collect();
                Err(PackError::NoSuchPlan {
                    found,
                    known: known.join(", "),
                })
            }
        }
    }

    /// Adds a plan, or replaces the one of the same name.
    pub fn set_plan(&mut self, entry: PlanEntry) -> Result<(), PackError> {
        let mut document = self.document.clone();
        match document
            .plans
            .iter_mut()
            .find(|plan| plan.name == entry.name)
        {
            Some(known) => *known = entry,
            None => document.plans.push(entry),
        }
        *self = Self::check(document)?;
        Ok(())
    }

    /// Sets the texts on which the plans were measured, and of each plan, in their order, what came out on each text.
    ///
    /// # Errors
    /// There are other plans or texts than figures, or a figure is none.
    pub fn set_evaluation(
        &mut self,
        texts: Vec<Evaluation>,
        figures: Vec<Vec<PlanFigures>>,
    ) -> Result<(), PackError> {
        let mut document = self.document.clone();
        if figures.len() != document.plans.len() {
            return Err(damaged("plans", "are not as many as were measured".into()));
        }
        document.evaluation = texts;
        for (plan, figures) in document.plans.iter_mut().zip(figures) {
            plan.figures = figures.into_iter().map(Some).collect();
        }
        *self = Self::check(document)?;
        Ok(())
    }

    /// All files in the order in which to fetch them: the smallest plan (where several are, one with weights of its own) can
    /// run long before the last has come.
    pub fn files(&self) -> Vec<FileInfo> {
        let document = &self.document;
        let plans = document.plans.iter();
        let smallest = plans.min_by_key(|plan| (plan.layers.len(), plan.replacements.is_empty()));
        let first = smallest.and_then(|entry| document.plan(entry).ok());
        let first = first.as_ref().map(Role::of_plan).unwrap_or_default();
        let count = |role: fn(usize) -> Role, n| (0..n).map(role);
        let all = [Role::Head]
            .into_iter()
            .chain(count(Role::Layer, document.layers.len()))
            .chain(count(Role::Replacement, document.replacements.len()))
            .chain(count(Role::ReplacedHead, document.heads.len()));
        let mut roles = vec![Role::Tokenizer, Role::Embedding];
        // The head before the layers: it is there whatever the plan.
        roles.extend(first.last());
        roles.extend(&first[1.min(first.len())..first.len().saturating_sub(1)]);
        let listed: HashSet<Role> = roles.iter().copied().collect();
        roles.extend(all.filter(|role| !listed.contains(role)));
        let info = |role| {
            let (file, bytes, _) = document.entry(role)?;
            Some(FileInfo {
                file: file.to_owned(),
                bytes,
                role,
            })
        };
        roles.into_iter().filter_map(info).collect()
    }

    /// Bytes of the weights that a lane of this plan reads for a token: its layers and its head, which may be the embedding. Of an
    /// embedding that is not the head it looks up a row.
    pub fn bytes_per_token(&self, plan: &LanePlan) -> u64 {
        let own_head = match plan.head() {
            Some(number) => self.document.heads.get(number),
            None => Some(&self.document.head),
        };
        let is_tied = own_head.is_some_and(|head| head.formats.head.is_none());
        let roles = Role::of_plan(plan).into_iter();
        roles
            .filter(|role| *role != Role::Embedding || is_tied)
            .filter_map(|role| Some(self.document.entry(role)?.1))
            .sum()
    }

    /// The layer in whose place a replacement runs.
    pub fn replaced_layer(&self, replacement: usize) -> Option<usize> {
        let shard = self.document.replacements.get(replacement)?;
        Some(shard.layer)
    }

    /// What the file of this name holds: layers of equal content share one, any other name has one role or none.
    pub fn roles(&self, file: &str) -> Vec<Role> {
        let files = self.files().into_iter();
        files
            .filter(|info| info.file == file)
            .map(|info| info.role)
            .collect()
    }

    /// The name of the file that holds this; `None` for a layer that the pack does not have.
    pub fn file(&self, role: Role) -> Option<&str> {
        self.document.entry(role).map(|(file, ..)| file)
    }

    /// The formats of the shards' matrices: with the shape, all that it takes to allocate the model.
    pub fn model_formats(&self) -> ModelFormats {
        let document = &self.document;
        ModelFormats {
            embedding: document.embedding.formats.embedding,
            head: document.head.formats.head,
            layers: document.layers.iter().map(|layer| layer.formats).collect(),
            replacements: document.replacements.iter().map(|r| r.formats).collect(),
            heads: document
                .heads
                .iter()
                .map(|head| head.formats.head)
                .collect(),
        }
    }

    /// Begins to read a file that arrives in chunks.
    ///
    /// # Errors
    /// The pack has no such file.
    pub fn stream(&self, role: Role) -> Result<FileStream, PackError> {
        let Some((file, bytes, sha256)) = self.document.entry(role) else {
            return Err(self.no_such(role));
        };
        let parts = self.parts(role);
        let sections = parts.iter().flat_map(Part::sections).collect();
        Ok(FileStream::new(file, role, bytes, sha256, sections))
    }

    /// Verifies the bytes of `tokenizer.json`.
    pub fn read_tokenizer<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8], PackError> {
        self.sections(Role::Tokenizer, bytes)?;
        Ok(bytes)
    }

    /// Verifies and unpacks the embedding: (vocab_size, hidden_size).
    pub fn read_embedding(&self, bytes: &[u8]) -> Result<Packed, PackError> {
        self.read(Role::Embedding, bytes)
    }

    /// Verifies and unpacks the final norm and the head.
    pub fn read_head(&self, bytes: &[u8]) -> Result<HeadWeights, PackError> {
        self.read(Role::Head, bytes)
    }

    /// Verifies and unpacks the layer at this position in the pack.
    pub fn read_layer(&self, layer: usize, bytes: &[u8]) -> Result<LayerWeights, PackError> {
        self.read(Role::Layer(layer), bytes)
    }

    /// Verifies and unpacks other weights for a layer.
    pub fn read_replacement(&self, number: usize, bytes: &[u8]) -> Result<LayerWeights, PackError> {
        self.read(Role::Replacement(number), bytes)
    }

    /// Verifies and unpacks another final norm and head.
    pub fn read_replaced_head(
        &self,
        number: usize,
        bytes: &[u8],
    ) -> Result<HeadWeights, PackError> {
        self.read(Role::ReplacedHead(number), bytes)
    }

    /// Says that the pack has nothing for this role.
    pub(crate) fn no_such(&self, role: Role) -> PackError {
        let layers = self.document.layers.len();
        match role {
            Role::Layer(layer) => PackError::NoSuchLayer { layer, layers },
            role => PackError::NoSuchPart { role },
        }
    }

    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    fn read<C: Content>(&self, role: Role, bytes: &[u8]) -> Result<C, PackError> {
        let mut sections = Sections(self.sections(role, bytes)?.into_iter());
        let content = C::read(&self.parts(role), &mut sections);
        content.ok_or_else(|| damaged(&role.to_string(), "is of another kind".into()))
    }

    /// The words of a whole file's sections.
    fn sections(&self, role: Role, bytes: &[u8]) -> Result<Vec<Vec<u32>>, PackError> {
        let mut stream = self.stream(role)?;
        stream.check_length(bytes.len())?;
        let mut sections = vec![Vec::new(); stream.section_count()];
        stream.push(bytes, &mut |piece| {
            let words = piece.bytes.chunks_exact(4);
            sections[piece.section]
                .extend(words.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        })?;
        stream.finish()?;
        Ok(sections)
    }

    fn parts(&self, role: Role) -> Vec<Part> {
        let (document, config) = (&self.document, self.config());
        let layer = |formats| LayerWeights::parts(config, formats);
        let head = |formats| HeadWeights::parts(config, formats);
        let parts = match role {
            Role::Tokenizer => None,
            Role::Embedding => Some(Packed::parts(config, document.embedding.formats)),
            Role::Head => Some(head(document.head.formats)),
            Role::Layer(at) => document.layers.get(at).map(|shard| layer(shard.formats)),
            Role::Replacement(at) => {
                (document.replacements.get(at)).map(|shard| layer(shard.formats))
            }
            Role::ReplacedHead(at) => document.heads.get(at).map(|shard| head(shard.formats)),
        };
        parts.unwrap_or_default()
    }

    /// The one door to a `Manifest`, for what was read and for what is about to be written.
    pub(super) fn check(document: Document) -> Result<Self, PackError> {
        let document = document.checked()?;
        Ok(Self { document })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokenizer => f.write_str("the tokenizer"),
            Self::Embedding => f.write_str("the embedding"),
            Self::Head => f.write_str("the head"),
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::Replacement(number) => write!(f, "replacement {number}"),
            Self::ReplacedHead(number) => write!(f, "replaced head {number}"),
        }
    }
}

// A thousand layers and as many plans fit; what a hostile one makes serde allocate stays a few dozen megabytes.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
