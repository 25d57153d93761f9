//! Products on one thread, tile by tile.

use pulp::{Simd, WithSimd};

use super::panels::PANEL;
use crate::compute::kernels::simd::arch;

/// Inner dimension of one pass: a panel of it stays in the first-level cache.
pub const DEPTH: usize = 256;

/// Rows of one tile with AVX-512, whose 32 registers hold 12 × 2 running sums.
const TALL: usize = 12;

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
pub(super) enum Source<'a> {
    /// Rows, and memory to pack them in.
    Rows(Left<'a>, &'a mut Vec<f32>),
    /// What [`PackAll`] gave.
    Packed(&'a [f32]),
}

/// Packs all of a left side, depth by depth.
pub(super) struct PackAll<'a> {
    pub(super) left: Left<'a>,
    pub(super) lines: usize,
    pub(super) inner: usize,
    pub(super) packed: &'a mut Vec<f32>,
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

/// A product on one thread: `c += left · b`.
pub(super) struct Multiply<'a> {
    pub(super) left: Source<'a>,
    pub(super) lines: usize,
    pub(super) inner: usize,
    pub(super) b: &'a [f32],
    pub(super) c: &'a mut [f32],
    pub(super) columns: usize,
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
