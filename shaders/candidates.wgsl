// The KEPT largest logits of each slice of the vocabulary, and the slice's part of the softmax's denominator. One workgroup
// a slice.
#import select_top
#import softmax_sum
@group(0) @binding(0) var<storage, read> logits: array<u32>;         // (VOCABULARY) f32 bits
@group(0) @binding(1) var<storage, read> sampling: array<u32>;       // (3): bits of 1 / temperature, seed
@group(0) @binding(2) var<storage, read_write> partials: array<u32>; // (slices, 2 * KEPT + 2): ids, bits of logits, bits of largest and sum

var<private> first: u32; // id of the slice's first logit
var<private> end: u32;
var<private> out: u32;   // where in `partials` the slice's begin

fn bits_at(i: u32) -> u32 {
    if first + i < end {
        return logits[first + i];
    }
    return NOTHING;
}

fn keep(slot: u32, i: u32) {
    partials[out + slot] = select(0u, first + i, first + i < end);
    partials[out + KEPT + slot] = bits_at(i);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    first = min(workgroup.x * SLICE, VOCABULARY);
    end = min(first + SLICE, VOCABULARY);
    out = workgroup.x * (2u * KEPT + 2u);

    let inverse_temperature = bitcast<f32>(sampling[0]);
    var mine = SoftmaxSum(LOWEST, 0.0);
    for (var id = first + thread; id < end; id += WORKGROUP) {
        let bits = logits[id];
        if order(bits) == 0u {
            continue;
        }
        let logit = max(bitcast<f32>(bits), LOWEST);
        if logit <= mine.largest {
            mine.sum += softmax_weight(logit - mine.largest, inverse_temperature);
        } else {
            mine.sum = mine.sum * softmax_weight(mine.largest - logit, inverse_temperature) + 1.0;
            mine.largest = logit;
        }
    }
    let all = reduce_softmax(thread, mine, inverse_temperature);
    if thread == 0u {
        partials[out + 2u * KEPT] = bitcast<u32>(all.largest);
        partials[out + 2u * KEPT + 1u] = bitcast<u32>(all.sum);
    }
    select_top(thread, end - first);
}
