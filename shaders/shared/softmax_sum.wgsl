// A running softmax denominator: the largest logit so far, and the sum of exp((logit - largest) / temperature).
struct SoftmaxSum { largest: f32, sum: f32 }

var<workgroup> softmax_sums: array<SoftmaxSum, WORKGROUP>;

fn softmax_join(a: SoftmaxSum, b: SoftmaxSum, inverse_temperature: f32) -> SoftmaxSum {
    let largest = max(a.largest, b.largest);
    return SoftmaxSum(
        largest,
        a.sum * softmax_weight(a.largest - largest, inverse_temperature)
            + b.sum * softmax_weight(b.largest - largest, inverse_temperature),
    );
}

// Below e^-80 a weight is lost in any sum; the bound keeps infinities out of `exp`.
fn softmax_weight(difference: f32, inverse_temperature: f32) -> f32 {
    return exp(max(difference * inverse_temperature, -80.0));
}

// Joins those of all threads.
fn reduce_softmax(thread: u32, mine: SoftmaxSum, inverse_temperature: f32) -> SoftmaxSum {
    softmax_sums[thread] = mine;
    for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if thread < stride {
            softmax_sums[thread] =
                softmax_join(softmax_sums[thread], softmax_sums[thread + stride], inverse_temperature);
        }
    }
    workgroupBarrier();
    return softmax_sums[0];
}
