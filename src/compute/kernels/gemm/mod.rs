//! Matrix products in f32: a right side packed once into panels, blocks of rows times panels.
//!
//! Every element of a result is one chain of fused multiply-adds over the inner dimension in order,
//! so its bits depend neither on the block it falls into nor on the number of threads. The layout
//! follows Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

mod multiply;
mod packed_matrix;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use self::multiply::{DEPTH, Multiply, Pack, Padded, Source, multiply};
pub use self::multiply::{Left, pack, tile};
pub use self::packed_matrix::{PANEL, PackedMatrix};
use super::simd::arch;

/// Most rows that are packed together; with [`DEPTH`] they stay in the second-level cache.
const ROWS: usize = 96;

/// Rows are divided into a multiple of so many blocks of one size, so that a few threads end together.
const EVENLY: usize = 4;

static NANOSECONDS: AtomicU64 = AtomicU64::new(0);

/// Seconds that the process has spent in [`gemm()`] and [`add_transposed_gemm`], packing
/// included, by the clock on the wall.
pub fn seconds() -> f64 {
    NANOSECONDS.load(Ordering::Relaxed) as f64 * 1e-9
}

/// Adds the time until it is dropped.
struct Timer(Instant);

impl Drop for Timer {
    fn drop(&mut self) {
        NANOSECONDS.fetch_add(self.0.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    Zero,
    /// The same `[n]` in every row.
    Bias(&'a [f32]),
    /// What stands in the result already.
    Result,
}

impl Start<'_> {
    /// The same for the columns from `first` on.
    fn from(self, first: usize) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(&bias[first..]),
            other => other,
        }
    }
}

/// One of the products that share a left side: `c = start + f(a) · b`, `c` is `[m, n]`.
#[derive(Debug)]
pub struct Target<'a> {
    /// The right side, `[k, n]`.
    pub b: &'a PackedMatrix,
    /// What is added to.
    pub start: Start<'a>,
    pub c: &'a mut [f32],
}

/// `c = start + f(a) · b`: `a` is `[m, k]`, `c` is `[m, n]`.
///
/// `prepare` is applied to each line of `a` on its way in. Work is divided over the rows when there
/// are many, else over the columns.
pub fn gemm(
    a: &[f32],
    b: &PackedMatrix,
    start: Start<'_>,
    prepare: Option<fn(&mut [f32])>,
    c: &mut [f32],
) {
    gemms(a, prepare, [Target { b, start, c }]);
}

/// Several products with one left side, which is packed once where its rows are few.
pub fn gemms<const N: usize>(a: &[f32], prepare: Option<fn(&mut [f32])>, targets: [Target<'_>; N]) {
    let _timer = Timer(Instant::now());
    let inner = targets[0].b.inner;
    let lines = a.len() / inner;
    for Target { b, c, .. } in &targets {
        let shapes = (b.inner, lines * inner, lines * b.columns);
        assert_eq!(shapes, (inner, a.len(), c.len()), "shapes fit");
    }
    if lines == 0 {
        return;
    }
    if lines < 2 * ROWS {
        return few_rows(a, inner, prepare, targets);
    }
    let rows = lines.div_ceil(lines.div_ceil(ROWS).next_multiple_of(EVENLY));
    for Target { b, start, c } in targets {
        let blocks = c.par_chunks_mut(rows * b.columns).zip(a.par_chunks(rows * inner));
        blocks.for_each_init(Memory::default, |memory, (c, a)| {
            let mut values = a;
            if let Some(prepare) = prepare {
                memory.prepared.clear();
                memory.prepared.extend_from_slice(a);
                prepare(&mut memory.prepared);
                values = &memory.prepared;
            }
            let left = Left { values, line: inner, element: 1 };
            multiply(left, b, start, &mut memory.packed, c);
        });
    }
}

/// The rows are packed once, and each task multiplies them with some of the panels.
fn few_rows<const N: usize>(
    a: &[f32],
    inner: usize,
    prepare: Option<fn(&mut [f32])>,
    targets: [Target<'_>; N],
) {
    let mut packed = FEW_ROWS.take();
    let lines = a.len() / inner;
    let padded = arch().dispatch(Padded(lines));
    packed.resize(padded * inner, 0.0);
    let blocks = packed.par_chunks_mut(padded * DEPTH).enumerate();
    blocks.for_each_init(Vec::new, |prepared, (block, packed)| {
        let (first, depth) = (block * DEPTH, packed.len() / padded);
        let mut left = Left { values: &a[first..], line: inner, element: 1 };
        if let Some(prepare) = prepare {
            prepared.clear();
            a.chunks_exact(inner)
                .for_each(|line| prepared.extend_from_slice(&line[first..first + depth]));
            prepare(prepared);
            left = Left { values: prepared, line: depth, element: 1 };
        }
        arch().dispatch(Pack { left, lines, depth, packed });
    });
    let panels: usize = targets.iter().map(|target| target.b.columns.div_ceil(PANEL)).sum();
    let share = panels.div_ceil(FEW_ROW_TASKS).max(1);
    let mut tasks = Vec::with_capacity(2 * FEW_ROW_TASKS);
    for Target { b, start, c } in targets {
        let mut rest: Vec<&mut [f32]> = c.chunks_exact_mut(b.columns).collect();
        for (index, panels) in b.values.chunks(share * PANEL * inner).enumerate() {
            let first = index * share * PANEL;
            let width = (share * PANEL).min(b.columns - first);
            let c = rest.iter_mut().map(|line| line.split_off_mut(..width).expect("it is as wide"));
            tasks.push((panels, start.from(first), c.collect::<Vec<_>>()));
        }
    }
    tasks.into_par_iter().for_each(|(b, start, mut c)| {
        let left = Source::Packed(&packed);
        arch().dispatch(Multiply { left, inner, b, start, c: &mut c });
    });
    FEW_ROWS.set(packed);
}

/// Into how many tasks the columns are divided when the rows are few.
const FEW_ROW_TASKS: usize = 8;

/// What the tasks of one thread use again.
#[derive(Default)]
struct Memory {
    prepared: Vec<f32>,
    packed: Vec<f32>,
}

thread_local! {
    /// Packed rows. They are taken and put back, since a thread that waits for its tasks may begin
    /// another product.
    static FEW_ROWS: Cell<Vec<f32>> = Cell::default();
}

/// Lines that the gradient of a weight packs at a time, a multiple of [`DEPTH`].
const STRETCH: usize = 4 * DEPTH;

/// `c += aᵀ · b`: `a` is `[p, n]`, `b` is `[p, k]`, `c` is `[n, k]`. The gradient of a weight.
/// `panels` is memory for the packed `b`.
pub fn add_transposed_gemm(
    a: &[f32],
    b: &[f32],
    n: usize,
    k: usize,
    panels: &mut PackedMatrix,
    c: &mut [f32],
) {
    let _timer = Timer(Instant::now());
    assert_eq!((a.len() / n * k, n * k), (b.len(), c.len()), "shapes fit");
    for (a, b) in a.chunks(STRETCH * n).zip(b.chunks(STRETCH * k)) {
        panels.take(b, k);
        let blocks = c.par_chunks_mut(ROWS * k).enumerate();
        blocks.for_each_init(Vec::new, |packed, (block, c)| {
            let left = Left { values: &a[block * ROWS..], line: 1, element: n };
            multiply(left, panels, Start::Result, packed, c);
        });
    }
}

#[cfg(test)]
mod tests {
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

    const SHAPES: [(usize, usize, usize); 6] =
        [(1, 1, 1), (13, 33, 7), (97, 64, 300), (200, 31, 513), (193, 40, 256), (12, 257, 64)];

    #[test]
    fn products_equal_sums_in_f64() {
        for (lines, columns, inner) in SHAPES {
            let (a, w) = (sample(lines * inner, 1), sample(columns * inner, 2));
            let (bias, before) = (sample(columns, 3), sample(lines * columns, 4));
            let exact = |start: &dyn Fn(usize, usize) -> f32| -> Vec<f64> {
                (0..lines * columns)
                    .map(|place| {
                        let (i, j) = (place / columns, place % columns);
                        let term = |k: usize| {
                            f64::from(a[i * inner + k].max(0.0)) * f64::from(w[j * inner + k])
                        };
                        f64::from(start(i, j)) + (0..inner).map(term).sum::<f64>()
                    })
                    .collect()
            };
            let relu = |values: &mut [f32]| values.iter_mut().for_each(|x| *x = x.max(0.0));
            let mut panels = PackedMatrix::default();
            panels.take_transposed(&w, inner);
            let mut c = before.clone();
            gemm(&a, &panels, Start::Result, Some(relu), &mut c);
            assert_close(&c, &exact(&|i, j| before[i * columns + j]), inner);
            gemm(&a, &panels, Start::Bias(&bias), Some(relu), &mut c);
            assert_close(&c, &exact(&|_, j| bias[j]), inner);
            // The same right side, given the other way round.
            let transposed: Vec<f32> =
                (0..inner * columns).map(|at| w[at % columns * inner + at / columns]).collect();
            panels.take(&transposed, columns);
            gemm(&a, &panels, Start::Zero, Some(relu), &mut c);
            assert_close(&c, &exact(&|_, _| 0.0), inner);
        }
    }

    #[test]
    fn gradients_of_weights_equal_sums_in_f64() {
        let mut panels = PackedMatrix::default();
        for (lines, n, k) in SHAPES {
            let (a, b) = (sample(lines * n, 1), sample(lines * k, 2));
            let mut c = vec![1.0; n * k];
            add_transposed_gemm(&a, &b, n, k, &mut panels, &mut c);
            let exact: Vec<f64> = (0..n * k)
                .map(|place| {
                    let term = |p: usize| {
                        f64::from(a[p * n + place / k]) * f64::from(b[p * k + place % k])
                    };
                    1.0 + (0..lines).map(term).sum::<f64>()
                })
                .collect();
            assert_close(&c, &exact, lines);
        }
    }

    #[test]
    fn a_line_is_the_same_bits_alone_and_among_others() {
        let (columns, inner) = (70, 300);
        let (a, w) = (sample(250 * inner, 1), sample(columns * inner, 2));
        let mut panels = PackedMatrix::default();
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
