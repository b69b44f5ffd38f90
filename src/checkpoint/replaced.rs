//! A checkpoint some of whose weights are others than its files have.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Checkpoint, CheckpointError, Dtype, Kind, LayerWeight, Tensor, Weight};

impl Checkpoint<'_> {
    /// The same checkpoint with these weights, in f32, in place of its own: all that reads it reads them. A head in place of a tied
    /// one makes it a model with a head of its own, and the embedding stays. [`Checkpoint::stored`] and [`Checkpoint::sha256`] are
    /// still of the files.
    ///
    /// # Errors
    /// A weight is of another shape, or of a layer that there is not.
    pub fn replacing(
        mut self,
        weights: &BTreeMap<Weight, Vec<f32>>,
    ) -> Result<Self, CheckpointError> {
        for (weight, values) in weights {
            let (rows, cols) = weight.shape(&self.config);
            if values.len() != rows * cols {
                return Err(CheckpointError::Shape {
                    tensor: super::hugging_face_name(*weight),
                    expected: vec![rows as u64, cols as u64],
                    found: vec![values.len() as u64],
                });
            }
            let bytes = match (self.kind, weight) {
                (Kind::Gguf, Weight::Layer(_, LayerWeight::Query | LayerWeight::Key)) => {
                    side_by_side(values, cols, self.config.head_dim)
                }
                _ => values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            };
            self.put(*weight, bytes)?;
            self.replaced.insert(*weight);
        }
        Ok(self)
    }

    /// What was replaced: the bytes as the checkpoint's own kind of file would have them, in f32.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = (Weight, &[u8])> {
        self.replaced.iter().filter_map(|weight| {
            let tensor = match *weight {
                Weight::Embedding => Some(&self.tensors.embedding),
                Weight::FinalNorm => Some(&self.tensors.final_norm),
                Weight::Head => self.tensors.head.as_ref(),
                Weight::Layer(layer, part) => {
                    let layer = self.tensors.layers.get(layer);
                    layer.map(|tensors| &tensors[part as usize])
                }
            };
            Some((*weight, tensor?.bytes.as_ref()))
        })
    }

    fn put(&mut self, weight: Weight, bytes: Vec<u8>) -> Result<(), CheckpointError> {
        let tensor = match weight {
            Weight::Embedding => &mut self.tensors.embedding,
            Weight::FinalNorm => &mut self.tensors.final_norm,
            Weight::Head => {
                let (rows, cols) = weight.shape(&self.config);
                self.config.tied_head = false;
                self.tensors.head.get_or_insert(Tensor {
                    name: super::hugging_face_name(weight),
                    dtype: Dtype::F32,
                    rows,
                    cols,
                    bytes: Cow::Borrowed(&[]),
                })
            }
            Weight::Layer(layer, part) => {
                let missing = self.no_such("weight", weight);
                match self.tensors.layers.get_mut(layer) {
                    Some(tensors) => &mut tensors[part as usize],
                    None => return Err(missing),
                }
            }
        };
        tensor.dtype = Dtype::F32;
        tensor.bytes = Cow::Owned(bytes);
        Ok(())
    }
}

/// Rows of q or k, rotating pairs half a head apart, with the pairs side by side.
fn side_by_side(values: &[f32], cols: usize, head_dim: usize) -> Vec<u8> {
    let rows: Vec<&[f32]> = values.chunks_exact(cols).collect();
    let mut bytes = Vec::with_capacity(4 * values.len());
    for head in rows.chunks_exact(head_dim) {
        let (first, second) = head.split_at(head_dim / 2);
        for row in first.iter().zip(second).flat_map(|(a, b)| [a, b]) {
            bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    bytes
}
