//! A matrix times a vector, line by line: each line's sum has one order of additions, whatever the
//! lines beside it.

use rayon::prelude::*;

use super::simd::{LANES, fold, vectorised};

/// Lines that are summed together: four chains of additions hide each other's latency, and the vector
/// is read once for all of them.
const TOGETHER: usize = 4;

type Lanes = [f32; LANES];

/// Lines of one piece of work for a thread; a large matrix comes from memory, which two threads read
/// faster than one.
const PIECE: usize = 32;

/// Each line of `rows`, as long as `x`, times `x`.
pub fn times(rows: &[f32], x: &[f32], result: &mut [f32]) {
    let pieces = rows.par_chunks(PIECE * x.len()).zip(result.par_chunks_mut(PIECE));
    pieces.for_each(|(rows, result)| times_here(rows, x, result));
}

vectorised! {
    fn times_here<'a>(rows: &'a [f32], x: &'a [f32], result: &'a mut [f32]) {
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let mut groups = rows.chunks_exact(TOGETHER * x.len());
        let (result_groups, result_rest) = result.as_chunks_mut::<TOGETHER>();
        for (group, result) in (&mut groups).zip(result_groups) {
            let ((a, b), (c, d)) = (quarter(group, x.len(), 0), quarter(group, x.len(), 2));
            let mut sums = [[0.0; LANES]; TOGETHER];
            let lines = a.0.iter().zip(b.0).zip(c.0.iter().zip(d.0));
            for (((a, b), (c, d)), x) in lines.zip(x_chunks) {
                sums = [
                    added(sums[0], a, x),
                    added(sums[1], b, x),
                    added(sums[2], c, x),
                    added(sums[3], d, x),
                ];
            }
            let rests = [a.1, b.1, c.1, d.1];
            for ((result, sums), rest) in result.iter_mut().zip(sums).zip(rests) {
                *result = finished(sums, rest, x_rest);
            }
        }
        for (row, result) in groups.remainder().chunks_exact(x.len()).zip(result_rest) {
            let (chunks, rest) = row.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (chunk, x) in chunks.iter().zip(x_chunks) {
                sums = added(sums, chunk, x);
            }
            *result = finished(sums, rest, x_rest);
        }
    }
}

/// A line in whole chunks, and what is left of it.
type Line<'a> = (&'a [Lanes], &'a [f32]);

/// Two lines of a group.
#[inline(always)]
fn quarter(group: &[f32], width: usize, first: usize) -> (Line<'_>, Line<'_>) {
    let (one, other) = group[first * width..(first + 2) * width].split_at(width);
    (one.as_chunks(), other.as_chunks())
}

/// By value, so that the sums stay in registers.
#[inline(always)]
fn added(mut sums: Lanes, a: &Lanes, b: &Lanes) -> Lanes {
    for lane in 0..LANES {
        sums[lane] += a[lane] * b[lane];
    }
    sums
}

#[inline(always)]
fn finished(mut sums: Lanes, a: &[f32], b: &[f32]) -> f32 {
    for (lane, (a, b)) in a.iter().zip(b).enumerate() {
        sums[lane] += a * b;
    }
    fold(sums)
}

#[cfg(test)]
mod tests {
    use super::super::simd::sum;
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn every_line_has_the_bits_that_it_has_alone() {
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        for (lines, width) in [(1, 1), (3, 15), (4, 16), (7, 33), (150, 385)] {
            let rows: Vec<f32> = (0..lines * width).map(|_| stream.normal() as f32).collect();
            let x: Vec<f32> = (0..width).map(|_| stream.normal() as f32).collect();
            let mut found = vec![0.0; lines];
            times(&rows, &x, &mut found);
            for (row, found) in rows.chunks_exact(width).zip(found) {
                assert_eq!(sum(width, |i| row[i] * x[i]), found);
                let exact: f64 =
                    row.iter().zip(&x).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert!((f64::from(found) - exact).abs() < 1e-4, "{found} {exact}");
            }
        }
    }
}
