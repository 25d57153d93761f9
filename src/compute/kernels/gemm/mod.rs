//! Matrix products in f32, bf16 or int8, as the right side was packed: once, into panels, which blocks
//! of rows are multiplied with.
//!
//! Every element of a result is one chain of multiply-adds over the inner dimension in order, or an exact
//! sum, so its bits depend neither on the block it falls into nor on the number of threads. The layout
//! follows Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

mod attending;
#[cfg(target_arch = "x86_64")]
mod by_row;
mod kernel;
mod multiply;
mod packed_matrix;
mod pair;
mod quad;
mod single;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

pub use self::attending::PairHead;
use self::kernel::Element;
pub use self::multiply::Left;
use self::multiply::{Height, Multiply, Pack, Source};
pub use self::packed_matrix::{PANEL, PackedMatrix};
use self::pair::Pair;
use self::quad::Quad;
pub use self::single::{pack, tile};
use crate::compute::Precision;

/// Most rows that are packed together; with a pass of the inner dimension they stay in the second-level cache.
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
    match targets[0].b.precision() {
        Precision::F32 => products::<f32, N>(a, inner, prepare, targets),
        Precision::Bf16 => products::<Pair, N>(a, inner, prepare, targets),
        Precision::Int8 => products::<Quad, N>(a, inner, prepare, targets),
    }
}

fn products<E: Element, const N: usize>(
    a: &[f32],
    inner: usize,
    prepare: Option<fn(&mut [f32])>,
    targets: [Target<'_>; N],
) {
    let lines = a.len() / inner;
    if lines < 2 * ROWS {
        return few_rows::<E, N>(a, inner, prepare, targets);
    }
    let rows = lines.div_ceil(lines.div_ceil(ROWS).next_multiple_of(EVENLY));
    for Target { b, start, c } in targets {
        let blocks = c.par_chunks_mut(rows * b.columns).zip(a.par_chunks(rows * inner));
        blocks.for_each_init(Memory::default, |memory: &mut Memory<E>, (c, a)| {
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

/// `c = start + a · b` on one thread; `c` is `[m, n]`.
fn multiply<E: Element>(
    a: Left<'_>,
    b: &PackedMatrix,
    start: Start<'_>,
    packed: &mut Vec<E>,
    c: &mut [f32],
) {
    let mut c: Vec<&mut [f32]> = c.chunks_exact_mut(b.columns).collect();
    let left = Source::Rows(a, packed);
    E::dispatch(Multiply { left, inner: b.inner, b: E::panels(b), start, c: &mut c });
}

/// The rows are packed once, and each task multiplies them with some of the panels.
fn few_rows<E: Element, const N: usize>(
    a: &[f32],
    inner: usize,
    prepare: Option<fn(&mut [f32])>,
    targets: [Target<'_>; N],
) {
    let mut packed = E::spare().take();
    let lines = a.len() / inner;
    let tile = E::dispatch(Height(lines));
    let height = E::lines(0..inner).len();
    packed.resize(lines.next_multiple_of(tile) * height, E::default());
    pack_in_parts(a, inner, prepare, tile, &mut packed);
    let panels: usize = targets.iter().map(|target| target.b.columns.div_ceil(PANEL)).sum();
    let share = panels.div_ceil(FEW_ROW_TASKS).max(1);
    let mut tasks = Vec::with_capacity(2 * FEW_ROW_TASKS);
    for Target { b, start, c } in targets {
        let mut rest: Vec<&mut [f32]> = c.chunks_exact_mut(b.columns).collect();
        for (index, panels) in E::panels(b).chunks(share * PANEL * height).enumerate() {
            let first = index * share * PANEL;
            let width = (share * PANEL).min(b.columns - first);
            let c = rest.iter_mut().map(|line| line.split_off_mut(..width).expect("it is as wide"));
            tasks.push((panels, start.from(first), c.collect::<Vec<_>>()));
        }
    }
    tasks.into_par_iter().for_each(|(b, start, mut c)| {
        let left = Source::Packed(&packed);
        E::dispatch(Multiply { left, inner, b, start, c: &mut c });
    });
    E::spare().set(packed);
}

/// Packs rows pass by pass: one task for the rows of a tile where there is one pass, or else for a pass.
fn pack_in_parts<E: Element>(
    a: &[f32],
    inner: usize,
    prepare: Option<fn(&mut [f32])>,
    tile: usize,
    packed: &mut [E],
) {
    let lines = a.len() / inner;
    let pass = E::DEPTH.min(inner);
    let share = if pass == inner { tile } else { lines };
    let places = share.next_multiple_of(tile) * E::lines(0..pass).len();
    packed.par_chunks_mut(places).enumerate().for_each_init(
        Vec::new,
        |prepared, (part, packed)| {
            let (top, first) = if pass == inner { (part * tile, 0) } else { (0, part * pass) };
            let (rows, depth) = (share.min(lines - top), pass.min(inner - first));
            let a = &a[top * inner..(top + rows) * inner];
            let mut left = Left { values: &a[first..], line: inner, element: 1 };
            if let Some(prepare) = prepare {
                prepared.clear();
                let values = a.chunks_exact(inner).map(|line| &line[first..first + depth]);
                values.for_each(|values| prepared.extend_from_slice(values));
                prepare(prepared);
                left = Left { values: prepared, line: depth, element: 1 };
            }
            E::dispatch(Pack { left, count: rows, rows: lines, depth, packed });
        },
    );
}

/// Into how many tasks the columns are divided when the rows are few.
const FEW_ROW_TASKS: usize = 8;

/// What the tasks of one thread use again.
#[derive(Default)]
struct Memory<E> {
    prepared: Vec<f32>,
    packed: Vec<E>,
}

/// Lines that the gradient of a weight packs at a time, a multiple of a pass.
const STRETCH: usize = 4 * <f32 as Element>::DEPTH;

/// `c += aᵀ · b`: `a` is `[p, n]`, `b` is `[p, k]`, `c` is `[n, k]`. The gradient of a weight.
/// `panels` is memory for the packed `b`; at its precision, f32 or bf16, both sides are packed.
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
        match panels.precision() {
            Precision::F32 => add_stretch::<f32>(a, panels, n, c),
            Precision::Bf16 => add_stretch::<Pair>(a, panels, n, c),
            Precision::Int8 => unreachable!("gradients are not made in int8"),
        }
    }
}

/// `c += aᵀ · b` over the lines of one stretch.
fn add_stretch<E: Element>(a: &[f32], b: &PackedMatrix, n: usize, c: &mut [f32]) {
    let blocks = c.par_chunks_mut(ROWS * b.columns).enumerate();
    blocks.for_each_init(Vec::<E>::new, |packed, (block, c)| {
        let left = Left { values: &a[block * ROWS..], line: 1, element: n };
        multiply(left, b, Start::Result, packed, c);
    });
}
