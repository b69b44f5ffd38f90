// Causal attention as in attention.wgsl, where each load is dear: eight threads of a subgroup take eight positions of a tile at once,
// for all query heads of the key-value head and all rows of the workgroup, and load what they need once for all of them.
// They keep a maximum and a sum of their own, so the loop waits for nobody; the eights of a workgroup are joined after it.
#import step
#import splits
#import cache_read
@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;  // (PASS_ROWS, HEADS, HEAD_DIM)
@group(0) @binding(3) var<storage, read_write> partials: array<f32>; // (PASS_ROWS, HEADS, MAX_SPLITS, HEAD_DIM + 2)

const GROUP: u32 = HEADS / KV_HEADS; // query heads to a key-value head
const FOURS: u32 = HEAD_DIM / 4u;
const EIGHTS: u32 = WORKGROUP / 8u;
const MASKED: f32 = -1e30; // finite, so that exp(m - m) stays a number where all is masked

var<workgroup> query: array<vec4<f32>, QUERIES * FOURS>; // (QUERIES, FOURS), a query being a (row, head)
var<workgroup> joined: array<vec4<f32>, EIGHTS * FOURS>;
var<workgroup> maxima: array<f32, EIGHTS>;
var<workgroup> sums: array<f32, EIGHTS>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
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
    let eight = thread / 8u;
    let lane = thread % 8u;
    let base = invocation - invocation % 8u; // the first of the eight in their subgroup
#repeat q QUERIES
    var maximum{q} = MASKED;
    var sum{q} = 0.0;
#repeat f PIECES
    var output{q}_{f} = vec4(0.0);
#end
#end
    workgroupBarrier();

    for (var tile = split * TILE; tile < visible; tile += splits * TILE) {
        let run = tile + eight * 8u;
        // Scores: a thread a position. A thread loads four dimensions of a query, and all hear them: none may stay away.
        let own = run + lane;
        let key_at = (cache + min(own, visible - 1u)) * FOURS;
#repeat q QUERIES
        var score{q} = 0.0;
#end
        for (var first = 0u; first < FOURS; first += 8u) {
#repeat q QUERIES
            let query{q} = query[{q}u * FOURS + first + lane];
#end
#repeat d 8
            let key{d} = key_four(key_at + first + {d}u);
#repeat q QUERIES
            score{q} += dot(subgroupShuffle(query{q}, base + {d}u), key{d});
#end
#end
        }
        // Later positions are masked, row by row.
#repeat q QUERIES
        score{q} = select(MASKED, score{q}, own <= position() + first_token + {q}u / GROUP && own < visible);
        var top{q} = max(score{q}, subgroupShuffleXor(score{q}, 1u));
        top{q} = max(top{q}, subgroupShuffleXor(top{q}, 2u));
        top{q} = max(top{q}, subgroupShuffleXor(top{q}, 4u));
        let higher{q} = max(maximum{q}, top{q});
        let rescale{q} = exp(maximum{q} - higher{q});
        let weight{q} = exp(score{q} - higher{q});
        maximum{q} = higher{q};
        sum{q} = sum{q} * rescale{q} + weight{q};
#end
        // Outputs: a thread four dimensions of every thirty-two. Past the end a weight is zero, and no value that was never written may
        // meet it.
#repeat p 8
        let value_at{p} = (cache + min(run + {p}u, visible - 1u)) * FOURS + lane;
#repeat f PIECES
        let value{p}_{f} = value_four(value_at{p} + {f}u * 8u);
#end
#end
#repeat q QUERIES
#repeat f PIECES
        output{q}_{f} *= rescale{q};
#end
#repeat p 8
        let weight{q}_{p} = subgroupShuffle(weight{q}, base + {p}u);
#repeat f PIECES
        output{q}_{f} += weight{q}_{p} * value{p}_{f};
#end
#end
#end
    }

#repeat q QUERIES
#repeat f PIECES
    joined[eight * FOURS + {f}u * 8u + lane] = output{q}_{f};
#end
    sum{q} += subgroupShuffleXor(sum{q}, 1u);
    sum{q} += subgroupShuffleXor(sum{q}, 2u);
    sum{q} += subgroupShuffleXor(sum{q}, 4u);
    if lane == 0u {
        maxima[eight] = maximum{q};
        sums[eight] = sum{q};
    }
    workgroupBarrier();
    if {q}u / GROUP < rows {
        let token = first_token + {q}u / GROUP;
        let head = kv_head * GROUP + {q}u % GROUP;
        let at = ((token * HEADS + head) * MAX_SPLITS + split) * (HEAD_DIM + 2u);
        var highest = maxima[0];
        for (var i = 1u; i < EIGHTS; i++) {
            highest = max(highest, maxima[i]);
        }
        for (var four = thread; four < FOURS; four += WORKGROUP) {
            var output = vec4(0.0);
            var sum = 0.0;
            for (var i = 0u; i < EIGHTS; i++) {
                let weight = exp(maxima[i] - highest);
                output += weight * joined[i * FOURS + four];
                sum += weight * sums[i];
            }
            for (var i = 0u; i < 4u; i++) {
                partials[at + four * 4u + i] = output[i];
            }
            if four == 0u {
                partials[at + HEAD_DIM] = highest;
                partials[at + HEAD_DIM + 1u] = sum;
            }
        }
    }
    workgroupBarrier();
#end
}
