//! Claims about what healing leaves behind and what takes it up: healings and adapters in their files, models with replaced weights,
//! closed-form patches.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/model.rs"]
mod model;

mod adapters;
mod healings;
mod patches;
mod replaced;
mod support;
