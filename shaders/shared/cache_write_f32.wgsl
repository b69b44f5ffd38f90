@group(0) @binding(CACHE) var<storage, read_write> keys: array<f32>;       // (KV_HEADS, CONTEXT, HEAD_DIM)
@group(0) @binding(CACHE + 1) var<storage, read_write> values: array<f32>; // (KV_HEADS, CONTEXT, HEAD_DIM)

fn write_keys(at: u32, a: f32, b: f32) {
    keys[at] = a;
    keys[at + 1u] = b;
}

fn write_values(at: u32, a: f32, b: f32) {
    values[at] = a;
    values[at + 1u] = b;
}
