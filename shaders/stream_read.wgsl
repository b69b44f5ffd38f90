// Every thread adds up the words that it reads; nothing is computed that reading would have to wait for.
// Threads side by side read words side by side, 16 bytes each, and go on by the whole grid; four reads are under way at once.
@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;    // (VECTORS)
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;    // (THREADS)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var a = vec4<u32>(0u);
    var b = vec4<u32>(0u);
    var c = vec4<u32>(0u);
    var d = vec4<u32>(0u);
    var at = id.x;
    for (var turn = 0u; turn < VECTORS / (4u * THREADS); turn++) {
        a += data[at];
        b += data[at + THREADS];
        c += data[at + 2u * THREADS];
        d += data[at + 3u * THREADS];
        at += 4u * THREADS;
    }
    for (; at < VECTORS; at += THREADS) {
        a += data[at];
    }
    a += b + c + d;
    sums[id.x] = a.x + a.y + a.z + a.w;
}
