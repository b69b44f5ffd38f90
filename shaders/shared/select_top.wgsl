// Finds the KEPT largest of many logits by a radix select: four rounds of a histogram over eight bits, no sort. WORKGROUP
// is 256 threads for 256 bins, and KEPT is 256. The shader that imports this says where the logits lie:
// bits_at(i) gives the bits of the i-th, and keep(slot, i) takes it in.
var<workgroup> bins: array<atomic<u32>, WORKGROUP>;
var<workgroup> scanned: array<vec2<u32>, WORKGROUP>;
var<workgroup> scanned_sixteens: array<vec2<u32>, WORKGROUP / 16u>;
var<workgroup> digit: u32;
var<workgroup> digit_wanted: u32;

// Bits of a logit that is not there.
const NOTHING: u32 = 0x7fc00000u;

// Orders the bits of floats as their values: 0 for NaN, which so loses to all. From bits alone, because a shader compiler
// may take it that there is no NaN.
fn order(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return 0u;
    }
    if bits == 0x80000000u {
        return 0x80000000u; // -0 equals 0
    }
    return select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
}

// The sums of what lower threads give. Two levels of sixteen need two barriers, where a tree needs sixteen.
fn sums_before(thread: u32, value: vec2<u32>) -> vec2<u32> {
    scanned[thread] = value;
    workgroupBarrier();
    if thread < WORKGROUP / 16u {
        var sum = vec2(0u);
        for (var i = 0u; i < 16u; i++) {
            sum += scanned[thread * 16u + i];
        }
        scanned_sixteens[thread] = sum;
    }
    workgroupBarrier();
    var before = vec2(0u);
    for (var i = 0u; i < thread / 16u; i++) {
        before += scanned_sixteens[i];
    }
    for (var i = thread / 16u * 16u; i < thread; i++) {
        before += scanned[i];
    }
    return before;
}

// Keeps the KEPT largest of `count` logits in the order of their index; of equals at the edge, the first. Where there
// are fewer, indices from `count` on stand for what is not there.
fn select_top(thread: u32, count: u32) {
    let padded = max(count, KEPT);
    var threshold = 0u; // the order of the KEPT-th largest, eight bits more of it known each round
    var wanted = KEPT;  // how many of those equal to it in the known bits are kept
    var known = 0u;
    for (var shift = 32u; shift > 0u;) {
        shift -= 8u;
        atomicStore(&bins[thread], 0u);
        workgroupBarrier();
        for (var i = thread; i < padded; i += WORKGROUP) {
            let key = order(bits_at(i));
            if (key & known) == threshold {
                atomicAdd(&bins[(key >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        // From the highest bin down: the one in which the count passes what is wanted holds the next eight bits.
        let bin = 255u - thread;
        let inside = atomicLoad(&bins[bin]);
        let above = sums_before(thread, vec2(inside, 0u)).x;
        if above < wanted && wanted <= above + inside {
            digit = bin;
            digit_wanted = wanted - above;
        }
        workgroupBarrier();
        threshold |= digit << shift;
        wanted = digit_wanted;
        known |= 255u << shift;
    }

    // A run of neighbours for each thread, so that slots follow the index.
    let run = (padded + WORKGROUP - 1u) / WORKGROUP;
    let start = min(thread * run, padded);
    let end = min(start + run, padded);
    var found = vec2(0u); // larger than the threshold, equal to it
    for (var i = start; i < end; i++) {
        let key = order(bits_at(i));
        found += select(vec2(0u), vec2(1u, 0u), key > threshold);
        found += select(vec2(0u), vec2(0u, 1u), key == threshold);
    }
    var before = sums_before(thread, found);
    for (var i = start; i < end; i++) {
        let key = order(bits_at(i));
        if key > threshold {
            keep(before.x + min(before.y, wanted), i);
            before.x += 1u;
        } else if key == threshold {
            if before.y < wanted {
                keep(before.x + before.y, i);
            }
            before.y += 1u;
        }
    }
}
