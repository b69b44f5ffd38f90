//! One shard: writer and reader, side by side. Sections follow each other in a fixed order, each from a multiple of
//! 256 bytes; their sizes come from the configuration and the formats alone, never from the file.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::config::LlamaConfig;
use crate::quant::{Format, Packed};
use crate::weights::{HeadWeights, LayerWeights};

/// What WebGPU asks of an offset at which a buffer is bound; copies ask for less.
pub(super) const SECTION_ALIGNMENT: u64 = 256;

/// The formats of one layer's matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerFormats {
    pub(super) qkv: Format,
    pub(super) output: Format,
    pub(super) gate_up: Format,
    pub(super) down: Format,
}

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
    /// Reads in the order of `parts`, whose bytes the caller has counted.
    fn read(
        config: &LlamaConfig,
        formats: Self::Formats,
        reader: &mut Reader,
    ) -> Result<Self, NonFinite>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer { bytes: Vec::new() };
        self.write(&mut writer);
        writer.bytes
    }

    /// Bytes of the whole shard.
    fn byte_count(config: &LlamaConfig, formats: Self::Formats) -> u64 {
        Self::parts(config, formats)
            .iter()
            .map(Part::byte_count)
            .sum()
    }
}

/// A norm or a matrix (rows, cols).
#[derive(Clone, Copy)]
pub(super) enum Part {
    Floats(usize),
    Matrix(usize, usize, Format),
}

/// The part that holds a value that is not finite.
pub(super) struct NonFinite(pub(super) &'static str);

impl Part {
    fn byte_count(&self) -> u64 {
        let section = |bytes: u64| bytes.next_multiple_of(SECTION_ALIGNMENT);
        match *self {
            Self::Floats(length) => section(4 * length as u64),
            Self::Matrix(rows, cols, format) => {
                section(4 * format.word_count(rows, cols))
                    + section(4 * format.scale_count(rows, cols).div_ceil(2))
            }
        }
    }
}

impl Content for LayerWeights {
    type Formats = LayerFormats;

    fn formats(&self) -> LayerFormats {
        LayerFormats {
            qkv: self.qkv.format,
            output: self.output.format,
            gate_up: self.gate_up.format,
            down: self.down.format,
        }
    }

    fn parts(config: &LlamaConfig, formats: LayerFormats) -> Vec<Part> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        vec![
            Part::Floats(hidden),
            Part::Matrix(
                config.query_rows() + 2 * config.kv_rows(),
                hidden,
                formats.qkv,
            ),
            Part::Matrix(hidden, config.query_rows(), formats.output),
            Part::Floats(hidden),
            Part::Matrix(2 * intermediate, hidden, formats.gate_up),
            Part::Matrix(hidden, intermediate, formats.down),
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

    fn read(
        config: &LlamaConfig,
        formats: LayerFormats,
        reader: &mut Reader,
    ) -> Result<Self, NonFinite> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let qkv_rows = config.query_rows() + 2 * config.kv_rows();
        Ok(Self {
            attention_norm: reader.floats("attention_norm", hidden)?,
            qkv: reader.matrix("qkv", qkv_rows, hidden, formats.qkv)?,
            output: reader.matrix("output", hidden, config.query_rows(), formats.output)?,
            mlp_norm: reader.floats("mlp_norm", hidden)?,
            gate_up: reader.matrix("gate_up", 2 * intermediate, hidden, formats.gate_up)?,
            down: reader.matrix("down", hidden, intermediate, formats.down)?,
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
        vec![Part::Matrix(
            config.vocab_size,
            config.hidden_size,
            formats.embedding,
        )]
    }

    fn write(&self, writer: &mut Writer) {
        writer.matrix(self);
    }

    fn read(
        config: &LlamaConfig,
        formats: EmbeddingFormats,
        reader: &mut Reader,
    ) -> Result<Self, NonFinite> {
        reader.matrix(
            "embedding",
            config.vocab_size,
            config.hidden_size,
            formats.embedding,
        )
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
            .map(|format| Part::Matrix(config.vocab_size, config.hidden_size, format));
        [Part::Floats(config.hidden_size)]
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

    fn read(
        config: &LlamaConfig,
        formats: HeadFormats,
        reader: &mut Reader,
    ) -> Result<Self, NonFinite> {
        Ok(Self {
            norm: reader.floats("norm", config.hidden_size)?,
            head: match formats.head {
                Some(format) => {
                    Some(reader.matrix("head", config.vocab_size, config.hidden_size, format)?)
                }
                None => None,
            },
        })
    }
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

/// Reads section by section from bytes of which there are as many as the parts need.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    fn floats(&mut self, name: &'static str, length: usize) -> Result<Vec<f32>, NonFinite> {
        let values: Vec<f32> = self
            .section(length as u64)
            .into_iter()
            .map(f32::from_bits)
            .collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(NonFinite(name)),
        }
    }

    fn matrix(
        &mut self,
        name: &'static str,
        rows: usize,
        cols: usize,
        format: Format,
    ) -> Result<Packed, NonFinite> {
        let words = self.section(format.word_count(rows, cols));
        let count = format.scale_count(rows, cols);
        let mut scales: Vec<f16> = self
            .section(count.div_ceil(2))
            .into_iter()
            .flat_map(|pair| {
                [
                    f16::from_bits(pair as u16),
                    f16::from_bits((pair >> 16) as u16),
                ]
            })
            .collect();
        // The last word of an odd count holds one scale and a zero.
        scales.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        let finite = match format {
            Format::F32 => words.iter().all(|word| f32::from_bits(*word).is_finite()),
            Format::Q8 | Format::Q4 => scales.iter().all(|scale| scale.is_finite()),
        };
        match finite {
            true => Ok(Packed {
                rows,
                cols,
                format,
                words,
                scales,
            }),
            false => Err(NonFinite(name)),
        }
    }

    fn section(&mut self, words: u64) -> Vec<u32> {
        // Lengths were checked against the whole; `min` keeps a slip here from becoming a panic.
        let bytes = usize::try_from(4 * words)
            .unwrap_or(usize::MAX)
            .min(self.rest.len());
        let padded = bytes.div_ceil(SECTION_ALIGNMENT as usize) * SECTION_ALIGNMENT as usize;
        let padded = padded.min(self.rest.len());
        let (section, rest) = self.rest.split_at(padded);
        self.rest = rest;
        section[..bytes]
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }
}
