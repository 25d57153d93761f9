//! Products of packed triangles and vectors, in f32.

use nalgebra::DMatrix;

/// The lower triangle, row after row.
pub fn triangle(matrix: &DMatrix<f64>) -> Vec<f32> {
    let row = |i: usize| (0..=i).map(move |j| matrix[(i, j)] as f32);
    (0..matrix.nrows()).flat_map(row).collect()
}

/// The product of a packed lower triangular matrix and a vector.
pub fn whiten(triangle: &[f32], x_d: &[f32]) -> Vec<f32> {
    let mut rest = triangle;
    let row = |i: usize| {
        let (own, others) = rest.split_at(i + 1);
        rest = others;
        sum(own, &x_d[..=i], |a, b| a * b)
    };
    (0..x_d.len()).map(row).collect()
}

/// Σ f(a, b), in sixteen running sums that the compiler can hold in vector registers.
pub fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<16>();
    let (b_lanes, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..16 {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(a, b)).sum();
    sums.iter().sum::<f32>() + rest
}
