//! In: a shape and a way to store weights. Out: its bytes, part by part.

use crate::config::LlamaConfig;
use crate::pack::{PackFormats, ShardBytes};
use crate::quant::Format;

/// A way to store a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    /// As it is typed and shown.
    pub name: &'static str,
    /// Which tensors are stored how.
    pub note: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Our own shards, padding included.
    Pack(PackFormats),
    /// Tensors by themselves: matrices of the layers, embedding and head, norms.
    Tensors {
        layers: Coding,
        ends: Coding,
        norms: Coding,
    },
}

/// How numbers become bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coding {
    /// Each by itself.
    Plain {
        /// Bits of one.
        bits: f64,
    },
    /// Blocks of `weights` along a row in `bits`; rows that they do not divide are stored as `otherwise`.
    Blocks {
        /// Weights of a block.
        weights: u64,
        /// Bits of a block.
        bits: u64,
        /// Bits of a block of 32, or of one weight if 32 do not divide the row either: what llama.cpp falls back to.
        otherwise: (u64, u64),
    },
    /// bitsandbytes: 4 bits, an f32 maximum for each 64 of the flattened matrix.
    Nf4,
    /// As `Nf4`, the maxima themselves stored in 8 bits, with an f32 for each 256 of them and one for their mean.
    Nf4DoubleQuantised,
}

/// Bytes of a shape's parts in one storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartBytes {
    pub(super) embedding: u64,
    pub(super) attention: u64,
    pub(super) mlp: u64,
    /// The final norm, and the head where it is not the embedding.
    pub(super) head: u64,
}

const F16: Coding = Coding::Plain { bits: 16.0 };
const F32: Coding = Coding::Plain { bits: 32.0 };

const fn ggml(weights: u64, bytes: u64, otherwise: (u64, u64)) -> Coding {
    Coding::Blocks {
        weights,
        bits: 8 * bytes,
        otherwise,
    }
}

/// The widths of llama.cpp's fallbacks, in bits: a block of 32, one weight.
const TO_Q5_0: (u64, u64) = (8 * 22, 16);
const TO_Q8_0: (u64, u64) = (8 * 34, 16);

// Groups of 128 with an f16 scale and a 4-bit zero point each; the last group of a row may be short.
const G128: Coding = ggml_bits(128, 4 * 128 + 16 + 4);

const fn ggml_bits(weights: u64, bits: u64) -> Coding {
    Coding::Blocks {
        weights,
        bits,
        otherwise: (0, 0),
    }
}

/// The storages that are shown side by side. In GGUF files every matrix has the one type (llama-quantize --pure); the mixes
/// that go by Q4_K_M and the like store some tensors in more bits.
pub const STORAGES: [Storage; 15] = [
    pack(
        "pack-q4",
        "this program's pack: layers q4, embedding and head q8",
        Format::Q4,
        Format::Q8,
    ),
    pack(
        "pack-q4-all",
        "this program's pack: everything q4",
        Format::Q4,
        Format::Q4,
    ),
    pack(
        "pack-q8",
        "this program's pack: everything q8",
        Format::Q8,
        Format::Q8,
    ),
    tensors("f32", "every tensor", F32, F32, F32),
    tensors("f16", "every tensor; bf16 alike", F16, F16, F16),
    gguf("q8_0", 32, 34, TO_Q8_0),
    gguf("q6_k", 256, 210, TO_Q8_0),
    gguf("q4_k", 256, 144, TO_Q5_0),
    gguf("q4_0", 32, 18, (16 * 32, 16)),
    tensors(
        "mlc-q4f16",
        "MLC q4f16_1: every matrix in groups of 32, norms f16",
        ggml_bits(32, 4 * 32 + 16),
        ggml_bits(32, 4 * 32 + 16),
        F16,
    ),
    tensors(
        "nf4",
        "bitsandbytes NF4, f32 maxima: the layers' matrices; the rest f16",
        Coding::Nf4,
        F16,
        F16,
    ),
    tensors(
        "nf4-dq",
        "bitsandbytes NF4 with double quantisation: the layers' matrices; the rest f16",
        Coding::Nf4DoubleQuantised,
        F16,
        F16,
    ),
    tensors(
        "awq-g128",
        "AWQ or GPTQ, groups of 128 with zero points: the layers' matrices; the rest f16",
        G128,
        F16,
        F16,
    ),
    nominal(
        "int4-g128",
        "nominal: every weight at 4.125 bits (an f16 scale for 128)",
        4.125,
    ),
    nominal(
        "4.0",
        "nominal: every weight at 4 bits, no scales; no real format does it",
        4.0,
    ),
];

impl Storage {
    /// `pack-q4`, which `halfdepth pack` makes unless told otherwise.
    pub const PACK: Self = STORAGES[0];
    /// `f16`.
    pub const F16: Self = STORAGES[4];

    /// One of [`STORAGES`], or any number of bits for every weight: `4.25`.
    pub fn named(name: &str) -> Option<Self> {
        let known = STORAGES.into_iter().find(|storage| storage.name == name);
        known.or_else(|| {
            let bits: f64 = name.parse().ok()?;
            let note = "nominal: every weight at so many bits";
            (bits > 0.0 && bits <= 64.0).then_some(nominal("nominal", note, bits))
        })
    }

    /// This program's pack in these formats.
    pub const fn of_pack(name: &'static str, note: &'static str, formats: PackFormats) -> Self {
        Self {
            name,
            note,
            kind: Kind::Pack(formats),
        }
    }

    pub(super) fn part_bytes(&self, config: &LlamaConfig) -> PartBytes {
        match self.kind {
            Kind::Pack(formats) => {
                let shards = ShardBytes::of(config, formats);
                PartBytes {
                    embedding: shards.embedding,
                    attention: shards.attention,
                    mlp: shards.mlp,
                    head: shards.head,
                }
            }
            Kind::Tensors {
                layers,
                ends,
                norms,
            } => {
                let [hidden, intermediate, vocab, query, kv] = [
                    config.hidden_size,
                    config.intermediate_size,
                    config.vocab_size,
                    config.query_rows(),
                    config.kv_rows(),
                ]
                .map(|n| n as u64);
                let norm = norms.bytes(1, hidden);
                let attention = layers.bytes(query, hidden)
                    + 2 * layers.bytes(kv, hidden)
                    + layers.bytes(hidden, query);
                let mlp =
                    2 * layers.bytes(intermediate, hidden) + layers.bytes(hidden, intermediate);
                let head = match config.tied_head {
                    true => 0,
                    false => ends.bytes(vocab, hidden),
                };
                PartBytes {
                    embedding: ends.bytes(vocab, hidden),
                    attention: attention + norm,
                    mlp: mlp + norm,
                    head: head + norm,
                }
            }
        }
    }
}

impl Coding {
    /// Bytes of a matrix (rows, cols).
    pub fn bytes(self, rows: u64, cols: u64) -> u64 {
        let weights = rows * cols;
        match self {
            Self::Plain { bits } => (weights as f64 * bits / 8.0).round() as u64,
            Self::Blocks {
                weights: block,
                bits,
                otherwise: (of_32, of_one),
            } => {
                let bits = match (cols.is_multiple_of(block), of_one) {
                    (true, _) | (false, 0) => cols.div_ceil(block) * bits,
                    (false, _) if cols.is_multiple_of(32) => cols / 32 * of_32,
                    (false, _) => cols * of_one,
                };
                (rows * bits).div_ceil(8)
            }
            Self::Nf4 => weights.div_ceil(2) + 4 * weights.div_ceil(64),
            Self::Nf4DoubleQuantised => {
                let maxima = weights.div_ceil(64);
                weights.div_ceil(2) + maxima + 4 * maxima.div_ceil(256) + 4
            }
        }
    }
}

const fn pack(name: &'static str, note: &'static str, layers: Format, ends: Format) -> Storage {
    let formats = PackFormats {
        layers,
        embedding: ends,
        head: ends,
    };
    Storage::of_pack(name, note, formats)
}

const fn tensors(
    name: &'static str,
    note: &'static str,
    layers: Coding,
    ends: Coding,
    norms: Coding,
) -> Storage {
    let kind = Kind::Tensors {
        layers,
        ends,
        norms,
    };
    Storage { name, note, kind }
}

const fn gguf(name: &'static str, weights: u64, bytes: u64, otherwise: (u64, u64)) -> Storage {
    let coding = ggml(weights, bytes, otherwise);
    tensors(name, "GGUF: every matrix, norms f32", coding, coding, F32)
}

const fn nominal(name: &'static str, note: &'static str, bits: f64) -> Storage {
    let coding = Coding::Plain { bits };
    tensors(name, note, coding, coding, coding)
}
