// Adds up `partial` over the LANES threads of each row group, leaving every sum in the group's lane 0.
// The tree needs no subgroups, so it runs on every device.
var<workgroup> partial: array<f32, WORKGROUP * SUMS>;  // (SUMS, WORKGROUP)

fn reduce_sum(thread: u32, lane: u32) {
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if lane < stride {
            for (var sum = 0u; sum < SUMS; sum++) {
                let at = sum * WORKGROUP + thread;
                partial[at] += partial[at + stride];
            }
        }
    }
    workgroupBarrier();
}
