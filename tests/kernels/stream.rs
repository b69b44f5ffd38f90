//! `linear_residual` and `linear_qkv`: what they write besides a product: the stream, its norm's input, the cache.

use halfdepth::kernels::attention::Heads;
use halfdepth::kernels::linear_qkv::{Qkv, QkvOutputs, linear_qkv};
use halfdepth::kernels::linear_residual::linear_residual;
use halfdepth::kernels::{CacheFormat, Variant};
use halfdepth::quant::Format;

use crate::linear::{FORMATS, PASSES, SHAPES, TOLERANCE};
use crate::support::{
    VARIANTS, cache_values, floats, matrix, normed, random, read, read_words, same_everywhere,
    words,
};

#[test]
fn linear_residual_equals_its_twin() {
    let mut case = 0;
    for format in FORMATS {
        for (rows, cols) in SHAPES {
            for (pass_rows, active) in PASSES {
                case += 1;
                let variant = VARIANTS[case % VARIANTS.len()];
                let label =
                    format!("{format:?} ({rows}, {cols}) {active} of {pass_rows} {variant}");
                same_everywhere(&label, TOLERANCE, |device| {
                    let weight = matrix(1, rows, cols, format, device);
                    let mut x = random(2, pass_rows * cols);
                    x[active * cols..].fill(f32::NAN);
                    let normed_cols = rows + rows.div_ceil(4);
                    let (residual, normed) = linear_residual(
                        floats(x, [pass_rows, cols], device),
                        &weight,
                        floats(random(3, pass_rows * rows), [pass_rows, rows], device),
                        floats(random(4, rows), [rows], device),
                        floats(
                            vec![7.0; pass_rows * normed_cols],
                            [pass_rows, normed_cols],
                            device,
                        ),
                        words(vec![5, active as u32], device),
                        variant,
                    );
                    // Squares are larger than what they were made of; each is held to its own scale.
                    let mut all = read(normed);
                    let squares = all.split_off(pass_rows * rows);
                    let largest = squares.iter().fold(1.0_f32, |max, value| max.max(*value));
                    all.extend(squares.iter().map(|value| value / largest));
                    [read(residual), all].concat()
                });
            }
        }
    }
}

#[test]
fn linear_qkv_equals_its_twin() {
    let mut case = 0;
    for (heads, kv_heads) in [(1, 1), (4, 2), (8, 2), (8, 1)] {
        for head_dim in [4, 8, 20, 64, 128] {
            // The last row of the fifth case would lie past the cache, and is left out.
            for pass in [
                (0, 1, 1),
                (95, 1, 1),
                (31, 8, 8),
                (63, 3, 8),
                (94, 3, 8),
                (7, 30, 33),
            ] {
                // Each format, variant and cache in turn: 3, 7 and 2 share no factor.
                case += 1;
                let variant = Variant {
                    cache: [CacheFormat::F32, CacheFormat::F16][case % 2],
                    ..VARIANTS[case % 7 % VARIANTS.len()]
                };
                let heads = Heads {
                    heads,
                    kv_heads,
                    head_dim,
                    context: 96,
                };
                check_qkv(heads, pass, FORMATS[case % FORMATS.len()], variant);
            }
        }
    }
}

fn check_qkv(
    heads: Heads,
    (position, active, pass_rows): (usize, usize, usize),
    format: Format,
    variant: Variant,
) {
    let (hidden, size) = (96, heads.head_dim);
    let spec = Qkv {
        heads,
        epsilon: 1e-5,
        variant,
    };
    let label = format!("{heads:?} at {position}, {active} of {pass_rows}, {format:?} {variant}");
    // f16 rounds what f32 made in another order: one step of 2^-11 where it falls on an edge.
    let tolerance = match variant.cache {
        CacheFormat::F32 => TOLERANCE,
        CacheFormat::F16 => 1e-3,
    };
    same_everywhere(&label, tolerance, |device| {
        let weight = matrix(
            1,
            (heads.heads + 2 * heads.kv_heads) * size,
            hidden,
            format,
            device,
        );
        let values = heads.kv_heads * heads.context * size;
        let cache = || words(vec![0x3c00_3c00; variant.cache.words(values)], device);
        let width = heads.heads * size;
        let outputs = QkvOutputs {
            queries: floats(vec![7.0; pass_rows * width], [pass_rows, width], device),
            keys: cache(),
            values: cache(),
        };
        let outputs = linear_qkv(
            normed(2, pass_rows, active, hidden, device),
            &weight,
            floats(
                random(5, heads.context * size),
                [heads.context * size],
                device,
            ),
            outputs,
            words(vec![position as u32, active as u32], device),
            spec,
        );
        [
            read(outputs.queries),
            cache_values(&read_words(outputs.keys), variant.cache),
            cache_values(&read_words(outputs.values), variant.cache),
        ]
        .concat()
    });
}
