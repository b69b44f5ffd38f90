// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011): four random words for each counter. It has no state, so every
// thread draws its own words, and who draws them changes nothing.

// The upper half of a 64-bit product, from four products of halves: none of the sums overflows.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let cross = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (cross >> 16u);
}

fn philox(first_counter: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
    var counter = first_counter;
    var key = first_key;
    for (var round = 0u; round < 10u; round++) {
        counter = vec4(
            mul_high(0xcd9e8d57u, counter.z) ^ counter.y ^ key.x,
            0xcd9e8d57u * counter.z,
            mul_high(0xd2511f53u, counter.x) ^ counter.w ^ key.y,
            0xd2511f53u * counter.x,
        );
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}
