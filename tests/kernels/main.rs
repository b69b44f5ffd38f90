//! Every op against its plain-Rust twin over odd shapes; every shader variant through naga, without a GPU;
//! the twins against values made with transformers.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/model.rs"]
mod model;
#[path = "../common/variants.rs"]
mod variants;

mod argmax;
mod attention;
mod linear;
mod reference;
mod shaders;
mod stream;
mod stream_read;
mod support;
