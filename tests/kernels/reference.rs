//! The ops in a row are a Llama layer: every intermediate value against transformers (`reference.py` makes the values).

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor};
use halfdepth::kernels::Variant;
use halfdepth::kernels::attention::{Heads, attention, attention_combine};
use halfdepth::kernels::linear::{Epilogue, Input, Linear, Matrix, MatrixShape, Rows, linear};
use halfdepth::kernels::linear_qkv::{Qkv, QkvOutputs, linear_qkv};
use halfdepth::kernels::linear_residual::linear_residual;
use halfdepth::quant::{Format, Packed};
use serde::Deserialize;

use crate::model::devices;
use crate::support::{floats, normed_rows, read, words};

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
const EPSILON: f32 = 1e-5;

type Words = Tensor<1, Int>;

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
            first_row: 0,
        }
    }

    /// Runs the rows from..to of the layer and compares each step; the cache goes in and comes out.
    fn run(
        &self,
        device: &Device,
        from: usize,
        to: usize,
        cache: (Words, Words),
        name: &str,
    ) -> (Words, Words) {
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

        let variant = Variant::PLAIN;
        let x = &self.x[from * hidden..to * hidden];
        let normed = normed_rows(x, &self.weights["attention_norm"], rows, hidden);
        let normed_cols = hidden + hidden.div_ceil(4);
        let normed = floats(normed, [rows, normed_cols], device);
        // A normed stream becomes the norm's output when its root mean square is divided out.
        let expect_norm = |what: &str, normed: &Tensor<2>| {
            let all = read(normed.clone());
            let (values, squares) = all.split_at(rows * hidden);
            let output = values
                .chunks(hidden)
                .zip(squares.chunks(hidden.div_ceil(4)));
            let output = output.flat_map(|(row, squares)| {
                let mean = squares.iter().sum::<f32>() / hidden as f32;
                row.iter().map(move |x| x / (mean + EPSILON).sqrt())
            });
            expect(
                what,
                hidden,
                &floats(output.collect(), [rows, hidden], device),
            );
        };
        expect_norm("attention_normed", &normed);
        let QkvOutputs {
            queries,
            keys,
            values,
        } = linear_qkv(
            normed.clone(),
            &self.matrix("qkv", width, hidden, device),
            self.rotations(device),
            QkvOutputs {
                queries: empty(attended_cols),
                keys: cache.0,
                values: cache.1,
            },
            step(),
            Qkv {
                heads,
                epsilon: EPSILON,
                variant,
            },
        );
        let partials_shape = heads.partials_shape(rows);
        let partials = floats(
            vec![0.0; partials_shape.iter().product()],
            partials_shape,
            device,
        );
        let splits = to.div_ceil(64).clamp(1, heads.max_splits(1)) as u32;
        let grid = words(vec![self.kv_heads as u32, splits, 1], device);
        let partials = attention(
            queries,
            keys.clone(),
            values.clone(),
            partials,
            step(),
            grid,
            heads,
            variant,
        );
        let attended = attention_combine(partials, empty(attended_cols), step(), heads);
        expect("attended", attended_cols, &attended);
        let (residual, normed) = linear_residual(
            attended,
            &self.matrix("output", hidden, attended_cols, device),
            floats(x.to_vec(), [rows, hidden], device),
            norm("mlp_norm"),
            normed,
            step(),
            variant,
        );
        expect("after_attention", hidden, &residual);
        expect_norm("mlp_normed", &normed);
        let mlp = linear(
            normed.clone(),
            &self.matrix("gate_up", 2 * self.intermediate, hidden, device),
            empty(self.intermediate),
            step(),
            Linear {
                input: Input::Normed { epsilon: EPSILON },
                rows: Rows::Each,
                epilogue: Epilogue::SwiGlu,
                variant,
            },
        );
        expect("swiglu", self.intermediate, &mlp);
        let (residual, _) = linear_residual(
            mlp,
            &self.matrix("down", hidden, self.intermediate, device),
            residual,
            norm("mlp_norm"),
            normed,
            step(),
            variant,
        );
        expect("out", hidden, &residual);
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
            let empty = || words(vec![0; case.kv_heads * CONTEXT * case.head_dim], &device);
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
