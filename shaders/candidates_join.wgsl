// The KEPT largest logits of the vocabulary from those of its slices, in the order of their ids, for a sampler to choose
// from. The likeliest is fed back until the sampler's choice takes its place. One workgroup.
#import select_top
#import softmax_sum
#import reduce_best
#import splits
#import feedback
@group(0) @binding(0) var<storage, read> partials: array<u32>;         // (SLICES, 2 * KEPT + 2), as `candidates` writes them
@group(0) @binding(1) var<storage, read> sampling: array<u32>;         // (3): bits of 1 / temperature, seed
@group(0) @binding(2) var<storage, read_write> candidates: array<u32>; // (2 * KEPT + 1): ids, bits of logits, bits of the sum

fn entry(i: u32) -> u32 {
    return i / KEPT * (2u * KEPT + 2u) + i % KEPT;
}

fn bits_at(i: u32) -> u32 {
    return partials[entry(i) + KEPT];
}

fn keep(slot: u32, i: u32) {
    candidates[slot] = partials[entry(i)];
    candidates[KEPT + slot] = bits_at(i);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) thread: u32) {
    let inverse_temperature = bitcast<f32>(sampling[0]);
    var mine = SoftmaxSum(LOWEST, 0.0);
    for (var slice = thread; slice < SLICES; slice += WORKGROUP) {
        let at = slice * (2u * KEPT + 2u) + 2u * KEPT;
        let part = SoftmaxSum(bitcast<f32>(partials[at]), bitcast<f32>(partials[at + 1u]));
        mine = softmax_join(mine, part, inverse_temperature);
    }
    let all = reduce_softmax(thread, mine, inverse_temperature);
    select_top(thread, SLICES * KEPT);

    // Threads read what others kept.
    storageBarrier();
    let bits = candidates[KEPT + thread];
    let value = select(LOWEST, bitcast<f32>(bits), order(bits) != 0u);
    reduce_best(thread, value, candidates[thread]);
    if thread == 0u {
        candidates[2u * KEPT] = bitcast<u32>(all.sum);
        feed_back(best_ids[0]);
    }
}
