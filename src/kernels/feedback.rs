//! How a pass ends, whichever way its token was picked: the token becomes the next input and the step moves on. Shared by
//! the ops that pick, as `shaders/shared/feedback.wgsl` is by their shaders.

use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;

use super::attention::{Heads, split_count};
use super::twin::words;
use super::{RING, Shader, TILE};

/// What a decode step changes besides activations and cache.
#[derive(Debug)]
pub struct Feedback {
    /// Inputs of the pass; row 0 becomes the next token. (rows)
    pub ids: Tensor<1, Int>,
    /// Position of the first row, rows of the pass. (2)
    pub step: Tensor<1, Int>,
    /// Workgroups of the next decode step's attention. (3)
    pub grid: Tensor<1, Int>,
    /// The token at position p lies at p % [`RING`]. ([`RING`])
    pub history: Tensor<1, Int>,
}

/// Adds what `feedback.wgsl` needs; its buffers are bound from `first_binding` on.
pub(crate) fn constants(shader: Shader, heads: Heads, first_binding: usize) -> Shader {
    shader
        .with("IDS", first_binding)
        .with("STEP", first_binding + 1)
        .with("GRID", first_binding + 2)
        .with("HISTORY", first_binding + 3)
        .with("RING", RING)
        .with("TILE", TILE)
        .with("MAX_SPLITS", heads.max_splits(1))
        .with("KV_HEADS", heads.kv_heads)
        .with("CONTEXT", heads.context)
}

/// The twin of `feed_back`.
pub(crate) fn feed_back(
    next: u32,
    ids: &mut FlexTensor,
    step: &mut FlexTensor,
    grid: &mut FlexTensor,
    history: &mut FlexTensor,
    heads: Heads,
) {
    let position = next_position(step);
    ids.storage_mut::<u32>()[0] = next;
    history.storage_mut::<u32>()[position as usize % RING] = next;
    step.storage_mut::<u32>().copy_from_slice(&[position, 1]);
    let splits = split_count(position as usize + 1, heads, heads.max_splits(1));
    grid.storage_mut::<u32>()[..3].copy_from_slice(&[heads.kv_heads as u32, splits as u32, 1]);
}

/// The position of the token that is being picked.
pub(crate) fn next_position(step: &FlexTensor) -> u32 {
    let step = words(step);
    step[0].wrapping_add(step[1])
}
