//! Causal tracing and the logit lens against reference values made with transformers in float64 (reference.py), and the questions that
//! are refused.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/model.rs"]
mod model;
mod questions;
mod reference;
mod toy;
