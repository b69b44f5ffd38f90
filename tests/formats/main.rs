//! Claims about what is read and written: checkpoints, quantised blocks, packs; and about what is refused.

#[path = "../common/mod.rs"]
mod common;

mod budgets;
mod checkpoints;
mod files;
mod healed_packs;
mod hostile;
mod hostile_gguf;
mod hostile_pack;
mod memory;
mod packs;
mod plans;
mod properties;
mod quantised;
mod random_packs;
