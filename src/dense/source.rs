//! In: a checkpoint, or a pack's files. Out: f32 weights, one layer, some rows of the embedding or of the head at a time.

use std::collections::BTreeMap;
use std::ops::Range;

use super::DenseError;
use crate::checkpoint::{Checkpoint, LayerWeight, Weight};
use crate::config::LlamaConfig;
use crate::pack::{Manifest, PackError, Role};
use crate::plan::LanePlan;
use crate::quant::Packed;
use crate::weights::{HeadWeights, LayerWeights};

/// One layer in f32. Matrices are (out_features, in_features), row-major, rows of query and key in Hugging Face's order.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayer {
    /// (hidden_size,).
    pub attention_norm: Vec<f32>,
    /// (heads * head_dim, hidden_size).
    pub query: Vec<f32>,
    /// (kv_heads * head_dim, hidden_size).
    pub key: Vec<f32>,
    /// (kv_heads * head_dim, hidden_size).
    pub value: Vec<f32>,
    /// (hidden_size, heads * head_dim).
    pub output: Vec<f32>,
    /// (hidden_size,).
    pub mlp_norm: Vec<f32>,
    /// (intermediate_size, hidden_size).
    pub gate: Vec<f32>,
    /// (intermediate_size, hidden_size).
    pub up: Vec<f32>,
    /// (hidden_size, intermediate_size).
    pub down: Vec<f32>,
}

impl DenseLayer {
    /// The weight of this part.
    pub fn part(&self, part: LayerWeight) -> &Vec<f32> {
        match part {
            LayerWeight::AttentionNorm => &self.attention_norm,
            LayerWeight::Query => &self.query,
            LayerWeight::Key => &self.key,
            LayerWeight::Value => &self.value,
            LayerWeight::Output => &self.output,
            LayerWeight::MlpNorm => &self.mlp_norm,
            LayerWeight::Gate => &self.gate,
            LayerWeight::Up => &self.up,
            LayerWeight::Down => &self.down,
        }
    }

    /// As [`Self::part`], to be changed.
    pub fn part_mut(&mut self, part: LayerWeight) -> &mut Vec<f32> {
        match part {
            LayerWeight::AttentionNorm => &mut self.attention_norm,
            LayerWeight::Query => &mut self.query,
            LayerWeight::Key => &mut self.key,
            LayerWeight::Value => &mut self.value,
            LayerWeight::Output => &mut self.output,
            LayerWeight::MlpNorm => &mut self.mlp_norm,
            LayerWeight::Gate => &mut self.gate,
            LayerWeight::Up => &mut self.up,
            LayerWeight::Down => &mut self.down,
        }
    }
}

/// Where a dense model's weights come from. Nothing is widened that was not asked for: the embedding of a 2.5 GB
/// checkpoint is 1 GB of floats.
pub trait DenseSource: Sync {
    /// The model's shape.
    fn config(&self) -> &LlamaConfig;

    /// The embeddings of these tokens: (ids, hidden_size). The rows are looked up.
    ///
    /// # Errors
    /// An id past the vocabulary, or weights that are not finite.
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError>;

    /// One layer.
    ///
    /// # Errors
    /// There is no such layer, or it cannot be read.
    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError>;

    /// The gains of the norm before the head: (hidden_size,).
    ///
    /// # Errors
    /// They cannot be read.
    fn final_norm(&self) -> Result<Vec<f32>, DenseError>;

    /// Rows of the head, the embedding's where it is tied: (rows, hidden_size).
    ///
    /// # Errors
    /// They cannot be read.
    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError>;
}

impl DenseSource for Checkpoint<'_> {
    fn config(&self) -> &LlamaConfig {
        Checkpoint::config(self)
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let matrix = self.matrix(Weight::Embedding)?;
        look_up(ids, matrix.rows, matrix.cols, |row, values| {
            Ok(matrix.row_to_f32(row, values)?)
        })
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let vector = |part| self.vector(Weight::Layer(index, part));
        let matrix = |part| self.matrix(Weight::Layer(index, part))?.to_f32();
        Ok(DenseLayer {
            attention_norm: vector(LayerWeight::AttentionNorm)?,
            query: matrix(LayerWeight::Query)?,
            key: matrix(LayerWeight::Key)?,
            value: matrix(LayerWeight::Value)?,
            output: matrix(LayerWeight::Output)?,
            mlp_norm: vector(LayerWeight::MlpNorm)?,
            gate: matrix(LayerWeight::Gate)?,
            up: matrix(LayerWeight::Up)?,
            down: matrix(LayerWeight::Down)?,
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        Ok(self.vector(Weight::FinalNorm)?)
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        let matrix = self.matrix(Weight::Head)?;
        let mut values = vec![0.0; rows.len() * matrix.cols];
        for (row, values) in rows.zip(values.chunks_exact_mut(matrix.cols)) {
            matrix.row_to_f32(row, values)?;
        }
        Ok(values)
    }
}

/// A pack's weights, dequantised. Embedding and head are held as they are packed; a layer's file is read when it is asked for.
pub struct PackSource<R> {
    manifest: Manifest,
    embedding: Packed,
    head: HeadWeights,
    read: R,
}

impl<R, B> PackSource<R>
where
    R: Fn(&str) -> Result<B, PackError> + Sync,
    B: AsRef<[u8]>,
{
    /// Reads and verifies embedding and head; `read` gives the bytes of a file of the pack.
    ///
    /// # Errors
    /// A file cannot be read, or is not what was packed.
    pub fn new(manifest: &Manifest, read: R) -> Result<Self, PackError> {
        let bytes = |role| read(manifest.file(role).unwrap_or_default());
        Ok(Self {
            embedding: manifest.read_embedding(bytes(Role::Embedding)?.as_ref())?,
            head: manifest.read_head(bytes(Role::Head)?.as_ref())?,
            manifest: manifest.clone(),
            read,
        })
    }

    /// The weights that a plan of the pack runs.
    ///
    /// # Errors
    /// Its head cannot be read.
    pub fn under(&self, plan: &LanePlan) -> Result<PlanSource<'_, R>, PackError> {
        let read = |number| {
            let bytes = self.bytes(Role::ReplacedHead(number))?;
            self.manifest.read_replaced_head(number, bytes.as_ref())
        };
        Ok(PlanSource {
            pack: self,
            replaced: plan.replaced().clone(),
            head: plan.head().map(read).transpose()?,
        })
    }

    fn bytes(&self, role: Role) -> Result<B, PackError> {
        let file = self.manifest.file(role);
        (self.read)(file.ok_or_else(|| self.manifest.no_such(role))?)
    }
}

impl<R, B> DenseSource for PackSource<R>
where
    R: Fn(&str) -> Result<B, PackError> + Sync,
    B: AsRef<[u8]>,
{
    fn config(&self) -> &LlamaConfig {
        self.manifest.config()
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        let (rows, cols) = (self.embedding.rows, self.embedding.cols);
        look_up(ids, rows, cols, |row, values| {
            self.embedding.dequantise_row(row, values);
            Ok(())
        })
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let bytes = self.bytes(Role::Layer(index))?;
        let packed = self.manifest.read_layer(index, bytes.as_ref())?;
        Ok(dequantise(packed, self.config()))
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        Ok(self.head.norm.clone())
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        Ok(head_rows(&self.head, &self.embedding, rows))
    }
}

/// A pack's weights as one of its plans runs them.
pub struct PlanSource<'p, R> {
    pack: &'p PackSource<R>,
    replaced: BTreeMap<usize, usize>,
    head: Option<HeadWeights>,
}

impl<R, B> DenseSource for PlanSource<'_, R>
where
    R: Fn(&str) -> Result<B, PackError> + Sync,
    B: AsRef<[u8]>,
{
    fn config(&self) -> &LlamaConfig {
        self.pack.config()
    }

    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, DenseError> {
        self.pack.embed(ids)
    }

    fn layer(&self, index: usize) -> Result<DenseLayer, DenseError> {
        let Some(&number) = self.replaced.get(&index) else {
            return self.pack.layer(index);
        };
        let bytes = self.pack.bytes(Role::Replacement(number))?;
        let manifest = &self.pack.manifest;
        let packed = manifest.read_replacement(number, bytes.as_ref())?;
        Ok(dequantise(packed, self.config()))
    }

    fn final_norm(&self) -> Result<Vec<f32>, DenseError> {
        match &self.head {
            Some(head) => Ok(head.norm.clone()),
            None => self.pack.final_norm(),
        }
    }

    fn head(&self, rows: Range<usize>) -> Result<Vec<f32>, DenseError> {
        match &self.head {
            Some(head) => Ok(head_rows(head, &self.pack.embedding, rows)),
            None => DenseSource::head(self.pack, rows),
        }
    }
}

fn dequantise(packed: LayerWeights, config: &LlamaConfig) -> DenseLayer {
    let mut query = packed.qkv.dequantise();
    let mut key = query.split_off(config.query_rows() * config.hidden_size);
    let value = key.split_off(config.kv_rows() * config.hidden_size);
    let mut gate = packed.gate_up.dequantise();
    let up = gate.split_off(config.intermediate_size * config.hidden_size);
    DenseLayer {
        attention_norm: packed.attention_norm,
        query,
        key,
        value,
        output: packed.output.dequantise(),
        mlp_norm: packed.mlp_norm,
        gate,
        up,
        down: packed.down.dequantise(),
    }
}

fn head_rows(head: &HeadWeights, embedding: &Packed, rows: Range<usize>) -> Vec<f32> {
    let matrix = head.head.as_ref().unwrap_or(embedding);
    let mut values = vec![0.0; rows.len() * matrix.cols];
    for (row, values) in rows.zip(values.chunks_exact_mut(matrix.cols)) {
        matrix.dequantise_row(row, values);
    }
    values
}

fn look_up(
    ids: &[u32],
    vocabulary: usize,
    hidden: usize,
    row: impl Fn(usize, &mut [f32]) -> Result<(), DenseError>,
) -> Result<Vec<f32>, DenseError> {
    let mut values = vec![0.0; ids.len() * hidden];
    for (id, values) in ids.iter().zip(values.chunks_exact_mut(hidden)) {
        if *id as usize >= vocabulary {
            return Err(DenseError::UnknownToken {
                id: *id,
                vocabulary,
            });
        }
        row(*id as usize, values)?;
    }
    Ok(values)
}
