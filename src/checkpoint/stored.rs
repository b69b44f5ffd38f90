//! A checkpoint's files as they are stored, tensor by tensor: for tools that copy and do not compute.

use ::safetensors::tensor::Dtype as StoredDtype;

use super::safetensors::HuggingFaceFiles;

/// The files a checkpoint was opened from.
#[derive(Clone, Debug)]
pub enum Stored<'a> {
    /// A Hugging Face folder.
    HuggingFace(HuggingFaceFiles<'a>),
    /// A GGUF file.
    Gguf(&'a [u8]),
}

/// A tensor of a safetensors file; its type may be one that is not read here.
#[derive(Clone, Debug)]
pub(crate) struct SafeTensor<'a> {
    pub(crate) name: String,
    pub(crate) dtype: StoredDtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: &'a [u8],
}

/// A GGUF file taken apart, in its own order.
pub(crate) struct GgufParts<'a> {
    /// Key, code of the value's type, and the value's bytes.
    pub(crate) metadata: Vec<(&'a str, u32, &'a [u8])>,
    pub(crate) tensors: Vec<GgufTensor<'a>>,
}

/// A tensor of a GGUF file.
pub(crate) struct GgufTensor<'a> {
    pub(crate) name: &'a str,
    /// ggml's code of the type.
    pub(crate) kind: u32,
    /// Innermost dimension first, as the file has it.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// What holds the weights, in order.
    pub(super) fn weight_files(&self) -> Vec<&'a [u8]> {
        match self {
            Self::HuggingFace(files) => files.shards.iter().map(|(_, bytes)| *bytes).collect(),
            Self::Gguf(bytes) => vec![bytes],
        }
    }
}
