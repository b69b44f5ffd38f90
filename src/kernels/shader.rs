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
    /// An error put in on purpose, to see that the tests find it.
    #[cfg(test)]
    pub(crate) mutation: Option<Mutation>,
}

/// One wrong text for a right one, in one shader.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mutation {
    pub(crate) shader: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

#[cfg(test)]
thread_local! {
    /// What launches of this thread get wrong.
    pub(crate) static MUTATION: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

impl Shader {
    /// A shader without constants or choices.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            constants: Vec::new(),
            choices: Vec::new(),
            #[cfg(test)]
            mutation: MUTATION.get().filter(|mutation| mutation.shader == name),
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

    /// The text that is compiled: constants, then the shader with its directives carried out.
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        if self.needs_subgroups() && cfg!(target_family = "wasm") {
            // Browsers ask for this line; naga does not know it, and needs none.
            text.push_str("enable subgroups;\n");
        }
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
        let lines: Vec<&str> = source(self.name).lines().collect();
        Template { shader: self }.render(&lines, &mut Vec::new(), &mut text);
        #[cfg(test)]
        if let Some(Mutation { from, to, .. }) = self.mutation {
            return text.replace(from, to);
        }
        text
    }

    /// Whether the text exchanges values within subgroups.
    pub fn needs_subgroups(&self) -> bool {
        let exchanges = |(_, text): &(&str, &str)| *text == "reduction_subgroup";
        ["attention_shared", "linear_shared"].contains(&self.name)
            || self.choices.iter().any(exchanges)
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

    /// A count in a directive: a number, or a constant of this shader; one that it does not have is zero.
    fn count(&self, word: &str) -> u32 {
        word.parse().unwrap_or_else(|_| {
            let found = self.constants.iter().find(|(name, _)| *name == word);
            match found {
                Some((_, Constant::U32(value))) => *value,
                _ => 0,
            }
        })
    }
}

/// Carries out a text's directives, each on a line of its own, up to its `#end`:
///
/// - `#import NAME`: another file's text, or the one chosen for NAME;
/// - `#repeat i COUNT`: the lines COUNT times, with `{i}` replaced by 0, 1, 2 …: registers have names, so that no compiler
///   has to unroll a loop before it can keep an array in registers;
/// - `#if CONSTANT` … `#else`: the lines if the constant is there and not zero.
struct Template<'a> {
    shader: &'a Shader,
}

impl Template<'_> {
    fn render(&self, lines: &[&str], indices: &mut Vec<(String, u32)>, text: &mut String) {
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("#import"), Some(name), _) => {
                    let imported: Vec<&str> = source(self.shader.resolve(name)).lines().collect();
                    self.render(&imported, indices, text);
                }
                (Some("#repeat"), Some(index), Some(count)) => {
                    let block = Block::after(&lines[at + 1..]);
                    for i in 0..self.shader.count(count) {
                        indices.push((format!("{{{index}}}"), i));
                        self.render(block.lines, indices, text);
                        indices.pop();
                    }
                    at += block.length;
                }
                (Some("#if"), Some(constant), _) => {
                    let block = Block::after(&lines[at + 1..]);
                    let chosen = match self.shader.count(constant) {
                        0 => block.otherwise,
                        _ => block.lines,
                    };
                    self.render(chosen, indices, text);
                    at += block.length;
                }
                _ => {
                    let mut line = line.to_string();
                    for (index, value) in indices.iter() {
                        line = line.replace(index, &value.to_string());
                    }
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            at += 1;
        }
    }
}

/// The lines that a directive governs.
struct Block<'a> {
    lines: &'a [&'a str],
    otherwise: &'a [&'a str],
    /// Lines up to and with `#end`.
    length: usize,
}

impl<'a> Block<'a> {
    fn after(lines: &'a [&'a str]) -> Self {
        let mut depth = 0;
        let mut middle = None;
        for (at, line) in lines.iter().enumerate() {
            match line.split_whitespace().next() {
                Some("#repeat" | "#if") => depth += 1,
                Some("#else") if depth == 0 => middle = Some(at),
                Some("#end") if depth == 0 => {
                    let first = middle.unwrap_or(at);
                    return Self {
                        lines: &lines[..first],
                        otherwise: &lines[(first + 1).min(at)..at],
                        length: at + 1,
                    };
                }
                Some("#end") => depth -= 1,
                _ => {}
            }
        }
        unreachable!("a directive without #end: found by the first test")
    }
}

/// Every file of `shaders/`, by name. A name that is not here is a mistake in this crate, found by the first test.
fn source(name: &str) -> &'static str {
    match name {
        "argmax" => include_str!("../../shaders/argmax.wgsl"),
        "argmax_join" => include_str!("../../shaders/argmax_join.wgsl"),
        "attention" => include_str!("../../shaders/attention.wgsl"),
        "attention_shared" => include_str!("../../shaders/attention_shared.wgsl"),
        "attention_combine" => include_str!("../../shaders/attention_combine.wgsl"),
        "candidates" => include_str!("../../shaders/candidates.wgsl"),
        "candidates_join" => include_str!("../../shaders/candidates_join.wgsl"),
        "embed" => include_str!("../../shaders/embed.wgsl"),
        "linear" => include_str!("../../shaders/linear.wgsl"),
        "linear_shared" => include_str!("../../shaders/linear_shared.wgsl"),
        "linear_tile" => include_str!("../../shaders/linear_tile.wgsl"),
        "cache_read_f16" => include_str!("../../shaders/shared/cache_read_f16.wgsl"),
        "cache_read_f32" => include_str!("../../shaders/shared/cache_read_f32.wgsl"),
        "cache_write_f16" => include_str!("../../shaders/shared/cache_write_f16.wgsl"),
        "cache_write_f32" => include_str!("../../shaders/shared/cache_write_f32.wgsl"),
        "eight" => include_str!("../../shaders/shared/eight.wgsl"),
        "epilogue_qkv" => include_str!("../../shaders/shared/epilogue_qkv.wgsl"),
        "stream_read" => include_str!("../../shaders/stream_read.wgsl"),
        "epilogue_residual" => include_str!("../../shaders/shared/epilogue_residual.wgsl"),
        "epilogue_store" => include_str!("../../shaders/shared/epilogue_store.wgsl"),
        "epilogue_swiglu" => include_str!("../../shaders/shared/epilogue_swiglu.wgsl"),
        "input_scalar" => include_str!("../../shaders/shared/input_scalar.wgsl"),
        "input_vec4" => include_str!("../../shaders/shared/input_vec4.wgsl"),
        "reduce_rows_none" => include_str!("../../shaders/shared/reduce_rows_none.wgsl"),
        "reduce_rows_subgroup" => include_str!("../../shaders/shared/reduce_rows_subgroup.wgsl"),
        "reduce_rows_tree" => include_str!("../../shaders/shared/reduce_rows_tree.wgsl"),
        "reduction_none" => include_str!("../../shaders/shared/reduction_none.wgsl"),
        "reduction_subgroup" => include_str!("../../shaders/shared/reduction_subgroup.wgsl"),
        "reduction_tree" => include_str!("../../shaders/shared/reduction_tree.wgsl"),
        "feedback" => include_str!("../../shaders/shared/feedback.wgsl"),
        "gumbel" => include_str!("../../shaders/shared/gumbel.wgsl"),
        "philox" => include_str!("../../shaders/shared/philox.wgsl"),
        "reduce_best" => include_str!("../../shaders/shared/reduce_best.wgsl"),
        "select_top" => include_str!("../../shaders/shared/select_top.wgsl"),
        "softmax_sum" => include_str!("../../shaders/shared/softmax_sum.wgsl"),
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
