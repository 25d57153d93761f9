//! Matrix products in f32: a right side packed once into panels, blocks of rows times panels.
//!
//! Every element of a result is one chain of fused multiply-adds over the inner dimension in order,
//! so its bits depend neither on the block it falls into nor on the number of threads. The layout
//! follows Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

mod multiply;
mod panels;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use self::multiply::{DEPTH, Multiply, PackAll, Source, multiply};
pub use self::multiply::{Left, pack, tile};
pub use self::panels::{PANEL, Panels};
use super::simd::arch;

/// Rows that are packed together; with [`DEPTH`] they stay in the second-level cache.
const ROWS: usize = 96;

static NANOSECONDS: AtomicU64 = AtomicU64::new(0);

/// Seconds that the process has spent in [`product`] and [`add_transposed_product`], packing
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
    /// Nothing.
    Zero,
    /// The same `[n]` in every row.
    Bias(&'a [f32]),
    /// What stands in the result already.
    Result,
}

/// `c = start + f(a) · b`: `a` is `[m, k]`, `c` is `[m, n]`.
///
/// `prepare` is applied to each line of `a` on its way in. Work is divided over the rows when there
/// are many, else over the columns.
pub fn product(
    a: &[f32],
    b: &Panels,
    start: Start<'_>,
    prepare: Option<fn(&mut [f32])>,
    c: &mut [f32],
) {
    let _timer = Timer(Instant::now());
    let (inner, columns) = (b.inner, b.columns);
    let lines = a.len() / inner;
    assert_eq!((lines * inner, lines * columns), (a.len(), c.len()), "shapes fit");
    if lines >= 2 * ROWS {
        let blocks = c.par_chunks_mut(ROWS * columns).zip(a.par_chunks(ROWS * inner));
        blocks.for_each_init(Memory::default, |memory, (c, a)| {
            rows(a, b, start, prepare, memory, c);
        });
        return;
    }
    // Few rows: they are packed once, and each task multiplies them with some of the panels.
    let mut prepared = Vec::new();
    if let Some(prepare) = prepare {
        prepared.extend_from_slice(a);
        prepared.par_chunks_mut(FEW_ROW_LINES * inner).for_each(prepare);
    }
    let a = if prepare.is_some() { &prepared[..] } else { a };
    let left = Left { values: a, line: inner, element: 1 };
    let mut packed = Vec::new();
    arch().dispatch(PackAll { left, lines, inner, packed: &mut packed });
    let panels = columns.div_ceil(PANEL);
    let share = panels.div_ceil(FEW_ROW_TASKS).max(1);
    let results: Vec<Vec<f32>> = (0..panels.div_ceil(share))
        .into_par_iter()
        .map(|task| {
            let panels = task * share..((task + 1) * share).min(panels);
            let first = panels.start * PANEL;
            let width = (panels.end * PANEL).min(columns) - first;
            let mut part = vec![0.0; lines * width];
            for (part, c) in part.chunks_exact_mut(width).zip(c.chunks_exact(columns)) {
                match start {
                    Start::Zero => {}
                    Start::Bias(bias) => part.copy_from_slice(&bias[first..first + width]),
                    Start::Result => part.copy_from_slice(&c[first..first + width]),
                }
            }
            let b = &b.values[panels.start * PANEL * inner..panels.end * PANEL * inner];
            let left = Source::Packed(&packed);
            arch().dispatch(Multiply { left, lines, inner, b, c: &mut part, columns: width });
            part
        })
        .collect();
    let mut first = 0;
    for part in results {
        let width = part.len() / lines.max(1);
        for (part, c) in part.chunks_exact(width.max(1)).zip(c.chunks_exact_mut(columns)) {
            c[first..first + width].copy_from_slice(part);
        }
        first += width;
    }
}

/// Lines that one task prepares when the rows are few.
const FEW_ROW_LINES: usize = 8;

/// Into how many tasks the columns are divided when the rows are few.
const FEW_ROW_TASKS: usize = 8;

/// At most [`ROWS`] rows times all panels, on one thread.
fn rows(
    a: &[f32],
    b: &Panels,
    start: Start<'_>,
    prepare: Option<fn(&mut [f32])>,
    memory: &mut Memory,
    c: &mut [f32],
) {
    let mut values = a;
    if let Some(prepare) = prepare {
        memory.prepared.clear();
        memory.prepared.extend_from_slice(a);
        prepare(&mut memory.prepared);
        values = &memory.prepared;
    }
    match start {
        Start::Zero => c.fill(0.0),
        Start::Bias(bias) => c.chunks_exact_mut(b.columns).for_each(|c| c.copy_from_slice(bias)),
        Start::Result => {}
    }
    let left = Left { values, line: b.inner, element: 1 };
    let lines = a.len() / b.inner;
    multiply(left, lines, b.inner, &b.values, &mut memory.packed, c, b.columns);
}

/// What the tasks of one thread use again.
#[derive(Default)]
struct Memory {
    prepared: Vec<f32>,
    packed: Vec<f32>,
}

/// Lines that the gradient of a weight packs at a time, a multiple of [`DEPTH`].
const STRETCH: usize = 8 * DEPTH;

/// `c += aᵀ · b`: `a` is `[p, n]`, `b` is `[p, k]`, `c` is `[n, k]`. The gradient of a weight.
/// `panels` is memory for the packed `b`.
pub fn add_transposed_product(
    a: &[f32],
    b: &[f32],
    n: usize,
    k: usize,
    panels: &mut Panels,
    c: &mut [f32],
) {
    let _timer = Timer(Instant::now());
    assert_eq!((a.len() / n * k, n * k), (b.len(), c.len()), "shapes fit");
    for (a, b) in a.chunks(STRETCH * n).zip(b.chunks(STRETCH * k)) {
        let inner = b.len() / k;
        panels.take(b, k);
        let blocks = c.par_chunks_mut(ROWS * k).enumerate();
        blocks.for_each_init(Vec::new, |packed, (block, c)| {
            let left = Left { values: &a[block * ROWS..], line: 1, element: n };
            multiply(left, c.len() / k, inner, &panels.values, packed, c, k);
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
            let mut panels = Panels::default();
            panels.take_transposed(&w, inner);
            let mut c = before.clone();
            product(&a, &panels, Start::Result, Some(relu), &mut c);
            assert_close(&c, &exact(&|i, j| before[i * columns + j]), inner);
            product(&a, &panels, Start::Bias(&bias), Some(relu), &mut c);
            assert_close(&c, &exact(&|_, j| bias[j]), inner);
            // The same right side, given the other way round.
            let transposed: Vec<f32> =
                (0..inner * columns).map(|at| w[at % columns * inner + at / columns]).collect();
            panels.take(&transposed, columns);
            product(&a, &panels, Start::Zero, Some(relu), &mut c);
            assert_close(&c, &exact(&|_, _| 0.0), inner);
        }
    }

    #[test]
    fn gradients_of_weights_equal_sums_in_f64() {
        let mut panels = Panels::default();
        for (lines, n, k) in SHAPES {
            let (a, b) = (sample(lines * n, 1), sample(lines * k, 2));
            let mut c = vec![1.0; n * k];
            add_transposed_product(&a, &b, n, k, &mut panels, &mut c);
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
        let mut panels = Panels::default();
        panels.take_transposed(&w, inner);
        let mut all = vec![0.0; 250 * columns];
        product(&a, &panels, Start::Zero, None, &mut all);
        for (first, count) in [(0, 1), (7, 2), (100, 13), (30, 190)] {
            let mut part = vec![0.0; count * columns];
            let lines = &a[first * inner..(first + count) * inner];
            product(lines, &panels, Start::Zero, None, &mut part);
            assert_eq!(part, all[first * columns..(first + count) * columns]);
        }
    }
}
