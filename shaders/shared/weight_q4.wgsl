// Weights in 4-bit groups of 32: four words, one scale. weight = scale * (nibble - 8)
@group(0) @binding(WORDS) var<storage, read> words: array<vec4<u32>>; // (rows, PADDED_COLS / 32), low nibble first
@group(0) @binding(SCALES) var<storage, read> scales: array<u32>;     // (rows, PADDED_COLS / 32) f16, two in a word

alias Stored = vec4<u32>;
const ZERO_POINT: f32 = 8.0;

fn load_group(row: u32, group: u32) -> Stored {
    return words[row * (PADDED_COLS / 32u) + group];
}

fn group_scale(row: u32, group: u32) -> f32 {
    let at = row * (PADDED_COLS / 32u) + group;
    return unpack2x16float(scales[at / 2u])[at % 2u];
}

fn eight_weights(stored: Stored, word: u32) -> Eight {
    // unpack4xU8 needs two operations for four weights; a shift and a mask each would need eight.
    return Eight(
        vec4<f32>(unpack4xU8(stored[word] & 0x0f0f0f0fu)),
        vec4<f32>(unpack4xU8((stored[word] >> 4u) & 0x0f0f0f0fu)),
    );
}

fn one_weight(stored: Stored, col: u32) -> f32 {
    return f32((stored[col / 8u] >> (col % 8u * 4u)) & 0xfu);
}
