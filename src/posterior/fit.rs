//! From cached features to a posterior: the one place that knows every method.

use candle_core::{Device, Result, Tensor, bail};

use super::laplace::{self, Evidence, Head, Rows};
use super::{Covariance, Dropout, Method, Posterior, PosteriorConfig};

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
    if let Some(passes) = config.passes() {
        let (mean_cd, mean_c) = (last.weight_cd.clone(), last.bias_c.clone());
        let posterior = Posterior::Passes { mean_cd, mean_c, passes };
        return Ok(Fitted { posterior, evidence: None });
    }
    let trained = |covariance| Posterior::LastLayer {
        mean_cd: last.weight_cd.clone(),
        mean_c: last.bias_c.clone(),
        covariance,
    };
    match config.method {
        Method::Map => Ok(Fitted { posterior: trained(Covariance::Zero), evidence: None }),
        Method::McDropout if last.dropout > 0.0 => {
            let covariance = Covariance::Dropout(Dropout::new(last.dropout, last.weight_cd)?);
            Ok(Fitted { posterior: trained(covariance), evidence: None })
        }
        Method::McDropout => bail!(
            "method `mc_dropout` needs dropout before the last layer, and this classifier has none"
        ),
        Method::Laplace => {
            let (classes, d) = last.weight_cd.dims2()?;
            let weight: Vec<f32> = last.weight_cd.flatten_all()?.to_vec1()?;
            let bias: Vec<f32> = last.bias_c.to_vec1()?;
            let lines = weight.chunks_exact(d).zip(&bias);
            let trained_kd: Vec<f64> = lines
                .flat_map(|(line, bias)| line.iter().chain(std::iter::once(bias)))
                .map(|&value| f64::from(value))
                .collect();
            let found = laplace::fit(rows, &trained_kd, head)?;
            let lines = found.mean_kd.chunks_exact(d + 1);
            let weight: Vec<f32> =
                lines.clone().flat_map(|line| &line[..d]).map(|&value| value as f32).collect();
            let bias: Vec<f32> = lines.map(|line| line[d] as f32).collect();
            let posterior = Posterior::LastLayer {
                mean_cd: Tensor::from_vec(weight, (classes, d), &Device::Cpu)?,
                mean_c: Tensor::from_vec(bias, classes, &Device::Cpu)?,
                covariance: found.covariance,
            };
            Ok(Fitted { posterior, evidence: Some(found.evidence) })
        }
    }
}
