// Two f16 in a word: packing is in every WebGPU, the type f16 is not.
@group(0) @binding(CACHE) var<storage, read_write> keys: array<u32>;       // (KV_HEADS, CONTEXT, HEAD_DIM / 2)
@group(0) @binding(CACHE + 1) var<storage, read_write> values: array<u32>; // (KV_HEADS, CONTEXT, HEAD_DIM / 2)

fn write_keys(at: u32, a: f32, b: f32) {
    keys[at / 2u] = pack2x16float(vec2(a, b));
}

fn write_values(at: u32, a: f32, b: f32) {
    values[at / 2u] = pack2x16float(vec2(a, b));
}
