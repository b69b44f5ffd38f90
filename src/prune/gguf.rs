//! A cut model as a GGUF file.

use std::collections::BTreeMap;
use std::io::Write;

use super::encode::encode;
use super::gguf_file::{ALIGNMENT, Metadata, Tensor, write};
use super::gguf_metadata::{copied, from_folder, original_layers};
use super::{Cut, NumberType, PruneError};
use crate::checkpoint::{
    Checkpoint, Dtype, GgufParts, LayerWeight, Stored, Weight, ggml_code, gguf_name, gguf_parts,
};
use crate::config::{LlamaConfig, RopeScaling};

/// Writes the file to `out`: from a GGUF file tensors as they are, from a folder matrices in `number_type` with the rows of q and k
/// in llama.cpp's order. `progress` is told how many of how many tensors are written.
///
/// # Errors
/// The format cannot hold what the source has, the source is damaged, or `out` failed.
pub fn write_gguf(
    cut: Cut,
    number_type: NumberType,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    match cut.checkpoint.stored() {
        Stored::Gguf(bytes) if number_type == NumberType::Stored => {
            copy(&gguf_parts(bytes)?, cut, out, progress)
        }
        Stored::Gguf(_) => Err(PruneError::NoPlace {
            what: "a GGUF file in another type".into(),
            format: "a GGUF file",
            way_out: "leave --type out, or begin with the model's Hugging Face folder",
        }),
        Stored::HuggingFace(_) => convert(cut, number_type, out, progress),
    }
}

/// What a GGUF file says of where its layers came from; `None` for a file that was never cut, or a folder.
pub fn recorded_layers(checkpoint: &Checkpoint) -> Option<Vec<usize>> {
    let Stored::Gguf(bytes) = checkpoint.stored() else {
        return None;
    };
    original_layers(&gguf_parts(bytes).ok()?)
}

fn copy(
    parts: &GgufParts,
    cut: Cut,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    let alignment = parts
        .metadata
        .iter()
        .find(|(key, ..)| *key == "general.alignment");
    let alignment = alignment.and_then(|(_, _, value)| value.first_chunk::<4>());
    let alignment = alignment.map_or(ALIGNMENT, |value| u64::from(u32::from_le_bytes(*value)));
    let mut replaced: BTreeMap<String, (Weight, &[u8])> = BTreeMap::new();
    for (weight, bytes) in cut.checkpoint.replaced() {
        replaced.insert(gguf_name(weight), (weight, bytes));
    }
    let mut kept: Vec<(Tensor, &[u8])> = Vec::new();
    for tensor in &parts.tensors {
        let other = replaced.remove(tensor.name);
        let Some(name) = cut.renumbered("blk.", tensor.name) else {
            continue;
        };
        let bytes = other.map_or(tensor.bytes, |(_, bytes)| bytes);
        let described = Tensor {
            name,
            kind: other.map_or(tensor.kind, |_| ggml_code(Dtype::F32)),
            dimensions: tensor.dimensions.clone(),
            bytes: bytes.len() as u64,
        };
        kept.push((described, bytes));
    }
    // The head that a tied model did not have.
    for (name, (weight, bytes)) in replaced {
        let (rows, cols) = weight.shape(cut.checkpoint.config());
        let described = Tensor {
            name,
            kind: ggml_code(Dtype::F32),
            dimensions: vec![cols as u64, rows as u64],
            bytes: bytes.len() as u64,
        };
        kept.push((described, bytes));
    }
    let (tensors, contents): (Vec<Tensor>, Vec<&[u8]>) = kept.into_iter().unzip();
    let metadata = copied(parts, cut);
    write(
        &metadata,
        &tensors,
        alignment.max(1),
        out,
        &mut |index, out| {
            if let Some(bytes) = contents.get(index) {
                out.write_all(bytes)?;
            }
            progress(index + 1, contents.len());
            Ok(())
        },
    )
}

/// A tensor of a converted file.
enum Piece {
    /// The source's weight.
    Weight(Weight),
    /// Divisors of the rotary frequencies.
    RopeFactors(Vec<f32>),
}

fn convert(
    cut: Cut,
    number_type: NumberType,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PruneError> {
    let (checkpoint, config) = (cut.checkpoint, cut.checkpoint.config());
    let mut pieces = vec![(
        "token_embd.weight".to_string(),
        Piece::Weight(Weight::Embedding),
    )];
    if let Some(factors) = rope_factors(config) {
        pieces.push(("rope_freqs.weight".into(), Piece::RopeFactors(factors)));
    }
    for (position, layer) in cut.plan.layers.iter().enumerate() {
        pieces.extend(LayerWeight::ALL.into_iter().map(|part| {
            let name = gguf_name(Weight::Layer(position, part));
            (name, Piece::Weight(Weight::Layer(*layer, part)))
        }));
    }
    for weight in [Weight::FinalNorm, Weight::Head] {
        if weight != Weight::Head || !config.tied_head {
            pieces.push((gguf_name(weight), Piece::Weight(weight)));
        }
    }
    let mut tensors = Vec::new();
    for (name, piece) in &pieces {
        tensors.push(described(checkpoint, name, piece, number_type)?);
    }
    let stored = checkpoint
        .matrix(Weight::Layer(cut.plan.layers[0], LayerWeight::Gate))?
        .dtype;
    let matrices = match number_type {
        NumberType::Stored => stored,
        NumberType::As(dtype) => dtype,
    };
    let metadata: Metadata = from_folder(cut, matrices)?;
    let total = pieces.len();
    write(&metadata, &tensors, ALIGNMENT, out, &mut |index, out| {
        if let Some((_, piece)) = pieces.get(index) {
            write_piece(checkpoint, piece, number_type, out)?;
        }
        progress(index + 1, total);
        Ok(())
    })
}

fn described(
    checkpoint: &Checkpoint,
    name: &str,
    piece: &Piece,
    number_type: NumberType,
) -> Result<Tensor, PruneError> {
    let (dtype, rows, cols) = match piece {
        Piece::RopeFactors(factors) => (Dtype::F32, 1, factors.len()),
        Piece::Weight(weight) if weight.is_norm() => {
            (Dtype::F32, 1, checkpoint.config().hidden_size)
        }
        Piece::Weight(weight) => {
            let matrix = checkpoint.matrix(*weight)?;
            (
                number_type.of(matrix.dtype, matrix.cols),
                matrix.rows,
                matrix.cols,
            )
        }
    };
    let is_vector = !matches!(piece, Piece::Weight(weight) if !weight.is_norm());
    let (rows, cols) = (rows as u64, cols as u64);
    Ok(Tensor {
        name: name.to_string(),
        kind: ggml_code(dtype),
        dimensions: if is_vector {
            vec![cols]
        } else {
            vec![cols, rows]
        },
        // `NumberType::of` gives no type whose blocks do not fill a row.
        bytes: rows * dtype.byte_count(cols).unwrap_or(0),
    })
}

fn write_piece(
    checkpoint: &Checkpoint,
    piece: &Piece,
    number_type: NumberType,
    out: &mut dyn Write,
) -> Result<(), PruneError> {
    let floats = |values: &[f32], out: &mut dyn Write| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Ok(out.write_all(&bytes)?)
    };
    let weight = match piece {
        Piece::RopeFactors(factors) => return floats(factors, out),
        Piece::Weight(weight) if weight.is_norm() => {
            return floats(&checkpoint.vector(*weight)?, out);
        }
        Piece::Weight(weight) => *weight,
    };
    let matrix = checkpoint.matrix(weight)?;
    let dtype = number_type.of(matrix.dtype, matrix.cols);
    let head_dim = checkpoint.config().head_dim;
    let mut values = vec![0.0; matrix.cols];
    for row in 0..matrix.rows {
        let row = match weight {
            Weight::Layer(_, LayerWeight::Query | LayerWeight::Key) => side_by_side(row, head_dim),
            _ => row,
        };
        // Widened in any case: a NaN must not be handed on.
        matrix.row_to_f32(row, &mut values)?;
        if dtype == matrix.dtype {
            out.write_all(matrix.row_bytes(row))?;
        } else {
            out.write_all(&encode(&matrix.name, &values, dtype)?)?;
        }
    }
    Ok(())
}

/// The row of q or k, rotating pairs half a head apart, that llama.cpp has at `row`, rotating pairs side by side.
fn side_by_side(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    head * head_dim + within % 2 * (head_dim / 2) + within / 2
}

/// What llama.cpp divides the plain frequencies by; `None` where they are plain, or scaled by metadata alone.
fn rope_factors(config: &LlamaConfig) -> Option<Vec<f32>> {
    match &config.rope.scaling {
        RopeScaling::None | RopeScaling::Linear { .. } => None,
        RopeScaling::Factors(factors) => Some(factors.clone()),
        RopeScaling::Llama3 { .. } => {
            let mut plain = config.rope.clone();
            plain.scaling = RopeScaling::None;
            let scaled = config.rope.inverse_frequencies(config.head_dim).into_iter();
            let plain = plain.inverse_frequencies(config.head_dim);
            Some(
                plain
                    .iter()
                    .zip(scaled)
                    .map(|(plain, scaled)| (plain / scaled) as f32)
                    .collect(),
            )
        }
    }
}
