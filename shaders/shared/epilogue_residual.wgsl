// Adds to the residual stream in place, and leaves what the next RMSNorm needs: the stream times the norm's gamma, and the sum
// of squares of every four values. The next product scales by the root mean square, so no norm is a launch of its own.
@group(0) @binding(1) var<storage, read_write> residual: array<f32>; // (rows, OUT_ROWS)
@group(0) @binding(NORM) var<storage, read> gamma: array<f32>;       // (OUT_ROWS)
@group(0) @binding(NORM + 1) var<storage, read_write> normed: array<f32>; // (rows, OUT_ROWS), then (rows, ceil(OUT_ROWS / 4))

fn weight_row(output: u32, part: u32) -> u32 {
    return output;
}

fn write_outputs(token: u32, first_out: u32, sums: array<f32, WEIGHT_ROWS>) {
    const CHUNKS = (OUT_ROWS + 3u) / 4u;
#repeat c OUTPUT_CHUNKS
    if first_out + {c}u * 4u < OUT_ROWS {
        var squares{c} = 0.0;
#repeat o 4
        let out{c}_{o} = first_out + {c}u * 4u + {o}u;
        if out{c}_{o} < OUT_ROWS {
            let at = token * OUT_ROWS + out{c}_{o};
            let value = residual[at] + sums[{c} * 4 + {o}];
            residual[at] = value;
            normed[at] = value * gamma[out{c}_{o}];
            squares{c} += value * value;
        }
#end
        normed[PASS_ROWS * OUT_ROWS + token * CHUNKS + first_out / 4u + {c}u] = squares{c};
    }
#end
}
