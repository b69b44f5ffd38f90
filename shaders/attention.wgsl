// Causal attention over the cache, split over the context: one workgroup a (key-value head, split, TOKENS rows).
// All query heads of a key-value head, for all its rows, share each load of a key or a value. A split writes an unnormalised
// output with its running maximum and sum; attention_combine joins them.
#import step
#import splits
#import cache_read
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;  // (PASS_ROWS, HEADS, HEAD_DIM)
@group(0) @binding(3) var<storage, read_write> partials: array<f32>; // (PASS_ROWS, HEADS, MAX_SPLITS, HEAD_DIM + 2)

const GROUP: u32 = HEADS / KV_HEADS;   // query heads to a key-value head
const FOURS: u32 = HEAD_DIM / 4u;
const SUBSETS: u32 = WORKGROUP / FOURS; // positions whose values are added up side by side
const LANES: u32 = WORKGROUP / ROW_TEAMS; // threads to a row's maximum
const MASKED: f32 = -1e30; // finite, so that a masked tile's exp(m - m) stays a number

var<workgroup> query: array<vec4<f32>, QUERIES * FOURS>; // (QUERIES, FOURS), a query being a (row, head)
var<workgroup> weights: array<f32, QUERIES * TILE>;
var<workgroup> maxima: array<f32, QUERIES>;
var<workgroup> rescale: array<f32, QUERIES>;
var<workgroup> found: array<f32, WORKGROUP>;
var<workgroup> joined: array<vec4<f32>, WORKGROUP>;
var<workgroup> joined_sums: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let kv_head = workgroup.x;
    let split = workgroup.y;
    let first_token = workgroup.z * TOKENS;
    if first_token >= active_rows() {
        return;
    }
    let rows = min(TOKENS, active_rows() - first_token);
    let visible = min(position() + first_token + rows, CONTEXT); // to the last row of this workgroup
    let splits = split_count(min(position() + active_rows(), CONTEXT));
    let cache = kv_head * CONTEXT;

    for (var i = thread; i < QUERIES * FOURS; i += WORKGROUP) {
        let q = i / FOURS;
        let token = min(first_token + q / GROUP, active_rows() - 1u);
        query[i] = queries[(token * HEADS + kv_head * GROUP + q % GROUP) * FOURS + i % FOURS] * SCORE_SCALE;
    }
    if thread < QUERIES {
        maxima[thread] = MASKED;
    }
    let four = thread % FOURS;
    let subset = thread / FOURS;
#repeat q QUERIES
    var output{q} = vec4(0.0);
    var sum{q} = 0.0;
#end
    workgroupBarrier();

    for (var tile = split * TILE; tile < visible; tile += splits * TILE) {
        let in_tile = min(TILE, visible - tile);
        // Scores: a thread a position.
#repeat q QUERIES
        var score{q} = 0.0;
#end
        if thread < in_tile {
            for (var d = 0u; d < FOURS; d++) {
                let key = key_four((cache + tile + thread) * FOURS + d);
#repeat q QUERIES
                score{q} += dot(query[{q}u * FOURS + d], key);
#end
            }
        }
#repeat q QUERIES
        // Later positions are masked, row by row.
        weights[{q}u * TILE + thread] = select(MASKED, score{q}, tile + thread <= position() + first_token + {q}u / GROUP && thread < in_tile);
#end
        workgroupBarrier();
        // Maxima: LANES threads a query.
        let team = thread / LANES;
        let lane = thread % LANES;
        if team < QUERIES {
            var maximum = MASKED;
            for (var at = lane; at < in_tile; at += LANES) {
                maximum = max(maximum, weights[team * TILE + at]);
            }
            found[thread] = maximum;
        }
        workgroupBarrier();
        if team < QUERIES && lane == 0u {
            var maximum = maxima[team];
            for (var i = 0u; i < LANES; i++) {
                maximum = max(maximum, found[thread + i]);
            }
            rescale[team] = exp(maxima[team] - maximum);
            maxima[team] = maximum;
        }
        workgroupBarrier();
#repeat q QUERIES
        weights[{q}u * TILE + thread] = exp(weights[{q}u * TILE + thread] - maxima[{q}]);
#end
        workgroupBarrier();
        // Outputs: a thread four dimensions of every SUBSETS-th position.
#repeat q QUERIES
        output{q} *= rescale[{q}];
        sum{q} *= rescale[{q}];
#end
        if subset < SUBSETS {
            for (var at = subset; at < in_tile; at += SUBSETS) {
                let value = value_four((cache + tile + at) * FOURS + four);
#repeat q QUERIES
                let weight{q} = weights[{q}u * TILE + at];
                output{q} += weight{q} * value;
                sum{q} += weight{q};
#end
            }
        }
        workgroupBarrier();
    }

#repeat q QUERIES
    joined[thread] = output{q};
    joined_sums[thread] = sum{q};
    workgroupBarrier();
    if thread < FOURS && {q}u / GROUP < rows {
        var output = vec4(0.0);
        var sum = 0.0;
        for (var i = 0u; i < SUBSETS; i++) {
            output += joined[i * FOURS + thread];
            sum += joined_sums[i * FOURS + thread];
        }
        let token = first_token + {q}u / GROUP;
        let head = kv_head * GROUP + {q}u % GROUP;
        let at = ((token * HEADS + head) * MAX_SPLITS + split) * (HEAD_DIM + 2u);
        for (var i = 0u; i < 4u; i++) {
            partials[at + thread * 4u + i] = output[i];
        }
        if thread == 0u {
            partials[at + HEAD_DIM] = maxima[{q}];
            partials[at + HEAD_DIM + 1u] = sum;
        }
    }
    workgroupBarrier();
#end
}
