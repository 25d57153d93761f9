//! The posterior of the last layer without an approximation: draws of the No-U-Turn sampler, which Bayesian
//! methods are compared with.
//!
//! The model is that of the [Laplace approximation](super::laplace): p(y | φ̃) = softmax(W φ̃) with a Gaussian prior
//! of precision δ. A common change of all rows of W changes no probability, so what is sampled are the weights
//! of the contrasts, V with W = U V, `[k − 1, D]`, as z with V = V* + Rᵀ z: V* is the mode and RᵀR the inverse
//! curvature there, so that z is nearly standard normal and the sampler needs no mass matrix.

pub mod nuts;

use candle_core::{Error, Result, bail};

use self::nuts::{Chain, Lengths};
use super::laplace::{FULL_WEIGHTS, Problem};
use crate::compute::{Noise, Purpose};
use crate::posterior::algebra::{Design, Matrix, contrasts};

/// Draws of the weights of a last layer.
#[derive(Clone, Debug)]
pub struct Exact {
    /// Chain by chain, draw by draw: `[k, D]` each.
    chains: Vec<Vec<Vec<f64>>>,
    classes: usize,
    /// Trajectories that diverged, of all chains.
    pub divergences: usize,
}

/// What draws say of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactPredictive {
    /// The mean of p(class) over the draws, `[n, k]`.
    pub probability_nk: Vec<f64>,
    /// Its entropy less the mean entropy of the draws, in nats, `[n]`.
    pub epistemic_n: Vec<f64>,
    /// The Monte Carlo standard error of `probability_nk`, the largest, from the spread of the chains.
    pub standard_error: f64,
    /// The largest R̂ of a p(class): the spread between chains over that within; at most 1.01 is good.
    pub r_hat: f64,
}

/// Draws weights of a last layer from their posterior. `mode_kd` is its mode under this prior precision, as it
/// applies to the features themselves. The error says why it cannot be sampled.
pub fn sample(
    problem: &Problem<'_>,
    mode_kd: &[f64],
    prior_precision: f64,
    (chains, lengths): (usize, Lengths),
    noise: &Noise,
    progress: &mut dyn FnMut(),
) -> Result<Exact> {
    let classes = problem.classes();
    let size = mode_kd.len() / classes * (classes - 1);
    if size > FULL_WEIGHTS {
        bail!(
            "the last layer has {size} weights, and at most {FULL_WEIGHTS} can be sampled; choose a \
             task with fewer classes"
        )
    }
    let target = problem.contrast_target(mode_kd, prior_precision)?;
    let mut found = Exact { chains: Vec::new(), classes, divergences: 0 };
    for chain in 0..chains {
        let mut stream = noise.stream(Purpose::Reference, chain as u64, 0);
        let start: Vec<f64> = (0..target.size()).map(|_| stream.normal()).collect();
        let at = |place: &[f64]| target.potential(place);
        let Chain { draws, divergences, step } =
            nuts::sample::<Error>(at, start, lengths, &mut stream, progress)?;
        tracing::debug!("chain {chain}: step {step}, {divergences} divergences");
        found.divergences += divergences;
        found.chains.push(draws.iter().map(|place| target.weights(place)).collect());
    }
    Ok(found)
}

impl Exact {
    /// Draws of all chains.
    pub fn draws(&self) -> usize {
        self.chains.iter().map(Vec::len).sum()
    }

    /// Probabilities of texts with features `[n, d]`.
    pub fn predict(&self, feature_nd: &[f32], d: usize) -> Result<ExactPredictive> {
        let design = Design::scaled(feature_nd, &vec![1.0; d + 1])?;
        let (rows, classes) = (design.rows(), self.classes);
        let mut entropy_n = vec![0.0; rows];
        let mut of_chains = Vec::with_capacity(self.chains.len());
        for chain in &self.chains {
            let mut moments = Moments::new(rows * classes);
            for weight_kd in chain {
                let mut p_nk = design.logits(weight_kd)?;
                for (p_k, entropy) in p_nk.chunks_exact_mut(classes).zip(&mut entropy_n) {
                    softmax(p_k);
                    *entropy += entropy_of(p_k);
                }
                moments.add(&p_nk);
            }
            of_chains.push(moments);
        }
        let draws = self.draws() as f64;
        let count = of_chains.len() as f64;
        let mut probability_nk = vec![0.0; rows * classes];
        let (mut standard_error, mut r_hat) = (0.0f64, 1.0f64);
        for (place, probability) in probability_nk.iter_mut().enumerate() {
            let means: Vec<f64> = of_chains.iter().map(|one| one.mean[place]).collect();
            *probability = means.iter().sum::<f64>() / count;
            let between: f64 =
                means.iter().map(|mean| (mean - *probability).powi(2)).sum::<f64>() / (count - 1.0);
            let within =
                of_chains.iter().map(|one| one.squares[place] / (one.count - 1.0)).sum::<f64>()
                    / count;
            standard_error = standard_error.max((between / count).sqrt());
            // A probability that no draw moves says nothing of mixing.
            if within > 1e-12 {
                let length = draws / count;
                r_hat = r_hat.max(((length - 1.0) / length + between / within).sqrt());
            }
        }
        let lines = probability_nk.chunks_exact(classes).zip(&entropy_n);
        let epistemic_n = lines.map(|(p_k, entropy)| entropy_of(p_k) - entropy / draws).collect();
        Ok(ExactPredictive { probability_nk, epistemic_n, standard_error, r_hat })
    }
}

/// Means and sums of squared deviations, by Welford's updates.
struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(size: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; size], squares: vec![0.0; size] }
    }

    fn add(&mut self, values: &[f64]) {
        self.count += 1.0;
        for ((mean, squares), value) in self.mean.iter_mut().zip(&mut self.squares).zip(values) {
            let before = value - *mean;
            *mean += before / self.count;
            *squares += before * (value - *mean);
        }
    }
}

/// −ln of the posterior of z, where V = V* + Rᵀ z.
pub(super) struct ContrastTarget<'a> {
    design: &'a Design,
    labels: &'a [u32],
    /// What each row counts, `[n]`.
    weight_n: &'a [f64],
    prior_precision: f64,
    /// What each feature, and the one behind them, is multiplied by, `[D]`.
    scale: &'a [f64],
    /// U, `[k, k − 1]`.
    basis: Matrix,
    /// V*, contrast by contrast, `[(k − 1) D]`.
    mode: Matrix,
    /// R, lower triangular.
    root: Matrix,
}

impl<'a> ContrastTarget<'a> {
    /// `mode_kd` belongs to the scaled features of the design.
    pub(super) fn new(
        (design, labels, weight_n): (&'a Design, &'a [u32], &'a [f64]),
        scale: &'a [f64],
        mode_kd: &[f64],
        prior_precision: f64,
        root: Matrix,
    ) -> Self {
        let width = design.width();
        let basis = contrasts(mode_kd.len() / width);
        let mode = Matrix::from_row_slice(basis.nrows(), width, mode_kd);
        let mode = (basis.transpose() * mode).transpose();
        let mode = Matrix::from_column_slice(mode.len(), 1, mode.as_slice());
        Self { design, labels, weight_n, prior_precision, scale, basis, mode, root }
    }

    fn size(&self) -> usize {
        self.mode.len()
    }

    /// V, contrast by contrast.
    fn contrasts(&self, place: &[f64]) -> Matrix {
        &self.mode + self.root.tr_mul(&Matrix::from_column_slice(place.len(), 1, place))
    }

    /// U V, `[k, D]`, for the scaled features.
    fn scaled_weights(&self, contrasts: &Matrix) -> Vec<f64> {
        let width = self.design.width();
        let v = Matrix::from_row_slice(self.basis.ncols(), width, contrasts.as_slice());
        (&self.basis * v).transpose().as_slice().to_vec()
    }

    /// W for the features themselves, `[k, D]`.
    fn weights(&self, place: &[f64]) -> Vec<f64> {
        let mut weight_kd = self.scaled_weights(&self.contrasts(place));
        weight_kd.iter_mut().zip(self.scale.iter().cycle()).for_each(|(w, scale)| *w *= scale);
        weight_kd
    }

    /// Σ c_n −ln p(label) + (δ / 2) ‖V‖², and its gradient by z.
    fn potential(&self, place: &[f64]) -> Result<nuts::Potential> {
        let v = self.contrasts(place);
        let classes = self.basis.nrows();
        let mut p_nk = self.design.logits(&self.scaled_weights(&v))?;
        let mut loss = 0.5 * self.prior_precision * v.norm_squared();
        let rows = self.labels.iter().zip(self.weight_n);
        for (p_k, (&label, weight)) in p_nk.chunks_exact_mut(classes).zip(rows) {
            let own = p_k[label as usize];
            loss += weight * (softmax(p_k) - own);
            p_k[label as usize] -= 1.0;
            p_k.iter_mut().for_each(|p| *p *= weight);
        }
        let gradient_kd = self.design.collect(p_nk)?;
        let gradient = Matrix::from_row_slice(classes, self.design.width(), &gradient_kd);
        let gradient = (self.basis.transpose() * gradient).transpose();
        let gradient =
            Matrix::from_column_slice(v.len(), 1, gradient.as_slice()) + &v * self.prior_precision;
        Ok((loss, (&self.root * gradient).as_slice().to_vec()))
    }
}

/// Logits become probabilities; ln Σ exp of them is returned.
fn softmax(logit_k: &mut [f64]) -> f64 {
    let peak = logit_k.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logit_k.iter_mut().for_each(|value| *value = (*value - peak).exp());
    let sum: f64 = logit_k.iter().sum();
    logit_k.iter_mut().for_each(|value| *value /= sum);
    peak + sum.ln()
}

fn entropy_of(p_k: &[f64]) -> f64 {
    p_k.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests;
