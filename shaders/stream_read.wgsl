// Every thread adds up the words that it reads; nothing is computed that reading would have to wait for.
// Threads side by side read words side by side, 16 bytes each, and go on by the whole grid.
@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;    // (VECTORS)
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;    // (WORKGROUPS * WORKGROUP)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec4<u32>(0u);
    for (var at = id.x; at < VECTORS; at += WORKGROUPS * WORKGROUP) {
        sum += data[at];
    }
    sums[id.x] = sum.x + sum.y + sum.z + sum.w;
}
