//! The right side of a product.

use rayon::prelude::*;

use super::kernel::Element;
use super::multiply::{Left, PackPanel};
use super::pair::Pair;
use super::quad::{Quad, put_column};
use crate::compute::Precision;

/// Columns of a panel.
pub const PANEL: usize = 32;

/// The right side of a product, `[k, n]`, as panels of [`PANEL`] columns each `[k, PANEL]`, the last
/// one filled up with zeros.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix {
    pub(super) panels: Panels,
    pub(super) inner: usize,
    pub(super) columns: usize,
}

/// The numbers of all panels, one after another.
#[derive(Clone, Debug)]
pub(super) enum Panels {
    F32(Vec<f32>),
    /// Each `[k / 2, PANEL]`, where k is filled up to an even number.
    Bf16(Vec<Pair>),
    /// Each `[2 + k / 4, PANEL]`, where k is filled up to a multiple of four.
    Int8(Vec<Quad>),
}

impl Default for Panels {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

impl PackedMatrix {
    /// One that takes its numbers at a precision, which this CPU has instructions for.
    pub fn new(precision: Precision) -> Self {
        let panels = match precision {
            Precision::F32 => Panels::default(),
            Precision::Bf16 => Panels::Bf16(Vec::new()),
            Precision::Int8 => Panels::Int8(Vec::new()),
        };
        Self { panels, ..Self::default() }
    }

    pub fn precision(&self) -> Precision {
        match &self.panels {
            Panels::F32(_) => Precision::F32,
            Panels::Bf16(_) => Precision::Bf16,
            Panels::Int8(_) => Precision::Int8,
        }
    }

    /// Takes `wᵀ`, where `w` is `[n, k]`: what a linear layer multiplies with.
    pub fn take_transposed(&mut self, w: &[f32], inner: usize) {
        self.resize(inner, w.len() / inner);
        let lines = |index: usize| w[index * PANEL * inner..].chunks_exact(inner).take(PANEL);
        match &mut self.panels {
            Panels::F32(values) => by_panel(values, inner, |index, panel| {
                for (column, line) in lines(index).enumerate() {
                    for (place, &value) in panel[column..].iter_mut().step_by(PANEL).zip(line) {
                        *place = value;
                    }
                }
            }),
            Panels::Bf16(pairs) => {
                fill_panels(
                    pairs,
                    Left { values: w, line: inner, element: 1 },
                    self.columns,
                    inner,
                );
            }
            Panels::Int8(quads) => by_panel(quads, Quad::lines(0..inner).len(), |index, panel| {
                for (column, line) in lines(index).enumerate() {
                    put_column(panel, column, line);
                }
            }),
        }
    }

    /// Takes `w` as it stands, `[k, n]`: what the gradient of a linear layer multiplies with, in f32 or bf16.
    pub fn take(&mut self, w: &[f32], columns: usize) {
        let inner = w.len() / columns;
        self.resize(inner, columns);
        match &mut self.panels {
            Panels::F32(values) => by_panel(values, inner, |index, panel| {
                let first = index * PANEL;
                let width = PANEL.min(columns - first);
                for (place, line) in panel.chunks_exact_mut(PANEL).zip(w.chunks_exact(columns)) {
                    place[..width].copy_from_slice(&line[first..first + width]);
                }
            }),
            Panels::Bf16(pairs) => {
                fill_panels(pairs, Left { values: w, line: 1, element: columns }, columns, inner);
            }
            Panels::Int8(_) => unreachable!("gradients are not made in int8"),
        }
    }

    /// Sets the shape. The columns that fill up the last panel are zero.
    fn resize(&mut self, inner: usize, columns: usize) {
        let fresh = (self.inner, self.columns) != (inner, columns);
        let clear = fresh && !columns.is_multiple_of(PANEL);
        let places = columns.div_ceil(PANEL) * PANEL;
        match &mut self.panels {
            Panels::F32(values) => resize(values, places * inner, clear),
            Panels::Bf16(pairs) => resize(pairs, places * inner.div_ceil(2), clear),
            Panels::Int8(quads) => resize(quads, places * Quad::lines(0..inner).len(), clear),
        }
        (self.inner, self.columns) = (inner, columns);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(values) => values.capacity() * size_of::<f32>(),
            Panels::Bf16(pairs) => pairs.capacity() * size_of::<Pair>(),
            Panels::Int8(quads) => quads.capacity() * size_of::<Quad>(),
        }
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

/// Calls `fill` with each panel, of so many lines, and its index.
fn by_panel<E: Send>(panels: &mut [E], lines: usize, fill: impl Fn(usize, &mut [E]) + Sync) {
    let panels = panels.par_chunks_mut(PANEL * lines).enumerate();
    panels.for_each(|(index, panel)| fill(index, panel));
}

/// Fills panels from columns given as the rows of a left side, and rounded as those are.
fn fill_panels(panels: &mut [Pair], columns: Left<'_>, count: usize, inner: usize) {
    by_panel(panels, inner.div_ceil(2), |index, panel| {
        let first = index * PANEL;
        let columns = Left { values: &columns.values[first * columns.line..], ..columns };
        let count = PANEL.min(count - first);
        Pair::dispatch(PackPanel { columns, count, inner, panel });
    });
}

fn resize<E: Clone + Default>(panels: &mut Vec<E>, size: usize, clear: bool) {
    if clear {
        panels.clear();
    }
    panels.resize(size, E::default());
}
