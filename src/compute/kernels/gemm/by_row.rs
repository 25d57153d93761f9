//! Packing of rows whose values are neighbours in memory.

use std::ops::Range;

use super::kernel::Element;
use super::multiply::Left;

/// The values as an array; where there are fewer, at the beginning of one that is filled with padding.
#[inline(always)]
pub(super) fn whole<'a, const N: usize>(
    values: &'a [f32],
    padded: &'a mut [f32; N],
) -> &'a [f32; N] {
    if let Ok(whole) = values.try_into() {
        return whole;
    }
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// Packs the values of one row at its place in its tile. Not a closure: those are compiled for the instructions only
/// where the compiler chooses to put them into their caller.
pub(super) trait PutRow<E> {
    fn put<const M: usize>(self, values: &[f32], tile: &mut [[E; M]], place: usize);
}

/// Packs some values of each row in tiles of `M`. Rows that fill up the last tile are zeros.
#[inline(always)]
pub(super) fn by_row<E: Element, const M: usize>(
    kernel: impl PutRow<E> + Copy,
    from: Left<'_>,
    rows: usize,
    values: Range<usize>,
    packed: &mut [E],
) {
    assert_eq!(from.element, 1, "the values of a row are neighbours");
    let lines = packed.len() / rows.div_ceil(M) / M;
    for (tile, packed) in packed.chunks_exact_mut(lines * M).enumerate() {
        let (packed, _) = packed.as_chunks_mut::<M>();
        for place in 0..M {
            let row = tile * M + place;
            if row < rows {
                let start = row * from.line;
                let values = &from.values[start + values.start..start + values.end];
                kernel.put(values, packed, place);
            } else {
                packed.iter_mut().for_each(|line| line[place] = E::default());
            }
        }
    }
}
