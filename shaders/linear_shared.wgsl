// out = x W^T for TOKENS rows of x at once, where loads are dear: a thread takes WEIGHT_ROWS rows whole, and a subgroup loads what
// its threads need of x once. Eight threads load four of 32 columns each, and all hear them.
// What is done with the sums is the epilogue's business.
#import step
#import eight
#import weight
#import input
#import epilogue

const GROUPS: u32 = PADDED_COLS / 32u;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    let first_token = workgroup.y * TOKENS;
    if first_token >= active_rows() {
        return;
    }
    let block = workgroup.z * MAX_WORKGROUPS + workgroup.x;
    let first_out = (block * WORKGROUP + thread) * OUTPUTS;
    let mine = invocation % 8u;

#repeat r WEIGHT_ROWS
    // Rows past the end repeat the last one and are never written.
    let row{r} = weight_row(min(first_out + {r}u / PARTS, OUT_ROWS - 1u), {r}u % PARTS);
#end
#repeat r WEIGHT_ROWS
#repeat t TOKENS
    var sum{r}_{t} = 0.0;
#end
#end
    for (var group = 0u; group < GROUPS; group++) {
#repeat r WEIGHT_ROWS
        let stored{r} = load_group(row{r}, group);
        let scale{r} = group_scale(row{r}, group);
#end
#repeat t TOKENS
        let x{t} = four_inputs(first_token + {t}u, group * 8u + mine);
#repeat r WEIGHT_ROWS
        var part{r}_{t} = 0.0;
#end
#end
#repeat c 32
        // Column by column: what is live at once fits the registers. Shuffles, not broadcasts: a driver may look for the first active
        // thread at each broadcast.
#repeat t TOKENS
        let x{t}_{c} = subgroupShuffle(x{t}[{c}u % 4u], {c}u / 4u);
#end
#repeat r WEIGHT_ROWS
        let w{r}_{c} = one_weight(stored{r}, {c}u) - ZERO_POINT;
#repeat t TOKENS
        part{r}_{t} += w{r}_{c} * x{t}_{c};
#end
#end
#end
#repeat r WEIGHT_ROWS
#repeat t TOKENS
        sum{r}_{t} += scale{r} * part{r}_{t};
#end
#end
    }
#repeat t TOKENS
#if NORMED
    // The subgroup's threads share the sums of squares as well.
    var squares{t} = 0.0;
    if mine == invocation {
        squares{t} = squares_part(first_token + {t}u, mine, 8u);
    }
    let rms{t} = inverseSqrt(subgroupAdd(squares{t}) / f32(COLS) + EPSILON);
#end
    if first_token + {t}u < active_rows() {
        var sums: array<f32, WEIGHT_ROWS>;
#repeat r WEIGHT_ROWS
#if NORMED
        sums[{r}] = sum{r}_{t} * rms{t};
#else
        sums[{r}] = sum{r}_{t};
#end
#end
        write_outputs(first_token + {t}u, first_out, sums);
    }
#end
}
