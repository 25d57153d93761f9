//! Sums of embedding rows, and their gradient by rows that occur.

use rayon::prelude::*;

use super::norm::add;

/// Lines a task.
const LINES: usize = 64;

/// Adds rows of `table`, `[v, d]`, by id to the lines of `x`, `[p, d]`.
pub fn add_rows(x: &mut [f32], table: &[f32], ids: &[u32], width: usize) {
    let blocks = x.par_chunks_mut(LINES * width).zip(ids.par_chunks(LINES));
    blocks.for_each(|(x, ids)| {
        for (x, &id) in x.chunks_exact_mut(width).zip(ids) {
            let start = id as usize * width;
            add(x, &table[start..start + width]);
        }
    });
}

/// Adds the lines of `gradient`, `[p, d]`, to the rows of `total`, `[v, d]`, whose ids they have, in
/// the order of the lines. Touches no other row.
pub fn add_rows_backward(gradient: &[f32], ids: &[u32], width: usize, total: &mut [f32]) {
    for (gradient, &id) in gradient.chunks_exact(width).zip(ids) {
        let start = id as usize * width;
        add(&mut total[start..start + width], gradient);
    }
}
