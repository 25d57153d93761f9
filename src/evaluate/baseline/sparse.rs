//! The two products that a sparse row has with the weights `[f, w]`, where w is the number of
//! classes, padded.
//!
//! Both run over the classes in pieces that stay in registers. A sum over features is made in the
//! order of the row, for each class by itself.

/// Features that are not zero: number and value.
pub type Row = [(u32, f32)];

/// Places in a line of weights: 2, 4, or a multiple of 8.
pub fn padded(classes: usize) -> usize {
    if classes <= 4 { classes.next_power_of_two().max(2) } else { classes.next_multiple_of(8) }
}

/// z = Σ x_f · w_f.
#[inline(always)]
pub fn gather(row: &Row, weight_fw: &[f32], z_w: &mut [f32]) {
    let width = z_w.len();
    let mut begin = 0;
    while width - begin >= 32 {
        gather_piece::<32>(row, weight_fw, z_w, begin);
        begin += 32;
    }
    while width - begin >= 8 {
        gather_piece::<8>(row, weight_fw, z_w, begin);
        begin += 8;
    }
    match width - begin {
        4 => gather_piece::<4>(row, weight_fw, z_w, begin),
        2 => gather_piece::<2>(row, weight_fw, z_w, begin),
        _ => {}
    }
}

/// w_f += x_f · change.
#[inline(always)]
pub fn scatter(row: &Row, weight_fw: &mut [f32], change_w: &[f32]) {
    let width = change_w.len();
    let mut begin = 0;
    while width - begin >= 32 {
        scatter_piece::<32>(row, weight_fw, change_w, begin);
        begin += 32;
    }
    while width - begin >= 8 {
        scatter_piece::<8>(row, weight_fw, change_w, begin);
        begin += 8;
    }
    match width - begin {
        4 => scatter_piece::<4>(row, weight_fw, change_w, begin),
        2 => scatter_piece::<2>(row, weight_fw, change_w, begin),
        _ => {}
    }
}

#[inline(always)]
fn gather_piece<const W: usize>(row: &Row, weight_fw: &[f32], z_w: &mut [f32], begin: usize) {
    let width = z_w.len();
    let mut sums = [0.0f32; W];
    for &(feature, value) in row {
        let at = feature as usize * width + begin;
        for (sum, weight) in sums.iter_mut().zip(&weight_fw[at..at + W]) {
            *sum += value * weight;
        }
    }
    z_w[begin..begin + W].copy_from_slice(&sums);
}

#[inline(always)]
fn scatter_piece<const W: usize>(row: &Row, weight_fw: &mut [f32], change_w: &[f32], begin: usize) {
    let width = change_w.len();
    let mut changes = [0.0f32; W];
    changes.copy_from_slice(&change_w[begin..begin + W]);
    for &(feature, value) in row {
        let at = feature as usize * width + begin;
        for (weight, change) in weight_fw[at..at + W].iter_mut().zip(&changes) {
            *weight += value * change;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_plain_loops_for_any_number_of_classes() {
        for classes in 1..80 {
            let width = padded(classes);
            assert!(width >= classes && (width <= 4 || width.is_multiple_of(8)));
            let mut weight_fw: Vec<f32> = (0..3 * width).map(|i| (i % 11) as f32 - 5.0).collect();
            let row = [(0, 1.0), (2, 0.5)];
            let mut z_w = vec![9.0; width];
            gather(&row, &weight_fw, &mut z_w);
            for (c, z) in z_w.iter().enumerate() {
                assert_eq!(*z, weight_fw[c] + 0.5 * weight_fw[2 * width + c]);
            }
            let change_w: Vec<f32> = (0..width).map(|c| c as f32).collect();
            let before = weight_fw.clone();
            scatter(&row, &mut weight_fw, &change_w);
            for c in 0..width {
                let moved = |f: usize| weight_fw[f * width + c] - before[f * width + c];
                assert_eq!([moved(0), moved(1), moved(2)], [c as f32, 0.0, 0.5 * c as f32]);
            }
        }
    }
}
