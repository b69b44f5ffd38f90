fn write_output(at: u32, group: u32, i: u32) {
    out[at] = partial[i * WORKGROUP + group];
}
