// Eight consecutive weights of one row, from 4-bit groups of 32: one word, one scale.
@group(0) @binding(WORDS) var<storage, read> words: array<u32>;   // (rows, PADDED_COLS / 8), low nibble first
@group(0) @binding(SCALES) var<storage, read> scales: array<u32>; // (rows, PADDED_COLS / 32) f16, two in a word

struct Eight { low: vec4<f32>, high: vec4<f32> }

fn scale_of(group: u32) -> f32 {
    return unpack2x16float(scales[group / 2u])[group % 2u];
}

fn eight_weights(row: u32, eighth: u32) -> Eight {
    let at = row * (PADDED_COLS / 8u) + eighth;
    let word = words[at];
    // unpack4xU8 needs two operations for four weights; a shift and a mask each would need eight.
    let even = vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - 8.0;
    let odd = vec4<f32>(unpack4xU8((word >> 4u) & 0x0f0f0f0fu)) - 8.0;
    let scale = scale_of(at / 4u);
    return Eight(vec4(even.x, odd.x, even.y, odd.y) * scale, vec4(even.z, odd.z, even.w, odd.w) * scale);
}
