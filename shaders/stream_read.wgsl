// Every thread adds up the words that it reads; nothing is computed that reading would have to wait for.
// Threads side by side read words side by side, 16 bytes each; four reads are under way at once. TEAM threads go through a stretch of
// their own together: all of the grid, a workgroup, or eight. What is left over goes to the first threads.
@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;    // (VECTORS)
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;    // (THREADS)

const TURNS: u32 = VECTORS / THREADS;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var a = vec4<u32>(0u);
    var b = vec4<u32>(0u);
    var c = vec4<u32>(0u);
    var d = vec4<u32>(0u);
    var at = id.x / TEAM * TEAM * TURNS + id.x % TEAM;
    for (var turn = 0u; turn < TURNS / 4u; turn++) {
        a += data[at];
        b += data[at + TEAM];
        c += data[at + 2u * TEAM];
        d += data[at + 3u * TEAM];
        at += 4u * TEAM;
    }
    for (var turn = 0u; turn < TURNS % 4u; turn++) {
        a += data[at];
        at += TEAM;
    }
    if TURNS * THREADS + id.x < VECTORS {
        a += data[TURNS * THREADS + id.x];
    }
    a += b + c + d;
    sums[id.x] = a.x + a.y + a.z + a.w;
}
