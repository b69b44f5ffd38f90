//! Halfdepth: a large language model and its half-depth self, side by side, on anyone's own GPU.
//!
//! The way of the data: a [`checkpoint`] is quantised ([`quant`]) into a [`pack`]; a [`model`] is built from either
//! and runs the layers of a [`plan`]; [`decode`] turns token ids into text. The library opens no file and no socket.
//! `ARCHITECTURE.md` is the map.

pub mod budget;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod curve;
pub mod decode;
pub mod dense;
mod draws;
pub mod eval;
mod header;
pub mod heal;
pub mod kernels;
pub mod model;
pub mod pack;
pub mod plan;
pub mod prune;
pub mod quant;
pub mod scan;
pub mod shapes;
pub mod tokenizer;
pub mod trace;
pub mod weights;
