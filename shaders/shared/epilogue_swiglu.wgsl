// The gate row and the up row of one output were summed side by side: out = silu(gate) * up.
fn write_output(at: u32, group: u32, i: u32) {
    let row = i / TOKENS;
    let token = i % TOKENS;
    let gate = partial[((row * 2u) * TOKENS + token) * WORKGROUP + group];
    let up = partial[((row * 2u + 1u) * TOKENS + token) * WORKGROUP + group];
    out[at] = gate / (1.0 + exp(-gate)) * up;
}
