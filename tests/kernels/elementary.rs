//! `rms_norm` and `rope_cache`.

use halfdepth::kernels::attention::Heads;
use halfdepth::kernels::rms_norm::{Rows, rms_norm};
use halfdepth::kernels::rope_cache::rope_cache;

use crate::support::{floats, random, read, same_everywhere, words};

#[test]
fn rms_norm_equals_its_twin() {
    for cols in [1, 5, 63, 64, 65, 172, 2048] {
        for (pass_rows, active) in [(1, 1), (8, 3), (32, 32)] {
            for rows in [Rows::Each, Rows::Last] {
                let label = format!("{cols} columns, {active} of {pass_rows} rows, {rows:?}");
                // A sum of squares in another order and the device's inverse square root: a few units in the last place.
                same_everywhere(&label, 1e-5, |device| {
                    let x = floats(random(1, pass_rows * cols), [pass_rows, cols], device);
                    let gamma = floats(random(2, cols), [cols], device);
                    let out_rows = if rows == Rows::Last { 1 } else { pass_rows };
                    let out = floats(vec![7.0; out_rows * cols], [out_rows, cols], device);
                    read(rms_norm(
                        x,
                        gamma,
                        out,
                        words(vec![9, active as u32], device),
                        1e-5,
                        rows,
                    ))
                });
            }
        }
    }
}

#[test]
fn rope_cache_equals_its_twin() {
    for (heads, kv_heads) in [(1, 1), (4, 2), (8, 2), (8, 1)] {
        for head_dim in [2, 8, 16, 32, 64, 128] {
            // The last row of the last case would lie past the cache, and is left out.
            for (position, active, pass_rows) in [(0, 1, 1), (31, 8, 8), (63, 3, 8), (94, 3, 8)] {
                let shape = Heads {
                    heads,
                    kv_heads,
                    head_dim,
                    context: 96,
                };
                let label = format!("{shape:?} at {position}, {active} rows");
                // Two products and a sum: contraction to a fused multiply-add may change the last place.
                same_everywhere(&label, 1e-6, |device| {
                    let width = (heads + 2 * kv_heads) * head_dim;
                    let qkv = floats(random(1, pass_rows * width), [pass_rows, width], device);
                    let rotations = floats(random(2, 96 * head_dim), [96 * head_dim], device);
                    let cache = || {
                        floats(
                            vec![7.0; kv_heads * 96 * head_dim],
                            [kv_heads, 96, head_dim],
                            device,
                        )
                    };
                    let step = words(vec![position, active], device);
                    let (qkv, keys, values) =
                        rope_cache(qkv, rotations, cache(), cache(), step, shape);
                    [read(qkv), read(keys), read(values)].concat()
                });
            }
        }
    }
}
