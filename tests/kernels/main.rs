//! Every op against its plain-Rust twin over odd shapes; every shader variant through naga, without a GPU;
//! the twins against values made with transformers.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/model.rs"]
mod model;

mod attention;
mod elementary;
mod linear;
mod reference;
mod shaders;
mod stream_read;
mod support;
