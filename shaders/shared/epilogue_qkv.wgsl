// Rotates queries and keys by their position; queries go out, keys and values are appended to the cache.
// An output is a pair (i, i + HEAD_DIM / 2) of one head, Hugging Face's order of rotation: rows of q, then of k, then of v.
#import cache_write
@group(0) @binding(1) var<storage, read_write> queries: array<f32>; // (rows, HEADS, HEAD_DIM)
@group(0) @binding(ROTATIONS) var<storage, read> rotations: array<f32>; // (CONTEXT, HEAD_DIM / 2, 2): cosine, sine, made in f64

const HALF: u32 = HEAD_DIM / 2u;

fn weight_row(output: u32, part: u32) -> u32 {
    return (output / HALF) * HEAD_DIM + output % HALF + part * HALF;
}

fn rotated(pair: vec2<f32>, at_position: u32, i: u32) -> vec2<f32> {
    let at = (at_position * HALF + i) * 2u;
    let turn = vec2(rotations[at], rotations[at + 1u]);
    return vec2(pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y);
}

// Outputs go two by two: HEAD_DIM is a multiple of four, so both lie in one head.
fn write_outputs(token: u32, first_out: u32, sums: array<f32, WEIGHT_ROWS>) {
    let at_position = position() + token;
    if at_position >= CONTEXT {
        return;
    }
#repeat p OUTPUT_PAIRS
    let output{p} = first_out + {p}u * 2u;
    if output{p} < OUT_ROWS {
        let head = output{p} / HALF;
        let i = output{p} % HALF;
        var a = vec2(sums[{p} * 4], sums[{p} * 4 + 1]);
        var b = vec2(sums[{p} * 4 + 2], sums[{p} * 4 + 3]);
        if head < HEADS + KV_HEADS {
            a = rotated(a, at_position, i);
            b = rotated(b, at_position, i + 1u);
        }
        if head < HEADS {
            let at = (token * HEADS + head) * HEAD_DIM + i;
            queries[at] = a.x;
            queries[at + 1u] = b.x;
            queries[at + HALF] = a.y;
            queries[at + HALF + 1u] = b.y;
        } else if head < HEADS + KV_HEADS {
            let at = ((head - HEADS) * CONTEXT + at_position) * HEAD_DIM + i;
            write_keys(at, a.x, b.x);
            write_keys(at + HALF, a.y, b.y);
        } else {
            let at = ((head - HEADS - KV_HEADS) * CONTEXT + at_position) * HEAD_DIM + i;
            write_values(at, a.x, b.x);
            write_values(at + HALF, a.y, b.y);
        }
    }
#end
}
