//! Every shader variant that a model can ask for, through naga: the very text that runs, without a GPU.

use halfdepth::kernels::attention::Heads;
use halfdepth::kernels::linear::{Epilogue, Input, Linear, MatrixShape, Rows};
use halfdepth::kernels::linear_qkv::Qkv;
use halfdepth::kernels::stream_read::Order;
use halfdepth::kernels::{
    Shader, argmax, argmax_join, candidates, candidates_join, embed, linear, linear_qkv,
    linear_residual, stream_read,
};
use halfdepth::quant::Format;

use crate::support::VARIANTS;

fn variants() -> Vec<Shader> {
    let mut shaders = Vec::new();
    let normed = Input::Normed { epsilon: 1e-5 };
    for format in [Format::F32, Format::Q8, Format::Q4] {
        for (rows, cols) in [(4, 8), (64, 172), (128_256, 2048)] {
            let shape = MatrixShape { rows, cols, format };
            shaders.extend([1, 256].map(|pass_rows| embed::shader(shape, 0, rows, pass_rows)));
            for (variant, pass_rows) in VARIANTS
                .into_iter()
                .flat_map(|variant| [1, 8, 256].map(|rows| (variant, rows)))
            {
                for (input, rows, epilogue) in [
                    (Input::Plain, Rows::Each, Epilogue::Store),
                    (normed, Rows::Each, Epilogue::SwiGlu),
                    (normed, Rows::Each, Epilogue::Store),
                ] {
                    let spec = Linear {
                        input,
                        rows,
                        epilogue,
                        variant,
                    };
                    shaders.push(linear::shader(shape, pass_rows, pass_rows, spec));
                }
                let spec = Linear {
                    input: normed,
                    rows: Rows::Last,
                    epilogue: Epilogue::Store,
                    variant,
                };
                shaders.push(linear::shader(shape, 256, 1, spec));
                shaders.push(linear_residual::shader(shape, pass_rows, variant));
            }
        }
    }
    for (heads, kv_heads) in [(1, 1), (8, 4), (32, 8), (8, 1)] {
        for head_dim in [8, 64, 128, 256] {
            let heads = Heads {
                heads,
                kv_heads,
                head_dim,
                context: 2048,
            };
            shaders.push(argmax_join::shader(argmax::slices(128_256), heads));
            shaders.push(candidates_join::shader(candidates::slices(128_256), heads));
            shaders.extend([1, 256].map(|rows| heads.combine_shader(rows)));
            let shape = MatrixShape {
                rows: (heads.heads + 2 * heads.kv_heads) * head_dim,
                cols: 2048,
                format: Format::Q4,
            };
            for variant in VARIANTS {
                shaders.extend([1, 256].map(|rows| heads.attention_shader(rows, variant)));
                let spec = Qkv {
                    heads,
                    epsilon: 1e-5,
                    variant,
                };
                shaders.extend([1, 8, 256].map(|rows| linear_qkv::shader(shape, rows, spec)));
            }
        }
    }
    for vocabulary in [512, 128_256] {
        shaders.push(argmax::shader(vocabulary, argmax::slices(vocabulary)));
        shaders.push(candidates::shader(
            vocabulary,
            candidates::slices(vocabulary),
        ));
    }
    for order in [Order::Interleaved, Order::ByWorkgroup, Order::ByEight] {
        shaders.extend([4, 1 << 20].map(|words| stream_read::shader(words, order)));
    }
    // Several variants share a text where what differs between them plays no part.
    let mut seen = std::collections::HashSet::new();
    shaders.retain(|shader| seen.insert(shader.clone()));
    shaders
}

#[test]
fn every_variant_is_valid_wgsl_and_fits_the_smallest_device() {
    for shader in variants() {
        let text = shader.wgsl();
        let label = shader.label();
        let module = naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{label}: {}", error.emit_to_string(&text)));
        let mut validator = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32
                | naga::valid::Capabilities::SUBGROUP,
        );
        validator
            .validate(&module)
            .unwrap_or_else(|error| panic!("{label}: {}", error.emit_to_string(&text)));
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        // WebGPU promises 16 KB of workgroup memory, 256 threads and 8 storage buffers, and no more.
        assert!(
            shared <= 16 << 10,
            "{label}: {shared} bytes of workgroup memory"
        );
        let [x, y, z] = module.entry_points[0].workgroup_size;
        assert!(x * y * z <= 256, "{label}: {x}x{y}x{z} threads");
        let buffers = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.binding.is_some())
            .count();
        assert!(buffers <= 8, "{label}: {buffers} buffers");
    }
}

/// Chromium compiles the same texts in `tests/browser/shaders.spec.ts`: its compiler is stricter than naga in places.
#[test]
fn the_texts_are_left_for_the_browser() {
    let texts: Vec<_> = variants()
        .iter()
        .map(|shader| {
            // As the wasm program asks for them: naga does not know the line.
            let enable = match shader.needs_subgroups() {
                true => "enable subgroups;\n",
                false => "",
            };
            let wgsl = format!("{enable}{}", shader.wgsl());
            serde_json::json!({ "label": shader.label(), "wgsl": wgsl, "subgroups": shader.needs_subgroups() })
        })
        .collect();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders.json");
    std::fs::write(path, serde_json::Value::from(texts).to_string()).expect("written");
}

#[test]
fn variants_with_different_texts_have_different_keys() {
    // Rendered once: there are many pairs.
    let variants: Vec<_> = variants().into_iter().map(|s| (s.wgsl(), s)).collect();
    for (i, (text, shader)) in variants.iter().enumerate() {
        for (other_text, other) in &variants[i + 1..] {
            assert_eq!(
                text == other_text,
                shader == other,
                "{} and {}",
                shader.label(),
                other.label()
            );
        }
    }
}
