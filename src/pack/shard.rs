//! One shard: its layout, and how weights become sections and sections weights, side by side. Sections follow each other in
//! a fixed order, each from a multiple of 256 bytes; their sizes come from the configuration and the formats alone, never
//! from the file.

use std::vec::IntoIter;

use half::f16;
use serde::{Deserialize, Serialize};

use super::PackFormats;
use crate::config::LlamaConfig;
use crate::quant::{Format, Packed};
use crate::weights::{HeadWeights, LayerFormats, LayerWeights};

/// What WebGPU asks of an offset at which a buffer is bound; copies ask for less.
pub(super) const SECTION_ALIGNMENT: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EmbeddingFormats {
    pub(super) embedding: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadFormats {
    /// `None` when tied.
    pub(super) head: Option<Format>,
}

/// What a kind of shard holds: its parts, and how they go into bytes and come out again.
pub(super) trait Content: Sized {
    /// Formats, as the manifest lists them.
    type Formats: Copy;

    fn formats(&self) -> Self::Formats;
    fn parts(config: &LlamaConfig, formats: Self::Formats) -> Vec<Part>;
    fn write(&self, writer: &mut Writer);
    /// Takes the parts in their order out of the sections.
    fn read(parts: &[Part], sections: &mut Sections) -> Option<Self>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer { bytes: Vec::new() };
        self.write(&mut writer);
        writer.bytes
    }

    /// Bytes of the whole shard.
    fn byte_count(config: &LlamaConfig, formats: Self::Formats) -> u64 {
        bytes(&Self::parts(config, formats))
    }
}

/// A norm or a matrix (rows, cols), and its name in errors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Floats(&'static str, usize),
    Matrix(&'static str, usize, usize, Format),
}

/// A run of words, the content of one tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// The part it belongs to.
    pub(super) name: &'static str,
    pub(super) words: u64,
    pub(super) values: Values,
}

/// What the words of a section are, as far as a reader has to know.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values {
    /// Whole numbers: every one of them is a weight.
    Integers,
    /// Each word an f32.
    Floats,
    /// Each word two f16, so many in all: the last word of an odd count holds one and a zero.
    Halves(u64),
}

impl Part {
    /// A matrix has two, words and scales; where the format has no scales the second is empty.
    pub(super) fn sections(&self) -> Vec<Section> {
        let section = |name, words, values| Section {
            name,
            words,
            values,
        };
        match *self {
            Self::Floats(name, length) => vec![section(name, length as u64, Values::Floats)],
            Self::Matrix(name, rows, cols, format) => {
                let values = match format {
                    Format::F32 => Values::Floats,
                    Format::Q8 | Format::Q4 => Values::Integers,
                };
                let scales = format.scale_count(rows, cols);
                vec![
                    section(name, format.word_count(rows, cols), values),
                    section(name, scales.div_ceil(2), Values::Halves(scales)),
                ]
            }
        }
    }
}

impl Section {
    pub(super) fn bytes(&self) -> u64 {
        4 * self.words
    }

    pub(super) fn padded_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(SECTION_ALIGNMENT)
    }

    /// Whether the section's values from word `first` on, as many as `bytes` holds, are finite.
    pub(super) fn is_finite(&self, first: u64, bytes: &[u8]) -> bool {
        match self.values {
            Values::Integers => true,
            Values::Floats => bytes
                .chunks_exact(4)
                .all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite()),
            Values::Halves(count) => {
                let left = usize::try_from(count.saturating_sub(2 * first)).unwrap_or(usize::MAX);
                let mut halves = bytes.chunks_exact(2).take(left);
                halves.all(|b| f16::from_le_bytes([b[0], b[1]]).is_finite())
            }
        }
    }
}

impl Content for LayerWeights {
    type Formats = LayerFormats;

    fn formats(&self) -> LayerFormats {
        self.formats()
    }

    fn parts(config: &LlamaConfig, formats: LayerFormats) -> Vec<Part> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let qkv_rows = config.query_rows() + 2 * config.kv_rows();
        vec![
            Part::Floats("attention_norm", hidden),
            Part::Matrix("qkv", qkv_rows, hidden, formats.qkv),
            Part::Matrix("output", hidden, config.query_rows(), formats.output),
            Part::Floats("mlp_norm", hidden),
            Part::Matrix("gate_up", 2 * intermediate, hidden, formats.gate_up),
            Part::Matrix("down", hidden, intermediate, formats.down),
        ]
    }

    fn write(&self, writer: &mut Writer) {
        writer.floats(&self.attention_norm);
        writer.matrix(&self.qkv);
        writer.matrix(&self.output);
        writer.floats(&self.mlp_norm);
        writer.matrix(&self.gate_up);
        writer.matrix(&self.down);
    }

    fn read(parts: &[Part], sections: &mut Sections) -> Option<Self> {
        let [_, qkv, output, _, gate_up, down] = parts else {
            return None;
        };
        Some(Self {
            attention_norm: sections.floats()?,
            qkv: sections.matrix(qkv)?,
            output: sections.matrix(output)?,
            mlp_norm: sections.floats()?,
            gate_up: sections.matrix(gate_up)?,
            down: sections.matrix(down)?,
        })
    }
}

impl Content for Packed {
    type Formats = EmbeddingFormats;

    fn formats(&self) -> EmbeddingFormats {
        EmbeddingFormats {
            embedding: self.format,
        }
    }

    fn parts(config: &LlamaConfig, formats: EmbeddingFormats) -> Vec<Part> {
        let (rows, cols) = (config.vocab_size, config.hidden_size);
        vec![Part::Matrix("embedding", rows, cols, formats.embedding)]
    }

    fn write(&self, writer: &mut Writer) {
        writer.matrix(self);
    }

    fn read(parts: &[Part], sections: &mut Sections) -> Option<Self> {
        sections.matrix(parts.first()?)
    }
}

impl Content for HeadWeights {
    type Formats = HeadFormats;

    fn formats(&self) -> HeadFormats {
        HeadFormats {
            head: self.head.as_ref().map(|head| head.format),
        }
    }

    fn parts(config: &LlamaConfig, formats: HeadFormats) -> Vec<Part> {
        let head = formats
            .head
            .map(|format| Part::Matrix("head", config.vocab_size, config.hidden_size, format));
        [Part::Floats("norm", config.hidden_size)]
            .into_iter()
            .chain(head)
            .collect()
    }

    fn write(&self, writer: &mut Writer) {
        writer.floats(&self.norm);
        if let Some(head) = &self.head {
            writer.matrix(head);
        }
    }

    fn read(parts: &[Part], sections: &mut Sections) -> Option<Self> {
        Some(Self {
            norm: sections.floats()?,
            head: match parts.get(1) {
                Some(head) => Some(sections.matrix(head)?),
                None => None,
            },
        })
    }
}

/// Bytes of a pack's weight files, from the shape alone: what [`super::write`] writes, manifest and tokenizer apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardBytes {
    /// The embedding.
    pub embedding: u64,
    /// Of one layer: attention and the norm before it.
    pub attention: u64,
    /// Of one layer: MLP and the norm before it.
    pub mlp: u64,
    /// The final norm and, when not tied, the head.
    pub head: u64,
}

impl ShardBytes {
    /// Of this shape in these formats.
    pub fn of(config: &LlamaConfig, formats: PackFormats) -> Self {
        let layer = LayerWeights::parts(
            config,
            LayerFormats {
                qkv: formats.layers,
                output: formats.layers,
                gate_up: formats.layers,
                down: formats.layers,
            },
        );
        let (attention, mlp) = layer.split_at(ATTENTION_PARTS);
        let embedding = formats.embedding;
        let head = (!config.tied_head).then_some(formats.head);
        Self {
            embedding: bytes(&Packed::parts(config, EmbeddingFormats { embedding })),
            attention: bytes(attention),
            mlp: bytes(mlp),
            head: bytes(&HeadWeights::parts(config, HeadFormats { head })),
        }
    }

    /// Of one layer's file.
    pub fn layer(&self) -> u64 {
        self.attention + self.mlp
    }
}

/// Of a layer's parts the first: norm, qkv, output.
const ATTENTION_PARTS: usize = 3;

fn bytes(parts: &[Part]) -> u64 {
    let sections = parts.iter().flat_map(Part::sections);
    sections.map(|section| section.padded_bytes()).sum()
}

pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn floats(&mut self, values: &[f32]) {
        self.section(values.iter().map(|value| value.to_bits()));
    }

    fn matrix(&mut self, matrix: &Packed) {
        self.section(matrix.words.iter().copied());
        self.section(matrix.scale_words().into_iter());
    }

    fn section(&mut self, words: impl ExactSizeIterator<Item = u32>) {
        self.bytes
            .reserve(4 * words.len() + SECTION_ALIGNMENT as usize);
        self.bytes.extend(words.flat_map(u32::to_le_bytes));
        let padded = self
            .bytes
            .len()
            .next_multiple_of(SECTION_ALIGNMENT as usize);
        self.bytes.resize(padded, 0);
    }
}

/// The words of a whole shard's sections, taken in their order.
pub(super) struct Sections(pub(super) IntoIter<Vec<u32>>);

impl Sections {
    fn floats(&mut self) -> Option<Vec<f32>> {
        let words = self.0.next()?;
        Some(words.into_iter().map(f32::from_bits).collect())
    }

    fn matrix(&mut self, part: &Part) -> Option<Packed> {
        let Part::Matrix(_, rows, cols, format) = *part else {
            return None;
        };
        let words = self.0.next()?;
        let halves = |pair: u32| [pair as u16, (pair >> 16) as u16].map(f16::from_bits);
        let mut scales: Vec<f16> = self.0.next()?.into_iter().flat_map(halves).collect();
        // The last word of an odd count holds one scale and a zero.
        scales.truncate(usize::try_from(format.scale_count(rows, cols)).unwrap_or(usize::MAX));
        Some(Packed {
            rows,
            cols,
            format,
            words,
            scales,
        })
    }
}
