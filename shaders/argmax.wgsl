// Picks the likeliest token, feeds it back as the next input and moves the step on: the CPU is not asked.
// One workgroup. Ties go to the lowest id.
#import splits
@group(0) @binding(0) var<storage, read> logits: array<f32>;        // (VOCABULARY)
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;     // (1 or more): row 0 is the next input
@group(0) @binding(2) var<storage, read_write> step: array<u32>;    // (2): position, rows
@group(0) @binding(3) var<storage, read_write> grid: array<u32>;    // (3): workgroups of the next attention
@group(0) @binding(4) var<storage, read_write> history: array<u32>; // (RING): the token at position p lies at p % RING

var<workgroup> best_values: array<f32, WORKGROUP>;
var<workgroup> best_ids: array<u32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) thread: u32) {
    var value = LOWEST;
    var id = thread;
    for (var i = thread; i < VOCABULARY; i += WORKGROUP) {
        if logits[i] > value {
            value = logits[i];
            id = i;
        }
    }
    best_values[thread] = value;
    best_ids[thread] = id;
    for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if thread < stride {
            let other = best_values[thread + stride];
            let other_id = best_ids[thread + stride];
            let mine = best_values[thread];
            if other > mine || (other == mine && other_id < best_ids[thread]) {
                best_values[thread] = other;
                best_ids[thread] = other_id;
            }
        }
    }
    workgroupBarrier();
    if thread == 0u {
        let next = min(best_ids[0], VOCABULARY - 1u);
        let position = step[0] + step[1];
        ids[0] = next;
        history[position % RING] = next;
        step[0] = position;
        step[1] = 1u;
        grid[0] = KV_HEADS;
        grid[1] = split_count(min(position + 1u, CONTEXT));
        grid[2] = 1u;
    }
}
