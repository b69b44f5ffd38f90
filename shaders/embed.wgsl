// Looks up one row of the embedding table for every token of the pass, and leaves what the first RMSNorm needs (see
// epilogue_residual): the row times gamma, and the sum of squares of every four values. One workgroup a token.
#import step
#import eight
#import weight
@group(0) @binding(0) var<storage, read> ids: array<u32>;             // (PASS_ROWS)
@group(0) @binding(1) var<storage, read_write> residual: array<f32>;  // (PASS_ROWS, COLS)
@group(0) @binding(NORM) var<storage, read> gamma: array<f32>;        // (COLS)
@group(0) @binding(NORM + 1) var<storage, read_write> normed: array<f32>; // (PASS_ROWS, COLS), then (PASS_ROWS, ceil(COLS / 4))

const CHUNKS: u32 = (COLS + 3u) / 4u;

fn write_four(token: u32, chunk: u32, four: vec4<f32>) {
    var squares = 0.0;
    for (var i = 0u; i < 4u; i++) {
        let col = chunk * 4u + i;
        if col < COLS {
            residual[token * COLS + col] = four[i];
            normed[token * COLS + col] = four[i] * gamma[col];
            squares += four[i] * four[i];
        }
    }
    if chunk < CHUNKS {
        normed[PASS_ROWS * COLS + token * CHUNKS + chunk] = squares;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let token = workgroup.x;
    if token >= active_rows() {
        return;
    }
    // An id past the table would read another row's bytes; the host checks ids, this keeps the bound provable.
    let row = min(ids[token], VOCABULARY - 1u);
    for (var eighth = thread; eighth * 8u < COLS; eighth += WORKGROUP) {
        let group = eighth / 4u;
        let weights = eight_weights(load_group(row, group), eighth % 4u);
        let scale = group_scale(row, group);
        let even = (weights.even - ZERO_POINT) * scale;
        let odd = (weights.odd - ZERO_POINT) * scale;
        write_four(token, eighth * 2u, vec4(even.x, odd.x, even.y, odd.y));
        write_four(token, eighth * 2u + 1u, vec4(even.z, odd.z, even.w, odd.w));
    }
}
