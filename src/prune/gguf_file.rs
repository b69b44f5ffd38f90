//! A GGUF file of version 3, written front to back: metadata and a list of tensors first, then their bytes.

use std::io::Write;

use super::PruneError;

/// Where tensors begin: at multiples of this, unless `general.alignment` says otherwise.
pub(super) const ALIGNMENT: u64 = 32;

// GGUF's codes of value types.
pub(super) const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// Metadata, encoded as it is added.
#[derive(Default)]
pub(super) struct Metadata {
    bytes: Vec<u8>,
    count: u64,
}

/// A tensor to be written.
pub(super) struct Tensor {
    pub(super) name: String,
    /// ggml's code of the type.
    pub(super) kind: u32,
    /// Innermost dimension first.
    pub(super) dimensions: Vec<u64>,
    pub(super) bytes: u64,
}

impl Metadata {
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.raw(key, TEXT, &text(value));
    }

    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.raw(key, U32, &value.to_le_bytes());
    }

    pub(super) fn f32(&mut self, key: &str, value: f32) {
        self.raw(key, F32, &value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, BOOL, &[u8::from(value)]);
    }

    pub(super) fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, TEXT, values.iter().map(|value| text(value)));
    }

    pub(super) fn f32s(&mut self, key: &str, values: &[f32]) {
        self.array(key, F32, values.iter().map(|value| value.to_le_bytes()));
    }

    pub(super) fn i32s(&mut self, key: &str, values: &[i32]) {
        self.array(key, I32, values.iter().map(|value| value.to_le_bytes()));
    }

    pub(super) fn u32s(&mut self, key: &str, values: &[u32]) {
        self.array(key, U32, values.iter().map(|value| value.to_le_bytes()));
    }

    /// A value in GGUF's own bytes.
    pub(super) fn raw(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.bytes.extend(text(key));
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self.count += 1;
    }

    fn array<B: AsRef<[u8]>>(
        &mut self,
        key: &str,
        kind: u32,
        values: impl ExactSizeIterator<Item = B>,
    ) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        for value in values {
            bytes.extend_from_slice(value.as_ref());
        }
        self.raw(key, ARRAY, &bytes);
    }
}

/// Writes the file; `content` writes the bytes of the tensor at an index.
pub(super) fn write(
    metadata: &Metadata,
    tensors: &[Tensor],
    alignment: u64,
    out: &mut dyn Write,
    content: &mut dyn FnMut(usize, &mut dyn Write) -> Result<(), PruneError>,
) -> Result<(), PruneError> {
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend(metadata.count.to_le_bytes());
    head.extend_from_slice(&metadata.bytes);
    let mut offset = 0_u64;
    for tensor in tensors {
        head.extend(text(&tensor.name));
        head.extend((tensor.dimensions.len() as u32).to_le_bytes());
        for size in &tensor.dimensions {
            head.extend(size.to_le_bytes());
        }
        head.extend(tensor.kind.to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset += tensor.bytes.next_multiple_of(alignment);
    }
    out.write_all(&head)?;
    pad(out, head.len() as u64, alignment)?;
    for (index, tensor) in tensors.iter().enumerate() {
        content(index, out)?;
        pad(out, tensor.bytes, alignment)?;
    }
    Ok(())
}

fn pad(out: &mut dyn Write, written: u64, alignment: u64) -> std::io::Result<()> {
    let missing = written.next_multiple_of(alignment) - written;
    out.write_all(&vec![0; usize::try_from(missing).unwrap_or(0)])
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(value.as_bytes());
    bytes
}
