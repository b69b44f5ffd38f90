//! The comparison with the CPU twin is worth something: one wrong constant in any shader makes it fail.

use std::collections::BTreeSet;
use std::sync::Arc;

use pollster::block_on;

use crate::config::{LlamaConfig, Rope};
use crate::decode::{self, Device, Lane, LaneOptions};
use crate::kernels::{CacheFormat, MUTATION, Mutation, Prefill, Variant, pick_mutations};
use crate::model::{Llama, LlamaBuilder};
use crate::plan::LayerPlan;
use crate::quant::{Format, Packed};
use crate::weights::{HeadWeights, LayerWeights};

/// What the goldens allow, on logits of about one.
const TOLERANCE: f32 = 1e-4;

/// (shader, right, wrong): at least one for each text in `shaders/`.
const MUTATIONS: [(&str, &str, &str); 27] = [
    ("argmax", "candidate > value", "candidate < value"),
    ("argmax_join", "ids[0] = next", "ids[0] = next + 1u"),
    ("argmax_join", "step[1] = 1u", "step[1] = 2u"),
    ("attention", "exp(weights", "exp(1.01 * weights"),
    ("attention", "* SCORE_SCALE", "* SCORE_SCALE * 1.01"),
    (
        "attention",
        "tile + thread <= position()",
        "tile + thread < position()",
    ),
    ("attention", "*= rescale[", "*= 1.1 * rescale["),
    ("attention", "return keys[at]", "return keys[at] * 1.01"),
    ("attention", "return values[at]", "return values[at] * 1.01"),
    ("attention_combine", "output / sum", "output / sum * 1.01"),
    (
        "attention_combine",
        "exp(partials[at + HEAD_DIM] - maximum)",
        "exp(maximum - maximum)",
    ),
    (
        "embed",
        "weights.even - ZERO_POINT",
        "weights.even - ZERO_POINT - 0.1",
    ),
    (
        "embed",
        "squares += four[i] * four[i]",
        "squares += four[i]",
    ),
    ("linear", "workgroup.z * MAX_WORKGROUPS", "workgroup.z"),
    ("linear", "ZERO_POINT: f32 = 8.0", "ZERO_POINT: f32 = 7.9"),
    ("linear", ">> 4u", ">> 3u"),
    ("linear", "stride = LANES / 2u", "stride = LANES / 4u"),
    (
        "linear",
        "squares0 / f32(COLS)",
        "squares0 / f32(COLS + 1u)",
    ),
    ("linear", "1.0 + exp(-gate)", "1.01 + exp(-gate)"),
    ("linear", "value * gamma", "value * 1.01 * gamma"),
    ("linear", "squares0 += value * value", "squares0 += value"),
    (
        "linear",
        "pair.x * turn.x - pair.y * turn.y",
        "pair.x * turn.x + pair.y * turn.y",
    ),
    (
        "linear",
        "write_values(at + HALF, a.y, b.y)",
        "write_values(at + HALF, b.y, a.y)",
    ),
    (
        "linear_tile",
        "weights.odd - ZERO_POINT",
        "weights.odd - ZERO_POINT - 0.1",
    ),
    // What it does not write stays as the mutation before this one left it.
    (
        "linear_tile",
        "workgroup.z * MAX_WORKGROUPS + workgroup.x",
        "workgroup.x",
    ),
    (
        "linear_tile",
        "row * 8u + (four ^ (row % 8u))",
        "row * 4u + (four ^ (row % 8u))",
    ),
    (
        "linear_tile",
        "squares / f32(COLS)",
        "squares / f32(COLS + 1u)",
    ),
];

/// The same of what only [`Prefill::Shared`] runs.
const SHARED_MUTATIONS: [(&str, &str, &str); 13] = [
    ("linear_shared", "- ZERO_POINT", "- ZERO_POINT - 0.1"),
    (
        "linear_shared",
        "subgroupShuffle(x1[2u % 4u]",
        "subgroupShuffle(x1[3u % 4u]",
    ),
    ("linear_shared", "/ f32(COLS)", "/ f32(COLS + 1u)"),
    (
        "linear_shared",
        "workgroup.z * MAX_WORKGROUPS",
        "workgroup.z",
    ),
    ("attention_shared", "* SCORE_SCALE", "* SCORE_SCALE * 1.01"),
    (
        "attention_shared",
        "subgroupShuffle(query0, base + 3u)",
        "subgroupShuffle(query0, base + 4u)",
    ),
    ("attention_shared", "own <= position()", "own < position()"),
    (
        "attention_shared",
        "subgroupShuffleXor(score0, 1u)",
        "subgroupShuffleXor(score0, 0u) + 50.0",
    ),
    (
        "attention_shared",
        "sum0 * rescale0 + weight0",
        "sum0 + weight0",
    ),
    (
        "attention_shared",
        "output0_0 *= rescale0",
        "output0_0 *= 1.0",
    ),
    (
        "attention_shared",
        "subgroupShuffle(weight0, base + 3u)",
        "subgroupShuffle(weight0, base + 4u)",
    ),
    (
        "attention_shared",
        "weight * joined[i * FOURS + four]",
        "joined[i * FOURS + four]",
    ),
    (
        "attention_shared",
        "sum0 += subgroupShuffleXor(sum0, 4u)",
        "sum0 += 0.0",
    ),
];

const CONFIG: fn() -> LlamaConfig = || LlamaConfig {
    layers: 2,
    hidden_size: 64,
    intermediate_size: 96,
    heads: 4,
    kv_heads: 2,
    // As wide as subgroups must be to share attention's loads.
    head_dim: 32,
    vocab_size: 420,
    context: 160,
    rms_norm_eps: 1e-5,
    tied_head: true,
    bos_token: None,
    eos_tokens: Vec::new(),
    rope: Rope {
        theta: 10000.0,
        scaling: crate::config::RopeScaling::None,
    },
};

/// Numbers in -1..1 that are the same on every machine.
fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A model of random weights: as good as any to compare two devices.
fn model(device: &Device) -> Arc<Llama> {
    let c = CONFIG();
    let matrix = |seed, rows: usize, cols: usize| {
        Packed::quantise(rows, cols, Format::Q4, &random(seed, rows * cols)).expect("finite")
    };
    let norm = |seed| {
        random(seed, c.hidden_size)
            .iter()
            .map(|x| 1.0 + 0.5 * x)
            .collect()
    };
    let mut builder = LlamaBuilder::new(c.clone(), device);
    builder
        .embedding(matrix(1, c.vocab_size, c.hidden_size))
        .expect("embedding");
    let head = HeadWeights {
        norm: norm(2),
        head: None,
    };
    builder.head(head).expect("head");
    for layer in 0..c.layers {
        let seed = 10 * (layer as u64 + 1);
        let attention = c.heads * c.head_dim;
        let weights = LayerWeights {
            attention_norm: norm(seed),
            qkv: matrix(
                seed + 1,
                attention + 2 * c.kv_heads * c.head_dim,
                c.hidden_size,
            ),
            output: matrix(seed + 2, c.hidden_size, attention),
            mlp_norm: norm(seed + 3),
            gate_up: matrix(seed + 4, 2 * c.intermediate_size, c.hidden_size),
            down: matrix(seed + 5, c.hidden_size, c.intermediate_size),
        };
        builder.layer(layer, weights).expect("layer");
    }
    Arc::new(builder.build().expect("a model"))
}

/// Logits after a prompt of several tiles and after each of a few decode steps, and the ids.
fn run(model: &Arc<Llama>, prefill: Prefill) -> (Vec<f32>, Vec<u32>) {
    let options = LaneOptions {
        context: 160,
        variant: Variant {
            // Few lanes, so that the tree in workgroup memory is used at this size too.
            lanes: 2,
            prefill,
            cache: CacheFormat::F32,
            ..Variant::PLAIN
        },
    };
    let plan = LayerPlan::full(2).expect("plan");
    let mut lane = block_on(Lane::with(model, plan, options)).expect("lane");
    let prompt: Vec<u32> = (0..90).map(|i| i * 7 % 160).collect();
    let mut logits = Vec::new();
    let mut ids = Vec::new();
    block_on(lane.prefill(&prompt)).expect("prefill");
    for at in 0..4 {
        ids.push(match at {
            0 => block_on(lane.picked()).expect("pick"),
            _ => block_on(lane.decode(1)).expect("decode")[0],
        });
        logits.extend(block_on(lane.logits()).expect("logits"));
    }
    (logits, ids)
}

fn differ(a: &(Vec<f32>, Vec<u32>), b: &(Vec<f32>, Vec<u32>)) -> bool {
    let scale = a.0.iter().fold(1.0_f32, |max, x| max.max(x.abs()));
    let off = |(a, b): (&f32, &f32)| (a - b).abs() > TOLERANCE * scale || b.is_nan();
    a.1 != b.1 || a.0.iter().zip(&b.0).any(off)
}

#[test]
fn a_wrong_constant_in_any_shader_is_found() {
    let Some(gpu) = decode::test_gpu("a_wrong_constant_in_any_shader_is_found") else {
        return;
    };
    let twin = run(&model(&decode::cpu()), Prefill::Tile);
    let model = model(&gpu);
    let mut unseen = Vec::new();
    for (prefill, mutations) in [
        (Prefill::Tile, &MUTATIONS[..]),
        (Prefill::Shared, &SHARED_MUTATIONS),
    ] {
        assert!(
            !differ(&twin, &run(&model, prefill)),
            "the right shaders differ from their twins ({prefill:?})"
        );
        for &(shader, from, to) in mutations {
            MUTATION.set(Some(Mutation { shader, from, to }));
            let mutated = run(&model, prefill);
            MUTATION.set(None);
            if !differ(&twin, &mutated) {
                unseen.push((shader, from, to));
            }
        }
    }
    assert!(unseen.is_empty(), "went unseen: {unseen:#?}");
}

#[test]
fn every_shader_has_a_wrong_constant_to_be_found() {
    let mutated: BTreeSet<&str> = [
        &MUTATIONS[..],
        &SHARED_MUTATIONS,
        &pick_mutations::MUTATIONS,
    ]
    .concat()
    .iter()
    .map(|(shader, ..)| *shader)
    .collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
    for file in std::fs::read_dir(folder).expect("shaders/") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        if path
            .extension()
            .is_some_and(|extension| extension == "wgsl")
        {
            let name = name.expect("UTF-8");
            assert!(mutated.contains(name), "{name}.wgsl has none");
        }
    }
}
