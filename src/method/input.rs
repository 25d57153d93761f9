//! What a method makes a posterior from.

use candle_core::{Device, Result, Tensor};

use super::laplace::{self, FeatureRows, Head, Laplace, Prior, Problem, Tolerance};
use super::{FitRecord, Method, PosteriorConfig};
use crate::data::TokenSet;
use crate::model::{EncoderConfig, Parameters};
use crate::posterior::{LinkChoice, Posterior, Spread};
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
pub struct FitInput<'a> {
    /// The last layer, as training or a fit to convergence left it.
    pub last: LastLayer<'a>,
    /// The training rows, for methods that look at their features.
    pub rows: FeatureRows<'a>,
    /// Whether the last layer may move.
    pub head: Head,
    /// How probabilities of more than two classes are to come from the posterior.
    pub link: LinkChoice,
    /// The fit to convergence that the last layer comes from, where it does.
    pub converged: Option<Laplace>,
    /// What followed the training, for methods that need its trajectory.
    pub gathered: Option<&'a Gathered>,
    /// The network, for methods that look below the feature.
    pub network: Option<NetworkRows<'a>>,
}

/// A network, and rows as it reads them.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRows<'a> {
    pub config: &'a EncoderConfig,
    pub parameters: &'a Parameters,
    /// Rows that it was trained on.
    pub train: &'a TokenSet,
    /// Rows that it has not seen, which calibrate it too.
    pub held_out: &'a TokenSet,
}

/// Fits the last layer to convergence, whatever the method, and the method around it. `start_kd` is
/// where the search begins, `dropout` the rate before the last layer.
pub fn fit_converged(
    config: &PosteriorConfig,
    problem: &Problem<'_>,
    start_kd: &[f64],
    (prior, tolerance): (Prior, Tolerance),
    dropout: f64,
) -> Result<(Posterior, FitRecord)> {
    let found = problem.fit(start_kd, Head::Refit, prior, tolerance)?;
    let evidence = Some(found.evidence);
    let (weight_cd, bias_c) = tensors(&found.mean_kd, problem.classes())?;
    let mut input = FitInput {
        last: LastLayer { weight_cd: &weight_cd, bias_c: &bias_c, dropout },
        rows: problem.rows(),
        head: Head::Refit,
        link: config.link,
        converged: Some(found),
        gathered: None,
        network: None,
    };
    let (posterior, record) = config.approach().run(&mut input)?;
    Ok((posterior, FitRecord { evidence: record.evidence.or(evidence), ..record }))
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
}

impl FitInput<'_> {
    /// The last layer as it is, for the mean of a posterior.
    pub(super) fn around_last_layer(&self, spread: Spread) -> Posterior {
        let LastLayer { weight_cd, bias_c, .. } = self.last;
        Posterior::new(self.rows.task, weight_cd.clone(), bias_c.clone(), spread, self.link)
    }

    /// A linear head on the features as they are: the fit to convergence that the last layer comes from, else
    /// one under the prior that the evidence chooses.
    pub(super) fn linear_head(&mut self) -> Result<Laplace> {
        match self.converged.take() {
            Some(found) => Ok(found),
            None => laplace::fit(&self.rows, &self.last.flat()?, self.head),
        }
    }

    /// What is known before the fit.
    pub(super) fn record(&self, method: Method) -> FitRecord {
        let rows = self.rows.labels.len();
        FitRecord { link: self.link, rows, ..FitRecord::new(method) }
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
