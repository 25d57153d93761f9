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
//! | c_n, what a row counts: the weight of its class (not in the papers), else 1 | `weight_n` |
//! | W*, the mode of Σ −c_n ln p(y \| Wφ̃) + (δ/2)‖W‖² | `mean_kd`, `[k, D]` |
//! | H = Σ c_n Λ_n ⊗ φ̃φ̃ᵀ, Λ_n = diag(p) − ppᵀ: for this model the generalised Gauss-Newton matrix is the Hessian | `Single`, `full`, `Kronecker` |
//! | γ = Σ λ / (λ + δ) over the eigenvalues of H | `effective_parameters` |
//!
//! Two classes are one difference w = w₁ − w₀ with the prior precision δ/2, which is the same model:
//! at the mode w₁ = −w₀. More classes have their whole curvature over the logits that sum to zero
//! ([`FULL_WEIGHTS`]), else Kronecker factors. Unlike the papers the mode is moved to every δ that is
//! tried, so mean and covariance belong to one prior. A row that counts c times stands for c rows like it:
//! the likelihood is ∏ p(y)^c, and mode, curvature and evidence are all those of that product. The empirical Fisher matrix, which collapses at
//! a confident mode, is not offered.

mod approach;
mod evidence;
mod full;
mod kronecker;
mod newton;
mod single;
mod softmax;

use std::sync::Arc;

use candle_core::Result;

pub use self::approach::Settings;
use self::evidence::choose;
pub use self::evidence::{Evidence, Prior};
use self::single::{Single, bernoulli, squared};
use self::softmax::Softmax;
use super::reference::ContrastTarget;
use crate::posterior::algebra::{Design, Eigen, InverseRoot};
use crate::posterior::{Basis, Common, Covariance, Difference, Full, Kronecker, Root};
use crate::task::Task;

/// Up to so many weights of contrasts the covariance of more than two classes is kept whole.
pub const FULL_WEIGHTS: usize = 4000;

/// What a head is fitted on.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRows<'a> {
    /// What the labels are.
    pub task: Task,
    /// `[n, d]`.
    pub feature_nd: &'a [f32],
    /// `[n]`, each below `classes`.
    pub labels: &'a [u32],
    /// `k`.
    pub classes: usize,
    /// What a row of each class counts, `[k]`.
    pub class_weights: &'a [f64],
}

/// A head with its posterior.
#[derive(Clone, Debug, PartialEq)]
pub struct Laplace {
    /// The mean of weights and, last in each line, bias: `[k, D]`.
    pub mean_kd: Vec<f64>,
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

/// When a fit is at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// A Newton step is the last one if it is shorter than this many posterior standard deviations, as
    /// the Kronecker factors measure them.
    short: f64,
    /// The prior has come to rest when a round changes its logarithm by less.
    rest: f64,
}

impl Tolerance {
    /// To the precision of f32.
    pub const EXACT: Self = Self { short: 1e-6, rest: 1e-3 };
    /// For the weights that are kept: all rows together lose less than 5e-5 nats.
    pub const KEPT: Self = Self { short: 0.01, rest: 1e-3 };
    /// For comparing priors, and for judging rows: what is left to go, over all weights together,
    /// changes the loss of all rows together by less than 0.05 nats, half the square of `short`.
    pub const NEAR: Self = Self { short: 0.3, rest: 0.05 };
}

/// A head on rows, ready to be fitted under one prior after another. Weights, `[k, D]`, go in and come
/// out as they apply to the features themselves.
#[derive(Debug)]
pub struct Problem<'a> {
    rows: FeatureRows<'a>,
    /// What each feature, and the one behind them, is multiplied by before the prior sees it, `[D]`.
    scale: Vec<f64>,
    design: Design,
    /// What each row counts, `[n]`.
    weight_n: Vec<f64>,
    /// Of more than two classes.
    second_moment: Option<Eigen>,
    /// Whether few weights of more than two classes have Kronecker factors too.
    factored: bool,
}

impl<'a> Problem<'a> {
    /// With an isotropic prior of the features as they are.
    pub fn new(rows: FeatureRows<'a>, d: usize) -> Result<Self> {
        Self::scaled(rows, vec![1.0; d + 1])
    }

    /// With an isotropic prior of scaled features; `scale` is `[D]`.
    pub fn scaled(rows: FeatureRows<'a>, scale: Vec<f64>) -> Result<Self> {
        let Task::SingleLabel = rows.task;
        let design = Design::scaled(rows.feature_nd, &scale)?;
        let weight_n: Vec<f64> =
            rows.labels.iter().map(|&label| rows.class_weights[label as usize]).collect();
        let second_moment = match rows.classes {
            2 => None,
            _ => Some(second_moment(&design, &weight_n)?),
        };
        Ok(Self { rows, scale, design, weight_n, second_moment, factored: false })
    }

    /// With Kronecker factors for more than two classes, however few the weights.
    pub fn factored(self) -> Self {
        Self { factored: true, ..self }
    }

    /// What it is fitted on.
    pub fn rows(&self) -> FeatureRows<'a> {
        self.rows
    }

    /// `k`.
    pub fn classes(&self) -> usize {
        self.rows.classes
    }

    /// The logits of the rows under weights `[k, D]`: `[n, k]`.
    pub fn logits(&self, weight_kd: &[f64]) -> Result<Vec<f64>> {
        self.design.logits(&self.scaled_down(weight_kd))
    }

    /// The covariance (Σ c_n λ_n φ̃φ̃ᵀ + prior · I)⁻¹ of weights, the same for every class, for curvatures λ
    /// `[n]` of the rows.
    pub fn common(&self, curvature_n: &[f64], prior_precision: f64) -> Result<Covariance> {
        let counted = curvature_n.iter().zip(&self.weight_n).map(|(curvature, c)| curvature * c);
        let mut precision = self.design.gram(&counted.collect::<Vec<_>>())?;
        for i in 0..self.design.width() {
            precision[(i, i)] += prior_precision;
        }
        let root = Root::new(&InverseRoot::of(&precision)?.root);
        let covariance = Covariance::Common(Common { root, classes: self.rows.classes });
        Ok(covariance.of_unscaled(&self.scale))
    }

    fn softmax(&self) -> Result<Softmax<'_>> {
        let moment = self.second_moment.clone().expect("there are more than two classes");
        let FeatureRows { labels, classes, .. } = self.rows;
        Softmax::new(&self.design, labels, classes, &self.weight_n, moment)
    }

    fn single<'b>(&'b self, target_n: &'b [f64]) -> Single<'b> {
        Single { design: &self.design, target_n, weight_n: &self.weight_n, term: bernoulli }
    }

    fn scaled_down(&self, weight_kd: &[f64]) -> Vec<f64> {
        weight_kd.iter().zip(self.scale.iter().cycle()).map(|(w, scale)| w / scale).collect()
    }

    fn scaled_up(&self, mut weight_kd: Vec<f64>) -> Vec<f64> {
        weight_kd.iter_mut().zip(self.scale.iter().cycle()).for_each(|(w, scale)| *w *= scale);
        weight_kd
    }

    /// The weights under a prior precision, without their covariance.
    pub fn mode(
        &self,
        start_kd: &[f64],
        prior_precision: f64,
        tolerance: Tolerance,
    ) -> Result<Vec<f64>> {
        let start_kd = self.scaled_down(start_kd);
        let weight_kd = if self.rows.classes == 2 {
            let target_n = targets(self.rows.labels);
            let model = self.single(&target_n);
            let mut mode = single::Mode::of_two(&start_kd);
            model.refit(&mut mode, 0.5 * prior_precision)?;
            mode.of_each()
        } else {
            let model = self.softmax()?;
            let mut mode = model.start(&start_kd)?;
            model.refit(&mut mode, prior_precision, tolerance.short)?;
            mode.weight_kd
        };
        Ok(self.scaled_up(weight_kd))
    }

    /// The posterior around a mode under a prior precision, for a sampler.
    pub(super) fn contrast_target(
        &self,
        mode_kd: &[f64],
        prior_precision: f64,
    ) -> Result<ContrastTarget<'_>> {
        let FeatureRows { labels, classes, .. } = self.rows;
        let mode_kd = self.scaled_down(mode_kd);
        let moment = match &self.second_moment {
            Some(moment) => moment.clone(),
            None => second_moment(&self.design, &self.weight_n)?,
        };
        let model = Softmax::new(&self.design, labels, classes, &self.weight_n, moment)?;
        let precision = full::precision(&model, &model.start(&mode_kd)?, prior_precision)?;
        let rows = (&self.design, labels, self.weight_n.as_slice());
        let (scale, root) = (self.scale.as_slice(), precision.root);
        Ok(ContrastTarget::new(rows, scale, &mode_kd, prior_precision, root))
    }

    /// Fits prior, head and covariance. `trained_kd` is the head that training ended with, `[k, D]`.
    pub fn fit(
        &self,
        trained_kd: &[f64],
        head: Head,
        prior: Prior,
        tolerance: Tolerance,
    ) -> Result<Laplace> {
        let how = How { head, prior, tolerance };
        let start_kd = self.scaled_down(trained_kd);
        let classes = self.rows.classes;
        let found = if classes == 2 {
            fit_two(&self.single(&targets(self.rows.labels)), &start_kd, &how)?
        } else if !self.factored && (classes - 1) * self.design.width() <= FULL_WEIGHTS {
            fit_full(&self.softmax()?, &start_kd, &how)?
        } else {
            fit_kronecker(&self.softmax()?, &start_kd, &how)?
        };
        Ok(Laplace {
            mean_kd: match head {
                Head::Refit => self.scaled_up(found.mean_kd),
                Head::Keep => trained_kd.to_vec(),
            },
            covariance: found.covariance.of_unscaled(&self.scale),
            evidence: found.evidence,
        })
    }
}

/// Fits prior, head and covariance on features as they are. `trained_kd` is the head that training
/// ended with, `[k, D]`.
pub fn fit(rows: &FeatureRows<'_>, trained_kd: &[f64], head: Head) -> Result<Laplace> {
    let d = trained_kd.len() / rows.classes - 1;
    Problem::new(*rows, d)?.fit(trained_kd, head, Prior::Evidence(1.0), Tolerance::EXACT)
}

/// What scales features to a mean variance of one, `[D]`: an isotropic prior of scaled features does not
/// depend on their unit. All have the same factor: that they vary differently says something, and one that
/// hardly varies would get a large weight. What stands for the one behind them is larger, so that the bias
/// is nearly free.
pub fn usual_scale(feature_nd: &[f32], d: usize) -> Vec<f64> {
    let rows = (feature_nd.len() / d.max(1)).max(1) as f64;
    let (mut sum_d, mut squares) = (vec![0.0; d], 0.0);
    for feature_d in feature_nd.chunks_exact(d) {
        for (sum, &x) in sum_d.iter_mut().zip(feature_d) {
            *sum += f64::from(x);
            squares += f64::from(x).powi(2);
        }
    }
    let means: f64 = sum_d.iter().map(|sum| (sum / rows).powi(2)).sum();
    let variance = (squares / rows - means) / d.max(1) as f64;
    let scale = if variance > 0.0 { variance.sqrt().recip() } else { 1.0 };
    let mut scale_d = vec![scale; d];
    scale_d.push(FREE);
    scale_d
}

/// What stands for the one behind scaled features. The prior of the bias is then this much wider than
/// that of the weights, so that it makes up for features whose mean is far from zero.
const FREE: f64 = 10.0;

/// How a head is fitted.
struct How {
    head: Head,
    prior: Prior,
    tolerance: Tolerance,
}

fn targets(labels: &[u32]) -> Vec<f64> {
    labels.iter().map(|&label| f64::from(label)).collect()
}

/// A = Σ c_n φ̃ φ̃ᵀ / Σ c_n.
fn second_moment(design: &Design, weight_n: &[f64]) -> Result<Eigen> {
    let sum: f64 = weight_n.iter().sum();
    let share_n: Vec<f64> = weight_n.iter().map(|weight| weight / sum).collect();
    Ok(Eigen::of(design.gram(&share_n)?))
}

fn fit_two(model: &Single<'_>, trained_kd: &[f64], how: &How) -> Result<Laplace> {
    let How { head, prior, tolerance } = *how;
    let mut mode = single::Mode::of_two(trained_kd);
    // The fixed point runs over δ; the difference has the precision δ/2 and ‖w‖² = 2 ‖W‖².
    let evidence = choose(prior, tolerance.rest, |prior_precision| {
        let prior = 0.5 * prior_precision;
        match head {
            Head::Refit => model.refit(&mut mode, prior)?,
            Head::Keep => model.stay(&mut mode, prior)?,
        }
        let round = model.round(&mode, prior)?;
        Ok(evidence::Round { squared_norm: 0.5 * round.squared_norm, ..round })
    })?;
    let root = &mode.precision.as_ref().expect("a mode was fitted").root;
    let covariance = Covariance::Difference(Difference(Root::new(root)));
    Ok(Laplace { mean_kd: mode.of_each(), covariance, evidence })
}

fn fit_full(model: &Softmax<'_>, trained_kd: &[f64], how: &How) -> Result<Laplace> {
    let How { head, prior, tolerance } = *how;
    let mut mode = model.start(trained_kd)?;
    let mut precision: Option<InverseRoot> = None;
    let evidence = choose(prior, tolerance.rest, |prior| {
        if head == Head::Refit {
            model.refit(&mut mode, prior, tolerance.short)?;
        }
        let found = full::precision(model, &mode, prior)?;
        let norm = squared(&mode.weight_kd);
        let round = full::round(&found, model.objective(&mode, prior), norm, prior);
        precision = Some(found);
        Ok(round)
    })?;
    let root = Root::new(&precision.expect("a mode was fitted").root);
    let covariance = Covariance::Full(Full { root, classes: model.classes });
    Ok(Laplace { mean_kd: mode.weight_kd, covariance, evidence })
}

fn fit_kronecker(model: &Softmax<'_>, trained_kd: &[f64], how: &How) -> Result<Laplace> {
    let How { head, prior, tolerance } = *how;
    let mut mode = model.start(trained_kd)?;
    let mut factors = model.kronecker(&mode);
    let evidence = choose(prior, tolerance.rest, |prior| {
        if head == Head::Refit {
            model.refit(&mut mode, prior, tolerance.short)?;
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
    Ok(Laplace { mean_kd: mode.weight_kd, covariance, evidence })
}

#[cfg(test)]
mod tests;
