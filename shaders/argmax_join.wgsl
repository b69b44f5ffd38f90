// The best of the slices' best, fed back as the next input. One workgroup. Ties go to the lowest id.
#import splits
#import feedback
#import reduce_best
@group(0) @binding(0) var<storage, read> best: array<u32>; // (SLICES, 2): bits of the value, id

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) thread: u32) {
    var value = LOWEST;
    var id = 0u;
    for (var slice = thread; slice < SLICES; slice += WORKGROUP) {
        let candidate = bitcast<f32>(best[slice * 2u]);
        if candidate > value {
            value = candidate;
            id = best[slice * 2u + 1u];
        }
    }
    reduce_best(thread, value, id);
    if thread == 0u {
        feed_back(best_ids[0]);
    }
}
