//! Products against sums in f64 and in integers.

use super::*;
use crate::compute::{Noise, Purpose};

fn sample(size: usize, seed: u64) -> Vec<f32> {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    (0..size).map(|_| stream.normal() as f32).collect()
}

/// Rounding grows with the root of the inner dimension.
fn assert_close(found: &[f32], exact: &[f64], inner: usize) {
    assert_eq!(found.len(), exact.len());
    for (found, exact) in found.iter().zip(exact) {
        let error = (f64::from(*found) - exact).abs();
        assert!(error < 1e-6 * (inner as f64).sqrt() * (1.0 + exact.abs()), "{found} {exact}");
    }
}

const SHAPES: [(usize, usize, usize); 7] = [
    (1, 1, 1),
    (13, 33, 7),
    (97, 64, 300),
    (200, 31, 513),
    (193, 40, 256),
    (12, 257, 64),
    (5, 32, 769),
];

/// Bytes of a row and what they mean: x = scale · byte + offset.
fn bytes_of_row(x: &[f32]) -> (f32, f32, Vec<i32>) {
    let low = x.iter().fold(f32::MAX, |low, &x| low.min(x));
    let high = x.iter().fold(f32::MIN, |high, &x| high.max(x));
    let scale = (high - low) / 255.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let byte = |x: &f32| ((x - low) * inverse).round_ties_even() as i32;
    (scale, low, x.iter().map(byte).collect())
}

/// Bytes of the weights of one output: w = scale · byte.
fn bytes_of_output(w: &[f32]) -> (f32, Vec<i32>) {
    let exact = w.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0;
    // Of 24 bits the first 16, upwards.
    let scale = f32::from_bits(exact.to_bits().next_multiple_of(256));
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (scale, w.iter().map(|w| (w * inverse).round_ties_even() as i32).collect())
}

/// What a product reads of the lines of its sides, with `inner` values each.
fn read(precision: Precision, left: &[f32], right: &[f32], inner: usize) -> [Vec<f64>; 2] {
    let as_they_are = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
    let rounded =
        |values: &[f32]| values.iter().map(|&x| half::bf16::from_f32(x).to_f64()).collect();
    let of_row = |x: &[f32]| {
        let (scale, low, bytes) = bytes_of_row(x);
        bytes.into_iter().map(move |byte| f64::from(scale) * f64::from(byte) + f64::from(low))
    };
    let of_output = |w: &[f32]| {
        let (scale, bytes) = bytes_of_output(w);
        bytes.into_iter().map(move |byte| f64::from(scale) * f64::from(byte))
    };
    match precision {
        Precision::F32 => [left, right].map(as_they_are),
        Precision::Bf16 => [left, right].map(rounded),
        Precision::Int8 => [
            left.chunks_exact(inner).flat_map(of_row).collect(),
            right.chunks_exact(inner).flat_map(of_output).collect(),
        ],
    }
}

/// At each precision that this CPU has instructions for, of the numbers that it reads.
#[test]
fn products_equal_sums_in_f64() {
    let shapes = || SHAPES.into_iter();
    for (precision, (lines, columns, inner)) in
        Precision::available().flat_map(|precision| shapes().map(move |one| (precision, one)))
    {
        let (left, right) = (sample(lines * inner, 1), sample(columns * inner, 2));
        let relu = |values: &mut [f32]| values.iter_mut().for_each(|x| *x = x.max(0.0));
        let mut positive = left.clone();
        relu(&mut positive);
        let [a, w] = read(precision, &positive, &right, inner);
        let (bias, before) = (sample(columns, 3), sample(lines * columns, 4));
        let exact = |start: &dyn Fn(usize, usize) -> f32| -> Vec<f64> {
            (0..lines * columns)
                .map(|place| {
                    let (i, j) = (place / columns, place % columns);
                    let term = |k: usize| a[i * inner + k] * w[j * inner + k];
                    f64::from(start(i, j)) + (0..inner).map(term).sum::<f64>()
                })
                .collect()
        };
        let mut panels = PackedMatrix::new(precision);
        panels.take_transposed(&right, inner);
        let mut c = before.clone();
        gemm(&left, &panels, Start::Result, Some(relu), &mut c);
        assert_close(&c, &exact(&|i, j| before[i * columns + j]), inner);
        gemm(&left, &panels, Start::Bias(&bias), Some(relu), &mut c);
        assert_close(&c, &exact(&|_, j| bias[j]), inner);
        if precision == Precision::Int8 {
            continue;
        }
        // The same right side, given the other way round.
        let transposed: Vec<f32> =
            (0..inner * columns).map(|at| right[at % columns * inner + at / columns]).collect();
        panels.take(&transposed, columns);
        gemm(&left, &panels, Start::Zero, Some(relu), &mut c);
        assert_close(&c, &exact(&|_, _| 0.0), inner);
    }
}

/// At both precisions that they are made in, of the numbers that it reads.
#[test]
fn gradients_of_weights_equal_sums_in_f64() {
    let made_in = |precision: &Precision| *precision != Precision::Int8;
    for precision in Precision::available().filter(made_in) {
        let mut panels = PackedMatrix::new(precision);
        for (lines, n, k) in SHAPES.into_iter().chain([(1537, 33, 17), (769, 97, 31)]) {
            let (a, b) = (sample(lines * n, 1), sample(lines * k, 2));
            let mut c = vec![1.0; n * k];
            add_transposed_gemm(&a, &b, n, k, &mut panels, &mut c);
            let [a, b] = read(precision, &a, &b, 1);
            let exact: Vec<f64> = (0..n * k)
                .map(|place| {
                    let term = |p: usize| a[p * n + place / k] * b[p * k + place % k];
                    1.0 + (0..lines).map(term).sum::<f64>()
                })
                .collect();
            assert_close(&c, &exact, lines);
        }
    }
}

/// In bf16, whichever way a matrix is given, its panels are the same bits.
#[test]
fn both_ways_to_give_a_right_side_make_the_same_panels() {
    if Precision::Bf16.check().is_err() {
        return;
    }
    for (_, columns, inner) in SHAPES {
        let right = sample(columns * inner, 1);
        let other: Vec<f32> =
            (0..inner * columns).map(|at| right[at % columns * inner + at / columns]).collect();
        let mut panels = [(); 2].map(|()| PackedMatrix::new(Precision::Bf16));
        // What stood there before leaves nothing.
        panels.iter_mut().for_each(|panels| panels.take(&[7.0; 64 * 64], 64));
        panels[0].take_transposed(&right, inner);
        panels[1].take(&other, columns);
        assert_eq!(<Pair as Element>::panels(&panels[0]), <Pair as Element>::panels(&panels[1]));
    }
}

#[test]
fn a_line_is_the_same_bits_alone_and_among_others() {
    let (columns, inner) = (70, 301);
    let (a, w) = (sample(250 * inner, 1), sample(columns * inner, 2));
    for precision in Precision::available() {
        let mut panels = PackedMatrix::new(precision);
        panels.take_transposed(&w, inner);
        let mut all = vec![0.0; 250 * columns];
        gemm(&a, &panels, Start::Zero, None, &mut all);
        for (first, count) in [(0, 0), (0, 1), (7, 2), (100, 13), (50, 54), (30, 190), (0, 200)] {
            let mut part = vec![0.0; count * columns];
            let lines = &a[first * inner..(first + count) * inner];
            gemm(lines, &panels, Start::Zero, None, &mut part);
            assert_eq!(part, all[first * columns..(first + count) * columns]);
        }
    }
}

/// To the last bit: products of bytes are exact, and what follows is written out here.
#[test]
fn sums_of_bytes_are_those_of_plain_integers() {
    if Precision::Int8.check().is_err() {
        return;
    }
    for (lines, columns, inner) in SHAPES {
        let (left, right) = (sample(lines * inner, 1), sample(columns * inner, 2));
        let mut panels = PackedMatrix::new(Precision::Int8);
        panels.take_transposed(&right, inner);
        let mut c = sample(lines * columns, 3);
        let before = c.clone();
        gemm(&left, &panels, Start::Result, None, &mut c);
        for (i, line) in left.chunks_exact(inner).enumerate() {
            let (scale, low, bytes) = bytes_of_row(line);
            for (j, weights) in right.chunks_exact(inner).enumerate() {
                let (own, weights) = bytes_of_output(weights);
                let sum: i32 = bytes.iter().zip(&weights).map(|(x, w)| x * w).sum();
                let total: i32 = weights.iter().sum();
                let place = i * columns + j;
                let expected = low.mul_add(own * total as f32, before[place]);
                assert_eq!(c[place], scale.mul_add(own * sum as f32, expected), "{i} {j}");
            }
        }
    }
}

/// The loops of CPUs without AVX-512, by both encodings of their instruction.
#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_of_256_bits_give_the_same_integers() {
    use crate::compute::precision::{has_avx_vnni, has_avx512_vnni};

    if !has_avx512_vnni() {
        // All tests of int8 are of these loops.
        return;
    }
    for ((lines, columns, inner), start) in
        SHAPES.into_iter().flat_map(|shape| (0..3).map(move |start| (shape, start)))
    {
        let mut values = sample(lines * inner, 1);
        // Such a row is nothing but what is none, with either.
        values[inner - 1] = if lines == 13 { f32::INFINITY } else { values[inner - 1] };
        let (bias, before) = (sample(columns, 2), sample(lines * columns, 3));
        let mut panels = PackedMatrix::new(Precision::Int8);
        panels.take_transposed(&sample(columns * inner, 4), inner);
        let product = |with: &dyn Fn(Multiply<'_, '_, Quad>)| {
            let (mut packed, mut result) = (Vec::new(), before.clone());
            let left = Left { values: &values, line: inner, element: 1 };
            with(Multiply {
                left: Source::Rows(left, &mut packed),
                inner,
                b: Quad::panels(&panels),
                start: [Start::Zero, Start::Bias(&bias), Start::Result][start],
                c: &mut result.chunks_exact_mut(columns).collect::<Vec<_>>(),
            });
            result
                .iter()
                .map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
                .collect()
        };
        let expected: Vec<u32> = product(&|work| x86::with_int8(work));
        assert_eq!(product(&|work| x86::with_vnni_of_256_bits(work)), expected);
        if has_avx_vnni() {
            assert_eq!(product(&|work| x86::with_avx_vnni(work)), expected);
        }
    }
}

#[test]
fn what_is_no_number_stays_none_and_rows_of_one_value_are_exact() {
    for precision in Precision::available() {
        let product = |a: &[f32], w: &[f32]| {
            let mut panels = PackedMatrix::new(precision);
            panels.take_transposed(w, 2);
            let mut c = [0.0];
            gemm(a, &panels, Start::Zero, None, &mut c);
            c[0]
        };
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
            assert!(!product(&[strange, 1.0], &[1.0, 1.0]).is_finite(), "{precision} {strange}");
            assert!(!product(&[1.0, 1.0], &[1.0, strange]).is_finite(), "{precision} {strange}");
        }
        assert_eq!(product(&[3.0, 3.0], &[127.0, -2.0]), 375.0);
        assert_eq!(product(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(product(&[0.0, 255.0], &[0.0, 0.0]), 0.0);
    }
}

/// Rounded to the nearest, and of two as near to the even one; what is no number stays none.
#[test]
fn panels_and_rows_are_rounded_alike() {
    if Precision::Bf16.check().is_err() {
        return;
    }
    let bits = [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_7fff, 0xbf80_8000, 0x7f7f_ffff];
    let values: Vec<f32> = bits.map(f32::from_bits).into_iter().chain([0.0, -0.0]).collect();
    for value in values {
        let expected = half::bf16::from_f32(value).to_f32();
        for (a, w) in [(value, 1.0), (1.0, value)] {
            let mut panels = PackedMatrix::new(Precision::Bf16);
            panels.take_transposed(&[w], 1);
            let mut c = [0.0];
            gemm(&[a], &panels, Start::Zero, None, &mut c);
            assert_eq!(c[0], expected, "{value:e}");
        }
    }
    for bits in [0x7f80_0001, 0xffc0_0000, 0x7fff_ffff] {
        let mut panels = PackedMatrix::new(Precision::Bf16);
        panels.take_transposed(&[1.0], 1);
        let mut c = [0.0];
        gemm(&[f32::from_bits(bits)], &panels, Start::Zero, None, &mut c);
        assert!(c[0].is_nan());
    }
}

/// Sides of the products of attention, whose numbers are rounded.
#[test]
fn both_products_of_attention_equal_sums_in_f64() {
    if Precision::Bf16.check().is_err() {
        return;
    }
    let rounded = |x: f32| half::bf16::from_f32(x).to_f64();
    // What stood there before leaves nothing.
    let (mut head, mut mixed) = (PairHead::default(), vec![[f32::NAN; PANEL]; 3]);
    for (count, wide, first_tile) in
        [(290, 64, 2), (1, 1, 0), (2, 5, 0), (11, 32, 0), (54, 33, 2), (75, 16, 0), (256, 32, 4)]
    {
        // As in an encoder, other numbers stand beside these.
        let (stride, start) = (3 * wide + 2, wide + 1);
        let memory = sample(count * stride, 1);
        let rows = Left { values: &memory[1..], line: stride, element: 1 };
        let values = Left { values: &memory[start..], line: stride, element: 1 };
        let tile = head.take(rows, values, count, wide);
        let first = first_tile * tile;
        for queries in [1, 7, 8, 9, 32] {
            let asked = sample(queries * wide, 2);
            let lines = count - first;
            let mut scores = vec![[f32::NAN; PANEL]; lines.next_multiple_of(tile)];
            head.scores(&asked, wide, first, &mut scores);
            for (key, line) in scores[..lines].iter().enumerate() {
                for (query, asked) in asked.chunks_exact(wide).enumerate() {
                    let own = &memory[1 + (first + key) * stride..];
                    let exact = asked.iter().zip(own).map(|(&q, &k)| rounded(q) * rounded(k)).sum();
                    assert_close(&line[query..=query], &[exact], wide);
                }
            }
            let weights: Vec<[f32; PANEL]> =
                sample(lines * PANEL, 3).as_chunks::<PANEL>().0.to_vec();
            head.mix(&weights, first, queries, &mut mixed);
            let height = mixed.len() / wide.div_ceil(PANEL);
            for (query, feature) in (0..queries * wide).map(|at| (at / wide, at % wide)) {
                let term = |(key, line): (usize, &[f32; PANEL])| {
                    let place = start + (first + key) * stride + feature;
                    rounded(line[query]) * rounded(memory[place])
                };
                let exact = weights.iter().enumerate().map(term).sum();
                let found = mixed[feature / PANEL * height + query][feature % PANEL];
                assert_close(&[found], &[exact], lines);
            }
        }
    }
}
