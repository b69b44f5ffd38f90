// Rotates queries and keys by their position and appends keys and values to the cache.
// One workgroup a (head, token); pairs are (i, i + HEAD_DIM / 2), Hugging Face's order.
#import step
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;     // (PASS_ROWS, HEADS + 2 * KV_HEADS, HEAD_DIM)
@group(0) @binding(1) var<storage, read> rotations: array<f32>;     // (CONTEXT, HEAD_DIM / 2, 2): cosine, sine, made in f64
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;    // (KV_HEADS, CONTEXT, HEAD_DIM)
@group(0) @binding(3) var<storage, read_write> values: array<f32>;  // (KV_HEADS, CONTEXT, HEAD_DIM)

const HALF: u32 = HEAD_DIM / 2u;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = workgroup.x;
    let token = workgroup.y;
    let at_position = position() + token;
    if token >= active_rows() || at_position >= CONTEXT {
        return;
    }
    let start = (token * (HEADS + 2u * KV_HEADS) + head) * HEAD_DIM;
    if head >= HEADS + KV_HEADS {
        let to = ((head - HEADS - KV_HEADS) * CONTEXT + at_position) * HEAD_DIM;
        for (var i = thread; i < HEAD_DIM; i += WORKGROUP) {
            values[to + i] = qkv[start + i];
        }
        return;
    }
    for (var i = thread; i < HALF; i += WORKGROUP) {
        let at = (at_position * HALF + i) * 2u;
        let cosine = rotations[at];
        let sine = rotations[at + 1u];
        let a = qkv[start + i];
        let b = qkv[start + i + HALF];
        let rotated_a = a * cosine - b * sine;
        let rotated_b = b * cosine + a * sine;
        if head < HEADS {
            qkv[start + i] = rotated_a;
            qkv[start + i + HALF] = rotated_b;
        } else {
            let to = ((head - HEADS) * CONTEXT + at_position) * HEAD_DIM;
            keys[to + i] = rotated_a;
            keys[to + i + HALF] = rotated_b;
        }
    }
}
