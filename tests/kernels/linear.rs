//! `linear` and `embed`: formats, inputs, epilogues, kernels, rows and columns that divide nothing.

use burn::tensor::Device;
use halfdepth::kernels::Variant;
use halfdepth::kernels::embed::embed;
use halfdepth::kernels::linear::{Epilogue, Input, Linear, Matrix, MatrixShape, Rows, linear};
use halfdepth::quant::Format;

use crate::support::{
    VARIANTS, floats, matrix, normed, normed_rows, random, read, same_everywhere, words,
};

pub(crate) const FORMATS: [Format; 3] = [Format::F32, Format::Q8, Format::Q4];

/// (out features, in features)
pub(crate) const SHAPES: [(usize, usize); 12] = [
    (1, 8),
    (1, 64),
    (3, 64),
    (65, 128),
    (7, 31),
    (5, 33),
    (64, 172),
    (172, 64),
    (9, 1),
    (130, 250),
    (33, 1030),
    (2, 2049),
];

/// (rows of a pass, of them active)
pub(crate) const PASSES: [(usize, usize); 8] = [
    (1, 1),
    (2, 2),
    (3, 3),
    (8, 3),
    (8, 8),
    (32, 17),
    (32, 1),
    (70, 67),
];

// Sums of up to 2049 products in another order: 2^-24 a step, and they mostly cancel.
pub(crate) const TOLERANCE: f32 = 2e-5;

const EPSILON: f32 = 1e-5;

fn run(
    device: &Device,
    (rows, cols): (usize, usize),
    (pass_rows, active): (usize, usize),
    format: Format,
    spec: Linear,
) -> Vec<f32> {
    let weight_rows = match spec.epilogue {
        Epilogue::Store => rows,
        Epilogue::SwiGlu => 2 * rows,
    };
    let weight = matrix(1, weight_rows, cols, format, device);
    // What lies in rows that take no part must not matter: it is as bad as it can be.
    let x = match spec.input {
        Input::Plain => {
            let mut x = random(2, pass_rows * cols);
            x[active * cols..].fill(f32::NAN);
            floats(x, [pass_rows, cols], device)
        }
        Input::Normed { .. } => normed(2, pass_rows, active, cols, device),
    };
    let out_rows = match spec.rows {
        Rows::Each => pass_rows,
        Rows::Last => 1,
    };
    let out = floats(random(3, out_rows * rows), [out_rows, rows], device);
    let step = words(vec![5, active as u32], device);
    read(linear(x, &weight, out, step, spec))
}

fn specs(variant: Variant) -> Vec<Linear> {
    let normed = Input::Normed { epsilon: EPSILON };
    [
        (Input::Plain, Rows::Each, Epilogue::Store),
        (Input::Plain, Rows::Each, Epilogue::SwiGlu),
        (normed, Rows::Each, Epilogue::SwiGlu),
        (normed, Rows::Each, Epilogue::Store),
        (normed, Rows::Last, Epilogue::Store),
    ]
    .map(|(input, rows, epilogue)| Linear {
        input,
        rows,
        epilogue,
        variant,
    })
    .to_vec()
}

#[test]
fn linear_equals_its_twin() {
    let mut case = 0;
    for format in FORMATS {
        for shape in SHAPES {
            for pass in PASSES {
                // One kernel a case, each in turn: all of them meet every shape, format and pass somewhere.
                case += 1;
                let specs = specs(VARIANTS[case % VARIANTS.len()]);
                let spec = specs[case % specs.len()];
                let label = format!("{format:?} {shape:?} {pass:?} {spec:?}");
                same_everywhere(&label, TOLERANCE, |device| {
                    run(device, shape, pass, format, spec)
                });
            }
        }
    }
}

#[test]
fn every_variant_computes_real_shapes() {
    for variant in VARIANTS {
        for shape in [(576, 576), (40, 2048)] {
            for pass in [(1, 1), (4, 4), (64, 50)] {
                // A norm's product with gate and up: nothing is left out of it.
                {
                    let spec = specs(variant)[2];
                    let label = format!("{shape:?} {pass:?} {spec:?}");
                    same_everywhere(&label, TOLERANCE, |device| {
                        run(device, shape, pass, Format::Q4, spec)
                    });
                }
            }
        }
    }
}

#[test]
fn a_packed_matrix_multiplies_as_its_dequantised_self() {
    use halfdepth::quant::Packed;
    for format in [Format::Q8, Format::Q4] {
        for (rows, cols) in SHAPES {
            let packed =
                Packed::quantise(rows, cols, format, &random(1, rows * cols)).expect("finite");
            let (weights, x) = (packed.dequantise(), random(2, cols));
            let expected: Vec<f32> = weights
                .chunks(cols)
                .map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum())
                .collect();
            same_everywhere(&format!("{format:?} {rows}x{cols}"), TOLERANCE, |device| {
                let weight = matrix(1, rows, cols, format, device);
                let out = floats(vec![0.0; rows], [1, rows], device);
                let x = floats(x.clone(), [1, cols], device);
                let step = words(vec![0, 1], device);
                let got = read(linear(x, &weight, out, step, specs(Variant::PLAIN)[0]));
                for (got, expected) in got.iter().zip(&expected) {
                    assert!(
                        (got - expected).abs() < 1e-4 * (cols as f32).sqrt(),
                        "{got} for {expected}"
                    );
                }
                got
            });
        }
    }
}

#[test]
fn a_normed_product_is_that_of_the_norm() {
    // The sums of squares wait in the input and the root is taken after the product: the formula, in f64, says the same.
    for (rows, cols) in [(3, 64), (5, 33), (9, 576)] {
        let stream = random(2, cols);
        let gamma = random(4, cols);
        let mean = stream
            .iter()
            .map(|x| f64::from(*x) * f64::from(*x))
            .sum::<f64>()
            / cols as f64;
        let rms = (mean + f64::from(EPSILON)).sqrt();
        let weights = random(1, rows * cols);
        let spec = specs(Variant::PLAIN)[3];
        same_everywhere("norm", TOLERANCE, |device| {
            let weight = matrix(1, rows, cols, Format::F32, device);
            let out = floats(vec![0.0; rows], [1, rows], device);
            let x = normed_rows(&stream, &gamma, 1, cols);
            let x = floats(x, [1, cols + cols.div_ceil(4)], device);
            let got = read(linear(x, &weight, out, words(vec![0, 1], device), spec));
            for (got, row) in got.iter().zip(weights.chunks(cols)) {
                let terms = row.iter().zip(&stream).zip(&gamma);
                let expected: f64 = terms
                    .map(|((w, x), g)| f64::from(*w) * f64::from(*x) / rms * f64::from(*g))
                    .sum();
                assert!(
                    (f64::from(*got) - expected).abs() < 1e-5 * (cols as f64).sqrt(),
                    "{got} for {expected}"
                );
            }
            got
        });
    }
}

#[test]
fn embed_equals_its_twin() {
    for format in FORMATS {
        for (vocabulary, hidden) in SHAPES {
            let label = format!("{format:?} ({vocabulary}, {hidden})");
            // Squares of at most 1, four of them in another order.
            same_everywhere(&label, 1e-6, |device| {
                let table = matrix(1, vocabulary, hidden, format, device);
                let ids: Vec<u32> = [0, vocabulary - 1, vocabulary / 2, 0, 0]
                    .map(|id| id as u32)
                    .to_vec();
                let normed_cols = hidden + hidden.div_ceil(4);
                let (residual, normed) = embed(
                    words(ids, device),
                    &table,
                    floats(vec![7.0; 5 * hidden], [5, hidden], device),
                    floats(random(6, hidden), [hidden], device),
                    floats(vec![7.0; 5 * normed_cols], [5, normed_cols], device),
                    words(vec![0, 3], device),
                    vocabulary,
                );
                [read(residual), read(normed)].concat()
            });
        }
    }
}

#[test]
fn a_matrix_in_parts_is_the_whole_matrix() {
    use halfdepth::quant::Packed;
    let (rows, cols) = (70, 96);
    let weights = random(1, rows * cols);
    // (first row, rows) of each part
    for parts in [
        &[(0, 70)][..],
        &[(0, 32), (32, 38)],
        &[(0, 2), (2, 60), (62, 8)],
    ] {
        same_everywhere(&format!("{parts:?}"), TOLERANCE, |device| {
            let parts = parts.iter().map(|&(first_row, part_rows)| {
                let part = &weights[first_row * cols..(first_row + part_rows) * cols];
                let packed = Packed::quantise(part_rows, cols, Format::Q4, part).expect("finite");
                let shape = MatrixShape {
                    rows: part_rows,
                    cols,
                    format: Format::Q4,
                };
                Matrix {
                    scales: words(packed.scale_words(), device),
                    words: words(packed.words, device),
                    shape,
                    first_row,
                }
            });
            let step = || words(vec![0, 3], device);
            let x = floats(random(2, 3 * cols), [3, cols], device);
            let mut out = floats(vec![f32::NAN; 3 * rows], [3, rows], device);
            let mut stream = (
                floats(vec![f32::NAN; 3 * cols], [3, cols], device),
                floats(vec![f32::NAN; 3 * cols * 5 / 4], [3, cols * 5 / 4], device),
            );
            let gamma = floats(random(4, cols), [cols], device);
            for part in parts {
                out = linear(x.clone(), &part, out, step(), specs(Variant::PLAIN)[0]);
                let ids = words(vec![1, 69, 33], device);
                stream = embed(ids, &part, stream.0, gamma.clone(), stream.1, step(), rows);
            }
            [read(out), read(stream.0), read(stream.1)].concat()
        });
    }
}
