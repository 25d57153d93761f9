//! Products of f32, in the best vectors that this CPU has.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use pulp::{Simd, WithSimd};

use super::Start;
use super::kernel::{Element, Kernel, Work, in_tiles, of_panel};
use super::multiply::Left;
use super::packed_matrix::{PANEL, PackedMatrix, Panels};
use crate::compute::kernels::simd::arch;

thread_local! {
    static SPARE: Cell<Vec<f32>> = Cell::default();
}

impl Element for f32 {
    const DEPTH: usize = 192;

    fn lines(values: Range<usize>) -> Range<usize> {
        values
    }

    fn panels(matrix: &PackedMatrix) -> &[Self] {
        match &matrix.panels {
            Panels::F32(panels) => panels,
            _ => unreachable!("targets of one product have one precision"),
        }
    }

    fn spare() -> &'static LocalKey<Cell<Vec<Self>>> {
        &SPARE
    }

    fn dispatch<W: Work<Self>>(work: W) -> W::Output {
        arch().dispatch(Tiles(work))
    }
}

struct Tiles<W>(W);

impl<W: Work<f32>> WithSimd for Tiles<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> W::Output {
        let Self(work) = self;
        let kernel = Vectors(simd);
        match S::F32_LANES {
            16 => in_tiles!(work, kernel),
            8 => work.run::<_, 3, 4>(kernel),
            4 => work.run::<_, 3, 8>(kernel),
            _ => work.run::<_, 1, 32>(kernel),
        }
    }
}

#[derive(Clone, Copy)]
struct Vectors<S>(S);

impl<S: Simd> Kernel<f32> for Vectors<S> {
    #[inline(always)]
    fn pack<const M: usize>(
        self,
        from: Left<'_>,
        rows: usize,
        first: usize,
        depth: usize,
        packed: &mut [f32],
    ) {
        pack_into::<M>(from, rows, first, depth, packed);
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[f32; M]],
        panel: &[[f32; PANEL]],
        start: Start<'_>,
        lines: [&mut [f32; PANEL]; M],
    ) {
        tile::<S, M, V>(self.0, left, panel, start, lines);
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

/// `lines = start + left · panel`, with all running sums in registers. A bias has a value for each
/// column of the panel at least.
#[inline(always)]
pub fn tile<S: Simd, const M: usize, const V: usize>(
    simd: S,
    left: &[[f32; M]],
    panel: &[[f32; PANEL]],
    start: Start<'_>,
    lines: [&mut [f32; PANEL]; M],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    match start {
        Start::Zero => {}
        Start::Bias(bias) => {
            let (vectors, _) = S::as_simd_f32s(of_panel(bias));
            for sums in &mut sums {
                sums.copy_from_slice(vectors);
            }
        }
        Start::Result => {
            for (sums, line) in sums.iter_mut().zip(&lines) {
                let (vectors, _) = S::as_simd_f32s(&line[..]);
                for (sum, &vector) in sums.iter_mut().zip(vectors) {
                    *sum = vector;
                }
            }
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
    for (sums, line) in sums.iter().zip(lines) {
        let (vectors, _) = S::as_mut_simd_f32s(&mut line[..]);
        for (&sum, vector) in sums.iter().zip(vectors) {
            *vector = sum;
        }
    }
}
