//! Matrix products in f32: a right side packed once into panels, blocks of rows times panels.
//!
//! Every element of a result is one chain of fused multiply-adds over the inner dimension in order,
//! so its bits depend neither on the block it falls into nor on the number of threads. The layout
//! follows Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::arch;

/// Columns of a panel.
pub const PANEL: usize = 32;

/// Inner dimension of one pass: a panel of it stays in the first-level cache.
pub const DEPTH: usize = 256;

/// Rows that are packed together; with [`DEPTH`] they stay in the second-level cache.
const ROWS: usize = 96;

/// Rows of one tile with AVX-512, whose 32 registers hold 12 × 2 running sums.
const TALL: usize = 12;

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

/// The right side of a product, `[k, n]`, as panels of [`PANEL`] columns each `[k, PANEL]`, the last
/// one filled up with zeros.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    values: Vec<f32>,
    inner: usize,
    columns: usize,
}

impl Panels {
    /// Takes `wᵀ`, where `w` is `[n, k]`: what a linear layer multiplies with.
    pub fn take_transposed(&mut self, w: &[f32], inner: usize) {
        let columns = w.len() / inner;
        self.resize(inner, columns);
        self.values.par_chunks_mut(PANEL * inner).enumerate().for_each(|(index, panel)| {
            let lines = &w[index * PANEL * inner..];
            for (column, line) in lines.chunks_exact(inner).take(PANEL).enumerate() {
                for (place, &value) in panel[column..].iter_mut().step_by(PANEL).zip(line) {
                    *place = value;
                }
            }
        });
    }

    /// Takes `w` as it stands, `[k, n]`: what the gradient of a linear layer multiplies with.
    pub fn take(&mut self, w: &[f32], columns: usize) {
        let inner = w.len() / columns;
        self.resize(inner, columns);
        self.values.par_chunks_mut(PANEL * inner).enumerate().for_each(|(index, panel)| {
            let first = index * PANEL;
            let width = PANEL.min(columns - first);
            for (place, line) in panel.chunks_exact_mut(PANEL).zip(w.chunks_exact(columns)) {
                place[..width].copy_from_slice(&line[first..first + width]);
            }
        });
    }

    /// Sets the shape. The columns that fill up the last panel are zero.
    fn resize(&mut self, inner: usize, columns: usize) {
        let size = columns.div_ceil(PANEL) * PANEL * inner;
        if (self.inner, self.columns) != (inner, columns) && !columns.is_multiple_of(PANEL) {
            self.values.clear();
        }
        self.values.resize(size, 0.0);
        (self.inner, self.columns) = (inner, columns);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// Columns, `n`.
    pub fn columns(&self) -> usize {
        self.columns
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

/// The left side of a product: element (i, k) is `values[i * line + k * element]`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// All values.
    pub values: &'a [f32],
    /// Distance between rows.
    pub line: usize,
    /// Distance between elements of a row.
    pub element: usize,
}

/// `c += a · b` on one thread; `b` is panels over the whole inner dimension, `c` is `[m, n]`.
pub fn multiply(
    a: Left<'_>,
    lines: usize,
    inner: usize,
    b: &[f32],
    packed: &mut Vec<f32>,
    c: &mut [f32],
    columns: usize,
) {
    arch().dispatch(Multiply { left: Source::Rows(a, packed), lines, inner, b, c, columns });
}

/// Where the tiles of a left side come from.
enum Source<'a> {
    /// Rows, and memory to pack them in.
    Rows(Left<'a>, &'a mut Vec<f32>),
    /// What [`PackAll`] gave.
    Packed(&'a [f32]),
}

/// Packs all of a left side, depth by depth.
struct PackAll<'a> {
    left: Left<'a>,
    lines: usize,
    inner: usize,
    packed: &'a mut Vec<f32>,
}

impl WithSimd for PackAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            16 => self.run::<TALL>(),
            8 | 4 => self.run::<3>(),
            _ => self.run::<1>(),
        }
    }
}

impl PackAll<'_> {
    #[inline(always)]
    fn run<const M: usize>(self) {
        let mut block = Vec::new();
        for first in (0..self.inner).step_by(DEPTH) {
            let depth = DEPTH.min(self.inner - first);
            pack::<M>(self.left, self.lines, first, depth, &mut block);
            self.packed.extend_from_slice(&block);
        }
    }
}

struct Multiply<'a> {
    left: Source<'a>,
    lines: usize,
    inner: usize,
    b: &'a [f32],
    c: &'a mut [f32],
    columns: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, TALL, 2>(simd),
            8 => self.run::<S, 3, 4>(simd),
            4 => self.run::<S, 3, 8>(simd),
            _ => self.run::<S, 1, 32>(simd),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Self { mut left, lines, inner, b, c, columns } = self;
        let padded = lines.div_ceil(M) * M;
        for first in (0..inner).step_by(DEPTH) {
            let depth = DEPTH.min(inner - first);
            let packed = match &mut left {
                Source::Rows(left, packed) => {
                    pack::<M>(*left, lines, first, depth, packed);
                    &packed[..]
                }
                Source::Packed(packed) => &packed[padded * first..padded * (first + depth)],
            };
            for (index, panel) in b.chunks_exact(inner * PANEL).enumerate() {
                let (panel, _) = panel[first * PANEL..(first + depth) * PANEL].as_chunks::<PANEL>();
                let from = index * PANEL;
                let width = PANEL.min(columns - from);
                for (tile, left) in packed.chunks_exact(M * depth).enumerate() {
                    let (left, _) = left.as_chunks::<M>();
                    let top = tile * M;
                    let height = M.min(lines - top);
                    let mut block = [[0.0f32; PANEL]; M];
                    for (line, block) in block.iter_mut().enumerate().take(height) {
                        let start = (top + line) * columns + from;
                        if width == PANEL {
                            block.copy_from_slice(&c[start..start + PANEL]);
                        } else {
                            block[..width].copy_from_slice(&c[start..start + width]);
                        }
                    }
                    self::tile::<S, M, V>(simd, left, panel, &mut block);
                    for (line, block) in block.iter().enumerate().take(height) {
                        let start = (top + line) * columns + from;
                        if width == PANEL {
                            c[start..start + PANEL].copy_from_slice(block);
                        } else {
                            c[start..start + width].copy_from_slice(&block[..width]);
                        }
                    }
                }
            }
        }
    }
}

/// Rows in tiles of `M`, each `[depth, M]`, the last one filled up with zeros.
#[inline(always)]
pub fn pack<const M: usize>(
    a: Left<'_>,
    lines: usize,
    first: usize,
    depth: usize,
    packed: &mut Vec<f32>,
) {
    packed.resize(lines.div_ceil(M) * M * depth, 0.0);
    for (tile, place) in packed.chunks_exact_mut(M * depth).enumerate() {
        let (place, _) = place.as_chunks_mut::<M>();
        let top = tile * M;
        let height = M.min(lines - top);
        if a.line == 1 {
            for (k, place) in place.iter_mut().enumerate() {
                let start = (first + k) * a.element + top;
                if height == M {
                    place.copy_from_slice(&a.values[start..start + M]);
                } else {
                    place[..height].copy_from_slice(&a.values[start..start + height]);
                    place[height..].fill(0.0);
                }
            }
            continue;
        }
        for line in 0..M {
            if line >= height {
                place.iter_mut().for_each(|place| place[line] = 0.0);
                continue;
            }
            let start = (top + line) * a.line + first * a.element;
            let values = a.values[start..].iter().step_by(a.element);
            for (place, &value) in place.iter_mut().zip(values) {
                place[line] = value;
            }
        }
    }
}

/// `block += left · panel`, with all running sums in registers.
#[inline(always)]
pub fn tile<S: Simd, const M: usize, const V: usize>(
    simd: S,
    left: &[[f32; M]],
    panel: &[[f32; PANEL]],
    block: &mut [[f32; PANEL]; M],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for (sums, line) in sums.iter_mut().zip(block.iter()) {
        let (vectors, _) = S::as_simd_f32s(line);
        for (sum, &vector) in sums.iter_mut().zip(vectors) {
            *sum = vector;
        }
    }
    for (left, right) in left.iter().zip(panel) {
        let (right, _) = S::as_simd_f32s(right);
        let right: &[S::f32s; V] = right.try_into().expect("a panel has V vectors a line");
        for (sums, &value) in sums.iter_mut().zip(left) {
            let value = simd.splat_f32s(value);
            for (sum, &vector) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(value, vector, *sum);
            }
        }
    }
    for (sums, line) in sums.iter().zip(block.iter_mut()) {
        let (vectors, _) = S::as_mut_simd_f32s(line);
        for (&sum, vector) in sums.iter().zip(vectors) {
            *vector = sum;
        }
    }
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
