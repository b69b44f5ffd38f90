// Weights stored whole.
@group(0) @binding(WORDS) var<storage, read> words: array<vec4<u32>>; // (rows, PADDED_COLS / 4) f32 bits

alias Stored = u32; // where the group begins: 32 floats are too many to hold
const ZERO_POINT: f32 = 0.0;

fn load_group(row: u32, group: u32) -> Stored {
    return row * (PADDED_COLS / 4u) + group * 8u;
}

fn group_scale(row: u32, group: u32) -> f32 {
    return 1.0;
}

fn eight_weights(stored: Stored, word: u32) -> Eight {
    let a = bitcast<vec4<f32>>(words[stored + word * 2u]);
    let b = bitcast<vec4<f32>>(words[stored + word * 2u + 1u]);
    return Eight(vec4(a.x, a.z, b.x, b.z), vec4(a.y, a.w, b.y, b.w));
}

fn one_weight(stored: Stored, col: u32) -> f32 {
    return bitcast<f32>(words[stored + col / 4u][col % 4u]);
}
