// Leaves the largest value of the workgroup, and the lowest id that has it, in slot 0.
var<workgroup> best_values: array<f32, WORKGROUP>;
var<workgroup> best_ids: array<u32, WORKGROUP>;

fn reduce_best(thread: u32, value: f32, id: u32) {
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
}
