// out = x / rms(x) * gamma, one workgroup a row. LAST_ROW_ONLY reads the pass's last row into row 0.
#import step
#import reduce_sum
@group(0) @binding(0) var<storage, read> x: array<f32>;          // (PASS_ROWS, COLS)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;      // (COLS)
@group(0) @binding(2) var<storage, read_write> out: array<f32>;  // (PASS_ROWS or 1, COLS)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = select(workgroup.x, active_rows() - 1u, LAST_ROW_ONLY == 1u);
    if workgroup.x >= active_rows() {
        return;
    }
    var squares = 0.0;
    for (var col = thread; col < COLS; col += WORKGROUP) {
        let value = x[row * COLS + col];
        squares += value * value;
    }
    partial[thread] = squares;
    reduce_sum(thread, thread);
    let scale = inverseSqrt(partial[0] / f32(COLS) + EPSILON);
    for (var col = thread; col < COLS; col += WORKGROUP) {
        out[workgroup.x * COLS + col] = x[row * COLS + col] * scale * gamma[col];
    }
}
