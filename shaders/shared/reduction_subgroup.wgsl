// Sums over the lanes of a team by exchanges within subgroups of at least SUBGROUP threads; teams that span several
// subgroups join them by way of workgroup memory.
const SPAN: u32 = min(LANES, SUBGROUP);
const SPANS: u32 = LANES / SPAN;
#if SPANNING
var<workgroup> partial: array<f32, WORKGROUP / SUBGROUP * SUMS>; // (SUMS, WORKGROUP / SUBGROUP)
#end

fn span_sum(value: f32) -> f32 {
    var sum = value;
    for (var stride = 1u; stride < SPAN; stride *= 2u) {
        sum += subgroupShuffleXor(sum, stride);
    }
    return sum;
}
#if SPANNING

fn joined(sum: u32, thread: u32, lane: u32) -> f32 {
    var all = 0.0;
    for (var i = 0u; i < SPANS; i++) {
        all += partial[sum * (WORKGROUP / SUBGROUP) + (thread - lane) / SUBGROUP + i];
    }
    return all;
}
#end
