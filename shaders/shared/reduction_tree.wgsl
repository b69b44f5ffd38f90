// Sums over the lanes of a team by way of workgroup memory: runs on every device.
var<workgroup> partial: array<f32, WORKGROUP * SUMS>; // (SUMS, WORKGROUP)

fn reduce_partials(thread: u32, lane: u32) {
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
