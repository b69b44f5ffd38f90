// Eight consecutive weights of one row, from 8-bit groups of 32: two words, one scale.
@group(0) @binding(WORDS) var<storage, read> words: array<u32>;   // (rows, PADDED_COLS / 4), low byte first, two's complement
@group(0) @binding(SCALES) var<storage, read> scales: array<u32>; // (rows, PADDED_COLS / 32) f16, two in a word

struct Eight { low: vec4<f32>, high: vec4<f32> }

fn scale_of(group: u32) -> f32 {
    return unpack2x16float(scales[group / 2u])[group % 2u];
}

fn eight_weights(row: u32, eighth: u32) -> Eight {
    let at = row * (PADDED_COLS / 8u) + eighth;
    let scale = scale_of(at / 4u);
    return Eight(
        vec4<f32>(unpack4xI8(words[at * 2u])) * scale,
        vec4<f32>(unpack4xI8(words[at * 2u + 1u])) * scale,
    );
}
