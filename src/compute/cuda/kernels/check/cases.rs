//! One case a function, with what is expected of it.

use candle_core::{DType, Result};

use super::super::columns::lines_of_block;
use super::super::{
    Runs, activate, activate_backward, adamw_moments, adamw_weights, add_bias, average,
    column_sums, dropout, masked_softmax, masked_softmax_backward, norm, norm_backward,
    norm_parameters, rotate, segment_sums, square_sums,
};
use super::{On, plain};
use crate::compute::kernels::activation;
use crate::compute::kernels::noise::{Factors, fill_line};
use crate::compute::kernels::norm::{Norm, Normed, add_layer_norm, layer_norm_backward};
use crate::compute::ops::Activation;
use crate::compute::ops::device::{AdamW, Softmax};

const FACTORS: Factors = Factors { key: [7, 0xdead_beef], threshold: 6554, kept: 1.111_117 };

/// The function that is called, and how.
type Case<S> = (&'static str, fn(&On<'_, S>) -> Result<()>);

pub const fn cases<S: Runs>() -> [Case<S>; 9] {
    [
        ("dropout", dropping),
        ("masked_softmax", softmax),
        ("norm", norms),
        ("activate", activations),
        ("add_bias", columns),
        ("segment_sums", segments),
        ("square_sums", squares),
        ("adamw", updates),
        ("rotate", turns),
    ]
}

/// Rows beyond 32 bits, and places.
fn places(lines: usize) -> (Vec<(u64, u32)>, Vec<u32>) {
    let places: Vec<(u64, u32)> =
        (0..lines as u64).map(|line| (0x1_2345_6789 + 7 * line, 3 * line as u32 % 11)).collect();
    let flat = places.iter().flat_map(|&(row, token)| [row as u32, (row >> 32) as u32, token]);
    (places.clone(), flat.collect())
}

fn dropping<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (lines, width) = (on.size.lines, on.size.width);
    let mut x = on.draw(1, lines * width, on.dtype);
    let held = on.floats(&x, on.dtype)?.shaped((lines, width));
    let (places, flat) = places(lines);
    let found = dropout(held.operand(), on.words(&flat)?.operand(), FACTORS)?;
    let mut mask = vec![0.0; width];
    for (x, (row, token)) in x.chunks_exact_mut(width).zip(places) {
        fill_line(&mut mask, FACTORS, row, token);
        x.iter_mut().zip(&mask).for_each(|(x, factor)| *x *= factor);
    }
    on.compare(&found, &x, 0.0)
}

fn softmax<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (heads, side) = (2, on.size.width);
    let lengths = [side, 1, side.div_ceil(2)];
    let row = |sequence: usize| 0xffff_ffff + 5 * sequence as u64;
    let flat = lengths.iter().enumerate().flat_map(|(sequence, &length)| {
        [length as u32, row(sequence) as u32, (row(sequence) >> 32) as u32]
    });
    let sequences = on.words(&flat.collect::<Vec<_>>())?.shaped((3, 3));
    let count = 3 * heads * side * side;
    let (score, gradient) = (on.draw(1, count, on.dtype), on.draw(2, count, on.dtype));
    // What is padding is not read.
    let padded = |values: &[f32]| {
        let line = |(line, values): (usize, &[f32])| -> Vec<f32> {
            let length = lengths[line / side / heads];
            let read = |key: usize| key < length && line % side < length;
            let value = |(key, &value)| if read(key) { value } else { f32::NAN };
            values.iter().enumerate().map(value).collect()
        };
        values.chunks_exact(side).enumerate().flat_map(line).collect::<Vec<f32>>()
    };
    let shape = (3, heads, side, side);
    let held = on.floats(&padded(&score), on.dtype)?.shaped(shape);
    let of_weights = on.floats(&padded(&gradient), on.dtype)?.shaped(shape);
    for (window, noise) in [(None, None), (Some(3), Some(FACTORS)), (None, Some(FACTORS))] {
        let softmax = Softmax { scale: 0.7, window, dropout: noise };
        let (mut weights, mut of_scores) = (Vec::new(), Vec::new());
        for (line, score) in score.chunks_exact(side).enumerate() {
            let (sequence, head) = (line / side / heads, line / side % heads);
            let place = (lengths[sequence], row(sequence));
            let attended = plain::attended(score, place, (head, line % side), softmax);
            weights
                .extend(attended.0.iter().zip(&attended.1).map(|(w, factor)| (w * factor) as f32));
            let gradient = &gradient[line * side..(line + 1) * side];
            of_scores.extend(plain::attended_backward(&attended, gradient, softmax.scale));
        }
        let found = masked_softmax(held.operand(), sequences.operand(), softmax)?;
        on.compare(&found, &weights, 1e-6)?;
        let (scores, gradient) = (held.operand(), of_weights.operand());
        let found = masked_softmax_backward(scores, gradient, sequences.operand(), softmax)?;
        on.compare(&found, &of_scores, 4e-6)?;
    }
    Ok(())
}

fn norms<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (lines, width, epsilon) = (on.size.lines, on.size.width, 1e-5);
    let (x, residual) =
        (on.draw(1, lines * width, on.dtype), on.draw(2, lines * width, DType::F32));
    let (gradient, gamma_beta) =
        (on.draw(3, lines * width, DType::F32), on.draw(4, 2 * width, DType::F32));
    let held_x = on.floats(&x, on.dtype)?.shaped((lines, width));
    let held_residual = on.floats(&residual, DType::F32)?.shaped((lines, width));
    let held_gradient = on.floats(&gradient, DType::F32)?.shaped((lines, width));
    for (rows, residual) in [(2, Some(&residual)), (1, None)] {
        let held_residual = residual.map(|_| held_residual.operand());
        let held = on.floats(&gamma_beta[..rows * width], DType::F32)?.shaped((rows, width));
        let mut gamma_beta = gamma_beta.clone();
        gamma_beta[rows * width..].fill(0.0);
        let norm_of = Norm { gamma_beta: &gamma_beta, epsilon };
        let (mut y, mut saved) = (x.clone(), Normed::default());
        let residual = residual.map(Vec::as_slice);
        add_layer_norm(&mut y, residual, norm_of, None, Some(&mut saved));
        let found = norm(held_x.operand(), held_residual, held.operand(), epsilon)?;
        on.compare(&found, &y, 0.0)?;
        let (mut of_sum, mut of_parameters) = (gradient.clone(), vec![0.0; 2 * width]);
        layer_norm_backward(&mut of_sum, &saved, &gamma_beta, &mut of_parameters);
        let upper = held_gradient.operand();
        let found = norm_backward(held_x.operand(), held_residual, held.operand(), upper, epsilon)?;
        on.compare(&found, &of_sum, 0.0)?;
        let found = norm_parameters(held_x.operand(), held_residual, upper, rows, epsilon)?;
        on.compare(&found, &of_parameters[..rows * width], 0.0)?;
    }
    Ok(())
}

fn activations<S: Runs>(on: &On<'_, S>) -> Result<()> {
    use Activation::{Gelu, GeluNew, Relu, Silu, Tanh};
    let count = on.size.lines * on.size.width;
    let mut x: Vec<f32> = on.draw(1, count, on.dtype).iter().map(|x| 2.0 * x).collect();
    // Where the functions are flat, or nearly so.
    x.iter_mut().zip([0.0, 30.0, -30.0, -120.0]).for_each(|(x, end)| *x = end);
    let gradient = on.draw(2, count, on.dtype);
    let (held, upper) = (on.floats(&x, on.dtype)?, on.floats(&gradient, on.dtype)?);
    for kind in [Gelu, GeluNew, Relu, Silu, Tanh] {
        let (mut y, mut of_x) = (x.clone(), gradient.clone());
        activation::forward(kind)(&mut y);
        on.compare(&activate(held.operand(), kind)?, &y, 0.0)?;
        activation::backward(kind, &mut x.clone(), &mut of_x);
        on.compare(&activate_backward(held.operand(), upper.operand(), kind)?, &of_x, 0.0)?;
    }
    Ok(())
}

fn columns<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (lines, width) = (on.size.lines, on.size.width);
    let (x, bias) = (on.draw(1, lines * width, on.dtype), on.draw(2, width, DType::F32));
    let held = on.floats(&x, on.dtype)?.shaped((lines, width));
    let found = add_bias(held.operand(), on.floats(&bias, DType::F32)?.operand())?;
    let sums = x.iter().zip(bias.iter().cycle()).map(|(x, bias)| x + bias);
    on.compare(&found, &sums.collect::<Vec<_>>(), 0.0)?;
    let mut total = vec![0.0; width];
    for block in x.chunks(lines_of_block(lines) * width) {
        let mut sums = vec![0.0; width];
        for line in block.chunks_exact(width) {
            sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += x);
        }
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    on.compare(&column_sums(held.operand())?, &total, 0.0)
}

fn segments<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (lines, width) = (on.size.lines, on.size.width);
    let x = on.draw(1, lines * width, on.dtype);
    let held = on.floats(&x, on.dtype)?.shaped((lines, width));
    // Lines in an order of their own, cut into an empty segment, a short and a long one.
    let order: Vec<u32> = (0..lines as u32).rev().collect();
    let (starts, rows) = ([0, 0, 2.min(lines), lines].map(|start| start as u32), [4u32, 1, 3]);
    let mut expected = vec![0.0; 6 * width];
    for (bounds, row) in starts.windows(2).zip(rows) {
        let sum = &mut expected[row as usize * width..][..width];
        for &line in &order[bounds[0] as usize..bounds[1] as usize] {
            let line = &x[line as usize * width..][..width];
            sum.iter_mut().zip(line).for_each(|(sum, x)| *sum += x);
        }
    }
    let (order, starts, rows) = (on.words(&order)?, on.words(&starts)?, on.words(&rows)?);
    let numbers = (order.operand(), starts.operand(), rows.operand());
    on.compare(&segment_sums(held.operand(), numbers.0, numbers.1, numbers.2, 6)?, &expected, 0.0)
}

fn squares<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let parts = [3, on.size.lines * on.size.width, 1];
    let x = on.draw(1, parts.iter().sum(), DType::F32);
    let found = square_sums(on.floats(&x, DType::F32)?.operand(), &parts)?;
    let (mut start, mut expected) = (0, Vec::new());
    for length in parts {
        let part = &x[start..start + length];
        expected.push(part.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32);
        start += length;
    }
    // The last place of f32, to which both sums are rounded.
    on.compare(&found, &expected, 1.2e-7)
}

fn updates<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let k = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        rate: 0.019,
        root: 0.0447,
        shrink: 0.9998,
        scale: 0.83,
    };
    let count = on.size.lines * on.size.width;
    let draw = |number, count| on.draw(number, count, DType::F32);
    let (mut x, gradient) = (draw(1, count), draw(2, count));
    let mut moments: Vec<f32> = draw(3, count);
    moments.extend(draw(4, count).iter().map(|v| v * v));
    let mut held_moments = on.floats(&moments, DType::F32)?;
    let (mut held, upper) = (on.floats(&x, DType::F32)?, on.floats(&gradient, DType::F32)?);
    adamw_moments((&mut held_moments.storage, &held_moments.layout), upper.operand(), k)?;
    adamw_weights((&mut held.storage, &held.layout), held_moments.operand(), k)?;
    let (first, second) = moments.split_at_mut(count);
    plain::adamw(&mut x, first, second, &gradient, k);
    on.compare(&held_moments.storage, &moments, 0.0)?;
    on.compare(&held.storage, &x, 0.0)?;
    let mut mean = draw(5, count);
    let mut held_mean = on.floats(&mean, DType::F32)?;
    average((&mut held_mean.storage, &held_mean.layout), held.operand(), 0.97)?;
    mean.iter_mut().zip(&x).for_each(|(mean, x)| *mean = 0.97 * *mean + (1.0 - 0.97) * x);
    on.compare(&held_mean.storage, &mean, 0.0)
}

fn turns<S: Runs>(on: &On<'_, S>) -> Result<()> {
    let (tokens, heads, head_width) = (on.size.lines, 3, 2 * on.size.width.div_ceil(4));
    let stacked = 3 * heads * head_width;
    let x = on.draw(1, tokens * stacked, on.dtype);
    let cos_sin = on.draw(2, 11 * head_width, DType::F32);
    let (places, flat) = places(tokens);
    let held = on.floats(&x, on.dtype)?.shaped((tokens, stacked));
    let table = on.floats(&cos_sin, DType::F32)?.shaped((11, head_width));
    let flat = on.words(&flat)?;
    for back in [false, true] {
        let mut expected = x.clone();
        for (token, &(_, place)) in expected.chunks_exact_mut(stacked).zip(&places) {
            let cos_sin = &cos_sin[place as usize * head_width..][..head_width];
            let turned = &mut token[..2 * heads * head_width];
            turned.chunks_exact_mut(head_width).for_each(|head| plain::turn(head, cos_sin, back));
        }
        let found = rotate(held.operand(), table.operand(), flat.operand(), heads, back)?;
        on.compare(&found, &expected, 0.0)?;
    }
    Ok(())
}
