// out = x W^T for many rows of x: a workgroup takes 64 rows of x and 64 weight rows, 32 columns at a time, by way of
// 16 KB of workgroup memory; a thread takes four by four of them.
#import step
#import eight
#import weight
#import input
#import epilogue

const GROUPS: u32 = PADDED_COLS / 32u;

// (64 rows, 8 fours of columns). A four's place in its row is turned by the row, so that threads side by side, which read
// the same four of different rows, meet different banks.
var<workgroup> tile_x: array<vec4<f32>, 512>;
var<workgroup> tile_w: array<vec4<f32>, 512>;

fn place(row: u32, four: u32) -> u32 {
    return row * 8u + (four ^ (row % 8u));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_token = workgroup.y * 64u;
    if first_token >= active_rows() {
        return;
    }
    let block = workgroup.z * MAX_WORKGROUPS + workgroup.x;
    // Filling: four threads a row, eight columns each.
    let fill_row = thread / 4u;
    let fill_word = thread % 4u;
    let fill_token = min(first_token + fill_row, active_rows() - 1u);
    // Slot s holds weight row (s % 16) * 4 + s / 16 of the block: a thread's four rows are neighbours, its slots are not.
    let fill_local = (fill_row % 16u) * 4u + fill_row / 16u;
    let fill_out = min(block * (64u / PARTS) + fill_local / PARTS, OUT_ROWS - 1u);
    let fill_weight = weight_row(fill_out, fill_local % PARTS);
    let across = thread % 16u;
    let down = thread / 16u;

#repeat t 4
#repeat r 4
    var sum{r}_{t} = 0.0;
#end
#end
    for (var group = 0u; group < GROUPS; group++) {
        let inputs = eight_inputs(fill_token, group * 4u + fill_word);
        tile_x[place(fill_row, fill_word * 2u)] = inputs.even;
        tile_x[place(fill_row, fill_word * 2u + 1u)] = inputs.odd;
        let weights = eight_weights(load_group(fill_weight, group), fill_word);
        let scale = group_scale(fill_weight, group);
        tile_w[place(fill_row, fill_word * 2u)] = (weights.even - ZERO_POINT) * scale;
        tile_w[place(fill_row, fill_word * 2u + 1u)] = (weights.odd - ZERO_POINT) * scale;
        workgroupBarrier();
        for (var four = 0u; four < 8u; four++) {
#repeat r 4
            let w{r} = tile_w[place(across + {r}u * 16u, four)];
#end
#repeat t 4
            let x{t} = tile_x[place(down * 4u + {t}u, four)];
#repeat r 4
            sum{r}_{t} += dot(w{r}, x{t});
#end
#end
        }
        workgroupBarrier();
    }
#if NORMED
    // The tiles have been read: their place serves the sums of squares, four threads a row.
    var part = squares_part(fill_token, fill_word, 4u);
    tile_x[thread] = vec4(part);
    workgroupBarrier();
#end
    let first_out = block * (64u / PARTS) + across * OUTPUTS;
#repeat t 4
    {
        let row = down * 4u + {t}u;
        if first_token + row < active_rows() {
#if NORMED
            let squares = tile_x[row * 4u].x + tile_x[row * 4u + 1u].x + tile_x[row * 4u + 2u].x + tile_x[row * 4u + 3u].x;
            let rms = inverseSqrt(squares / f32(COLS) + EPSILON);
#else
            let rms = 1.0;
#end
            write_outputs(
                first_token + row,
                first_out,
                array<f32, 4>(sum0_{t} * rms, sum1_{t} * rms, sum2_{t} * rms, sum3_{t} * rms),
            );
        }
    }
#end
}
