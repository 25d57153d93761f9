//! The inner loop of int8 with AVX-VNNI: vectors of 256 bits, for CPUs without AVX-512.

use std::arch::x86_64::*;
use std::mem::transmute;

use crate::compute::kernels::gemm::Start;
use crate::compute::kernels::gemm::by_row::{PutRow, by_row, whole};
use crate::compute::kernels::gemm::kernel::{Kernel, of_panel};
use crate::compute::kernels::gemm::multiply::Left;
use crate::compute::kernels::gemm::packed_matrix::PANEL;
use crate::compute::kernels::gemm::quad::{HEAD, Quad, range};

/// Numbers of four bytes in a vector.
const LANES: usize = 8;

/// That the CPU has AVX2, FMA, and the instruction of `D`.
#[derive(Clone, Copy)]
pub(super) struct Vnni256<D>(pub(super) D);

/// The instruction that multiplies bytes in fours and adds their products.
pub(super) trait Dot: Copy {
    /// `sum + Σ x·w` over four unsigned `x` and four signed `w` of each number.
    ///
    /// # Safety
    /// The CPU has the instruction.
    unsafe fn dot(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i;
}

#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

impl Dot for AvxVnni {
    #[inline(always)]
    unsafe fn dot(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_avx_epi32(sum, x, w) }
    }
}

#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni;

#[cfg(test)]
impl Dot for Avx512Vnni {
    #[inline(always)]
    unsafe fn dot(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_epi32(sum, x, w) }
    }
}

/// The vectors of one line of f32, or of their bits.
#[inline(always)]
fn floats<E: Copy, D, const V: usize>(_: Vnni256<D>, line: &[E; PANEL]) -> [__m256; V] {
    const { assert!(V * LANES == PANEL && size_of::<E>() == size_of::<f32>()) };
    // SAFETY: of the CPU, `Vnni256`; each load is of 8 of the line's 32 numbers of four bytes.
    unsafe {
        let mut vectors = [_mm256_setzero_ps(); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = _mm256_loadu_ps(line.as_ptr().add(v * LANES).cast());
        }
        vectors
    }
}

impl<D: Dot> PutRow<Quad> for Vnni256<D> {
    #[inline(always)]
    fn put<const M: usize>(self, values: &[f32], tile: &mut [[Quad; M]], place: usize) {
        let (head, tile) = tile.split_at_mut(HEAD);
        let (scale, inverse, low) = range(values);
        head[0][place] = Quad::of_f32(scale);
        head[1][place] = Quad::of_f32(low);
        let mut padded = [low; 4 * LANES];
        for (lines, values) in tile.chunks_mut(LANES).zip(values.chunks(4 * LANES)) {
            let values = whole(values, &mut padded);
            // SAFETY: of the CPU, `Vnni256`; each load is of 8 of the 32 values; a vector is read as 8 numbers.
            let quads = unsafe {
                let mut parts = [_mm256_setzero_si256(); 4];
                for (part, integers) in parts.iter_mut().enumerate() {
                    let x = _mm256_loadu_ps(values.as_ptr().add(part * LANES));
                    let x = _mm256_sub_ps(x, _mm256_set1_ps(low));
                    let x = _mm256_mul_ps(x, _mm256_set1_ps(inverse));
                    *integers = _mm256_cvtps_epi32(x);
                }
                // Both halves of each vector are narrowed by themselves, and put into order at the end.
                let [first, second, third, fourth] = parts;
                let front = _mm256_packus_epi32(first, second);
                let back = _mm256_packus_epi32(third, fourth);
                let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(front, back), order);
                transmute::<__m256i, [Quad; LANES]>(bytes)
            };
            for (line, quad) in lines.iter_mut().zip(quads) {
                line[place] = quad;
            }
        }
    }
}

impl<D: Dot> Kernel<Quad> for Vnni256<D> {
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
        // SAFETY: of the CPU, `Vnni256`; vectors of bits are vectors of their numbers; stores are of 8 of a line's 32.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); V]; M];
            for (left, right) in left.iter().zip(panel) {
                let right: [__m256; V] = floats(self, right);
                for (sums, quad) in sums.iter_mut().zip(left) {
                    let quad = _mm256_set1_epi32(quad.0.cast_signed());
                    for (sum, &right) in sums.iter_mut().zip(&right) {
                        *sum = self.0.dot(*sum, quad, _mm256_castps_si256(right));
                    }
                }
            }
            let scales: [__m256; V] = floats(self, &column[0]);
            let totals: [__m256; V] = floats(self, &column[1]);
            for (index, (sums, line)) in sums.iter().zip(lines).enumerate() {
                let start = match start {
                    Start::Zero => [_mm256_setzero_ps(); V],
                    Start::Bias(bias) => floats(self, of_panel(bias)),
                    Start::Result => floats(self, line),
                };
                let [scale, offset] =
                    [row[0][index], row[1][index]].map(|one| _mm256_set1_ps(one.f32()));
                for v in 0..V {
                    let products = _mm256_mul_ps(scales[v], _mm256_cvtepi32_ps(sums[v]));
                    let sum = _mm256_fmadd_ps(offset, totals[v], start[v]);
                    let sum = _mm256_fmadd_ps(scale, products, sum);
                    _mm256_storeu_ps(line.as_mut_ptr().add(v * LANES), sum);
                }
            }
        }
    }
}
