//! The ops in a row are a Llama layer: every intermediate value against transformers (`reference.py` makes the values).

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use halfdepth::kernels::attention::{Heads, attention, attention_combine};
use halfdepth::kernels::linear::{Epilogue, Matrix, MatrixShape, linear};
use halfdepth::kernels::rms_norm::{Rows, rms_norm};
use halfdepth::kernels::rope_cache::rope_cache;
use halfdepth::quant::{Format, Packed};
use serde::Deserialize;

use crate::model::devices;
use crate::support::{floats, read, words};

#[derive(Deserialize)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    hidden: usize,
    intermediate: usize,
    tokens: usize,
    position: usize,
    x: Vec<f32>,
    weights: BTreeMap<String, Vec<f32>>,
    steps: BTreeMap<String, Vec<f32>>,
}

const CONTEXT: usize = 80;

impl Case {
    fn matrix(&self, name: &str, rows: usize, cols: usize, device: &Device) -> Matrix {
        let packed =
            Packed::quantise(rows, cols, Format::F32, &self.weights[name]).expect("finite");
        Matrix {
            words: words(packed.words, device),
            scales: words(vec![0], device),
            shape: MatrixShape {
                rows,
                cols,
                format: Format::F32,
            },
        }
    }

    /// Runs the rows from..to of the layer and compares each step; the cache goes in and comes out.
    fn run(
        &self,
        device: &Device,
        from: usize,
        to: usize,
        cache: (Tensor<3>, Tensor<3>),
        name: &str,
    ) -> (Tensor<3>, Tensor<3>) {
        let (rows, hidden) = (to - from, self.hidden);
        let heads = Heads {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            context: CONTEXT,
        };
        let width = (self.heads + 2 * self.kv_heads) * self.head_dim;
        let attended_cols = self.heads * self.head_dim;
        let step = || words(vec![from as u32, rows as u32], device);
        let empty = |cols: usize| floats(vec![0.0; rows * cols], [rows, cols], device);
        let norm = |name: &str| floats(self.weights[name].clone(), [hidden], device);
        let expect = |what: &str, cols: usize, got: &Tensor<2>| {
            let expected = &self.steps[what][from * cols..to * cols];
            let scale = expected
                .iter()
                .fold(1.0_f32, |max, value| max.max(value.abs()));
            for (got, expected) in read(got.clone()).iter().zip(expected) {
                // f32 against f64 through at most six ops: some tens of units in the last place.
                assert!(
                    (got - expected).abs() < 1e-5 * scale,
                    "{what} on {name}: {got} for {expected}"
                );
            }
        };

        let x = floats(
            self.x[from * hidden..to * hidden].to_vec(),
            [rows, hidden],
            device,
        );
        let normed = rms_norm(
            x.clone(),
            norm("attention_norm"),
            empty(hidden),
            step(),
            1e-5,
            Rows::Each,
        );
        expect("attention_normed", hidden, &normed);
        let qkv = linear(
            normed,
            &self.matrix("qkv", width, hidden, device),
            empty(width),
            step(),
            Epilogue::Store,
        );
        let (qkv, keys, values) =
            rope_cache(qkv, self.rotations(device), cache.0, cache.1, step(), heads);
        let partials_shape = heads.partials_shape(rows);
        let partials = floats(
            vec![0.0; partials_shape.iter().product()],
            partials_shape,
            device,
        );
        let splits = to.div_ceil(64).clamp(1, heads.max_splits(1)) as u32;
        let grid = words(vec![self.kv_heads as u32, splits, 1], device);
        let partials = attention(
            qkv,
            keys.clone(),
            values.clone(),
            partials,
            step(),
            grid,
            heads,
        );
        let attended = attention_combine(partials, empty(attended_cols), step(), heads);
        expect("attended", attended_cols, &attended);
        let output = self.matrix("output", hidden, attended_cols, device);
        let residual = linear(attended, &output, x, step(), Epilogue::Residual);
        expect("after_attention", hidden, &residual);
        let normed = rms_norm(
            residual.clone(),
            norm("mlp_norm"),
            empty(hidden),
            step(),
            1e-5,
            Rows::Each,
        );
        expect("mlp_normed", hidden, &normed);
        let gate_up = self.matrix("gate_up", 2 * self.intermediate, hidden, device);
        let mlp = linear(
            normed,
            &gate_up,
            empty(self.intermediate),
            step(),
            Epilogue::SwiGlu,
        );
        expect("swiglu", self.intermediate, &mlp);
        let down = self.matrix("down", hidden, self.intermediate, device);
        expect(
            "out",
            hidden,
            &linear(mlp, &down, residual, step(), Epilogue::Residual),
        );
        (keys, values)
    }

    fn rotations(&self, device: &Device) -> Tensor<1> {
        let half = self.head_dim / 2;
        let turns = (0..CONTEXT).flat_map(|position| {
            (0..half).flat_map(move |i| {
                let frequency = 10000_f64.powf(-(i as f64) / half as f64);
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                [cosine as f32, sine as f32]
            })
        });
        floats(turns.collect(), [CONTEXT * self.head_dim], device)
    }
}

#[test]
fn the_ops_in_a_row_are_a_llama_layer() {
    let document: Document =
        serde_json::from_str(include_str!("reference.json")).expect("reference");
    assert!(document.cases.len() >= 5);
    for (name, device) in devices() {
        for case in &document.cases {
            let shape = [case.kv_heads, CONTEXT, case.head_dim];
            let empty = || floats(vec![0.0; shape.iter().product()], shape, &device);
            let mut cache = (empty(), empty());
            if case.position > 0 {
                cache = case.run(&device, 0, case.position, cache, name);
            }
            case.run(
                &device,
                case.position,
                case.position + case.tokens,
                cache,
                name,
            );
        }
    }
}
