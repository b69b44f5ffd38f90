// out = x W^T for TOKENS rows of x at once: each weight is read once and serves them all.
// LANES threads share a weight row's columns; a workgroup holds WORKGROUP / LANES such teams of WEIGHT_ROWS rows each.
// Columns go by groups of 32, one scale each. What is done with the sums is the epilogue's business.
#import step
#import eight
#import weight
#import input
#import epilogue
#import reduction

const GROUPS: u32 = PADDED_COLS / 32u;
const TEAMS: u32 = WORKGROUP / LANES;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_token = workgroup.y * TOKENS;
    if first_token >= active_rows() {
        return;
    }
    let lane = thread % LANES;
    let block = workgroup.z * MAX_WORKGROUPS + workgroup.x;
    let first_out = (block * TEAMS + thread / LANES) * OUTPUTS;
#if LAST_ROW
    let first_row = active_rows() - 1u; // all that names the next token
#else
    let first_row = first_token;
#end

#repeat r WEIGHT_ROWS
    // Rows past the end repeat the last one and are never written.
    let row{r} = weight_row(min(first_out + {r}u / PARTS, OUT_ROWS - 1u), {r}u % PARTS);
#end
#repeat r WEIGHT_ROWS
#repeat t TOKENS
    var sum{r}_{t} = 0.0;
#end
#end
#if NORMED
#repeat t TOKENS
    var squares{t} = squares_part(first_row + {t}u, lane, LANES);
#end
#end
    for (var group = lane; group < GROUPS; group += LANES) {
#repeat r WEIGHT_ROWS
        let stored{r} = load_group(row{r}, group);
        let scale{r} = group_scale(row{r}, group);
#end
#repeat t TOKENS
        var total{t} = vec4(0.0);
#repeat r WEIGHT_ROWS
        var part{r}_{t} = 0.0;
#end
#end
#repeat k 4
#repeat t TOKENS
        let x{t}_{k} = eight_inputs(first_row + {t}u, group * 4u + {k}u);
        total{t} += x{t}_{k}.even + x{t}_{k}.odd;
#end
#repeat r WEIGHT_ROWS
        let w{r}_{k} = eight_weights(stored{r}, {k}u);
#repeat t TOKENS
        part{r}_{t} += dot(w{r}_{k}.even, x{t}_{k}.even) + dot(w{r}_{k}.odd, x{t}_{k}.odd);
#end
#end
#end
#repeat t TOKENS
        // Stored weights are unsigned; what their zero point adds is the same for every row.
        let offset{t} = ZERO_POINT * dot(total{t}, vec4(1.0));
#repeat r WEIGHT_ROWS
        sum{r}_{t} += scale{r} * (part{r}_{t} - offset{t});
#end
#end
    }
#import reduce_rows
#repeat t TOKENS
    if lane == {t}u % LANES && first_token + {t}u < active_rows() {
        var sums: array<f32, WEIGHT_ROWS>;
#if NORMED
        let rms{t} = inverseSqrt(squares{t} / f32(COLS) + EPSILON);
#repeat r WEIGHT_ROWS
        sums[{r}] = sum{r}_{t} * rms{t};
#end
#else
#repeat r WEIGHT_ROWS
        sums[{r}] = sum{r}_{t};
#end
#end
        write_outputs(first_token + {t}u, first_out, sums);
    }
#end
}
