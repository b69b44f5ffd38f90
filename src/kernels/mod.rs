//! The ops of the hot path, one file each: the WGSL launch and, beside it, its plain-Rust twin on Burn's CPU backend.
//!
//! Every op writes into a tensor that it is given and gives it back. On the GPU that is a launch over buffers
//! that were allocated before, so a decode step can be captured as a graph; on the CPU it is a write in place,
//! because the caller hands over its only reference (see [`Slot`]).

pub mod argmax;
pub mod argmax_join;
pub mod attention;
pub mod candidates;
pub mod candidates_join;
pub mod embed;
mod feedback;
pub mod gumbel;
pub mod linear;
pub mod linear_qkv;
pub mod linear_residual;
#[cfg(test)]
pub(crate) mod pick_mutations;
mod product;
mod shader;
mod slot;
pub mod stream_read;
mod twin;
mod variant;

pub use feedback::Feedback;
pub use shader::{Constant, Shader};
pub use slot::{FloatSlot, IntSlot, Slot};
pub use variant::{CacheFormat, Prefill, Reduction, SHARING, UnknownVariant, Variant};

pub(crate) use shader::launch;
#[cfg(test)]
pub(crate) use shader::{MUTATION, Mutation};

/// Threads of a workgroup, but for tiles and for those that read the whole vocabulary. 64 fits every device and leaves registers for eight
/// rows at once.
pub(crate) const WORKGROUP: usize = 64;

/// Context positions that one attention workgroup takes in a turn.
pub(crate) const TILE: usize = 64;

/// Tokens that may lie between two reads of the generated ids.
pub const RING: usize = 64;
