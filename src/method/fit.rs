//! From cached features to a posterior: the one place that knows every method.

use candle_core::{Device, Result, Tensor, bail};

use super::laplace::{self, Evidence, Head, Laplace, Prior, Problem, Rows, Tolerance};
use super::{Method, PosteriorConfig};
use crate::posterior::{Covariance, Dropout, Posterior};

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

/// A posterior, and how its prior was chosen.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Mean and covariance.
    pub posterior: Posterior,
    /// For methods that choose a prior.
    pub evidence: Option<Evidence>,
}

/// Fits a method. Only `laplace` looks at the rows; with [`Head::Keep`] it leaves the mean where it is.
pub fn fit(
    config: &PosteriorConfig,
    rows: &Rows<'_>,
    last: &LastLayer<'_>,
    head: Head,
) -> Result<Fitted> {
    if config.method == Method::Laplace {
        return laplace_around(laplace::fit(rows, &last.flat()?, head)?, rows.classes);
    }
    let posterior = plain(config, last.weight_cd.clone(), last.bias_c.clone(), last.dropout)?;
    Ok(Fitted { posterior, evidence: None })
}

/// Fits the last layer to convergence, whatever the method, and the method around it. `start_kd` is
/// where the search begins, `dropout` the rate before the last layer.
pub fn fit_head(
    config: &PosteriorConfig,
    problem: &Problem<'_>,
    start_kd: &[f64],
    (prior, tolerance): (Prior, Tolerance),
    dropout: f64,
) -> Result<Fitted> {
    let found = problem.fit(start_kd, Head::Refit, prior, tolerance)?;
    if config.method == Method::Laplace {
        return laplace_around(found, problem.classes());
    }
    let (mean_cd, mean_c) = tensors(&found.mean_kd, problem.classes())?;
    let posterior = plain(config, mean_cd, mean_c, dropout)?;
    Ok(Fitted { posterior, evidence: Some(found.evidence) })
}

/// The methods that take the last layer as it is.
fn plain(
    config: &PosteriorConfig,
    mean_cd: Tensor,
    mean_c: Tensor,
    dropout: f64,
) -> Result<Posterior> {
    if let Some(passes) = config.passes() {
        return Ok(Posterior::Passes { mean_cd, mean_c, passes });
    }
    let covariance = match config.method {
        Method::McDropout if dropout > 0.0 => Covariance::Dropout(Dropout::new(dropout, &mean_cd)?),
        Method::McDropout => bail!(
            "method `mc_dropout` needs dropout before the last layer, and this classifier has none"
        ),
        Method::Map | Method::Laplace => Covariance::Zero,
    };
    Ok(Posterior::LastLayer { mean_cd, mean_c, covariance })
}

fn laplace_around(found: Laplace, classes: usize) -> Result<Fitted> {
    let (mean_cd, mean_c) = tensors(&found.mean_kd, classes)?;
    let posterior = Posterior::LastLayer { mean_cd, mean_c, covariance: found.covariance };
    Ok(Fitted { posterior, evidence: Some(found.evidence) })
}

impl LastLayer<'_> {
    /// Weights and, last in each line, bias: `[k, D]`.
    fn flat(&self) -> Result<Vec<f64>> {
        let (_, d) = self.weight_cd.dims2()?;
        let weight: Vec<f32> = self.weight_cd.flatten_all()?.to_vec1()?;
        let bias: Vec<f32> = self.bias_c.to_vec1()?;
        let lines = weight.chunks_exact(d).zip(&bias);
        let both = lines.flat_map(|(line, bias)| line.iter().chain(std::iter::once(bias)));
        Ok(both.map(|&value| f64::from(value)).collect())
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
