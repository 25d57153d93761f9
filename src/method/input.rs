//! What a method makes a posterior from, and what comes out.

use candle_core::{Device, Result, Tensor};

use super::PosteriorConfig;
use super::laplace::{Evidence, FeatureRows, Head, Laplace, Prior, Problem, Tolerance};
use crate::posterior::{Posterior, Uncertainty};
use crate::train::Gathered;

/// The last layer of a classifier that was trained.
#[derive(Clone, Copy, Debug)]
pub struct LastLayer<'a> {
    /// `[c, d]`.
    pub weight_cd: &'a Tensor,
    /// `[c]`.
    pub bias_c: &'a Tensor,
    /// The rate of the dropout before it.
    pub dropout: f64,
}

/// What a method makes a posterior from.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// The last layer, as training or a fit to convergence left it.
    pub last: LastLayer<'a>,
    /// The training rows, for methods that look at their features.
    pub rows: FeatureRows<'a>,
    /// Whether the last layer may move.
    pub head: Head,
    /// The fit to convergence that the last layer comes from, where it does.
    pub converged: Option<Laplace>,
    /// What followed the training, for methods that need its trajectory.
    pub gathered: Option<&'a Gathered>,
}

/// A posterior, and how its prior was chosen.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub posterior: Posterior,
    /// For methods that choose a prior.
    pub evidence: Option<Evidence>,
}

/// What is known of a model's posterior, for the words about it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub uncertainty: &'a Uncertainty,
    /// `c`.
    pub classes: usize,
    /// Weights of the last layer, the bias among them.
    pub weights: usize,
    /// How its prior was chosen.
    pub evidence: Option<&'a Evidence>,
    /// Whether held-out rows chose it, and not the evidence.
    pub prior_by_held_out_rows: bool,
}

/// Fits the last layer to convergence, whatever the method, and the method around it. `start_kd` is
/// where the search begins, `dropout` the rate before the last layer.
pub fn fit_converged(
    config: &PosteriorConfig,
    problem: &Problem<'_>,
    start_kd: &[f64],
    (prior, tolerance): (Prior, Tolerance),
    dropout: f64,
) -> Result<Fitted> {
    let found = problem.fit(start_kd, Head::Refit, prior, tolerance)?;
    let evidence = Some(found.evidence);
    let (weight_cd, bias_c) = tensors(&found.mean_kd, problem.classes())?;
    let mut recipe = Recipe {
        last: LastLayer { weight_cd: &weight_cd, bias_c: &bias_c, dropout },
        rows: problem.rows(),
        head: Head::Refit,
        converged: Some(found),
        gathered: None,
    };
    Ok(Fitted { evidence, ..config.approach().run(&mut recipe)? })
}

impl LastLayer<'_> {
    /// Weights and, last in each line, bias: `[k, D]`.
    pub(super) fn flat(&self) -> Result<Vec<f64>> {
        let (_, d) = self.weight_cd.dims2()?;
        let weight: Vec<f32> = self.weight_cd.flatten_all()?.to_vec1()?;
        let bias: Vec<f32> = self.bias_c.to_vec1()?;
        let lines = weight.chunks_exact(d).zip(&bias);
        let both = lines.flat_map(|(line, bias)| line.iter().chain(std::iter::once(bias)));
        Ok(both.map(|&value| f64::from(value)).collect())
    }

    /// Its weights as the mean of a posterior with this covariance.
    pub(super) fn with(&self, covariance: crate::posterior::Covariance) -> Fitted {
        let (mean_cd, mean_c) = (self.weight_cd.clone(), self.bias_c.clone());
        let posterior = Posterior::LastLayer { mean_cd, mean_c, covariance };
        Fitted { posterior, evidence: None }
    }
}

/// Weight `[c, d]` and bias `[c]` of `[k, D]`.
pub fn tensors(weight_kd: &[f64], classes: usize) -> Result<(Tensor, Tensor)> {
    let d = weight_kd.len() / classes - 1;
    let lines = weight_kd.chunks_exact(d + 1);
    let weight: Vec<f32> =
        lines.clone().flat_map(|line| &line[..d]).map(|&value| value as f32).collect();
    let bias: Vec<f32> = lines.map(|line| line[d] as f32).collect();
    let weight_cd = Tensor::from_vec(weight, (classes, d), &Device::Cpu)?;
    Ok((weight_cd, Tensor::from_vec(bias, classes, &Device::Cpu)?))
}
