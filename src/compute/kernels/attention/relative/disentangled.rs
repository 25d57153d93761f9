//! Scores of content with position and of position with content.
//!
//! He, Liu, Gao and Chen, "DeBERTa" (ICLR 2021), equation 4, with one index for both terms, as DeBERTa-v2
//! has it: `score_st = (q_s · k_t + q_s · Kᵣ + k_t · Qᵣ) / √(n k)`, `r` the row of the distance s − t.
//!
//! Every term is a sum over features. With the relative keys and queries by distance, what a line of
//! scores reads for one feature stands side by side, and the terms are added to the content's where it
//! stands; the gradients read the same places. Nothing of size s · t is made.

use pulp::Simd;
use rayon::prelude::*;

use super::{Columns, Lines, load, store, vectors};
use crate::compute::RelativeRows;
use crate::compute::kernels::attention::block::{Head, Line, QUERIES, Scratch};
use crate::compute::kernels::gemm::PANEL;

/// Lines of zeros before the first key and behind the last: what the first query of a block and its last
/// have in common with distances of no key.
const MARGIN: usize = 48;

/// Relative keys and queries of one layer, which depend on its weights alone, ready to be spread over
/// the distances of a batch.
#[derive(Clone, Debug, Default)]
pub struct RelativeProjections {
    shape: Shape,
    /// Kᵣ, `[d, rows]`; nothing where content does not ask for positions.
    keys: Vec<f32>,
    /// Qᵣ / √(n k), likewise; nothing where positions do not ask for content.
    queries: Vec<f32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    heads: usize,
    /// Width of a head.
    wide: usize,
    /// Terms of a score, that of the content included: `n`.
    terms: usize,
}

impl Shape {
    fn scale(self) -> f32 {
        1.0 / ((self.terms * self.wide) as f32).sqrt()
    }
}

impl RelativeProjections {
    /// Takes relative keys and queries, `[rows, d]` each, of those that there are. Scores are scaled by
    /// 1/√(`terms` · k).
    pub fn take(
        &mut self,
        [keys, queries]: [Option<&[f32]>; 2],
        width: usize,
        heads: usize,
        terms: usize,
    ) {
        self.shape = Shape { heads, wide: width / heads, terms };
        transpose(keys.unwrap_or(&[]), width, 1.0, &mut self.keys);
        transpose(queries.unwrap_or(&[]), width, self.shape.scale(), &mut self.queries);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        (self.keys.capacity() + self.queries.capacity()) * size_of::<f32>()
    }
}

/// Rows that are transposed together.
const ROWS: usize = 16;

/// `[rows, width]` to `[width, rows]`, scaled.
fn transpose(from: &[f32], width: usize, scale: f32, to: &mut Vec<f32>) {
    to.resize(from.len(), 0.0);
    let count = from.len() / width;
    for (block, rows) in from.chunks(ROWS * width).enumerate() {
        for (feature, line) in to.chunks_exact_mut(count).enumerate() {
            let values = rows[feature..].iter().step_by(width);
            for (place, value) in line[block * ROWS..].iter_mut().zip(values) {
                *place = value * scale;
            }
        }
    }
}

/// Relative keys and queries of one layer by distance.
#[derive(Clone, Debug, Default)]
pub struct Disentangled {
    shape: Shape,
    columns: Columns,
    /// Kᵣ, `[d, columns]`, or nothing.
    keys: Vec<f32>,
    /// Qᵣ / √(n k), `[d, columns]`, or nothing.
    queries: Vec<f32>,
    /// The same for the backward pass, `[heads, panels, columns]` lines of features.
    query_lines: Vec<Line>,
}

impl Disentangled {
    /// Takes the rows that the distances read. `backward` says whether a backward pass follows.
    pub fn take(&mut self, from: &RelativeProjections, rows: &RelativeRows, backward: bool) {
        self.shape = from.shape;
        self.columns = Columns { reach: rows.reach() };
        self.columns.spread(&from.keys, rows, self.width(), &mut self.keys);
        self.columns.spread(&from.queries, rows, self.width(), &mut self.queries);
        self.query_lines.clear();
        if backward && !self.queries.is_empty() {
            self.take_lines();
        }
    }

    fn take_lines(&mut self) {
        let (wide, count) = (self.shape.wide, self.columns.count());
        let panels = wide.div_ceil(PANEL);
        self.query_lines.resize(self.shape.heads * panels * count, [0.0; PANEL]);
        let heads = self.query_lines.par_chunks_mut(panels * count);
        heads.zip(self.queries.par_chunks(wide * count)).for_each(|(lines, queries)| {
            for (feature, values) in queries.chunks_exact(count).enumerate() {
                let lines = &mut lines[feature / PANEL * count..][..count];
                for (line, &value) in lines.iter_mut().zip(values) {
                    line[feature % PANEL] = value;
                }
            }
        });
    }

    fn width(&self) -> usize {
        self.shape.heads * self.shape.wide
    }

    /// What the products of a score are scaled by.
    pub(in super::super) fn scale(&self) -> f32 {
        self.shape.scale()
    }

    /// Tables whose gradients are summed.
    pub(super) fn tables(&self) -> usize {
        self.has().into_iter().filter(|has| *has).count()
    }

    /// Whether it has relative keys, and whether queries.
    pub(super) fn has(&self) -> [bool; 2] {
        [!self.keys.is_empty(), !self.queries.is_empty()]
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let values = self.keys.capacity() + self.queries.capacity();
        values * size_of::<f32>() + self.query_lines.capacity() * size_of::<Line>()
    }

    /// The lines of one head: one a feature.
    fn of_head<'a>(&self, values: &'a [f32], head: usize) -> &'a [f32] {
        let size = self.shape.wide * self.columns.count();
        if values.is_empty() { values } else { &values[head * size..(head + 1) * size] }
    }

    /// Adds to the scores of a block of queries. `s.keys` holds the packed keys, `s.queries` the scaled
    /// queries.
    #[inline(always)]
    pub(super) fn add<S: Simd, const M: usize, const V: usize>(
        &self,
        simd: S,
        head: usize,
        first_query: usize,
        s: &mut Scratch,
    ) {
        let count = self.columns.count();
        let keys = self.of_head(&self.keys, head);
        let queries = self.of_head(&self.queries, head);
        let (blocks, _) = s.scores.as_chunks_mut::<M>();
        let tiles = s.keys.chunks_exact(M * self.shape.wide).zip(blocks);
        for (tile, (left, block)) in tiles.enumerate() {
            let start = self.columns.first(first_query, tile * M + M - 1);
            let mut sums = load::<S, M, V>(simd, block);
            for (query, line) in s.queries.iter().zip(keys.chunks_exact(count)) {
                let window = &line[start..start + M + QUERIES - 1];
                let query = vectors::<S, V>(query);
                for (key, sums) in sums.iter_mut().enumerate() {
                    let added = vectors::<S, V>(&window[M - 1 - key..M - 1 - key + QUERIES]);
                    for ((sum, &query), &added) in sums.iter_mut().zip(query).zip(added) {
                        *sum = simd.mul_add_f32s(query, added, *sum);
                    }
                }
            }
            let (left, _) = left.as_chunks::<M>();
            for (left, line) in left.iter().zip(queries.chunks_exact(count)) {
                let window = &line[start..start + M + QUERIES - 1];
                for (key, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(left[key]);
                    let added = vectors::<S, V>(&window[M - 1 - key..M - 1 - key + QUERIES]);
                    for (sum, &added) in sums.iter_mut().zip(added) {
                        *sum = simd.mul_add_f32s(value, added, *sum);
                    }
                }
            }
            store::<S, M, V>(&sums, block);
        }
    }

    /// Adds what the relative keys give to the gradient of a block's queries, before its scale:
    /// `s.mixed`, `[features, queries]`, from `s.slopes`, `[keys, queries]`.
    #[inline(always)]
    pub(super) fn add_to_queries<S: Simd, const M: usize, const D: usize, const V: usize>(
        &self,
        simd: S,
        head: usize,
        first_query: usize,
        s: &mut Scratch,
    ) {
        let count = self.columns.count();
        let keys = self.of_head(&self.keys, head);
        if keys.is_empty() {
            return;
        }
        let (tiles, _) = s.slopes.as_chunks::<M>();
        let (blocks, _) = s.mixed.as_chunks_mut::<D>();
        for (index, block) in blocks.iter_mut().enumerate() {
            let mut sums = load::<S, D, V>(simd, block);
            for (tile, slopes) in tiles.iter().enumerate() {
                let start = self.columns.first(first_query, tile * M + M - 1);
                let mut windows = [&keys[..0]; D];
                for (offset, window) in windows.iter_mut().enumerate() {
                    // The last block may have more lines than there are features, which nobody reads.
                    let feature = (index * D + offset).min(self.shape.wide - 1);
                    let from = feature * count + start;
                    *window = &keys[from..from + M + QUERIES - 1];
                }
                for (key, slopes) in slopes.iter().enumerate() {
                    let slopes = vectors::<S, V>(slopes);
                    for (sums, window) in sums.iter_mut().zip(&windows) {
                        let added = vectors::<S, V>(&window[M - 1 - key..M - 1 - key + QUERIES]);
                        for ((sum, &slope), &added) in sums.iter_mut().zip(slopes).zip(added) {
                            *sum = simd.mul_add_f32s(slope, added, *sum);
                        }
                    }
                }
            }
            store::<S, D, V>(&sums, block);
        }
    }

    /// Adds what the relative queries give to the gradient of the keys, `s.key_gradient`, which is
    /// `[panels, keys]` lines of features.
    #[inline(always)]
    pub(super) fn add_to_keys<S: Simd, const M: usize, const V: usize>(
        &self,
        simd: S,
        head: usize,
        first_query: usize,
        s: &mut Scratch,
    ) {
        if self.query_lines.is_empty() {
            return;
        }
        let (count, panels) = (self.columns.count(), self.shape.wide.div_ceil(PANEL));
        let lines = &self.query_lines[head * panels * count..(head + 1) * panels * count];
        let (tiles, _) = s.slopes.as_chunks::<M>();
        let totals = s.key_gradient.chunks_exact_mut(tiles.len() * M);
        for (lines, total) in lines.chunks_exact(count).zip(totals) {
            let (total, _) = total.as_chunks_mut::<M>();
            for (tile, (slopes, total)) in tiles.iter().zip(total).enumerate() {
                let start = self.columns.first(first_query, tile * M + M - 1);
                let window = &lines[start..start + M + QUERIES - 1];
                let mut sums = load::<S, M, V>(simd, total);
                for query in 0..QUERIES {
                    for (key, (sums, slopes)) in sums.iter_mut().zip(slopes).enumerate() {
                        let value = simd.splat_f32s(slopes[query]);
                        let line = vectors::<S, V>(&window[M - 1 - key + query]);
                        for (sum, &vector) in sums.iter_mut().zip(line) {
                            *sum = simd.mul_add_f32s(value, vector, *sum);
                        }
                    }
                }
                store::<S, M, V>(&sums, total);
            }
        }
    }

    /// What the backward pass of a head needs besides: its keys, scaled, as lines of features with
    /// margins, `[panels, margin + keys + margin]`.
    #[inline(always)]
    pub(super) fn prepare(&self, job: &Head<'_>, lines: &mut Lines) {
        let keys = job.span.keys.len();
        let (height, rows) = (keys + 2 * MARGIN, job.key_rows());
        lines.keys.clear();
        lines.keys.resize(self.shape.wide.div_ceil(PANEL) * height, [0.0; PANEL]);
        for key in 0..keys {
            let row = &rows.values[key * rows.line..key * rows.line + self.shape.wide];
            for (panel, part) in row.chunks(PANEL).enumerate() {
                let line = &mut lines.keys[panel * height + MARGIN + key];
                for (place, value) in line.iter_mut().zip(part) {
                    *place = value * self.scale();
                }
            }
        }
    }

    /// Sums the gradients of both tables over a block of queries, by distance: `[tables, panels,
    /// columns]` lines of features. `s.query_rows` holds the scaled queries.
    #[inline(always)]
    pub(super) fn add_to_tables<S: Simd, const M: usize, const V: usize>(
        &self,
        simd: S,
        keys: usize,
        first_query: usize,
        s: &mut Scratch,
        total: &mut [f32],
    ) {
        let height = keys + 2 * MARGIN;
        let Lines { keys: key_lines, slopes } = &mut s.relative;
        slopes.clear();
        slopes.resize(MARGIN, [0.0; QUERIES]);
        slopes.extend_from_slice(&s.slopes[..keys]);
        slopes.resize(height, [0.0; QUERIES]);
        let columns = Columns { reach: keys };
        let (total, _) = total.as_chunks_mut::<PANEL>();
        let mut totals = total.chunks_exact_mut(columns.count());
        // The distances of a block: that of its first query from the last key, and so on.
        let first = columns.first(first_query, keys - 1);
        let distances = keys + QUERIES - 1;
        if !self.keys.is_empty() {
            for lines in s.query_rows.chunks_exact(QUERIES) {
                let total = totals.next().expect("there is one for each panel");
                for tile in 0..distances.div_ceil(M) {
                    let window = Self::window::<M>(slopes, keys, tile);
                    let total = &mut total[first + tile * M..first + (tile + 1) * M];
                    let total: &mut [Line; M] = total.try_into().expect("it is as long");
                    let mut sums = load::<S, M, V>(simd, total);
                    for (query, line) in lines.iter().enumerate() {
                        let line = vectors::<S, V>(line);
                        for (distance, sums) in sums.iter_mut().enumerate() {
                            let slope = window[M - 1 - distance + query][query % QUERIES];
                            let value = simd.splat_f32s(slope);
                            for (sum, &vector) in sums.iter_mut().zip(line) {
                                *sum = simd.mul_add_f32s(value, vector, *sum);
                            }
                        }
                    }
                    store::<S, M, V>(&sums, total);
                }
            }
        }
        if !self.queries.is_empty() {
            for lines in key_lines.chunks_exact(height) {
                let total = totals.next().expect("there is one for each panel");
                for tile in 0..distances.div_ceil(M) {
                    let window = Self::window::<M>(slopes, keys, tile);
                    let lines = Self::window::<M>(lines, keys, tile);
                    let total = &mut total[first + tile * M..first + (tile + 1) * M];
                    let total: &mut [Line; M] = total.try_into().expect("it is as long");
                    let mut sums = load::<S, M, V>(simd, total);
                    #[expect(clippy::needless_range_loop, reason = "it is a place in two")]
                    for query in 0..QUERIES {
                        for (distance, sums) in sums.iter_mut().enumerate() {
                            let place = M - 1 - distance + query;
                            let value = simd.splat_f32s(window[place][query]);
                            let line = vectors::<S, V>(&lines[place]);
                            for (sum, &vector) in sums.iter_mut().zip(line) {
                                *sum = simd.mul_add_f32s(value, vector, *sum);
                            }
                        }
                    }
                    store::<S, M, V>(&sums, total);
                }
            }
        }
    }

    /// The lines of keys that some distances of a block have to do with: key `keys − 1 + q − j` for
    /// query `q` of the block and distance `j` of it stands at `M − 1 − j + q`, `j` counted in the tile.
    #[inline(always)]
    fn window<const M: usize>(lines: &[Line], keys: usize, tile: usize) -> &[Line] {
        let start = MARGIN + keys - (tile + 1) * M;
        &lines[start..start + M + QUERIES - 1]
    }
}
