//! Variational Bayesian last layers: Harrison, Willes and Snoek, "Variational Bayesian last layers" (ICLR
//! 2024), the discriminative classification of section 3.2. It is fitted on the features of a trained encoder, which
//! with `vbll_joint` was trained by the same bound.
//!
//! | paper | here |
//! |---|---|
//! | φ, with the bias folded in: φ̃ | `Design`, `[n, D]`, scaled to a mean variance of one |
//! | z = Wφ̃ + ε, ε ~ N(0, diag σ²), y ~ Cat(softmax z) | the model; σ² is `noise`, `[k]` |
//! | q(W) = ∏_k N(w̄_k, S_k), p(w_k) = N(0, ς I) | `mean`; S_k = diag(s_k) + U_k U_kᵀ with `vbll_rank` columns; `prior_variance` |
//! | the bound of ln p(y \| φ): L = w̄_yᵀφ̃ − ln Σ_k exp(w̄_kᵀφ̃ + ½ (φ̃ᵀS_kφ̃ + σ_k²)) | `Bound` |
//! | −Σ c_n L_n + KL(q ‖ p) − ln p(Σ) | its `objective`; c_n is what a row counts (not in the paper), else 1 |
//! | p(Σ⁻¹), a Wishart prior of the noise precisions | with the constants of the authors' code |
//!
//! Theirs is trained by minibatches together with the encoder, as with `vbll_joint` ([`Joint`]). In the end, here, the
//! encoder stays as it is, so the objective is a function of w̄, ln s, U and ln σ² alone; for a diagonal S it is convex,
//! and L-BFGS (`minimise`) finds its one minimum from the fitted linear layer. Also unlike them ς, which they leave to
//! the user, is by empirical Bayes: at every point the one that minimises the divergence, Σ_k (tr S_k +
//! ‖w̄_k‖²) / (KD). And they sample the predictive distribution, where the logits of a text are exactly
//! Gaussian, with the variances φ̃ᵀS_kφ̃ + σ_k²: they go through the links of all methods. The noise σ²,
//! which counts with the bias, is thereby part of the epistemic uncertainty; it is small.

mod bound;
mod joint;
mod minimise;

use candle_core::Result;
use serde::{Deserialize, Serialize};

use self::bound::{Bound, Sizes};
use self::joint::Joint;
use self::minimise::{Patience, minimise};
use super::laplace::{Evidence, FeatureRows, Head, usual_scale};
use super::{Approach, FitInput, FitRecord, Method, Needs, ObjectiveInput, tensors};
use crate::compute::{Noise, Purpose};
use crate::posterior::algebra::{Design, Eigen, Matrix};
use crate::posterior::{Classwise, Covariance, DRAWS_SEED, Posterior, Spread};
use crate::train::Objective;

/// Its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vbll {
    /// Directions of the covariance of each class, besides its diagonal.
    pub vbll_rank: usize,
    /// Whether the encoder is fine-tuned by the bound, and not by the cross entropy.
    pub vbll_joint: bool,
}

/// The most directions of a class.
const MOST_RANK: usize = 8;
/// At rest is where a step would be shorter than this many posterior standard deviations: what is left to
/// gain is below 1e-6 nats over all rows.
const PATIENCE: Patience = Patience { short: 1e-3, steps: 1000 };
/// How large directions are where the search begins, in posterior standard deviations.
const FIRST_DIRECTION: f64 = 0.1;

impl Approach for Vbll {
    fn needs(&self) -> Needs {
        let objective = self.vbll_joint;
        Needs { training_features: true, hidden_states: true, objective, ..Needs::default() }
    }

    fn check(&self) -> std::result::Result<(), String> {
        match self.vbll_rank {
            0..=MOST_RANK => Ok(()),
            rank => Err(format!("`posterior.vbll_rank` is {rank}; use 0 to {MOST_RANK}")),
        }
    }

    fn objective(&self, input: ObjectiveInput<'_>) -> Result<Option<Box<dyn Objective>>> {
        let ObjectiveInput { classes, width, rows, .. } = input;
        let joint = || Box::new(Joint { classes, width, rows }) as Box<dyn Objective>;
        Ok(self.vbll_joint.then(joint))
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let start_kd = input.linear_head()?.mean_kd;
        let found = fit(&input.rows, &start_kd, self.vbll_rank, input.head, PATIENCE)?;
        let (mean_cd, mean_c) = tensors(&found.mean_kd, input.rows.classes)?;
        let spread = Spread::LastLayer(Covariance::Classwise(found.covariance));
        let posterior = Posterior::new(input.rows.task, mean_cd, mean_c, spread, input.link);
        let evidence = Some(found.evidence);
        let joint = self.vbll_joint;
        Ok((posterior, FitRecord { evidence, joint, ..input.record(Method::Vbll) }))
    }

    fn describe(posterior: &Posterior, fit: &FitRecord) -> String {
        let form = match &posterior.spread {
            Spread::LastLayer(Covariance::Classwise(one)) if one.rank() > 0 => {
                format!("a diagonal and {} directions for each class", one.rank())
            }
            _ => "a diagonal for each class".to_owned(),
        };
        let prior = |evidence: Evidence| {
            format!(
                " The precision of its prior, {:.3}, was chosen by empirical Bayes.",
                evidence.prior_precision
            )
        };
        let encoder = match fit.joint {
            true => "of an encoder that was trained by the same bound",
            false => "of the trained encoder",
        };
        format!(
            "A variational Bayesian last layer, fitted on the features {encoder}: the \
             Gaussian over its weights, with {form}, that maximises a lower bound of the marginal \
             likelihood (Harrison et al., 2024).{} Each text needs one forward pass.",
            fit.evidence.map(prior).unwrap_or_default()
        )
    }
}

/// A last layer that was fitted.
struct Fitted {
    /// `[k, D]`.
    mean_kd: Vec<f64>,
    covariance: Classwise,
    evidence: Evidence,
}

/// Minimises the negative bound from a last layer on, `[k, D]`.
fn fit(
    rows: &FeatureRows<'_>,
    start_kd: &[f64],
    rank: usize,
    head: Head,
    patience: Patience,
) -> Result<Fitted> {
    let classes = rows.classes;
    let width = start_kd.len() / classes;
    let scale = usual_scale(rows.feature_nd, width - 1);
    let design = Design::scaled(rows.feature_nd, &scale)?;
    let squared = design.squared()?;
    let weight_n: Vec<f64> =
        rows.labels.iter().map(|&label| rows.class_weights[label as usize]).collect();
    let sizes = Sizes { classes, width, rank };
    let bound = Bound {
        keep_mean: head == Head::Keep,
        ..Bound::new((&design, &squared), rows.labels, &weight_n, sizes)?
    };
    let mean_kd: Vec<f64> =
        start_kd.iter().zip(scale.iter().cycle()).map(|(w, scale)| w / scale).collect();
    let (start, metric) = begin(&bound, &mean_kd)?;
    let value = |values: &[f64]| {
        let found = bound.at(values)?;
        Ok((found.objective, found.gradient))
    };
    let found = minimise(start, patience, value, |gradient| metric.apply(gradient))?;
    let end = bound.at(&found.at)?;
    let parts = sizes.parts(&found.at);
    let variance = parts.log_diagonal.iter().map(|value| value.exp());
    // As weights of features as they are; the noise is a variance of the bias, behind the last feature.
    let mut variance_ki: Vec<f32> = Vec::with_capacity(classes * width);
    for (place, (variance, scale)) in variance.zip(scale.iter().cycle()).enumerate() {
        let noise = match (place + 1).is_multiple_of(width) {
            true => parts.log_noise[place / width].exp(),
            false => 0.0,
        };
        variance_ki.push((variance * scale * scale + noise) as f32);
    }
    let scaled = |values: &[f64]| -> Vec<f64> {
        values.iter().zip(scale.iter().cycle()).map(|(value, scale)| value * scale).collect()
    };
    let direction_kri = scaled(parts.directions).into_iter().map(|value| value as f32).collect();
    let weights = (classes * width) as f64;
    tracing::debug!(
        "vbll: bound {}, divergence {}, {} steps",
        end.fit,
        end.divergence,
        found.steps
    );
    Ok(Fitted {
        mean_kd: match head {
            Head::Refit => scaled(parts.mean),
            Head::Keep => start_kd.to_vec(),
        },
        covariance: Classwise { variance_ki, direction_kri, classes },
        evidence: Evidence {
            prior_precision: end.prior_variance.recip(),
            effective_parameters: weights - end.trace / end.prior_variance,
            log_evidence: -end.objective,
            rounds: found.steps,
            converged: found.converged,
        },
    })
}

/// Near the inverse of the curvature: Kronecker factors for w̄, and for each other number its own.
struct Metric {
    sizes: Sizes,
    /// Of Σ c_n φ̃φ̃ᵀ / Σ c_n, `[D, D]`.
    features: Eigen,
    /// Of Σ c_n (diag(p) − ppᵀ), `[k, k]`.
    logits: Eigen,
    prior_precision: f64,
    /// Of what follows w̄ in the flat vector.
    rest: Vec<f64>,
}

impl Metric {
    fn apply(&self, gradient: &[f64]) -> Vec<f64> {
        let Sizes { classes, width, .. } = self.sizes;
        let (mean, rest) = gradient.split_at(classes * width);
        let (q_a, q_b) = (&self.features.vectors, &self.logits.vectors);
        let g_dk = Matrix::from_column_slice(width, classes, mean);
        let mut inner = q_a.transpose() * (g_dk * q_b);
        for (j, b) in self.logits.values.iter().enumerate() {
            for (i, a) in self.features.values.iter().enumerate() {
                inner[(i, j)] /= a * b + self.prior_precision;
            }
        }
        let mean = q_a * (inner * q_b.transpose());
        let rest = rest.iter().zip(&self.rest).map(|(value, own)| value * own);
        mean.iter().copied().chain(rest).collect()
    }
}

/// Where the search begins: around a last layer, `[k, D]`, with the variances that its probabilities leave.
fn begin(bound: &Bound<'_>, mean_kd: &[f64]) -> Result<(Vec<f64>, Metric)> {
    let Sizes { classes, width, rank } = bound.sizes;
    let mut share_nk = bound.design.logits(mean_kd)?;
    let mut logits = Matrix::zeros(classes, classes);
    for (line, weight) in share_nk.chunks_exact_mut(classes).zip(bound.weight_n) {
        let peak = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        line.iter_mut().for_each(|value| *value = (*value - peak).exp());
        let sum: f64 = line.iter().sum();
        line.iter_mut().for_each(|value| *value /= sum);
        for (k, p) in line.iter().enumerate() {
            logits[(k, k)] += weight * p;
            for (l, other) in line[..=k].iter().enumerate() {
                logits[(k, l)] -= weight * p * other;
            }
        }
        line.iter_mut().for_each(|value| *value *= weight);
    }
    logits.fill_upper_triangle_with_lower_triangle();
    let mut count_k = vec![0.0; classes];
    for line in share_nk.chunks_exact(classes) {
        count_k.iter_mut().zip(line).for_each(|(count, share)| *count += share);
    }
    let second_kd = bound.squared.collect(share_nk)?;
    let norm: f64 = mean_kd.iter().map(|w| w * w).sum();
    let weights = (classes * width) as f64;
    let prior_precision = bound.prior_variance.map_or(weights / norm.max(1e-9), f64::recip);
    let variance: Vec<f64> =
        second_kd.iter().map(|second| (second + prior_precision).recip()).collect();
    let sum: f64 = bound.weight_n.iter().sum();
    let share_n: Vec<f64> = bound.weight_n.iter().map(|weight| weight / sum).collect();
    let features = Eigen::of(bound.design.gram(&share_n)?);

    let log_noise: Vec<f64> = count_k.iter().map(|&count| bound.sizes.log_noise(count)).collect();
    let mut stream = Noise::new(DRAWS_SEED).stream(Purpose::Init, 0, 0);
    // [k, r, D]: the variances of a class under each of its directions.
    let under: Vec<f64> = variance.chunks_exact(width).flat_map(|own| own.repeat(rank)).collect();
    let directions: Vec<f64> =
        under.iter().map(|v| FIRST_DIRECTION * v.sqrt() * stream.normal()).collect();
    let of_noise = |(count, log): (&f64, &f64)| {
        let noise = log.exp();
        (0.5 * (count * noise + noise.recip())).recip()
    };
    let rest = std::iter::repeat_n(2.0, classes * width)
        .chain(under.iter().copied())
        .chain(count_k.iter().zip(&log_noise).map(of_noise))
        .collect();
    let logarithms = variance.iter().map(|v| v.ln());
    let start = mean_kd.iter().copied().chain(logarithms).chain(directions).chain(log_noise);
    let start: Vec<f64> = start.collect();
    debug_assert_eq!(start.len(), bound.sizes.total());
    let metric =
        Metric { sizes: bound.sizes, features, logits: Eigen::of(logits), prior_precision, rest };
    Ok((start, metric))
}

#[cfg(test)]
mod tests;
