// Looks up one row of the embedding table for every token of the pass. One workgroup a token.
#import step
#import weight
@group(0) @binding(0) var<storage, read> ids: array<u32>;            // (PASS_ROWS)
@group(0) @binding(1) var<storage, read_write> out: array<f32>;      // (PASS_ROWS, COLS)

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
        let weights = eight_weights(row, eighth);
        for (var i = 0u; i < 4u; i++) {
            let col = eighth * 8u + i;
            if col < COLS {
                out[token * COLS + col] = weights.low[i];
            }
            if col + 4u < COLS {
                out[token * COLS + col + 4u] = weights.high[i];
            }
        }
    }
}
