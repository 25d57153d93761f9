//! Products on one thread, tile by tile.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Start;
use super::packed_matrix::{PANEL, PackedMatrix};
use crate::compute::kernels::simd::arch;

/// Inner dimension of one pass: a panel of it stays in the first-level cache.
pub const DEPTH: usize = 192;

/// The left side of a product: element (i, k) is `values[i * line + k * element]`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    pub values: &'a [f32],
    pub line: usize,
    /// Distance between elements of a row.
    pub element: usize,
}

/// `c = start + a · b` on one thread; `c` is `[m, n]`.
pub(super) fn multiply(
    a: Left<'_>,
    b: &PackedMatrix,
    start: Start<'_>,
    packed: &mut Vec<f32>,
    c: &mut [f32],
) {
    let mut c: Vec<&mut [f32]> = c.chunks_exact_mut(b.columns).collect();
    let left = Source::Rows(a, packed);
    arch().dispatch(Multiply { left, inner: b.inner, b: &b.values, start, c: &mut c });
}

/// Where the tiles of a left side come from.
pub(super) enum Source<'a> {
    /// Rows, and memory to pack them in.
    Rows(Left<'a>, &'a mut Vec<f32>),
    /// What [`Pack`] gave, depth by depth.
    Packed(&'a [f32]),
}

/// Calls `$self.$run` with the rows of a tile that fit `$lines` rows and the registers, and the
/// vectors of a panel's line.
///
/// With AVX-512, 32 registers hold 12 × 2 running sums. Fewer rows a tile where that leaves fewer
/// lines of zeros: a result's bits do not depend on it.
macro_rules! with_tiles {
    ($simd:ident, $lines:expr, $self:ident.$run:ident($($argument:expr),*)) => {
        match ($simd::F32_LANES, rows_of_tile($lines)) {
            (16, 12) => $self.$run::<$simd, 12, 2>($($argument),*),
            (16, 11) => $self.$run::<$simd, 11, 2>($($argument),*),
            (16, 10) => $self.$run::<$simd, 10, 2>($($argument),*),
            (16, 9) => $self.$run::<$simd, 9, 2>($($argument),*),
            (16, 8) => $self.$run::<$simd, 8, 2>($($argument),*),
            (16, 6) => $self.$run::<$simd, 6, 2>($($argument),*),
            (16, _) => $self.$run::<$simd, 4, 2>($($argument),*),
            (8, _) => $self.$run::<$simd, 3, 4>($($argument),*),
            (4, _) => $self.$run::<$simd, 3, 8>($($argument),*),
            _ => $self.$run::<$simd, 1, 32>($($argument),*),
        }
    };
}

/// The height of a tile with the least work, counting a line of every tile for its loads.
fn rows_of_tile(lines: usize) -> usize {
    let work = |rows: &usize| lines.div_ceil(*rows) * (rows + 1);
    [12, 11, 10, 9, 8, 6, 4].into_iter().min_by_key(work).expect("there are heights")
}

/// Packs some depth of a left side, all of its lines.
pub(super) struct Pack<'a> {
    pub(super) left: Left<'a>,
    pub(super) lines: usize,
    pub(super) depth: usize,
    pub(super) packed: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        with_tiles!(S, self.lines, self.run(simd));
    }
}

impl Pack<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, _: S) {
        pack_into::<M>(self.left, self.lines, 0, self.depth, self.packed);
    }
}

/// How many lines [`Pack`] makes of so many, those of zeros included.
pub(super) struct Padded(pub(super) usize);

impl WithSimd for Padded {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        with_tiles!(S, self.0, self.run(simd))
    }
}

impl Padded {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, _: S) -> usize {
        self.0.div_ceil(M) * M
    }
}

/// A product on one thread: `c = start + left · b`. `b` is panels over the whole inner dimension,
/// `c` the lines of the result.
pub(super) struct Multiply<'a, 'c> {
    pub(super) left: Source<'a>,
    pub(super) inner: usize,
    pub(super) b: &'a [f32],
    pub(super) start: Start<'a>,
    pub(super) c: &'a mut [&'c mut [f32]],
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        with_tiles!(S, self.c.len(), self.run(simd));
    }
}

impl Multiply<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Self { left, inner, b, start, c } = self;
        let lines = c.len();
        let padded = lines.div_ceil(M) * M;
        let panels = || b.chunks_exact(inner * PANEL).enumerate();
        let depths = (0..inner).step_by(DEPTH).map(|first| first..(first + DEPTH).min(inner));
        match left {
            // The right side once from its beginning to its end: it may come from memory.
            Source::Packed(packed) => {
                for (index, panel) in panels() {
                    for depth in depths.clone() {
                        let packed = &packed[padded * depth.start..padded * depth.end];
                        let block = Block { packed, panel, depth, first: index * PANEL, start };
                        block.multiply::<S, M, V>(simd, c);
                    }
                }
            }
            Source::Rows(left, packed) => {
                for depth in depths {
                    pack::<M>(left, lines, depth.start, depth.len(), packed);
                    for (index, panel) in panels() {
                        let (packed, depth) = (&packed[..], depth.clone());
                        let block = Block { packed, panel, depth, first: index * PANEL, start };
                        block.multiply::<S, M, V>(simd, c);
                    }
                }
            }
        }
    }
}

/// Packed rows times some depth of one panel.
struct Block<'a> {
    packed: &'a [f32],
    panel: &'a [f32],
    depth: Range<usize>,
    /// The panel's first column.
    first: usize,
    start: Start<'a>,
}

impl Block<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const M: usize, const V: usize>(self, simd: S, c: &mut [&mut [f32]]) {
        let Self { packed, panel, depth, first, start } = self;
        let (panel, _) = panel[depth.start * PANEL..depth.end * PANEL].as_chunks::<PANEL>();
        let start = if depth.start == 0 { start } else { Start::Result };
        let to = |line: &[f32]| (first + PANEL).min(line.len());
        for (left, c) in packed.chunks_exact(M * depth.len()).zip(c.chunks_mut(M)) {
            let (left, _) = left.as_chunks::<M>();
            let mut block = [[0.0f32; PANEL]; M];
            for (block, c) in block.iter_mut().zip(c.iter()) {
                match start {
                    Start::Zero => {}
                    Start::Bias(bias) => copy(&bias[first..to(c)], block),
                    Start::Result => copy(&c[first..to(c)], block),
                }
            }
            tile::<S, M, V>(simd, left, panel, &mut block);
            for (block, c) in block.iter().zip(c.iter_mut()) {
                let to = to(c);
                copy(block, &mut c[first..to]);
            }
        }
    }
}

/// Copies as much as there is in both; a whole line of a panel by its known size.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let whole = (<&[f32; PANEL]>::try_from(from), <&mut [f32; PANEL]>::try_from(&mut *to));
    if let (Ok(from), Ok(to)) = whole {
        *to = *from;
    } else {
        let width = from.len().min(to.len());
        to[..width].copy_from_slice(&from[..width]);
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
    pack_into::<M>(a, lines, first, depth, packed);
}

#[inline(always)]
fn pack_into<const M: usize>(
    a: Left<'_>,
    lines: usize,
    first: usize,
    depth: usize,
    packed: &mut [f32],
) {
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
            let values = &a.values[start..];
            if a.element == 1 {
                place.iter_mut().zip(values).for_each(|(place, &value)| place[line] = value);
            } else {
                let values = values.iter().step_by(a.element);
                place.iter_mut().zip(values).for_each(|(place, &value)| place[line] = value);
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
        // The shorter side waits in registers beside the sums: with AVX2 there are 16 of them, and one
        // too many would move a sum to memory and back in every line.
        if M < V {
            let values = left.map(|value| simd.splat_f32s(value));
            for (column, &vector) in right.iter().enumerate() {
                for (sums, &value) in sums.iter_mut().zip(&values) {
                    sums[column] = simd.mul_add_f32s(value, vector, sums[column]);
                }
            }
        } else {
            for (sums, &value) in sums.iter_mut().zip(left) {
                let value = simd.splat_f32s(value);
                for (sum, &vector) in sums.iter_mut().zip(right) {
                    *sum = simd.mul_add_f32s(value, vector, *sum);
                }
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
