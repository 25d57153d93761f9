//! The inner loops of bf16 and of int8 with AVX-512.

use std::arch::x86_64::*;
use std::mem::transmute;

use crate::compute::kernels::gemm::Start;
use crate::compute::kernels::gemm::by_row::{PutRow, by_row, whole};
use crate::compute::kernels::gemm::kernel::{Element, Kernel, of_panel};
use crate::compute::kernels::gemm::multiply::Left;
use crate::compute::kernels::gemm::packed_matrix::PANEL;
use crate::compute::kernels::gemm::pair::Pair;
use crate::compute::kernels::gemm::quad::{HEAD, Quad, range};

/// Numbers of four bytes in a vector.
const LANES: usize = 16;

/// That the CPU has the instructions for the elements at hand.
#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) ());

/// The vectors of one line of a panel.
#[inline(always)]
fn vectors<E: Element, const V: usize>(_: Avx512, line: &[E; PANEL]) -> [__m512i; V] {
    const { assert!(V * LANES == PANEL && size_of::<E>() == size_of::<f32>()) };
    // SAFETY: of the CPU, `Avx512`; each load is of 16 of the line's 32 numbers of four bytes.
    unsafe {
        let mut vectors = [_mm512_setzero_si512(); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = _mm512_loadu_si512(line.as_ptr().add(v * LANES).cast());
        }
        vectors
    }
}

/// The same of a line of f32, or of their bits.
#[inline(always)]
fn floats<E: Copy, const V: usize>(_: Avx512, line: &[E; PANEL]) -> [__m512; V] {
    const { assert!(V * LANES == PANEL && size_of::<E>() == size_of::<f32>()) };
    // SAFETY: of the CPU, `Avx512`; each load is of 16 of the line's 32 numbers of four bytes.
    unsafe {
        let mut vectors = [_mm512_setzero_ps(); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = _mm512_loadu_ps(line.as_ptr().add(v * LANES).cast());
        }
        vectors
    }
}

/// The first 16 values, or as many as there are and zeros behind them.
#[inline(always)]
fn first_values(_: Avx512, values: &[f32]) -> __m512 {
    let mask = ((1u32 << values.len().min(LANES)) - 1) as __mmask16;
    // SAFETY: of the CPU, `Avx512`; the mask has no more places than there are values.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Packs rows whose neighbours are neighbours in memory, in tiles of `M` rows. Rows that fill up the last tile are
/// zeros, and so is the second number of the last pair where there is none.
#[inline(always)]
fn side_by_side<const M: usize>(
    kernel: Avx512,
    from: Left<'_>,
    rows: usize,
    values: std::ops::Range<usize>,
    packed: &mut [Pair],
) {
    assert_eq!(from.line, 1, "neighbouring rows are neighbours");
    let lines = Pair::lines(0..values.len()).len();
    // SAFETY: both are 64 bytes of plain numbers.
    let order = unsafe { transmute::<[u16; 2 * LANES], __m512i>(IN_PAIRS) };
    for (tile, packed) in packed.chunks_exact_mut(lines * M).enumerate() {
        let (packed, _) = packed.as_chunks_mut::<M>();
        let top = tile * M;
        let height = M.min(rows - top);
        for (pair, line) in packed.iter_mut().enumerate() {
            let value = values.start + 2 * pair;
            let start = value * from.element + top;
            let first = &from.values[start..start + height];
            let start = start + from.element;
            let second = match value + 1 < values.end {
                true => &from.values[start..start + height],
                false => &[],
            };
            for (index, places) in line.chunks_mut(LANES).enumerate() {
                let skipped = index * LANES;
                let first = first_values(kernel, &first[skipped.min(first.len())..]);
                let second = first_values(kernel, &second[skipped.min(second.len())..]);
                // SAFETY: of the CPU, `Avx512`; vectors of 64 bytes of plain numbers.
                let pairs = unsafe {
                    let rounded: __m512i = transmute(_mm512_cvtne2ps_pbh(second, first));
                    transmute::<__m512i, [Pair; LANES]>(_mm512_permutexvar_epi16(order, rounded))
                };
                places.copy_from_slice(&pairs[..places.len()]);
            }
        }
    }
}

/// Brings 16 numbers and then 16 others into pairs of one of each.
const IN_PAIRS: [u16; 2 * LANES] = {
    let (mut order, mut place) = ([0; 2 * LANES], 0);
    while place < order.len() {
        order[place] = (place / 2 + place % 2 * LANES) as u16;
        place += 1;
    }
    order
};

impl PutRow<Pair> for Avx512 {
    #[inline(always)]
    fn put<const M: usize>(self, values: &[f32], tile: &mut [[Pair; M]], place: usize) {
        let mut padded = [0.0; 2 * LANES];
        for (lines, values) in tile.chunks_mut(LANES).zip(values.chunks(2 * LANES)) {
            let values = whole(values, &mut padded);
            // SAFETY: of the CPU, `Avx512`; both loads are of 16 of the 32 values.
            let pairs = unsafe {
                let first = _mm512_loadu_ps(values.as_ptr());
                let second = _mm512_loadu_ps(values.as_ptr().add(LANES));
                transmute::<__m512bh, [Pair; LANES]>(_mm512_cvtne2ps_pbh(second, first))
            };
            for (line, pair) in lines.iter_mut().zip(pairs) {
                line[place] = pair;
            }
        }
    }
}

impl Kernel<Pair> for Avx512 {
    #[inline(always)]
    fn pack<const M: usize>(
        self,
        from: Left<'_>,
        rows: usize,
        first: usize,
        depth: usize,
        packed: &mut [Pair],
    ) {
        if from.element != 1 {
            return side_by_side::<M>(self, from, rows, first..first + depth, packed);
        }
        by_row::<_, M>(self, from, rows, first..first + depth, packed);
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[Pair; M]],
        panel: &[[Pair; PANEL]],
        start: Start<'_>,
        lines: [&mut [f32; PANEL]; M],
    ) {
        // SAFETY: of the CPU, `Avx512`; loads and stores are of 16 of a line's 32 numbers.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); V]; M];
            match start {
                Start::Zero => {}
                Start::Bias(bias) => sums.fill(floats(self, of_panel(bias))),
                Start::Result => {
                    for (sums, line) in sums.iter_mut().zip(&lines) {
                        *sums = floats(self, line);
                    }
                }
            }
            for (left, right) in left.iter().zip(panel) {
                let right: [__m512i; V] = vectors(self, right);
                for (sums, pair) in sums.iter_mut().zip(left) {
                    let pair = _mm512_set1_epi32(pair.0.cast_signed());
                    for (sum, &right) in sums.iter_mut().zip(&right) {
                        let [pair, right] = [pair, right].map(|one| transmute::<_, __m512bh>(one));
                        *sum = _mm512_dpbf16_ps(*sum, pair, right);
                    }
                }
            }
            for (sums, line) in sums.iter().zip(lines) {
                for (v, &sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(line.as_mut_ptr().add(v * LANES), sum);
                }
            }
        }
    }
}

impl PutRow<Quad> for Avx512 {
    #[inline(always)]
    fn put<const M: usize>(self, values: &[f32], tile: &mut [[Quad; M]], place: usize) {
        let (head, tile) = tile.split_at_mut(HEAD);
        let (scale, inverse, low) = range(values);
        head[0][place] = Quad::of_f32(scale);
        head[1][place] = Quad::of_f32(low);
        let mut padded = [low; 4 * LANES];
        for (lines, values) in tile.chunks_mut(LANES).zip(values.chunks(4 * LANES)) {
            let values = whole(values, &mut padded);
            // SAFETY: of the CPU, `Avx512`.
            let mut quads = unsafe { [_mm_setzero_si128(); 4] };
            for (part, quad) in quads.iter_mut().enumerate() {
                // SAFETY: of the CPU, `Avx512`; each load is of 16 of the 64 values.
                unsafe {
                    let x = _mm512_loadu_ps(values.as_ptr().add(part * LANES));
                    let x = _mm512_sub_ps(x, _mm512_set1_ps(low));
                    let x = _mm512_mul_ps(x, _mm512_set1_ps(inverse));
                    *quad = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x));
                }
            }
            // SAFETY: both are 64 bytes of plain numbers.
            let quads = unsafe { transmute::<[__m128i; 4], [Quad; LANES]>(quads) };
            for (line, quad) in lines.iter_mut().zip(quads) {
                line[place] = quad;
            }
        }
    }
}

impl Kernel<Quad> for Avx512 {
    #[inline(always)]
    fn pack<const M: usize>(
        self,
        from: Left<'_>,
        rows: usize,
        first: usize,
        depth: usize,
        packed: &mut [Quad],
    ) {
        by_row::<_, M>(self, from, rows, first..first + depth, packed);
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[Quad; M]],
        panel: &[[Quad; PANEL]],
        start: Start<'_>,
        lines: [&mut [f32; PANEL]; M],
    ) {
        let ((row, left), (column, panel)) = (left.split_at(HEAD), panel.split_at(HEAD));
        // SAFETY: of the CPU, `Avx512`; loads and stores are of 16 of a line's 32 numbers.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); V]; M];
            for (left, right) in left.iter().zip(panel) {
                let right: [__m512i; V] = vectors(self, right);
                for (sums, quad) in sums.iter_mut().zip(left) {
                    let quad = _mm512_set1_epi32(quad.0.cast_signed());
                    for (sum, &right) in sums.iter_mut().zip(&right) {
                        *sum = _mm512_dpbusd_epi32(*sum, quad, right);
                    }
                }
            }
            let column =
                Column { scales: floats(self, &column[0]), totals: floats(self, &column[1]) };
            let rows =
                row[0].iter().zip(&row[1]).map(|(scale, offset)| [scale.f32(), offset.f32()]);
            let all = sums.iter().zip(rows).zip(lines);
            // Two loops, each short enough to be unrolled: sums that are counted through would be in memory.
            if let Start::Result = start {
                for ((sums, row), line) in all {
                    let start = floats(self, line);
                    column.finish(self, sums, row, start, line);
                }
            } else {
                let start = match start {
                    Start::Bias(bias) => floats(self, of_panel(bias)),
                    _ => [_mm512_setzero_ps(); V],
                };
                for ((sums, row), line) in all {
                    column.finish(self, sums, row, start, line);
                }
            }
        }
    }
}

/// What belongs to the columns of a panel of [`Quad`]: s and s·Σ q.
struct Column<const V: usize> {
    scales: [__m512; V],
    totals: [__m512; V],
}

impl<const V: usize> Column<V> {
    /// start + r·s·Σ p·q + o·s·Σ q of a row with r and o.
    #[inline(always)]
    fn finish(
        &self,
        _: Avx512,
        sums: &[__m512i; V],
        [scale, offset]: [f32; 2],
        start: [__m512; V],
        line: &mut [f32; PANEL],
    ) {
        for v in 0..V {
            // SAFETY: of the CPU, `Avx512`; each store is of 16 of the line's 32 numbers.
            unsafe {
                let products = _mm512_mul_ps(self.scales[v], _mm512_cvtepi32_ps(sums[v]));
                let sum = _mm512_fmadd_ps(_mm512_set1_ps(offset), self.totals[v], start[v]);
                let sum = _mm512_fmadd_ps(_mm512_set1_ps(scale), products, sum);
                _mm512_storeu_ps(line.as_mut_ptr().add(v * LANES), sum);
            }
        }
    }
}
