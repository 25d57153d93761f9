//! The right side of a product.

use rayon::prelude::*;

/// Columns of a panel.
pub const PANEL: usize = 32;

/// The right side of a product, `[k, n]`, as panels of [`PANEL`] columns each `[k, PANEL]`, the last
/// one filled up with zeros.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    pub(super) values: Vec<f32>,
    pub(super) inner: usize,
    pub(super) columns: usize,
}

impl PackedMatrix {
    /// Takes `wᵀ`, where `w` is `[n, k]`: what a linear layer multiplies with.
    pub fn take_transposed(&mut self, w: &[f32], inner: usize) {
        let columns = w.len() / inner;
        self.resize(inner, columns);
        self.values.par_chunks_mut(PANEL * inner).enumerate().for_each(|(index, panel)| {
            let lines = &w[index * PANEL * inner..];
            for (column, line) in lines.chunks_exact(inner).take(PANEL).enumerate() {
                for (place, &value) in panel[column..].iter_mut().step_by(PANEL).zip(line) {
                    *place = value;
                }
            }
        });
    }

    /// Takes `w` as it stands, `[k, n]`: what the gradient of a linear layer multiplies with.
    pub fn take(&mut self, w: &[f32], columns: usize) {
        let inner = w.len() / columns;
        self.resize(inner, columns);
        self.values.par_chunks_mut(PANEL * inner).enumerate().for_each(|(index, panel)| {
            let first = index * PANEL;
            let width = PANEL.min(columns - first);
            for (place, line) in panel.chunks_exact_mut(PANEL).zip(w.chunks_exact(columns)) {
                place[..width].copy_from_slice(&line[first..first + width]);
            }
        });
    }

    /// Sets the shape. The columns that fill up the last panel are zero.
    fn resize(&mut self, inner: usize, columns: usize) {
        let size = columns.div_ceil(PANEL) * PANEL * inner;
        if (self.inner, self.columns) != (inner, columns) && !columns.is_multiple_of(PANEL) {
            self.values.clear();
        }
        self.values.resize(size, 0.0);
        (self.inner, self.columns) = (inner, columns);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// Rows, `k`.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns, `n`.
    pub fn columns(&self) -> usize {
        self.columns
    }
}
