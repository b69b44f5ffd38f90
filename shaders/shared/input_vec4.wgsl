// Rows of x by fours: COLS is a multiple of 32.
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // (X_ROWS, COLS); where NORMED, then (X_ROWS, COLS / 4) sums of squares

fn four_inputs(row: u32, fourth: u32) -> vec4<f32> {
    return x[row * (COLS / 4u) + fourth];
}

fn eight_inputs(row: u32, eighth: u32) -> Eight {
    let at = row * (COLS / 4u) + eighth * 2u;
    let a = x[at];
    let b = x[at + 1u];
    return Eight(vec4(a.x, a.z, b.x, b.z), vec4(a.y, a.w, b.y, b.w));
}
#if NORMED

// This lane's share of a row's sum of squares.
fn squares_part(row: u32, lane: u32, lanes: u32) -> f32 {
    let start = X_ROWS * (COLS / 4u) + row * (COLS / 16u);
    var part = vec4(0.0);
    for (var i = lane; i < COLS / 16u; i += lanes) {
        part += x[start + i];
    }
    return dot(part, vec4(1.0));
}
#end
