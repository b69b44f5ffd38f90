// Weights in 8-bit groups of 32: eight words, one scale. weight = scale * byte
@group(0) @binding(WORDS) var<storage, read> words: array<vec4<u32>>; // (rows, PADDED_COLS / 16), low byte first, two's complement
@group(0) @binding(SCALES) var<storage, read> scales: array<u32>;     // (rows, PADDED_COLS / 32) f16, two in a word

struct Stored { low: vec4<u32>, high: vec4<u32> }
const ZERO_POINT: f32 = 0.0;

fn load_group(row: u32, group: u32) -> Stored {
    let at = (row * (PADDED_COLS / 32u) + group) * 2u;
    return Stored(words[at], words[at + 1u]);
}

fn group_scale(row: u32, group: u32) -> f32 {
    let at = row * (PADDED_COLS / 32u) + group;
    return unpack2x16float(scales[at / 2u])[at % 2u];
}

fn eight_weights(stored: Stored, word: u32) -> Eight {
    let four = select(stored.low, stored.high, word >= 2u);
    let a = vec4<f32>(unpack4xI8(four[(word % 2u) * 2u]));
    let b = vec4<f32>(unpack4xI8(four[(word % 2u) * 2u + 1u]));
    return Eight(vec4(a.x, a.z, b.x, b.z), vec4(a.y, a.w, b.y, b.w));
}

fn one_weight(stored: Stored, col: u32) -> f32 {
    let four = select(stored.low, stored.high, col >= 16u);
    return f32(extractBits(bitcast<i32>(four[col / 4u % 4u]), col % 4u * 8u, 8u));
}
