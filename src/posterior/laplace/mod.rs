//! Last-layer Laplace approximation: a Gaussian over the weights of the last linear layer, around a
//! head that is refitted on cached features under a prior precision chosen by the evidence.
//!
//! MacKay, "The evidence framework applied to classification networks" (Neural Computation 4, 1992);
//! Daxberger and others, "Laplace redux: effortless Bayesian deep learning" (NeurIPS 2021), the
//! last-layer variants; Ritter, Botev and Barber, "A scalable Laplace approximation for neural networks"
//! (ICLR 2018) for the Kronecker factors.
//!
//! | paper | here |
//! |---|---|
//! | φ̃ = (φ, 1), the feature with the bias folded in | `Design`, `[n, D]` |
//! | δ, the prior's precision | `prior_precision` |
//! | W*, the mode of Σ −ln p(y \| Wφ̃) + (δ/2)‖W‖² | `mean_kd`, `[k, D]` |
//! | H = Σ Λ_n ⊗ φ̃φ̃ᵀ, Λ_n = diag(p) − ppᵀ: for this model the generalised Gauss-Newton matrix is the Hessian | `Single`, `full`, `Kronecker` |
//! | γ = Σ λ / (λ + δ) over the eigenvalues of H | `effective_parameters` |
//!
//! Two classes are one difference w = w₁ − w₀ with the prior precision δ/2, which is the same model:
//! at the mode w₁ = −w₀. More classes have their whole curvature over the logits that sum to zero
//! ([`FULL_WEIGHTS`]), else Kronecker factors. Unlike the papers the mode is moved to every δ that is
//! tried, so mean and covariance belong to one prior; the empirical Fisher matrix, which collapses at
//! a confident mode, is not offered.

mod evidence;
mod full;
mod kronecker;
mod single;
mod softmax;

use std::sync::Arc;

use candle_core::Result;

pub use self::evidence::Evidence;
use self::evidence::fixed_point;
use self::single::{Single, bernoulli, squared};
use self::softmax::Softmax;
use super::algebra::{Design, InverseRoot};
use super::covariance::{Covariance, Kronecker, Root};
use super::logits::Basis;

/// Up to so many weights of contrasts the covariance of more than two classes is kept whole.
pub const FULL_WEIGHTS: usize = 4000;

/// What a head is fitted on.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[n, d]`.
    pub feature_nd: &'a [f32],
    /// `[n]`, each below `classes`.
    pub labels: &'a [u32],
    /// `k`.
    pub classes: usize,
}

/// A head with its posterior.
#[derive(Clone, Debug, PartialEq)]
pub struct Laplace {
    /// The mean of weights and, last in each line, bias: `[k, D]`.
    pub mean_kd: Vec<f64>,
    /// Around it.
    pub covariance: Covariance,
    /// Of the prior that was chosen.
    pub evidence: Evidence,
}

/// Whether the head moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// To the mode under every prior that is tried.
    Refit,
    /// It stays, and is taken for the mode.
    Keep,
}

/// Fits prior, head and covariance. `trained_kd` is the head that training ended with, `[k, D]`.
pub fn fit(rows: &Rows<'_>, trained_kd: &[f64], head: Head) -> Result<Laplace> {
    let d = trained_kd.len() / rows.classes - 1;
    let design = Design::new(rows.feature_nd, d)?;
    if rows.classes == 2 {
        return fit_two(&design, rows.labels, trained_kd, head);
    }
    let softmax = Softmax::new(&design, rows.labels, rows.classes)?;
    if (rows.classes - 1) * design.width() <= FULL_WEIGHTS {
        fit_full(&softmax, trained_kd, head)
    } else {
        fit_kronecker(&softmax, trained_kd, head)
    }
}

fn fit_two(design: &Design, labels: &[u32], trained_kd: &[f64], head: Head) -> Result<Laplace> {
    let target_n: Vec<f64> = labels.iter().map(|&label| f64::from(label)).collect();
    let model = Single { design, target_n: &target_n, term: bernoulli };
    let (first, second) = trained_kd.split_at(design.width());
    let weight_d = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let mut mode = single::Mode { weight_d, precision: None };
    // The fixed point runs over δ; the difference has the precision δ/2 and ‖w‖² = 2 ‖W‖².
    let evidence = fixed_point(|prior_precision| {
        let prior = 0.5 * prior_precision;
        match head {
            Head::Refit => model.refit(&mut mode, prior)?,
            Head::Keep => model.stay(&mut mode, prior)?,
        }
        let round = model.round(&mode, prior)?;
        Ok(evidence::Round { squared_norm: 0.5 * round.squared_norm, ..round })
    })?;
    let root = &mode.precision.as_ref().expect("a mode was fitted").root;
    let mean_kd = match head {
        Head::Refit => [-0.5, 0.5]
            .iter()
            .flat_map(|half| mode.weight_d.iter().map(move |weight| half * weight))
            .collect(),
        Head::Keep => trained_kd.to_vec(),
    };
    Ok(Laplace { mean_kd, covariance: Covariance::Difference(Root::new(root)), evidence })
}

fn fit_full(model: &Softmax<'_>, trained_kd: &[f64], head: Head) -> Result<Laplace> {
    let mut mode = model.start(trained_kd)?;
    let mut precision: Option<InverseRoot> = None;
    let evidence = fixed_point(|prior| {
        if head == Head::Refit {
            model.refit(&mut mode, prior)?;
        }
        let found = full::precision(model, &mode, prior)?;
        let norm = squared(&mode.weight_kd);
        let round = full::round(&found, model.objective(&mode, prior), norm, prior);
        precision = Some(found);
        Ok(round)
    })?;
    let root = Root::new(&precision.expect("a mode was fitted").root);
    let covariance = Covariance::Full { root, classes: model.classes };
    Ok(Laplace { mean_kd: mean(mode, trained_kd, head), covariance, evidence })
}

fn fit_kronecker(model: &Softmax<'_>, trained_kd: &[f64], head: Head) -> Result<Laplace> {
    let mut mode = model.start(trained_kd)?;
    let mut factors = model.kronecker(&mode);
    let evidence = fixed_point(|prior| {
        if head == Head::Refit {
            model.refit(&mut mode, prior)?;
            factors = model.kronecker(&mode);
        }
        Ok(factors.round(model.objective(&mode, prior), squared(&mode.weight_kd), prior))
    })?;
    let prior = evidence.prior_precision;
    let mut variance_ji = Vec::new();
    for b in &factors.logits.values {
        let along = factors.features.values.iter().map(|a| (a * b + prior).recip() as f32);
        variance_ji.extend(along);
    }
    let single = |value: &f64| *value as f32;
    let (q_a, q_b) = (&factors.features.vectors, &factors.logits.vectors);
    let covariance = Covariance::Kronecker(Kronecker {
        // Column by column of Q_A is row by row of its transposed.
        feature_rows: q_a.iter().map(single).collect(),
        variance_ji,
        basis: Arc::new(Basis::new(q_b.transpose().iter().map(single).collect(), q_b.ncols())),
    });
    Ok(Laplace { mean_kd: mean(mode, trained_kd, head), covariance, evidence })
}

fn mean(mode: softmax::Mode, trained_kd: &[f64], head: Head) -> Vec<f64> {
    match head {
        Head::Refit => mode.weight_kd,
        Head::Keep => trained_kd.to_vec(),
    }
}

#[cfg(test)]
mod tests;
