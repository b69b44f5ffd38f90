@group(0) @binding(1) var<storage, read> keys: array<vec2<u32>>;   // (KV_HEADS, CONTEXT, HEAD_DIM) f16, two in a word
@group(0) @binding(2) var<storage, read> values: array<vec2<u32>>; // (KV_HEADS, CONTEXT, HEAD_DIM) f16, two in a word

fn key_four(at: u32) -> vec4<f32> {
    let words = keys[at];
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn value_four(at: u32) -> vec4<f32> {
    let words = values[at];
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}
