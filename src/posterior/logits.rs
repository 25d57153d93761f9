//! A distribution over the logits of one text: all that links and metrics see of a posterior.

use std::borrow::Cow;
use std::sync::Arc;

use crate::compute::kernels::gemm::PackedMatrix;

/// A distribution over the logits of one text.
#[derive(Clone, Debug, PartialEq)]
pub enum LogitDistribution {
    /// All mass on one point, `[c]`.
    Point(Vec<f64>),
    Gaussian {
        /// `[c]`.
        mean_c: Vec<f64>,
        /// Up to a shift of all logits at once, which no link sees.
        covariance: LogitCovariance,
    },
    Samples {
        /// `[m, c]`.
        logit_mc: Vec<f64>,
        /// `c`.
        classes: usize,
    },
}

/// The covariance of a text's logits.
#[derive(Clone, Debug, PartialEq)]
pub enum LogitCovariance {
    /// Two classes: the variance of the difference of their logits.
    Difference(f64),
    /// F with C = F Fᵀ, `[c, j]`.
    Root(Vec<f64>),
    /// C = diag(v), `[c]`: the logits are independent.
    Diagonal(Vec<f64>),
    /// C = Q diag(v) Qᵀ with a basis that all texts share.
    Shared {
        /// Q, `[c, j]`.
        basis: Arc<Basis>,
        /// v, `[j]`.
        variance_j: Vec<f64>,
    },
}

/// Columns `[c, j]` that span the covariances of all texts, packed for products once.
#[derive(Clone, Debug)]
pub struct Basis {
    value_cj: Vec<f32>,
    width: usize,
    panels: PackedMatrix,
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        (&self.value_cj, self.width) == (&other.value_cj, other.width)
    }
}

impl Basis {
    /// From `[c, j]`, `width` being `j`.
    pub fn new(value_cj: Vec<f32>, width: usize) -> Self {
        let mut panels = PackedMatrix::default();
        panels.take_transposed(&value_cj, width);
        Self { value_cj, width, panels }
    }

    /// Logits, `c`.
    pub fn classes(&self) -> usize {
        self.value_cj.len() / self.width
    }

    /// Columns, `j`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[c, j]`.
    pub fn values(&self) -> &[f32] {
        &self.value_cj
    }

    pub(super) fn panels(&self) -> &PackedMatrix {
        &self.panels
    }

    /// The columns times these deviations, `[c, j]`.
    pub(crate) fn scaled(&self, deviation_j: &[f64]) -> Vec<f64> {
        let lines = self.value_cj.chunks_exact(self.width);
        lines
            .flat_map(|line| line.iter().zip(deviation_j).map(|(&q, d)| f64::from(q) * d))
            .collect()
    }
}

impl LogitDistribution {
    /// The mean logits, `[c]`.
    pub fn mean(&self) -> Cow<'_, [f64]> {
        match self {
            Self::Point(mean_c) | Self::Gaussian { mean_c, .. } => Cow::Borrowed(mean_c),
            Self::Samples { logit_mc, classes } => {
                let samples = (logit_mc.len() / classes) as f64;
                let column = |c| logit_mc.iter().skip(c).step_by(*classes).sum::<f64>() / samples;
                Cow::Owned((0..*classes).map(column).collect())
            }
        }
    }
}
