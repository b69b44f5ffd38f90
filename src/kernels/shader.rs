//! In: a shader's name, its constants and its imports. Out: the WGSL text that runs, and the key that names it.
//!
//! The text is rendered from the key and from nothing else, so two kernels with one key cannot differ.

use burn::backend::wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate};
use cubecl::prelude::{CubeCount, KernelId};
use cubecl::server::KernelArguments;

use crate::quant::Format;

/// A value baked into a shader's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A `u32` constant: a shape, a tile, a flag.
    U32(u32),
    /// An `f32` constant, by its bits, so that keys compare exactly.
    F32(u32),
}

/// One shader variant: everything that changes its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// File name in `shaders/` without its ending.
    pub name: &'static str,
    /// Constants in the order in which they are declared.
    pub constants: Vec<(&'static str, Constant)>,
    /// What `#import NAME` stands for, where a variant chooses between several texts.
    pub choices: Vec<(&'static str, &'static str)>,
}

impl Shader {
    /// A shader without constants or choices.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            constants: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// Adds an unsigned constant.
    pub fn with(mut self, name: &'static str, value: usize) -> Self {
        // Shapes are bounded by `LlamaConfig::validate`, far below 2^32.
        self.constants.push((name, Constant::U32(value as u32)));
        self
    }

    /// Adds a float constant.
    pub fn with_f32(mut self, name: &'static str, value: f32) -> Self {
        self.constants.push((name, Constant::F32(value.to_bits())));
        self
    }

    /// Says which text an import stands for in this variant.
    pub fn choose(mut self, import: &'static str, text: &'static str) -> Self {
        self.choices.push((import, text));
        self
    }

    /// Chooses how weights are stored, and where they are bound.
    pub fn with_weight(self, format: Format, first_binding: usize) -> Self {
        let words = self.with("WORDS", first_binding);
        match format {
            Format::F32 => words.choose("weight", "weight_f32"),
            Format::Q8 => words
                .with("SCALES", first_binding + 1)
                .choose("weight", "weight_q8"),
            Format::Q4 => words
                .with("SCALES", first_binding + 1)
                .choose("weight", "weight_q4"),
        }
    }

    /// The text that is compiled: constants, imported texts, then the shader itself.
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.constants {
            match value {
                Constant::U32(value) => text.push_str(&format!("const {name}: u32 = {value}u;\n")),
                // Rust writes the shortest decimal that reads back as the same f32.
                Constant::F32(bits) => {
                    let value = f32::from_bits(*bits);
                    text.push_str(&format!("const {name}: f32 = {value:e}f;\n"));
                }
            }
        }
        for line in source(self.name).lines() {
            match line.strip_prefix("#import ") {
                Some(import) => text.push_str(source(self.resolve(import.trim()))),
                None => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }

    /// The variant's name, as profilers and error messages print it.
    pub fn label(&self) -> String {
        let choices = self.choices.iter().map(|(_, text)| (*text).to_string());
        let constants = self.constants.iter().map(|(name, value)| match value {
            Constant::U32(value) => format!("{name}{value}"),
            Constant::F32(bits) => format!("{name}{}", f32::from_bits(*bits)),
        });
        let parts: Vec<String> = choices.chain(constants).collect();
        format!("{}[{}]", self.name, parts.join(" "))
    }

    fn resolve<'a>(&self, import: &'a str) -> &'a str {
        self.choices
            .iter()
            .find(|(name, _)| *name == import)
            .map_or(import, |(_, text)| text)
    }
}

/// Every file of `shaders/`, by name. A name that is not here is a mistake in this crate, found by the first test.
fn source(name: &str) -> &'static str {
    match name {
        "argmax" => include_str!("../../shaders/argmax.wgsl"),
        "attention" => include_str!("../../shaders/attention.wgsl"),
        "attention_combine" => include_str!("../../shaders/attention_combine.wgsl"),
        "embed" => include_str!("../../shaders/embed.wgsl"),
        "linear" => include_str!("../../shaders/linear.wgsl"),
        "rms_norm" => include_str!("../../shaders/rms_norm.wgsl"),
        "rope_cache" => include_str!("../../shaders/rope_cache.wgsl"),
        "stream_read" => include_str!("../../shaders/stream_read.wgsl"),
        "epilogue_residual" => include_str!("../../shaders/shared/epilogue_residual.wgsl"),
        "epilogue_store" => include_str!("../../shaders/shared/epilogue_store.wgsl"),
        "epilogue_swiglu" => include_str!("../../shaders/shared/epilogue_swiglu.wgsl"),
        "reduce_sum" => include_str!("../../shaders/shared/reduce_sum.wgsl"),
        "splits" => include_str!("../../shaders/shared/splits.wgsl"),
        "step" => include_str!("../../shaders/shared/step.wgsl"),
        "weight_f32" => include_str!("../../shaders/shared/weight_f32.wgsl"),
        "weight_q4" => include_str!("../../shaders/shared/weight_q4.wgsl"),
        "weight_q8" => include_str!("../../shaders/shared/weight_q8.wgsl"),
        other => unreachable!("no shader is called {other}"),
    }
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.wgsl())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Launches a shader over buffers in the order of its bindings.
pub(crate) fn launch(shader: Shader, count: CubeCount, buffers: &[&CubeTensor]) {
    let Some(first) = buffers.first() else { return };
    let bindings = buffers.iter().map(|b| b.handle.clone().binding()).collect();
    // The workgroup's size stands in the text; this one only keys the cache.
    let kernel = SourceKernel::new(shader, CubeDim::new_1d(1));
    first.client.launch(
        Box::new(kernel),
        count,
        KernelArguments::new().with_buffers(bindings),
    );
}
