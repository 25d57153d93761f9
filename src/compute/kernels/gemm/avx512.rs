//! The inner loops of bf16 and of int8 with AVX-512: all unsafe code of products.
//!
//! What makes it sound: an [`Avx512`] is made in functions alone that are compiled for the instructions and entered
//! where the CPU has them; vectors are loaded from and stored to arrays of at least their size; vectors and arrays
//! that are read as one another are 64 bytes of plain numbers.
#![expect(unsafe_code, reason = "intrinsics, and functions that are compiled for them")]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::kernel::{Element, Kernel, Work, in_tiles};
use super::multiply::Left;
use super::packed_matrix::PANEL;
use super::pair::Pair;
use super::quad::{HEAD, Quad, range};
use crate::compute::Precision;

/// Numbers of four bytes in a vector.
const LANES: usize = 16;

/// Runs where the CPU has AVX512-BF16.
pub fn with_bf16<W: Work<Pair>>(work: W) -> W::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn run<W: Work<Pair>>(work: W) -> W::Output {
        in_tiles!(work, Avx512(()))
    }
    assert!(Precision::Bf16.check().is_ok(), "panels are made where a CPU has the instructions");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}

/// Packs so many columns of a right side, given as the rows of a left side, into a panel. Runs where the CPU has
/// AVX512-BF16.
pub fn pack_panel(columns: Left<'_>, count: usize, inner: usize, panel: &mut [Pair]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn run(columns: Left<'_>, count: usize, inner: usize, panel: &mut [Pair]) {
        Avx512(()).pack::<PANEL>(columns, count, 0, inner, panel);
    }
    assert!(Precision::Bf16.check().is_ok(), "panels are made where a CPU has the instructions");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(columns, count, inner, panel) }
}

/// Runs where the CPU has AVX512-VNNI.
pub fn with_int8<W: Work<Quad>>(work: W) -> W::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn run<W: Work<Quad>>(work: W) -> W::Output {
        in_tiles!(work, Avx512(()))
    }
    assert!(Precision::Int8.check().is_ok(), "panels are made where a CPU has the instructions");
    // SAFETY: the CPU has every feature that the function is compiled for: it was asked just now.
    unsafe { run(work) }
}

/// That the CPU has the instructions for the elements at hand.
#[derive(Clone, Copy)]
struct Avx512(());

/// The values as an array, filled up with `padding` where there are fewer.
#[inline(always)]
fn whole<const N: usize>(values: &[f32], padding: f32) -> [f32; N] {
    values.try_into().unwrap_or_else(|_| {
        let mut whole = [padding; N];
        whole[..values.len()].copy_from_slice(values);
        whole
    })
}

/// Hands each row's values, and its tile of `M` rows with its place there, to `put`. Rows that fill up the last tile
/// are zeros.
#[inline(always)]
fn by_row<E: Element, const M: usize>(
    from: Left<'_>,
    rows: usize,
    values: std::ops::Range<usize>,
    packed: &mut [E],
    put: impl Fn(&[f32], &mut [[E; M]], usize),
) {
    assert_eq!(from.element, 1, "the values of a row are neighbours");
    let lines = packed.len() / rows.div_ceil(M) / M;
    for (tile, packed) in packed.chunks_exact_mut(lines * M).enumerate() {
        let (packed, _) = packed.as_chunks_mut::<M>();
        for place in 0..M {
            let row = tile * M + place;
            if row < rows {
                let start = row * from.line;
                put(&from.values[start + values.start..start + values.end], packed, place);
            } else {
                packed.iter_mut().for_each(|line| line[place] = E::default());
            }
        }
    }
}

/// The vectors of one line of a panel.
#[inline(always)]
fn vectors<E: Element, const V: usize>(_: Avx512, line: &[E; PANEL]) -> [__m512i; V] {
    const { assert!(V * LANES == PANEL && size_of::<E>() == size_of::<f32>()) };
    // SAFETY: of the CPU, `Avx512`; each load is of 16 of the line's 32 numbers of four bytes.
    std::array::from_fn(|v| unsafe { _mm512_loadu_si512(line.as_ptr().add(v * LANES).cast()) })
}

/// Packs rows whose neighbours are neighbours in memory, in tiles of `M` rows. Rows that fill up the last tile are
/// zeros, and so is the second number of the last pair where there is none.
#[inline(always)]
fn side_by_side<const M: usize>(
    _: Avx512,
    from: Left<'_>,
    rows: usize,
    values: std::ops::Range<usize>,
    packed: &mut [Pair],
) {
    assert_eq!(from.line, 1, "neighbouring rows are neighbours");
    let lines = Pair::lines(0..values.len()).len();
    for (tile, packed) in packed.chunks_exact_mut(lines * M).enumerate() {
        let (packed, _) = packed.as_chunks_mut::<M>();
        let top = tile * M;
        let height = M.min(rows - top);
        for (line, first) in packed.iter_mut().zip(values.clone().step_by(2)) {
            let of = |value: usize| {
                let own = value < values.end;
                let start = if own { value * from.element + top } else { 0 };
                &from.values[start..start + if own { height } else { 0 }]
            };
            let (first, second) = (of(first), of(first + 1));
            for (index, places) in line.chunks_mut(LANES).enumerate() {
                let part = |values: &[f32]| {
                    let values = values.get(index * LANES..).unwrap_or_default();
                    let mask = ((1u32 << values.len().min(LANES)) - 1) as __mmask16;
                    // SAFETY: of the CPU, `Avx512`; the mask has no more places than there are values.
                    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
                };
                let (first, second) = (part(first), part(second));
                // SAFETY: of the CPU, `Avx512`.
                let pairs = unsafe {
                    let rounded = transmute::<_, __m512i>(_mm512_cvtne2ps_pbh(second, first));
                    let order = transmute::<[u16; 2 * LANES], __m512i>(IN_PAIRS);
                    transmute::<_, [Pair; LANES]>(_mm512_permutexvar_epi16(order, rounded))
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
        by_row::<_, M>(from, rows, first..first + depth, packed, |values, packed, place| {
            for (lines, values) in packed.chunks_mut(LANES).zip(values.chunks(2 * LANES)) {
                let values = whole::<{ 2 * LANES }>(values, 0.0);
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
        });
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[Pair; M]],
        panel: &[[Pair; PANEL]],
        block: &mut [[f32; PANEL]; M],
    ) {
        // SAFETY: of the CPU, `Avx512`; loads and stores are of 16 of a line's 32 numbers.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); V]; M];
            for (sums, line) in sums.iter_mut().zip(block.iter()) {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(line.as_ptr().add(v * LANES));
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
            for (sums, line) in sums.iter().zip(block.iter_mut()) {
                for (v, &sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(line.as_mut_ptr().add(v * LANES), sum);
                }
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
        by_row::<_, M>(from, rows, first..first + depth, packed, |values, packed, place| {
            let (head, packed) = packed.split_at_mut(HEAD);
            let (scale, inverse, low) = range(values);
            head[0][place] = Quad::of_f32(scale);
            head[1][place] = Quad::of_f32(low);
            for (lines, values) in packed.chunks_mut(LANES).zip(values.chunks(4 * LANES)) {
                let values = whole::<{ 4 * LANES }>(values, low);
                // SAFETY: of the CPU, `Avx512`; each load is of 16 of the 64 values.
                let quads = unsafe {
                    let four: [__m128i; 4] = std::array::from_fn(|part| {
                        let x = _mm512_loadu_ps(values.as_ptr().add(part * LANES));
                        let x = _mm512_sub_ps(x, _mm512_set1_ps(low));
                        let x = _mm512_mul_ps(x, _mm512_set1_ps(inverse));
                        _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x))
                    });
                    transmute::<[__m128i; 4], [Quad; LANES]>(four)
                };
                for (line, quad) in lines.iter_mut().zip(quads) {
                    line[place] = quad;
                }
            }
        });
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[Quad; M]],
        panel: &[[Quad; PANEL]],
        block: &mut [[f32; PANEL]; M],
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
            let [scales, totals] = [&column[0], &column[1]]
                .map(|line| vectors::<_, V>(self, line).map(|one| _mm512_castsi512_ps(one)));
            for (place, (sums, line)) in sums.iter().zip(block.iter_mut()).enumerate() {
                let [scale, offset] = [row[0][place], row[1][place]].map(Quad::f32);
                for (v, &sum) in sums.iter().enumerate() {
                    let place = line.as_mut_ptr().add(v * LANES);
                    let products = _mm512_mul_ps(scales[v], _mm512_cvtepi32_ps(sum));
                    let sum = _mm512_loadu_ps(place);
                    let sum = _mm512_fmadd_ps(_mm512_set1_ps(offset), totals[v], sum);
                    let sum = _mm512_fmadd_ps(_mm512_set1_ps(scale), products, sum);
                    _mm512_storeu_ps(place, sum);
                }
            }
        }
    }
}
