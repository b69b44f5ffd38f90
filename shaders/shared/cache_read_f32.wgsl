@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;   // (KV_HEADS, CONTEXT, HEAD_DIM)
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>; // (KV_HEADS, CONTEXT, HEAD_DIM)

fn key_four(at: u32) -> vec4<f32> {
    return keys[at];
}

fn value_four(at: u32) -> vec4<f32> {
    return values[at];
}
