// Joins the splits of attention into softmax(q k^T) v. One workgroup a (head, token).
#import step
#import splits
@group(0) @binding(0) var<storage, read> partials: array<f32>;  // (PASS_ROWS, HEADS, MAX_SPLITS, HEAD_DIM + 2): output, maximum, sum
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // (PASS_ROWS, HEADS, HEAD_DIM)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = workgroup.x;
    let token = workgroup.y;
    if token >= active_rows() {
        return;
    }
    let splits = split_count(min(position() + active_rows(), CONTEXT));
    let start = (token * HEADS + head) * MAX_SPLITS * (HEAD_DIM + 2u);

    var maximum = partials[start + HEAD_DIM];
    for (var split = 1u; split < splits; split++) {
        maximum = max(maximum, partials[start + split * (HEAD_DIM + 2u) + HEAD_DIM]);
    }
    for (var d = thread; d < HEAD_DIM; d += WORKGROUP) {
        var output = 0.0;
        var sum = 0.0;
        for (var split = 0u; split < splits; split++) {
            let at = start + split * (HEAD_DIM + 2u);
            let weight = exp(partials[at + HEAD_DIM] - maximum);
            output += weight * partials[at + d];
            sum += weight * partials[at + HEAD_DIM + 1u];
        }
        out[(token * HEADS + head) * HEAD_DIM + d] = output / sum;
    }
}
