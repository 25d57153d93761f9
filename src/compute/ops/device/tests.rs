//! Each operation against its plain form, whose gradients are those of finite differences.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::*;
use crate::compute::ops::gradient_check::sample;
use crate::compute::ops::{self, Activation, Attending, Dropout, OnBatch, Relative};
use crate::compute::{Backend, Noise, Packed, Precision, RelativeRows, Sequence, fetch};

fn batch(lengths: &[usize]) -> Packed {
    Packed::new(lengths.iter().enumerate().map(|(row, &length)| Sequence {
        ids: vec![0; length],
        type_ids: vec![],
        row: (row as u64) << 31 | 7,
    }))
}

fn noise() -> Option<Dropout> {
    Some(Dropout::new(&Noise::new(3), 5, 2, 0.2))
}

/// Values and gradients of both, of w · f(inputs) for a fixed w, within 1e-5 of the largest.
fn assert_same(
    inputs: &[Tensor],
    found: impl Fn(&[Tensor]) -> Result<Tensor>,
    expected: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let run = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        let variables: Vec<Var> = inputs
            .iter()
            .map(|input| Var::from_tensor(&input.to_dtype(DType::F32).unwrap()).unwrap())
            .collect();
        let tensors: Vec<Tensor> = variables.iter().map(|one| one.as_tensor().clone()).collect();
        let result = f(&tensors).unwrap();
        let weight = sample(result.dims(), 99).to_dtype(DType::F32).unwrap();
        let gradients = (&result * weight).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = vec![fetch::<f32>(&result).unwrap()];
        all.extend(tensors.iter().map(|one| fetch::<f32>(gradients.get(one).unwrap()).unwrap()));
        all
    };
    for (found, expected) in run(&found).into_iter().zip(run(&expected)) {
        assert_eq!(found.len(), expected.len());
        let size = expected.iter().fold(1.0f32, |size, value| size.max(value.abs()));
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= 1e-5 * size, "[{place}]: {found} for {expected}");
        }
    }
}

fn with<'a>(batch: &'a Packed, backend: &Backend) -> OnBatch<'a> {
    OnBatch::new(batch, backend, Precision::F32).unwrap()
}

#[test]
fn operations_on_tokens_have_the_values_and_gradients_of_the_plain_ones() {
    let batch = batch(&[3, 17, 1, 40, 9]);
    let (twin, plain) = (with(&batch, &Backend::TWIN), with(&batch, &Backend::Cpu));
    let x = [sample(&[70, 24], 1)];
    assert_same(&x, |x| twin.drop_tokens(&x[0], noise()), |x| plain.drop_tokens(&x[0], noise()));
    assert_same(&x, |x| twin.first_token(&x[0]), |x| plain.first_token(&x[0]));
    assert_same(&x, |x| twin.mean_token(&x[0]), |x| plain.mean_token(&x[0]));
    assert_same(&x, |x| twin.rotate(&x[0], 2, 50.0), |x| plain.rotate(&x[0], 2, 50.0));
    for kind in [Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Silu] {
        assert_same(&x, |x| twin.activate(&x[0], kind), |x| plain.activate(&x[0], kind));
        assert_same(&x, |x| twin.gate(&x[0], kind), |x| plain.gate(&x[0], kind));
    }
    let x = [sample(&[5, 24], 1)];
    let both = [&twin, &plain].map(|on| |x: &[Tensor]| on.drop_sequences(&x[0], noise()));
    let [found, expected] = both;
    assert_same(&x, found, expected);
}

#[test]
fn norms_and_products_have_the_values_and_gradients_of_the_plain_ones() {
    let [x, residual] = [1, 2].map(|seed| sample(&[70, 24], seed));
    for norm in [sample(&[2, 24], 3), sample(&[1, 24], 3)] {
        assert_same(
            &[x.clone(), residual.clone(), norm.clone()],
            |x| add_layer_norm(&x[0], Some(&x[1]), &x[2], 1e-5),
            |x| ops::add_layer_norm(&x[0], Some(&x[1]), &x[2], 1e-5),
        );
        assert_same(
            &[x.clone(), norm],
            |x| add_layer_norm(&x[0], None, &x[1], 1e-5),
            |x| ops::add_layer_norm(&x[0], None, &x[1], 1e-5),
        );
    }
    assert_same(
        &[x.clone(), sample(&[7, 24], 4), sample(&[7], 5)],
        |x| linear(&x[0], &x[1], Some(&x[2]), DType::F32),
        |x| ops::linear(&x[0], &x[1], Some(&x[2])),
    );
}

#[test]
fn padded_attention_has_the_values_and_gradients_of_that_of_each_sequence() {
    let batch = batch(&[3, 17, 1, 40, 9]);
    let (twin, plain) = (with(&batch, &Backend::TWIN), with(&batch, &Backend::Cpu));
    let x = [sample(&[70, 72], 1)];
    for window in [None, Some(4)] {
        let attending = Attending { window, ..Attending::plain(3) };
        for noise in [None, noise()] {
            assert_same(
                &x,
                |x| twin.attention(&x[0], attending, noise),
                |x| plain.attention(&x[0], attending, noise),
            );
        }
    }
    let rows = Arc::new(RelativeRows::new(50, |distance| (distance.clamp(-3, 3) + 3) as u32));
    let [found, expected] = [&twin, &plain].map(|on| {
        let rows = rows.clone();
        move |x: &[Tensor]| {
            let relative = Relative::Bias { table_rh: x[1].clone(), rows: rows.clone() };
            let attending = Attending { relative: Some(&relative), ..Attending::plain(3) };
            on.attention(&x[0], attending, noise())
        }
    });
    assert_same(&[x[0].clone(), sample(&[7, 3], 2)], found, expected);
}

/// Two levels of sums, and rows without a line.
#[test]
fn a_table_gets_the_sum_of_the_gradients_of_its_lines() {
    let ids: Vec<u32> = (0..300).map(|line| if line % 3 == 0 { 1 } else { line * 7 % 9 }).collect();
    let lines = Arc::new(Lines::new(&ids, 12, &Device::Cpu).unwrap());
    assert_same(&[sample(&[12, 5], 1)], |x| lines.gather(&x[0]), |x| ops::embed(&x[0], &ids));
}

/// The bits of dropout on the device are those of the CPU engine.
#[test]
fn noise_has_the_bits_of_the_cpu() {
    let batch = batch(&[3, 200]);
    let x = sample(&[203, 300], 1).to_dtype(DType::F32).unwrap();
    let [twin, plain] = [Backend::TWIN, Backend::Cpu].map(|backend| {
        fetch::<f32>(&with(&batch, &backend).drop_tokens(&x, noise()).unwrap()).unwrap()
    });
    assert_eq!(twin, plain);
    assert!(twin.contains(&0.0));
}

#[test]
fn squares_are_summed_by_part() {
    let x = Tensor::new(&[3f32, 4.0, 0.0, 0.0, 2.0, f32::INFINITY], &Device::Cpu).unwrap();
    let sums = fetch::<f64>(&square_sums(&x, vec![2, 2, 1, 1]).unwrap()).unwrap();
    assert_eq!(sums, [25.0, 0.0, 4.0, f64::INFINITY]);
}
