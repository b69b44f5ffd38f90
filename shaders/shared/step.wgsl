// Where this pass stands: the only values that change from token to token, so a captured graph never does.
@group(0) @binding(STEP) var<storage, read> step: array<u32>; // (2): position of the first row, rows in this pass

fn position() -> u32 {
    return step[0];
}

fn active_rows() -> u32 {
    return step[1];
}
