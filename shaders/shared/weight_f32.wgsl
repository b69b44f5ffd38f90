// Eight consecutive weights of one row, stored whole.
@group(0) @binding(WORDS) var<storage, read> words: array<u32>; // (rows, PADDED_COLS) f32 bits

struct Eight { low: vec4<f32>, high: vec4<f32> }

fn eight_weights(row: u32, eighth: u32) -> Eight {
    let at = row * PADDED_COLS + eighth * 8u;
    return Eight(
        bitcast<vec4<f32>>(vec4(words[at], words[at + 1u], words[at + 2u], words[at + 3u])),
        bitcast<vec4<f32>>(vec4(words[at + 4u], words[at + 5u], words[at + 6u], words[at + 7u])),
    );
}
