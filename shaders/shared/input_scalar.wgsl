// Rows of x one by one: for shapes that groups of 32 do not divide.
@group(0) @binding(0) var<storage, read> x: array<f32>; // (X_ROWS, COLS); where NORMED, then (X_ROWS, ceil(COLS / 4)) sums of squares

fn input_at(row: u32, col: u32) -> f32 {
    // The padded weights are zero, but zero times what lies behind the row need not be.
    if col < COLS {
        return x[row * COLS + col];
    }
    return 0.0;
}

fn four_inputs(row: u32, fourth: u32) -> vec4<f32> {
    let c = fourth * 4u;
    return vec4(input_at(row, c), input_at(row, c + 1u), input_at(row, c + 2u), input_at(row, c + 3u));
}

fn eight_inputs(row: u32, eighth: u32) -> Eight {
    let c = eighth * 8u;
    return Eight(
        vec4(input_at(row, c), input_at(row, c + 2u), input_at(row, c + 4u), input_at(row, c + 6u)),
        vec4(input_at(row, c + 1u), input_at(row, c + 3u), input_at(row, c + 5u), input_at(row, c + 7u)),
    );
}
#if NORMED

// This lane's share of a row's sum of squares.
fn squares_part(row: u32, lane: u32, lanes: u32) -> f32 {
    const CHUNKS = (COLS + 3u) / 4u;
    var part = 0.0;
    for (var i = lane; i < CHUNKS; i += lanes) {
        part += x[X_ROWS * COLS + row * CHUNKS + i];
    }
    return part;
}
#end
