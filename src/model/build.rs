//! A model from parts that are whole: what a checkpoint is read into. Each part is allocated and filled at once.

use burn::tensor::Device;

use super::storage::{Allocator, Destination};
use super::{BuildError, Head, Layer, Llama, PackedLinear};
use crate::config::LlamaConfig;
use crate::quant::Packed;
use crate::weights::{HeadWeights, LayerWeights};

/// Takes a model's parts in any order, as they arrive, and puts each on the device at once.
#[derive(Debug)]
pub struct LlamaBuilder {
    config: LlamaConfig,
    device: Device,
    embedding: Option<PackedLinear>,
    head: Option<Head>,
    layers: Vec<Option<Layer>>,
}

impl LlamaBuilder {
    /// A model of this shape on this device, still without weights.
    pub fn new(config: LlamaConfig, device: &Device) -> Self {
        let layers = (0..config.layers).map(|_| None).collect();
        Self {
            config,
            device: device.clone(),
            embedding: None,
            head: None,
            layers,
        }
    }

    /// Takes the embedding table (vocabulary, hidden).
    pub fn embedding(&mut self, table: Packed) -> Result<(), BuildError> {
        let c = &self.config;
        check("the embedding", &table, c.vocab_size, c.hidden_size)?;
        let allocator = Allocator::new(&self.device);
        let (embedding, to) = super::allocate_embedding(c, table.format, &allocator)?;
        fill(to, matrix_sections(table));
        self.embedding = Some(embedding);
        Ok(())
    }

    /// Takes the final norm and, where it is not tied, the head (vocabulary, hidden).
    pub fn head(&mut self, weights: HeadWeights) -> Result<(), BuildError> {
        let c = &self.config;
        check_norm("the final norm", &weights.norm, c)?;
        if let Some(head) = &weights.head {
            check("the head", head, c.vocab_size, c.hidden_size)?;
        }
        let format = weights.head.as_ref().map(|head| head.format);
        let allocator = Allocator::new(&self.device);
        let (head, to) = super::allocate_head(c, format, &allocator)?;
        let mut sections = vec![float_section(&weights.norm)];
        sections.extend(weights.head.into_iter().flat_map(matrix_sections));
        fill(to, sections);
        self.head = Some(head);
        Ok(())
    }

    /// Takes the weights of layer `index`.
    pub fn layer(&mut self, index: usize, weights: LayerWeights) -> Result<(), BuildError> {
        let c = &self.config;
        let matrices = [
            (
                "qkv",
                &weights.qkv,
                c.query_rows() + 2 * c.kv_rows(),
                c.hidden_size,
            ),
            ("output", &weights.output, c.hidden_size, c.query_rows()),
            (
                "gate_up",
                &weights.gate_up,
                2 * c.intermediate_size,
                c.hidden_size,
            ),
            ("down", &weights.down, c.hidden_size, c.intermediate_size),
        ];
        for (name, packed, rows, cols) in matrices {
            check(&format!("{name} of layer {index}"), packed, rows, cols)?;
        }
        for (name, norm) in [
            ("attention norm", &weights.attention_norm),
            ("MLP norm", &weights.mlp_norm),
        ] {
            check_norm(&format!("{name} of layer {index}"), norm, c)?;
        }
        let Some(place) = self.layers.get_mut(index) else {
            return Err(BuildError::Missing {
                missing: format!("a place for layer {index}"),
            });
        };
        let allocator = Allocator::new(&self.device);
        let name = format!("layer {index}");
        let (layer, to) = Layer::allocate(c, &name, weights.formats(), &allocator)?;
        let mut sections = vec![float_section(&weights.attention_norm)];
        sections.extend(matrix_sections(weights.qkv));
        sections.extend(matrix_sections(weights.output));
        sections.push(float_section(&weights.mlp_norm));
        sections.extend(matrix_sections(weights.gate_up));
        sections.extend(matrix_sections(weights.down));
        fill(to, sections);
        *place = Some(layer);
        Ok(())
    }

    /// The finished model.
    pub fn build(self) -> Result<Llama, BuildError> {
        let missing = |missing: &str| BuildError::Missing {
            missing: missing.to_string(),
        };
        let layers = self.layers.into_iter().enumerate();
        let layers: Result<Vec<Layer>, BuildError> = layers
            .map(|(i, layer)| layer.ok_or_else(|| missing(&format!("layer {i}"))))
            .collect();
        Ok(Llama {
            embedding: self.embedding.ok_or_else(|| missing("the embedding"))?,
            layers: layers?,
            replacements: Vec::new(),
            head: self.head.ok_or_else(|| missing("the head"))?,
            heads: Vec::new(),
            config: self.config,
            device: self.device,
        })
    }
}

/// The words of a section, in the order of the shard format.
type Section = Vec<u32>;

fn float_section(values: &[f32]) -> Section {
    values.iter().map(|value| value.to_bits()).collect()
}

fn matrix_sections(packed: Packed) -> [Section; 2] {
    let scales = packed.scale_words();
    [packed.words, scales]
}

fn fill(
    destinations: impl IntoIterator<Item = Destination>,
    sections: impl IntoIterator<Item = Section>,
) {
    for (destination, words) in destinations.into_iter().zip(sections) {
        destination.fill(words);
        // A device that fails says so to whoever reads from it next.
        let _ = destination.flush();
    }
}

fn check(part: &str, packed: &Packed, rows: usize, cols: usize) -> Result<(), BuildError> {
    let (found, expected) = ((packed.rows, packed.cols), (rows, cols));
    if found == expected {
        return Ok(());
    }
    Err(BuildError::Shape {
        part: part.to_string(),
        found,
        expected,
    })
}

fn check_norm(part: &str, values: &[f32], config: &LlamaConfig) -> Result<(), BuildError> {
    let (found, expected) = ((1, values.len()), (1, config.hidden_size));
    if found == expected {
        return Ok(());
    }
    Err(BuildError::Shape {
        part: part.to_string(),
        found,
        expected,
    })
}
