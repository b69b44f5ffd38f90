@group(0) @binding(1) var<storage, read_write> out: array<f32>; // (rows, OUT_ROWS)

fn weight_row(output: u32, part: u32) -> u32 {
    return output;
}

fn write_outputs(token: u32, first_out: u32, sums: array<f32, WEIGHT_ROWS>) {
#repeat o OUTPUTS
    if first_out + {o}u < OUT_ROWS {
        out[token * OUT_ROWS + first_out + {o}u] = sums[{o}];
    }
#end
}
