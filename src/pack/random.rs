//! A pack of random weights: a shape in, files out. For measuring shapes whose weights cannot be had; its answers mean nothing.

use std::io;

use half::f16;

use super::write::{Parts, Texts, write_parts};
use super::{Manifest, PackError, PackOptions};
use crate::checkpoint::SpecialTexts;
use crate::config::LlamaConfig;
use crate::draws::SplitMix;
use crate::quant::{Format, Packed};
use crate::weights::{HeadWeights, LayerWeights, WeightsError};

/// Writes a pack of this shape as [`super::write`] does. The same seed gives the same bytes; every layer has its own.
///
/// # Errors
/// `put` failed, or the shape or a plan contradicts itself.
pub fn write_random(
    config: &LlamaConfig,
    seed: u64,
    options: &PackOptions,
    put: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Manifest, PackError> {
    let parts = Random {
        config: config.clone().validate()?,
        seed,
        layers: options.layers,
        embedding: options.embedding,
    };
    let tokenizer_json = tokenizer(config.vocab_size);
    let texts = Texts {
        tokenizer_json: tokenizer_json.as_bytes(),
        chat_template: None,
        special: SpecialTexts::default(),
    };
    write_parts(&parts, texts, options, put, progress)
}

struct Random {
    config: LlamaConfig,
    seed: u64,
    layers: Format,
    embedding: Format,
}

impl Parts for Random {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn embedding(&self) -> Result<Packed, WeightsError> {
        Ok(self.words(0).table(&self.config, self.embedding))
    }

    fn head(&self) -> Result<HeadWeights, WeightsError> {
        let head = || self.words(1).table(&self.config, self.embedding);
        Ok(HeadWeights {
            norm: vec![1.0; self.config.hidden_size],
            head: (!self.config.tied_head).then(head),
        })
    }

    fn layer(&self, layer: usize) -> Result<LayerWeights, WeightsError> {
        let c = &self.config;
        let mut words = self.words(2 + layer as u64);
        let mut matrix = |rows, cols| words.matrix(rows, cols, self.layers);
        Ok(LayerWeights {
            attention_norm: vec![1.0; c.hidden_size],
            qkv: matrix(c.query_rows() + 2 * c.kv_rows(), c.hidden_size),
            output: matrix(c.hidden_size, c.query_rows()),
            mlp_norm: vec![1.0; c.hidden_size],
            gate_up: matrix(2 * c.intermediate_size, c.hidden_size),
            down: matrix(c.hidden_size, c.intermediate_size),
        })
    }
}

impl Random {
    /// The numbers of one part, whichever others were drawn before.
    fn words(&self, part: u64) -> Words {
        Words(SplitMix(SplitMix(self.seed).next() ^ SplitMix(part).next()))
    }
}

/// Packed words come straight from the generator, which is why a pack takes seconds.
struct Words(SplitMix);

impl Words {
    fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// In 0..1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    fn table(&mut self, config: &LlamaConfig, format: Format) -> Packed {
        self.matrix(config.vocab_size, config.hidden_size, format)
    }

    /// Weights with a deviation near `1 / sqrt(cols)`, so that a product is as large as what went in.
    fn matrix(&mut self, rows: usize, cols: usize, format: Format) -> Packed {
        let deviation = 1.0 / (cols as f32).sqrt();
        let word_count = format.word_count(rows, cols) as usize;
        // What one step of the format's integers has to be: of evenly drawn nibbles the deviation is 4.6, of bytes 74.
        let step = match format {
            Format::F32 => {
                let mut value = || (self.unit() - 0.5) * deviation * 12_f32.sqrt();
                let words = (0..word_count).map(|_| value().to_bits()).collect();
                return Packed {
                    rows,
                    cols,
                    format,
                    words,
                    scales: Vec::new(),
                };
            }
            Format::Q8 => deviation / 74.0,
            Format::Q4 => deviation / 4.6,
        };
        let mut words: Vec<u32> = Vec::with_capacity(word_count + 1);
        while words.len() < word_count {
            let pair = self.next();
            words.extend([pair as u32, (pair >> 32) as u32]);
        }
        words.truncate(word_count);
        let scale_count = format.scale_count(rows, cols) as usize;
        let scales = (0..scale_count)
            .map(|_| f16::from_f32(step * (0.5 + self.unit())))
            .collect();
        Packed {
            rows,
            cols,
            format,
            words,
            scales,
        }
    }
}

/// Byte-level byte-pair encoding without merges: 256 bytes, then names for the rest of the rows.
fn tokenizer(vocab_size: usize) -> String {
    let bytes = byte_characters().map(String::from);
    let names = (256..vocab_size).map(|id| format!("t{id}"));
    let vocab: serde_json::Map<String, serde_json::Value> = bytes
        .chain(names)
        .take(vocab_size)
        .enumerate()
        .map(|(id, token)| (token, id.into()))
        .collect();
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    })
    .to_string()
}

/// The character that stands for each byte: itself where it can be printed, else one from U+0100 on (GPT-2's table).
fn byte_characters() -> impl Iterator<Item = char> {
    let mut spare = 0x100..;
    (0..=255_u8).map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => spare.next().and_then(char::from_u32).unwrap_or(' '),
    })
}
