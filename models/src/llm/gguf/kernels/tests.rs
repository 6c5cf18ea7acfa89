//! Every kernel, on every instruction set this processor has, against plain arithmetic over the same numbers.

#![allow(clippy::unwrap_used)]

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::pointwise::Gate;
use super::*;

const TYPES: [GgmlDType; 8] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Numbers from -1 to 1, the same for the same seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = crate::llm::gguf::tests::Random(seed);
    (0..count).map(|_| random.next_float()).collect()
}

/// A quantised matrix: its bytes as in a file, and the numbers they mean.
fn quantised(dtype: GgmlDType, rows: usize, columns: usize, seed: u64) -> (Vec<u8>, Vec<f32>) {
    // Rows of different size and with an offset: scales, minima and signs all matter.
    let values = numbers(rows * columns, seed);
    let values = values.iter().enumerate().map(|(index, value)| {
        let row = index / columns;
        value * (0.01 + 0.1 * (row % 5) as f32) + 0.02 * (index % 3) as f32
    });
    let values = Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((rows, columns)).unwrap();
    let tensor = QTensor::quantize(&values, dtype).unwrap();
    let meant = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (tensor.data().unwrap().into_owned(), meant)
}

/// Each row of `x` in eight bits with a step for each 32, as numbers.
fn rounded(x: &[f32]) -> Vec<f32> {
    x.chunks(32)
        .flat_map(|block| {
            let most = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let per_step = if most > 0.0 { 127.0 / most } else { 0.0 };
            block.iter().map(move |x| (x * per_step).round_ties_even() * (most / 127.0))
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn products(isa: Isa, packed: &Packed, x: &[f32], added: Option<&[f32]>) -> Vec<f32> {
    let x = Activations::new(isa, x, packed.columns());
    let mut out = vec![0.0; x.rows() * packed.rows()];
    multiply(&mut [Job { operation: Operation::Plain(packed, added), out: &mut out }], &x).unwrap();
    out
}

#[test]
fn packing_loses_nothing() {
    for dtype in TYPES {
        for (rows, columns) in [(1, 256), (16, 512), (37, 768)] {
            let (bytes, meant) = quantised(dtype, rows, columns, 3);
            let packed = Packed::new(dtype, &bytes, rows, columns).unwrap();
            let mut row = vec![0.0; columns];
            for (index, meant) in meant.chunks(columns).enumerate() {
                packed.row(index, &mut row);
                let difference = row.iter().zip(meant).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-6, "row {index} of {rows} × {columns} {dtype:?} is off by {difference}");
            }
        }
    }
}

#[test]
fn what_is_no_matrix_of_the_type_is_not_packed() {
    let (bytes, _) = quantised(GgmlDType::Q4K, 4, 256, 1);
    assert!(Packed::new(GgmlDType::Q4K, &bytes[1..], 4, 256).is_none());
    assert!(Packed::new(GgmlDType::Q4K, &bytes, 4, 288).is_none());
    assert!(Packed::new(GgmlDType::Q4K, &[], 0, 256).is_none());
    assert!(Packed::new(GgmlDType::F32, &bytes, 4, 144).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn products_are_those_of_the_numbers_meant(
        which in 0..TYPES.len(),
        rows in 1..20usize,
        outputs in 1..70usize,
        blocks in 1..12usize,
        seed in 0..1000u64,
    ) {
        let dtype = TYPES[which];
        let columns = blocks * dtype.block_size();
        let (bytes, meant) = quantised(dtype, outputs, columns, seed);
        let packed = Packed::new(dtype, &bytes, outputs, columns).unwrap();
        let x: Vec<f32> = numbers(rows * columns, seed + 1).iter().map(|x| 3.0 * x).collect();
        let added = numbers(rows * outputs, seed + 2);
        for isa in Isa::all() {
            let out = products(isa, &packed, &x, Some(&added));
            let x = rounded(&x);
            for (index, (out, added)) in out.iter().zip(&added).enumerate() {
                let x = &x[index / outputs * columns..][..columns];
                let weights = &meant[index % outputs * columns..][..columns];
                let expected = dot(x, weights) + f64::from(*added);
                // Only single precision's rounding is left.
                let size: f64 = x.iter().zip(weights).map(|(x, weight)| f64::from((x * weight).abs())).sum();
                let slack = 2e-5 * size + 1e-6;
                prop_assert!(
                    (f64::from(*out) - expected).abs() < slack,
                    "{isa:?} {dtype:?}: {out} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn attention_is_that_of_plain_arithmetic(
        kv_heads in 1..4usize,
        sharing in 1..8usize,
        head_width in prop::sample::select(vec![8usize, 20, 32, 64, 80, 96, 128]),
        before in 0..90usize,
        rows in 1..20usize,
        window in prop::option::of(1..40usize),
        is_half in any::<bool>(),
        seed in 0..1000u64,
    ) {
        let heads = kv_heads * sharing;
        let precision = if is_half { Precision::Half } else { Precision::Single };
        let length = before + rows;
        let keys = numbers(length * kv_heads * head_width, seed);
        let values = numbers(length * kv_heads * head_width, seed + 1);
        let queries: Vec<f32> = numbers(rows * heads * head_width, seed + 2).iter().map(|x| 4.0 * x).collect();
        let mut past = Past::new(precision, kv_heads, head_width);
        past.reserve(length);
        let (old, new) = (before * kv_heads * head_width, length * kv_heads * head_width);
        prop_assert!(past.write(0, &keys[..old], &values[..old]) || before == 0);
        prop_assert!(past.write(before, &keys[old..new], &values[old..new]));
        prop_assert!(!past.write(past.capacity(), &keys[old..new], &values[old..new]));
        let scale = 1.0 / (head_width as f32).sqrt();
        for isa in Isa::all() {
            let mut out = vec![0.0; queries.len()];
            let mut all = [Queries { past: &past, before, queries: &queries, out: &mut out }];
            attend(isa, &mut all, heads, scale, window).unwrap();
            for row in 0..rows {
                let end = before + row + 1;
                let first = window.map_or(0, |window| end.saturating_sub(window));
                for head in 0..heads {
                    let at = |position: usize| (position * kv_heads + head / sharing) * head_width;
                    let place = (row * heads + head) * head_width;
                    let query = &queries[place..place + head_width];
                    let scores: Vec<f64> =
                        (first..end).map(|position| dot(query, &keys[at(position)..][..head_width]) * f64::from(scale)).collect();
                    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for column in 0..head_width {
                        let expected: f64 = (first..end)
                            .zip(&weights)
                            .map(|(position, weight)| weight / total * f64::from(values[at(position) + column]))
                            .sum();
                        let difference = (f64::from(out[place + column]) - expected).abs();
                        prop_assert!(difference < if is_half { 4e-3 } else { 2e-5 }, "{isa:?}: off by {difference}");
                    }
                }
            }
        }
    }
}

#[test]
fn several_matrices_and_gates_of_one_input_do_not_mix() {
    let columns = 256;
    let (bytes, _) = quantised(GgmlDType::Q4K, 50, columns, 1);
    let small = Packed::new(GgmlDType::Q4K, &bytes, 50, columns).unwrap();
    let (bytes, _) = quantised(GgmlDType::Q6K, 200, columns, 2);
    let large = Packed::new(GgmlDType::Q6K, &bytes, 200, columns).unwrap();
    for rows in [1, 5, 64] {
        let values = numbers(rows * columns, 9);
        for isa in Isa::all() {
            let x = Activations::new(isa, &values, columns);
            let (mut first, mut second, mut gated) =
                (vec![0.0; rows * 50], vec![0.0; rows * 200], vec![0.0; rows * 200]);
            let gate = Operation::Gated { gate: &large, up: &large, activation: Activation::Silu };
            multiply(
                &mut [
                    Job { operation: Operation::Plain(&small, None), out: &mut first },
                    Job { operation: Operation::Plain(&large, None), out: &mut second },
                    Job { operation: gate, out: &mut gated },
                ],
                &x,
            )
            .unwrap();
            assert_eq!(first, products(isa, &small, &values, None));
            assert_eq!(second, products(isa, &large, &values, None));
            for (gated, value) in gated.iter().zip(&second) {
                let expected = value * value / (1.0 + (-value).exp());
                assert!((gated - expected).abs() <= 1e-5 * expected.abs().max(0.1), "{gated} instead of {expected}");
            }
            let mut short = vec![0.0; rows * 50 - 1];
            let job = Job { operation: Operation::Plain(&small, None), out: &mut short };
            assert!(multiply(&mut [job], &x).is_err());
        }
    }
}

#[test]
fn a_row_of_zeros_or_of_no_numbers_harms_only_itself() {
    let (bytes, _) = quantised(GgmlDType::Q8_0, 32, 64, 1);
    let packed = Packed::new(GgmlDType::Q8_0, &bytes, 32, 64).unwrap();
    let mut x = numbers(3 * 64, 4);
    x[..64].fill(0.0);
    x[70] = f32::NAN;
    for isa in Isa::all() {
        let out = products(isa, &packed, &x, None);
        assert!(out[..32].iter().all(|value| *value == 0.0));
        assert!(out[32..64].iter().all(|value| value.is_nan()));
        assert_eq!(out[64..], products(isa, &packed, &x[128..], None));
    }
}

#[test]
fn gates_are_right_from_very_small_to_very_large() {
    let inputs: Vec<f32> = (-160..160).map(|index| index as f32 * 0.75).collect();
    for isa in Isa::all() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let (mut gate, up) = (inputs.clone(), vec![2.0; inputs.len()]);
            isa.run(Gate { gate: &mut gate, up: &up, activation });
            for (out, x) in gate.iter().zip(&inputs) {
                let x = f64::from(*x);
                let expected = match activation {
                    Activation::Silu => 2.0 * x / (1.0 + (-x).exp()),
                    Activation::GeluTanh => x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x.powi(3))).tanh()),
                };
                let difference = (f64::from(*out) - expected).abs();
                assert!(difference <= 1e-6 * expected.abs().max(1.0), "{isa:?} {activation:?} of {x}: {out}");
            }
        }
    }
}

#[test]
fn norms_and_rotations_are_those_of_plain_arithmetic() {
    for width in [8, 20, 576] {
        let (values, weight) = (numbers(3 * width, 1), numbers(width, 2));
        for isa in Isa::all() {
            let mut out = vec![0.0; values.len()];
            rms_norm(isa, &values, &weight, 1e-5, &mut out);
            for (row, out) in values.chunks(width).zip(out.chunks(width)) {
                let scale = (dot(row, row) / width as f64 + 1e-5).sqrt();
                for ((x, weight), out) in row.iter().zip(&weight).zip(out) {
                    assert!((f64::from(*out) - f64::from(*x) * f64::from(*weight) / scale).abs() < 1e-6);
                }
            }
        }
    }
    // Two rows of two heads of width 6, of which 4 are rotated.
    let values = numbers(24, 3);
    let (cos, sin) = (numbers(4, 4), numbers(4, 5));
    let mut turned = values.clone();
    rotate(&mut turned, 12, 6, [&cos, &sin], 2);
    for (index, (after, before)) in turned.iter().zip(&values).enumerate() {
        let (row, column) = (index / 12, index % 6);
        let pair = row * 2 + column % 2;
        let expected = match column {
            0 | 1 => before * cos[pair] - values[index + 2] * sin[pair],
            2 | 3 => values[index - 2] * sin[pair] + before * cos[pair],
            _ => *before,
        };
        assert!((after - expected).abs() < 1e-6, "number {index}");
    }
}
