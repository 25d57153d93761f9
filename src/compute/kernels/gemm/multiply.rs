//! Products on one thread, tile by tile.

use std::ops::Range;

use super::Start;
use super::kernel::{Element, Kernel, Work};
use super::packed_matrix::PANEL;

/// The left side of a product: element (i, k) is `values[i * line + k * element]`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    pub values: &'a [f32],
    pub line: usize,
    /// Distance between elements of a row.
    pub element: usize,
}

/// Where the tiles of a left side come from.
pub(super) enum Source<'a, E> {
    /// Rows, and memory to pack them in.
    Rows(Left<'a>, &'a mut Vec<E>),
    /// What [`Pack`] gave, depth by depth.
    Packed(&'a [E]),
}

/// Packs some values of some rows of a left side, which begin where a tile begins.
pub(super) struct Pack<'a, E> {
    pub(super) left: Left<'a>,
    pub(super) count: usize,
    /// The rows of the whole left side: they say how high a tile is.
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) packed: &'a mut [E],
}

impl<E: Element> Work<E> for Pack<'_, E> {
    type Output = ();

    fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn run<K: Kernel<E>, const M: usize, const V: usize>(self, kernel: K) {
        kernel.pack::<M>(self.left, self.count, 0, self.depth, self.packed);
    }
}

/// Packs columns of a right side, which are the rows of its transpose, into one panel.
pub(super) struct PackPanel<'a, E> {
    pub(super) columns: Left<'a>,
    pub(super) count: usize,
    pub(super) inner: usize,
    pub(super) panel: &'a mut [E],
}

impl<E: Element> Work<E> for PackPanel<'_, E> {
    type Output = ();

    fn rows(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn run<K: Kernel<E>, const M: usize, const V: usize>(self, kernel: K) {
        kernel.pack::<PANEL>(self.columns, self.count, 0, self.inner, self.panel);
    }
}

/// How high a tile of so many rows is.
pub(super) struct Height(pub(super) usize);

impl<E: Element> Work<E> for Height {
    type Output = usize;

    fn rows(&self) -> usize {
        self.0
    }

    #[inline(always)]
    fn run<K: Kernel<E>, const M: usize, const V: usize>(self, _: K) -> usize {
        M
    }
}

/// A product on one thread: `c = start + left · b`. `b` is panels over the whole inner dimension of so
/// many values, `c` the lines of the result.
pub(super) struct Multiply<'a, 'c, E> {
    pub(super) left: Source<'a, E>,
    pub(super) inner: usize,
    pub(super) b: &'a [E],
    pub(super) start: Start<'a>,
    pub(super) c: &'a mut [&'c mut [f32]],
}

impl<E: Element> Work<E> for Multiply<'_, '_, E> {
    type Output = ();

    fn rows(&self) -> usize {
        self.c.len()
    }

    #[inline(always)]
    fn run<K: Kernel<E>, const M: usize, const V: usize>(self, kernel: K) {
        let Self { left, inner, b, start, c } = self;
        let rows = c.len();
        let padded = rows.div_ceil(M) * M;
        let panels = || b.chunks_exact(E::lines(0..inner).len() * PANEL).enumerate();
        let depths = (0..inner)
            .step_by(E::DEPTH)
            .map(|first| first..first.saturating_add(E::DEPTH).min(inner));
        match left {
            // The right side once from its beginning to its end: it may come from memory.
            Source::Packed(packed) => {
                for (index, panel) in panels() {
                    for depth in depths.clone() {
                        let (first, lines) = (depth.start == 0, E::lines(depth));
                        let packed = &packed[padded * lines.start..padded * lines.end];
                        let start = if first { start } else { Start::Result };
                        let block = Block { packed, panel, lines, first: index * PANEL, start };
                        block.multiply::<K, M, V>(kernel, c);
                    }
                }
            }
            Source::Rows(left, packed) => {
                for depth in depths {
                    let lines = E::lines(depth.clone());
                    packed.resize(padded * lines.len(), E::default());
                    kernel.pack::<M>(left, rows, depth.start, depth.len(), packed);
                    let start = if depth.start == 0 { start } else { Start::Result };
                    for (index, panel) in panels() {
                        let (packed, lines) = (&packed[..], lines.clone());
                        let block = Block { packed, panel, lines, first: index * PANEL, start };
                        block.multiply::<K, M, V>(kernel, c);
                    }
                }
            }
        }
    }
}

/// Packed rows times some depth of one panel.
struct Block<'a, E> {
    packed: &'a [E],
    panel: &'a [E],
    lines: Range<usize>,
    /// The panel's first column.
    first: usize,
    start: Start<'a>,
}

impl<E: Element> Block<'_, E> {
    #[inline(always)]
    fn multiply<K: Kernel<E>, const M: usize, const V: usize>(
        self,
        kernel: K,
        c: &mut [&mut [f32]],
    ) {
        let Self { packed, panel, lines, first, start } = self;
        let (panel, _) = panel[lines.start * PANEL..lines.end * PANEL].as_chunks::<PANEL>();
        let width = PANEL.min(c[0].len() - first);
        for (left, c) in packed.chunks_exact(M * lines.len()).zip(c.chunks_mut(M)) {
            let (left, _) = left.as_chunks::<M>();
            if let (PANEL, Ok(c)) = (width, <&mut [_; M]>::try_from(&mut *c)) {
                let mut c = c.iter_mut();
                let c = std::array::from_fn(|_| whole_line(c.next(), first));
                kernel.tile::<M, V>(left, panel, start.from(first), c);
                continue;
            }
            // At an edge: what is there, in a block of its own.
            let mut block = [[0.0f32; PANEL]; M];
            for (block, c) in block.iter_mut().zip(c.iter()) {
                let block = &mut block[..width];
                match start {
                    Start::Zero => {}
                    Start::Bias(bias) => block.copy_from_slice(&bias[first..first + width]),
                    Start::Result => block.copy_from_slice(&c[first..first + width]),
                }
            }
            kernel.tile::<M, V>(left, panel, Start::Result, block.each_mut());
            for (block, c) in block.iter().zip(c.iter_mut()) {
                c[first..first + width].copy_from_slice(&block[..width]);
            }
        }
    }
}

/// The columns of a panel in a line of the result.
#[inline(always)]
fn whole_line<'a>(line: Option<&'a mut &mut [f32]>, first: usize) -> &'a mut [f32; PANEL] {
    line.and_then(|line| line[first..].first_chunk_mut()).expect("the tile is whole")
}
