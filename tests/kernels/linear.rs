//! `linear` and `embed`: formats, epilogues, rows and columns that divide nothing.

use burn::tensor::Device;
use halfdepth::kernels::embed::embed;
use halfdepth::kernels::linear::{Epilogue, linear};
use halfdepth::quant::Format;

use crate::support::{floats, matrix, random, read, same_everywhere, words};

const FORMATS: [Format; 3] = [Format::F32, Format::Q8, Format::Q4];

/// (out features, in features)
const SHAPES: [(usize, usize); 12] = [
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
const PASSES: [(usize, usize); 5] = [(1, 1), (8, 3), (8, 8), (32, 17), (32, 1)];

// Sums of up to 2049 products in another order: 2^-24 a step, and they mostly cancel.
const TOLERANCE: f32 = 2e-5;

fn run(
    device: &Device,
    shape: (usize, usize),
    pass: (usize, usize),
    format: Format,
    epilogue: Epilogue,
) -> Vec<f32> {
    let ((rows, cols), (pass_rows, active)) = (shape, pass);
    let weight_rows = if epilogue == Epilogue::SwiGlu {
        2 * rows
    } else {
        rows
    };
    let weight = matrix(1, weight_rows, cols, format, device);
    // What lies in rows that take no part must not matter: it is as bad as it can be, but for the padding's neighbour.
    let mut x = random(2, pass_rows * cols);
    x[active * cols..].fill(f32::NAN);
    let x = floats(x, [pass_rows, cols], device);
    let out = floats(random(3, pass_rows * rows), [pass_rows, rows], device);
    let step = words(vec![5, active as u32], device);
    read(linear(x, &weight, out, step, epilogue))
}

#[test]
fn linear_equals_its_twin() {
    for format in FORMATS {
        for shape in SHAPES {
            for pass in PASSES {
                for epilogue in [Epilogue::Store, Epilogue::Residual, Epilogue::SwiGlu] {
                    let label = format!("{format:?} {shape:?} {pass:?} {epilogue:?}");
                    same_everywhere(&label, TOLERANCE, |device| {
                        run(device, shape, pass, format, epilogue)
                    });
                }
            }
        }
    }
}

#[test]
fn more_rows_than_one_dimension_of_a_dispatch_holds_are_computed() {
    // Two rows a workgroup at 512 columns and more: 131,070 rows fill one dimension.
    let shape = (131_079, 512);
    same_everywhere("many rows", TOLERANCE, |device| {
        run(device, shape, (1, 1), Format::Q4, Epilogue::Store)
    });
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
                let got = read(linear(
                    floats(x.clone(), [1, cols], device),
                    &weight,
                    out,
                    words(vec![0, 1], device),
                    Epilogue::Store,
                ));
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
fn embed_equals_its_twin() {
    for format in FORMATS {
        for (vocabulary, hidden) in SHAPES {
            let label = format!("{format:?} ({vocabulary}, {hidden})");
            same_everywhere(&label, 0.0, |device| {
                let table = matrix(1, vocabulary, hidden, format, device);
                let ids: Vec<u32> = [0, vocabulary - 1, vocabulary / 2, 0, 0]
                    .map(|id| id as u32)
                    .to_vec();
                let out = floats(vec![7.0; 5 * hidden], [5, hidden], device);
                read(embed(
                    words(ids, device),
                    &table,
                    out,
                    words(vec![0, 3], device),
                ))
            });
        }
    }
}
