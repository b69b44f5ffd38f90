// Causal attention over the cache, split over the context: one workgroup a (key-value head, split, token).
// All QUERIES query heads of a key-value head share its loads. Each split writes an unnormalised output
// with its running maximum and sum; attention_combine joins them.
#import step
#import splits
@group(0) @binding(0) var<storage, read> qkv: array<f32>;            // (PASS_ROWS, HEADS + 2 * KV_HEADS, HEAD_DIM)
@group(0) @binding(1) var<storage, read> keys: array<f32>;           // (KV_HEADS, CONTEXT, HEAD_DIM)
@group(0) @binding(2) var<storage, read> values: array<f32>;         // (KV_HEADS, CONTEXT, HEAD_DIM)
@group(0) @binding(3) var<storage, read_write> partials: array<f32>; // (PASS_ROWS, HEADS, MAX_SPLITS, HEAD_DIM + 2)

const QUERIES: u32 = HEADS / KV_HEADS;
const OUTPUTS: u32 = QUERIES * HEAD_DIM;
const OUTPUTS_PER_THREAD: u32 = (OUTPUTS + WORKGROUP - 1u) / WORKGROUP;
const MASKED: f32 = -1e30; // finite, so that a masked tile's exp(m - m) stays a number

var<workgroup> query: array<f32, OUTPUTS>;
var<workgroup> weights: array<f32, QUERIES * TILE>;
var<workgroup> maxima: array<f32, QUERIES>;
var<workgroup> rescale: array<f32, QUERIES>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let kv_head = workgroup.x;
    let split = workgroup.y;
    let token = workgroup.z;
    if token >= active_rows() {
        return;
    }
    let visible = min(position() + token + 1u, CONTEXT);
    let splits = split_count(min(position() + active_rows(), CONTEXT));
    let cache = kv_head * CONTEXT * HEAD_DIM;

    for (var i = thread; i < OUTPUTS; i += WORKGROUP) {
        let start = (token * (HEADS + 2u * KV_HEADS) + kv_head * QUERIES) * HEAD_DIM;
        query[i] = qkv[start + i] * SCORE_SCALE;
    }
    if thread < QUERIES {
        maxima[thread] = MASKED;
    }
    var outputs: array<f32, OUTPUTS_PER_THREAD>;
    var sums: array<f32, OUTPUTS_PER_THREAD>;
    workgroupBarrier();

    for (var tile = split * TILE; tile < visible; tile += splits * TILE) {
        let in_tile = min(TILE, visible - tile);
        for (var i = thread; i < QUERIES * TILE; i += WORKGROUP) {
            let at = i % TILE;
            var score = MASKED;
            if at < in_tile {
                score = 0.0;
                for (var d = 0u; d < HEAD_DIM; d++) {
                    score += query[(i / TILE) * HEAD_DIM + d] * keys[cache + (tile + at) * HEAD_DIM + d];
                }
            }
            weights[i] = score;
        }
        workgroupBarrier();
        if thread < QUERIES {
            var maximum = maxima[thread];
            for (var at = 0u; at < in_tile; at++) {
                maximum = max(maximum, weights[thread * TILE + at]);
            }
            rescale[thread] = exp(maxima[thread] - maximum);
            maxima[thread] = maximum;
        }
        workgroupBarrier();
        for (var i = thread; i < QUERIES * TILE; i += WORKGROUP) {
            weights[i] = exp(weights[i] - maxima[i / TILE]);
        }
        workgroupBarrier();
        for (var o = 0u; o < OUTPUTS_PER_THREAD; o++) {
            let i = o * WORKGROUP + thread;
            if i < OUTPUTS {
                let q = i / HEAD_DIM;
                var output = outputs[o] * rescale[q];
                var sum = sums[o] * rescale[q];
                for (var at = 0u; at < in_tile; at++) {
                    let weight = weights[q * TILE + at];
                    output += weight * values[cache + (tile + at) * HEAD_DIM + i % HEAD_DIM];
                    sum += weight;
                }
                outputs[o] = output;
                sums[o] = sum;
            }
        }
        workgroupBarrier();
    }

    for (var o = 0u; o < OUTPUTS_PER_THREAD; o++) {
        let i = o * WORKGROUP + thread;
        if i < OUTPUTS {
            let head = kv_head * QUERIES + i / HEAD_DIM;
            let at = ((token * HEADS + head) * MAX_SPLITS + split) * (HEAD_DIM + 2u);
            partials[at + i % HEAD_DIM] = outputs[o];
            if i % HEAD_DIM == 0u {
                partials[at + HEAD_DIM] = maxima[i / HEAD_DIM];
                partials[at + HEAD_DIM + 1u] = sums[o];
            }
        }
    }
}
