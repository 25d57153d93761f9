//! Four numbers of eight bits beside each other: AVX512-VNNI and AVX-VNNI multiply neighbours of the inner dimension in fours and
//! adds their products to a sum of 32 bits, exactly.
//!
//! A weight is w = s·q, where q is signed and s belongs to its output: the largest weight of an output is 127 (see
//! [`crate::compute::rounding`]). What is multiplied with it is x = r·p + o, where p is unsigned and r and o belong to
//! its row: they map the row's range onto 0 to 255. Then Σ x·w = r·s·Σ p·q + o·s·Σ q, where both sums are integers and
//! exact, so a result has the same bits on every machine.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use super::kernel::{Element, Work};
use super::packed_matrix::{PANEL, PackedMatrix, Panels};
use crate::compute::rounding::{MOST, step};

/// Lines before the numbers. In a panel: s, and s·Σ q. In a tile of rows: r and o. The bits of f32.
pub(super) const HEAD: usize = 2;

/// Four neighbours, the first one in the lowest byte, or the bits of an f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Quad(pub(super) u32);

impl Quad {
    pub(super) fn of_f32(value: f32) -> Self {
        Self(value.to_bits())
    }

    pub(super) fn f32(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// Puts the weights of one output into a column of a panel.
pub(super) fn put_column(panel: &mut [Quad], column: usize, w: &[f32]) {
    // What is no number makes a scale that is none.
    let scale = step(w) + w.iter().map(|w| w * 0.0).sum::<f32>();
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let (mut places, mut sum) = (panel[column..].iter_mut().step_by(PANEL), 0i32);
    let mut head = places.by_ref().take(HEAD);
    let (to_scale, to_sum) = (head.next(), head.next());
    for (place, four) in places.zip(w.chunks(4)) {
        let mut bytes = [0; 4];
        for (byte, w) in bytes.iter_mut().zip(four) {
            let rounded = (w * inverse).round_ties_even().clamp(-MOST, MOST) as i8;
            sum += i32::from(rounded);
            *byte = rounded.cast_unsigned();
        }
        *place = Quad(u32::from_le_bytes(bytes));
    }
    for (place, value) in [(to_scale, scale), (to_sum, scale * sum as f32)] {
        if let Some(place) = place {
            *place = Quad::of_f32(value);
        }
    }
}

/// r, 1/r and o of a row; r is no number where the row has something that is none, or not finite.
#[inline(always)]
pub(super) fn range(x: &[f32]) -> (f32, f32, f32) {
    let (mut low, mut high, mut poison) = ([f32::MAX; 16], [f32::MIN; 16], [0.0f32; 16]);
    let (whole, rest) = x.as_chunks::<16>();
    let mut take = |lane: usize, x: f32| {
        low[lane] = if x < low[lane] { x } else { low[lane] };
        high[lane] = if x > high[lane] { x } else { high[lane] };
        poison[lane] += x * 0.0;
    };
    for x in whole {
        (0..16).for_each(|lane| take(lane, x[lane]));
    }
    rest.iter().enumerate().for_each(|(lane, &x)| take(lane, x));
    let low = low.into_iter().fold(f32::MAX, f32::min);
    let high = high.into_iter().fold(f32::MIN, f32::max);
    let scale = (high - low) / 255.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (scale + poison.into_iter().sum::<f32>(), inverse, low)
}

thread_local! {
    static SPARE: Cell<Vec<Quad>> = Cell::default();
}

impl Element for Quad {
    /// All at once: sums of integers stay in registers.
    const DEPTH: usize = usize::MAX;

    fn lines(values: Range<usize>) -> Range<usize> {
        0..HEAD + values.end.div_ceil(4)
    }

    fn panels(matrix: &PackedMatrix) -> &[Self] {
        match &matrix.panels {
            Panels::Int8(panels) => panels,
            _ => unreachable!("targets of one product have one precision"),
        }
    }

    fn spare() -> &'static LocalKey<Cell<Vec<Self>>> {
        &SPARE
    }

    #[cfg(target_arch = "x86_64")]
    fn dispatch<W: Work<Self>>(work: W) -> W::Output {
        super::x86::with_int8(work)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn dispatch<W: Work<Self>>(_: W) -> W::Output {
        unreachable!("panels are made where a CPU has the instructions")
    }
}
