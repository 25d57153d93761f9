//! Two bf16 beside each other: AVX512-BF16 multiplies neighbours of the inner dimension in pairs and adds both
//! products to a sum in f32.
//!
//! An element of a result is one chain of such additions over the pairs in order, so its bits depend on no tile and
//! no thread. Subnormal numbers count as zero, as the instruction has it.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use super::kernel::{Element, Work};
use super::packed_matrix::{PackedMatrix, Panels};

/// Two neighbours: the first one in the lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pair(pub(super) u32);

thread_local! {
    static SPARE: Cell<Vec<Pair>> = Cell::default();
}

impl Element for Pair {
    const DEPTH: usize = 384;

    fn lines(values: Range<usize>) -> Range<usize> {
        values.start / 2..values.end.div_ceil(2)
    }

    fn panels(matrix: &PackedMatrix) -> &[Self] {
        match &matrix.panels {
            Panels::Bf16(panels) => panels,
            _ => unreachable!("targets of one product have one precision"),
        }
    }

    fn spare() -> &'static LocalKey<Cell<Vec<Self>>> {
        &SPARE
    }

    #[cfg(target_arch = "x86_64")]
    fn dispatch<W: Work<Self>>(work: W) -> W::Output {
        super::x86::with_bf16(work)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn dispatch<W: Work<Self>>(_: W) -> W::Output {
        unreachable!("panels are made where a CPU has the instructions")
    }
}
