//! What a product is made of, by the numbers in its panels.

use std::cell::Cell;
use std::fmt::Debug;
use std::ops::Range;
use std::thread::LocalKey;

use super::Start;
use super::multiply::Left;
use super::packed_matrix::{PANEL, PackedMatrix};

/// What panels and packed rows hold: one value of the inner dimension, or neighbouring ones that an
/// instruction multiplies together.
pub(super) trait Element: Copy + Debug + Default + Send + Sync + 'static {
    /// Values of the inner dimension in one pass: a panel of them stays in the first-level cache.
    const DEPTH: usize;

    /// The lines of a panel, and of a tile of rows, that hold these values of the inner dimension, which
    /// begin where a pass begins.
    fn lines(values: Range<usize>) -> Range<usize>;

    /// The panels of a matrix of such elements.
    fn panels(matrix: &PackedMatrix) -> &[Self];

    /// Packed rows. They are taken and put back, since a thread that waits for its tasks may begin
    /// another product.
    fn spare() -> &'static LocalKey<Cell<Vec<Self>>>;

    /// Runs with the best instructions that this CPU has for them, in tiles that fit the registers.
    fn dispatch<W: Work<Self>>(work: W) -> W::Output;
}

/// What runs in tiles.
pub(super) trait Work<E: Element> {
    type Output;

    /// Rows that are divided into tiles.
    fn rows(&self) -> usize;

    /// Runs in tiles of `M` rows, with `V` vectors a line of a panel.
    fn run<K: Kernel<E>, const M: usize, const V: usize>(self, kernel: K) -> Self::Output;
}

/// The inner loops, for one set of instructions.
pub(super) trait Kernel<E: Element>: Copy {
    /// Rows in tiles of `M`, each `[lines, M]`, the last one filled up with zeros: `depth` values of
    /// each row from `first` on.
    fn pack<const M: usize>(
        self,
        from: Left<'_>,
        rows: usize,
        first: usize,
        depth: usize,
        packed: &mut [E],
    );

    /// `lines = start + left · panel`, with all running sums in registers. A bias has a value for each
    /// column of the panel at least.
    fn tile<const M: usize, const V: usize>(
        self,
        left: &[[E; M]],
        panel: &[[E; PANEL]],
        start: Start<'_>,
        lines: [&mut [f32; PANEL]; M],
    );
}

/// A bias for each column of a panel.
pub(super) fn of_panel(bias: &[f32]) -> &[f32; PANEL] {
    bias.first_chunk().expect("a bias has a value for each column of the panel")
}

/// The height of a tile with the least work, counting a line of every tile for its loads, where 32
/// registers hold up to 12 × 2 running sums. A result's bits do not depend on it.
pub(super) fn rows_of_tile(rows: usize) -> usize {
    let work = |height: &usize| rows.div_ceil(*height) * (height + 1);
    [12, 11, 10, 9, 8, 6, 4].into_iter().min_by_key(work).expect("there are heights")
}

/// Runs work in tiles of that height, for vectors of 16 numbers.
macro_rules! in_tiles {
    ($work:expr, $kernel:expr) => {{
        let (work, kernel) = ($work, $kernel);
        match crate::compute::kernels::gemm::kernel::rows_of_tile(work.rows()) {
            12 => work.run::<_, 12, 2>(kernel),
            11 => work.run::<_, 11, 2>(kernel),
            10 => work.run::<_, 10, 2>(kernel),
            9 => work.run::<_, 9, 2>(kernel),
            8 => work.run::<_, 8, 2>(kernel),
            6 => work.run::<_, 6, 2>(kernel),
            _ => work.run::<_, 4, 2>(kernel),
        }
    }};
}

pub(super) use in_tiles;
