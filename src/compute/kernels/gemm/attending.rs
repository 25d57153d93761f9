//! The two products of attention in bf16, whose both sides are made where they are multiplied.
//!
//! One side of each stands in a panel of 32 columns and the other in tiles of rows, as in all products here, so an
//! element is one chain over its pairs in order and its bits depend on no neighbour. What is rounded to nearest even:
//! queries and keys, with a relative error below 2⁻⁹ each, weights before they are divided by their sum, and values.

use super::Start;
use super::kernel::{Element, Kernel, Work};
use super::multiply::{Left, PackPanel};
use super::packed_matrix::PANEL;
use super::pair::Pair;

/// One value for each of 32 queries or features.
type Line = [f32; PANEL];

/// Queries of a tile of weights.
const QUERIES: usize = 8;

/// Keys and values of one head of one sequence, packed, and what a block of queries needs beside them.
#[derive(Debug, Default)]
pub struct PairHead {
    /// How many keys there are.
    count: usize,
    /// In tiles of keys.
    keys: Vec<Pair>,
    /// In panels of features.
    values: Vec<Pair>,
    queries: Vec<Pair>,
    weights: Vec<Pair>,
}

impl PairHead {
    /// Takes so many keys of so many features, and their values. Gives the keys of a tile.
    pub fn take(&mut self, keys: Left<'_>, values: Left<'_>, count: usize, wide: usize) -> usize {
        self.count = count;
        let pairs = count.div_ceil(2);
        self.values.resize(wide.div_ceil(PANEL) * pairs * PANEL, Pair::default());
        let columns = Left { line: values.element, element: values.line, ..values };
        let panel = &mut self.values[..];
        Pair::dispatch(PackPanel { columns, count: wide, inner: count, panel });
        Pair::dispatch(PackKeys { rows: keys, count, wide, packed: &mut self.keys })
    }

    /// Products of all keys from `first` on, where a tile begins, with a block of queries `[queries, wide]`, at most
    /// 32: `[keys, queries]`. `result` has so many lines, and those that fill up the last tile.
    pub fn scores(&mut self, queries: &[f32], wide: usize, first: usize, result: &mut [Line]) {
        self.queries.resize(wide.div_ceil(2) * PANEL, Pair::default());
        let columns = Left { values: queries, line: wide, element: 1 };
        let (count, panel) = (queries.len() / wide, &mut self.queries[..]);
        Pair::dispatch(PackPanel { columns, count, inner: wide, panel });
        let keys = &self.keys[first * wide.div_ceil(2)..];
        let (queries, _) = self.queries.as_chunks();
        Pair::dispatch(Scores { count: self.count, keys, queries, result });
    }

    /// Sums of the values of the keys from `first` on, an even number, with weights `[keys, queries]` for each of so
    /// many queries: `[panels, queries, PANEL]`, where the queries are filled up to a multiple of eight.
    pub fn mix(&mut self, weights: &[Line], first: usize, queries: usize, result: &mut Vec<Line>) {
        let queries = queries.next_multiple_of(QUERIES);
        let pairs = weights.len().div_ceil(2);
        self.weights.resize(queries * pairs, Pair::default());
        let (values, _) = self.values.as_chunks();
        let panels = values.chunks_exact(self.count.div_ceil(2));
        result.resize(panels.len() * queries, [0.0; PANEL]);
        let first = first / 2;
        Pair::dispatch(Mix { weights, packed: &mut self.weights, queries, panels, first, result });
    }
}

struct PackKeys<'a> {
    rows: Left<'a>,
    count: usize,
    wide: usize,
    packed: &'a mut Vec<Pair>,
}

impl Work<Pair> for PackKeys<'_> {
    /// The keys of a tile.
    type Output = usize;

    fn rows(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn run<K: Kernel<Pair>, const M: usize, const V: usize>(self, kernel: K) -> usize {
        let Self { rows, count, wide, packed } = self;
        packed.resize(count.div_ceil(M) * M * wide.div_ceil(2), Pair::default());
        kernel.pack::<M>(rows, count, 0, wide, packed);
        M
    }
}

struct Scores<'a> {
    /// All keys: they say how high a tile is.
    count: usize,
    keys: &'a [Pair],
    queries: &'a [[Pair; PANEL]],
    result: &'a mut [Line],
}

impl Work<Pair> for Scores<'_> {
    type Output = ();

    fn rows(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn run<K: Kernel<Pair>, const M: usize, const V: usize>(self, kernel: K) {
        let (blocks, _) = self.result.as_chunks_mut::<M>();
        for (block, keys) in blocks.iter_mut().zip(self.keys.chunks_exact(M * self.queries.len())) {
            let (keys, _) = keys.as_chunks::<M>();
            kernel.tile::<M, V>(keys, self.queries, Start::Zero, block.each_mut());
        }
    }
}

struct Mix<'a, P> {
    weights: &'a [Line],
    packed: &'a mut [Pair],
    queries: usize,
    /// Of values.
    panels: P,
    /// The pair of the panels that the weights begin with.
    first: usize,
    result: &'a mut [Line],
}

impl<'a, P: Iterator<Item = &'a [[Pair; PANEL]]>> Work<Pair> for Mix<'_, P> {
    type Output = ();

    fn rows(&self) -> usize {
        self.queries
    }

    #[inline(always)]
    fn run<K: Kernel<Pair>, const M: usize, const V: usize>(self, kernel: K) {
        let Self { weights, packed, queries, panels, first, result } = self;
        let rows = Left { values: weights.as_flattened(), line: 1, element: PANEL };
        kernel.pack::<QUERIES>(rows, queries, 0, weights.len(), packed);
        let pairs = weights.len().div_ceil(2);
        for (values, result) in panels.zip(result.chunks_exact_mut(queries)) {
            let (blocks, _) = result.as_chunks_mut::<QUERIES>();
            for (block, weights) in blocks.iter_mut().zip(packed.chunks_exact(QUERIES * pairs)) {
                let (weights, _) = weights.as_chunks::<QUERIES>();
                let (values, block) = (&values[first..first + pairs], block.each_mut());
                kernel.tile::<QUERIES, V>(weights, values, Start::Zero, block);
            }
        }
    }
}
