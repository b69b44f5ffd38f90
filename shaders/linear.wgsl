// out = x W^T for a few tokens at once: each weight is read once and used for TOKENS tokens.
// LANES threads share a row's columns; a workgroup holds WORKGROUP / LANES such groups of ROWS rows each.
#import step
#import weight
#import reduce_sum
#import epilogue
@group(0) @binding(0) var<storage, read> x: array<f32>;         // (PASS_ROWS, COLS)
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // (PASS_ROWS, OUT_ROWS)

const EIGHTHS: u32 = (COLS + 7u) / 8u;
const GROUPS: u32 = WORKGROUP / LANES;

fn eight_inputs(token: u32, eighth: u32) -> Eight {
    let at = token * COLS + eighth * 8u;
    if COLS % 8u != 0u && eighth == EIGHTHS - 1u {
        // The padded weights are zero, but zero times what lies behind the row need not be.
        var inputs = Eight(vec4(0.0), vec4(0.0));
        for (var i = 0u; i < COLS % 8u; i++) {
            if i < 4u {
                inputs.low[i] = x[at + i];
            } else {
                inputs.high[i - 4u] = x[at + i];
            }
        }
        return inputs;
    }
    return Eight(
        vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]),
        vec4(x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]),
    );
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_token = workgroup.y * TOKENS;
    if first_token >= active_rows() {
        return;
    }
    let lane = thread % LANES;
    let block = workgroup.z * MAX_WORKGROUPS + workgroup.x;
    let first_row = (block * GROUPS + thread / LANES) * ROWS;

    var sums: array<f32, SUMS>; // (ROWS, PARTS, TOKENS)
    for (var eighth = lane; eighth < EIGHTHS; eighth += LANES) {
        var weights: array<Eight, ROWS * PARTS>;
        for (var r = 0u; r < ROWS * PARTS; r++) {
            // Rows past the end repeat the last one and are never written.
            let out_row = min(first_row + r / PARTS, OUT_ROWS - 1u);
            weights[r] = eight_weights(out_row + (r % PARTS) * OUT_ROWS, eighth);
        }
        for (var t = 0u; t < TOKENS; t++) {
            let inputs = eight_inputs(first_token + t, eighth);
            for (var r = 0u; r < ROWS * PARTS; r++) {
                sums[r * TOKENS + t] += dot(weights[r].low, inputs.low) + dot(weights[r].high, inputs.high);
            }
        }
    }
    for (var sum = 0u; sum < SUMS; sum++) {
        partial[sum * WORKGROUP + thread] = sums[sum];
    }
    reduce_sum(thread, lane);

    let group = thread - lane; // the thread index of this group's lane 0, where its sums lie
    for (var i = lane; i < ROWS * TOKENS; i += LANES) {
        let out_row = first_row + i / TOKENS;
        let token = first_token + i % TOKENS;
        if out_row < OUT_ROWS && token < active_rows() {
            write_output(token * OUT_ROWS + out_row, group, i);
        }
    }
}
