// The best token of each slice of the vocabulary: the likeliest, or, at a temperature, the largest of logit / temperature
// plus noise, which is a draw from the softmax. One workgroup a slice and row. Ties go to the lowest id; NaN never wins.
#import philox
#import gumbel
#import reduce_best
@group(0) @binding(0) var<storage, read> logits: array<f32>;     // (rows, VOCABULARY)
@group(0) @binding(1) var<storage, read> sampling: array<u32>;   // (3): bits of 1 / temperature, 0 for the likeliest; seed, low word first
@group(0) @binding(2) var<storage, read> step: array<u32>;       // (2): position, rows
@group(0) @binding(3) var<storage, read_write> best: array<u32>; // (rows, slices, 2): bits of the value, id

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let inverse_temperature = bitcast<f32>(sampling[0]);
    let tempered = sampling[0] != 0u;
    let seed = vec2(sampling[1], sampling[2]);
    // Of many rows each picks the token after its own; a single one holds the logits of the last.
    let row = workgroup.y;
    let position = step[0] + select(step[1], row + 1u, workgroups.y > 1u);

    let first = workgroup.x * SLICE;
    let end = min(first + SLICE, VOCABULARY);
    var value = LOWEST;
    var id = first;
    // Four ids share the four words of one counter.
    for (var quad = first / 4u + thread; quad * 4u < end; quad += WORKGROUP) {
        var noise = vec4<f32>();
        var scale = 1.0;
        if tempered {
            let random = philox(vec4(quad, position, 0u, 0u), seed);
            noise = vec4(gumbel(random.x), gumbel(random.y), gumbel(random.z), gumbel(random.w));
            scale = inverse_temperature;
        }
        for (var i = 0u; i < 4u; i++) {
            let at = quad * 4u + i;
            if at < end {
                let candidate = logits[row * VOCABULARY + at] * scale + noise[i];
                if candidate > value {
                    value = candidate;
                    id = at;
                }
            }
        }
    }
    reduce_best(thread, value, id);
    if thread == 0u {
        let slice = row * workgroups.x + workgroup.x;
        best[slice * 2u] = bitcast<u32>(best_values[0]);
        best[slice * 2u + 1u] = best_ids[0];
    }
}
