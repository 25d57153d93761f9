//! Spectral-normalised neural Gaussian processes: Liu, Lin, Padhy, Tran, Bedrax-Weiss and Lakshminarayanan,
//! "Simple and principled uncertainty estimation with deterministic deep learning via distance awareness"
//! (NeurIPS 2020), the random-feature Gaussian process of section 3.2. It is fitted on the features of a trained
//! encoder, which with `sngp_joint` was trained for it.
//!
//! | paper | here |
//! |---|---|
//! | h, the last hidden representation, layer-normalised as in the authors' code | the feature φ, `normalised` |
//! | Φ = √(2/D_L) cos(W_L h + b_L), eq. 7 | [`FourierMap`] with `sngp_features`; W_L ~ N(0, 1/ℓ²) |
//! | ℓ, the kernel's length scale | `sngp_length_scale` times the median distance of two training rows |
//! | β, the output weights with a Gaussian prior | to convergence, under the prior precision that the evidence chooses |
//! | Σ̂_k⁻¹ = τ I + Σ p̂_k (1 − p̂_k) ΦΦᵀ, algorithm 1 | (δ I + Σ c_n λ_n ΦΦᵀ), one for all classes; λ_n by `sngp_likelihood` |
//! | the mean-field factor λ | none: the links of all methods, with a temperature and a scale of the variance |
//!
//! `gaussian` takes λ_n = 1, as their code for many classes does: the variance then says how far a text is
//! from the training rows, whatever their labels. `softmax` takes the one number for a row that is nearest to
//! its curvature: λ_n = (1 − Σ_k p̂_k²) / (K − 1), which for two classes is exactly 2 p̂ (1 − p̂), Laplace's
//! approximation. A class covariance of its own, D_L² numbers for each of 150 classes, is not offered.
//!
//! With `sngp_joint` the encoder is fine-tuned through β Φ(φ) ([`Joint`]), and the dense layer before the last is
//! normalised spectrally; without, distances are those of an encoder that was trained with a linear layer. Their code
//! averages ΦΦᵀ over batches while weights move; this is the exact sum of all rows at the end, in f64, and β is fitted
//! anew.

mod joint;

use std::sync::Arc;

use candle_core::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::joint::Joint;
use super::laplace::{
    Evidence, FeatureRows, Head, Laplace, Prior, Problem, Tolerance, usual_scale,
};
use super::{Approach, FitInput, FitRecord, Method, Needs, ObjectiveInput, tensors};
use crate::compute::Noise;
use crate::numbers::grouped;
use crate::posterior::{
    DRAWS_SEED, FourierLayer, FourierMap, MOST_FEATURES, Posterior, Spread, normalised, softmax,
};
use crate::train::Objective;

/// What a row says of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likelihood {
    /// The same for every row: the variance is a distance from the rows.
    #[default]
    Gaussian,
    /// The less, the surer its prediction: Laplace's approximation.
    Softmax,
}

/// Its keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sngp {
    /// Random Fourier features.
    pub sngp_features: usize,
    /// The length scale of the Gaussian kernel, in units of the median distance between training rows.
    pub sngp_length_scale: f64,
    /// How much each training row narrows the posterior.
    pub sngp_likelihood: Likelihood,
    /// Whether the encoder is fine-tuned with the random features, and not with a linear last layer.
    pub sngp_joint: bool,
    /// With `sngp_joint`, the most that the dense layer before the last may stretch a distance; 0 = no bound.
    pub sngp_norm_bound: f64,
}

impl Default for Sngp {
    fn default() -> Self {
        let sngp_likelihood = Likelihood::default();
        Self {
            sngp_features: 1024,
            sngp_length_scale: 2.0,
            sngp_likelihood,
            sngp_joint: false,
            sngp_norm_bound: 0.95,
        }
    }
}

/// Fewer features are no kernel.
const LEAST_FEATURES: usize = 16;
/// Rows whose distances have the median.
const MEDIAN_ROWS: usize = 500;
/// Where the evidence begins.
const FIRST: f64 = 100.0;

impl Approach for Sngp {
    fn needs(&self) -> Needs {
        Needs {
            training_features: true,
            own_layer: true,
            hidden_states: true,
            objective: self.sngp_joint,
            ..Needs::default()
        }
    }

    fn without_effect(&self) -> &'static [(&'static str, &'static str)] {
        match self.sngp_joint {
            true => &[],
            false => &[("sngp_norm_bound", "`posterior.sngp_joint` is false")],
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let Self { sngp_features, sngp_length_scale, sngp_norm_bound, .. } = *self;
        if !(LEAST_FEATURES..=MOST_FEATURES).contains(&sngp_features) {
            return Err(format!(
                "`posterior.sngp_features` is {sngp_features}; use {LEAST_FEATURES} to {MOST_FEATURES}"
            ));
        }
        if !(0.01..=100.0).contains(&sngp_length_scale) {
            return Err(format!(
                "`posterior.sngp_length_scale` is {sngp_length_scale}; use a number from 0.01 to 100"
            ));
        }
        if !(0.0..=100.0).contains(&sngp_norm_bound) {
            return Err(format!(
                "`posterior.sngp_norm_bound` is {sngp_norm_bound}; use a number from 0 (no bound) to 100"
            ));
        }
        Ok(())
    }

    fn objective(&self, input: ObjectiveInput<'_>) -> Result<Option<Box<dyn Objective>>> {
        if !self.sngp_joint {
            return Ok(None);
        }
        Ok(Some(Box::new(Joint::new(self, input)?)))
    }

    fn run(&self, input: &mut FitInput<'_>) -> Result<(Posterior, FitRecord)> {
        let FeatureRows { task, feature_nd, classes, .. } = input.rows;
        let (_, width) = input.last.weight_cd.dims2()?;
        // What tools see that know no random features.
        let (mean_cd, mean_c) = tensors(&input.linear_head()?.mean_kd, classes)?;
        let length_scale = self.sngp_length_scale * median_distance(feature_nd, width);
        let noise = Noise::new(DRAWS_SEED);
        let map = FourierMap::new(&noise, self.sngp_features, width, length_scale);
        let mapped_nr = map.of(feature_nd);
        let rows = FeatureRows { feature_nd: &mapped_nr, ..input.rows };
        let (Laplace { mean_kd, covariance, evidence }, _) = self.fit(rows)?;
        let (mean_cr, layer_c) = tensors(&mean_kd, classes)?;
        let layer = FourierLayer { map, mean_cr, mean_c: layer_c };
        let spread = Spread::LastLayer(covariance);
        let posterior = Posterior::new(task, mean_cd, mean_c, spread, input.link);
        let posterior = Posterior { fourier: Some(Arc::new(layer)), ..posterior };
        let evidence = Some(evidence);
        let joint = self.sngp_joint;
        Ok((posterior, FitRecord { evidence, joint, ..input.record(Method::Sngp) }))
    }

    fn describe(posterior: &Posterior, fit: &FitRecord) -> String {
        let kernel = posterior.fourier.as_ref().map(|fourier| {
            format!(
                ", by {} random Fourier features of a kernel with length scale {:.2}",
                grouped(fourier.map.features()),
                fourier.map.length_scale()
            )
        });
        let prior = |evidence: Evidence| {
            format!(
                " The prior precision, {:.3}, was chosen by maximising the marginal likelihood \
                 (evidence).",
                evidence.prior_precision
            )
        };
        let encoder = match fit.joint {
            true => "an encoder that was trained with it",
            false => "the trained encoder",
        };
        format!(
            "A Gaussian process on the features of {encoder}{}: its variance grows with the \
             distance from the training rows (the SNGP of Liu et al., 2020).{} Each text needs one \
             forward pass. The last linear layer, \
             which other tools use, is a stand-in fitted to the same rows.",
            kernel.unwrap_or_default(),
            fit.evidence.map(prior).unwrap_or_default()
        )
    }
}

impl Sngp {
    /// Mean and covariance of the layer over Φ of the rows, and what its prior was chosen on.
    fn fit<'a>(&self, rows: FeatureRows<'a>) -> Result<(Laplace, Problem<'a>)> {
        let FeatureRows { feature_nd, classes, .. } = rows;
        let scale = usual_scale(feature_nd, self.sngp_features);
        let problem = Problem::scaled(rows, scale)?.factored();
        let start_kd = vec![0.0; classes * (self.sngp_features + 1)];
        let (prior, tolerance) = (Prior::Evidence(FIRST), Tolerance::KEPT);
        let found = problem.fit(&start_kd, Head::Refit, prior, tolerance)?;
        let curvature_n = match self.sngp_likelihood {
            Likelihood::Gaussian => vec![1.0; rows.labels.len()],
            Likelihood::Softmax => curvatures(&problem.logits(&found.mean_kd)?, classes),
        };
        let covariance = problem.common(&curvature_n, found.evidence.prior_precision)?;
        Ok((Laplace { covariance, ..found }, problem))
    }
}

/// (1 − Σ p²) / (K − 1), from logits `[n, k]`: `[n]`.
fn curvatures(logit_nk: &[f64], classes: usize) -> Vec<f64> {
    let of_row = |logit_k: &[f64]| {
        let p_k = softmax(logit_k, 1.0);
        (1.0 - p_k.iter().map(|p| p * p).sum::<f64>()) / (classes - 1) as f64
    };
    logit_nk.par_chunks_exact(classes).map(of_row).collect()
}

/// The median distance of two rows, normalised, among some of them that lie evenly.
fn median_distance(feature_nd: &[f32], width: usize) -> f64 {
    let rows = feature_nd.len() / width;
    let every = rows.div_ceil(MEDIAN_ROWS).max(1);
    let some: Vec<Vec<f32>> =
        feature_nd.chunks_exact(width).step_by(every).map(normalised).collect();
    let distance = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let of_row = |(place, own): (usize, &Vec<f32>)| -> Vec<f64> {
        some[..place].iter().map(|other| distance(own, other)).collect()
    };
    let mut all: Vec<f64> = some.par_iter().enumerate().flat_map_iter(of_row).collect();
    // Rows that repeat one another say nothing of a scale.
    all.retain(|distance| *distance > 1e-6);
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Purpose;
    use crate::posterior::{Covariance, LogitCovariance};
    use crate::task::Task;

    const WIDTH: usize = 8;

    /// Rows around one direction for each class, `[n, d]`.
    fn clusters(n: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
        let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
        let labels: Vec<u32> = (0..n).map(|row| (row % classes) as u32).collect();
        let around = |&label: &u32| -> Vec<f32> {
            let centre = |i: usize| if i == label as usize { 3.0 } else { 0.0 };
            (0..WIDTH).map(|i| (centre(i) + 0.3 * stream.normal()) as f32).collect()
        };
        (labels.iter().flat_map(around).collect(), labels)
    }

    fn rows<'a>(feature_nd: &'a [f32], labels: &'a [u32], weights: &'a [f64]) -> FeatureRows<'a> {
        let (task, classes) = (Task::SingleLabel, weights.len());
        FeatureRows { task, feature_nd, labels, classes, class_weights: weights }
    }

    fn variance(covariance: &Covariance, mapped_r: &[f32]) -> f64 {
        match covariance.at(mapped_r).unwrap() {
            LogitCovariance::Difference(variance) => 0.5 * variance,
            LogitCovariance::Diagonal(variance_c) => variance_c[0],
            other => panic!("{other:?}"),
        }
    }

    /// Far from all rows in length scales the kernel is zero, and what is left is the prior's variance: at
    /// the rows there is hardly any.
    #[test]
    fn the_variance_is_that_of_the_prior_far_away_and_small_at_the_rows() {
        for (classes, likelihood) in
            [(3, Likelihood::Gaussian), (3, Likelihood::Softmax), (2, Likelihood::Gaussian)]
        {
            let (feature_nd, labels) = clusters(300, classes, 1);
            let map = FourierMap::new(&Noise::new(0), 1024, WIDTH, 1.0);
            let mapped_nr = map.of(&feature_nd);
            let sngp = Sngp { sngp_likelihood: likelihood, ..Sngp::default() };
            let weights = vec![1.0; classes];
            let (found, _) = sngp.fit(rows(&mapped_nr, &labels, &weights)).unwrap();
            // The place of no class, in the other direction.
            let far: Vec<f32> = (0..WIDTH).map(|i| if i < classes { -3.0 } else { 0.0 }).collect();
            let far = variance(&found.covariance, &map.of(&far));
            let near: f64 =
                mapped_nr.chunks_exact(1024).map(|row| variance(&found.covariance, row)).sum();
            let near = near / labels.len() as f64;
            let scale = usual_scale(&mapped_nr, 1024);
            // |Φ|² = 1, and of the bias the rows leave little.
            let prior = scale[0] * scale[0] / found.evidence.prior_precision;
            assert!((far / prior - 1.0).abs() < 0.15, "{likelihood:?}: {far}, prior {prior}");
            // Rows of which the layer is sure narrow it little under `softmax`.
            let most = if likelihood == Likelihood::Gaussian { 0.2 } else { 0.6 };
            assert!(near < most * far, "{likelihood:?}: {near} at the rows, {far} far away");
        }
    }

    #[test]
    fn two_classes_with_the_softmax_curvature_are_laplaces_approximation() {
        let (feature_nd, labels) = clusters(120, 2, 2);
        let map = FourierMap::new(&Noise::new(0), 64, WIDTH, 3.0);
        let mapped_nr = map.of(&feature_nd);
        let softmax = Likelihood::Softmax;
        let sngp = Sngp { sngp_features: 64, sngp_likelihood: softmax, ..Sngp::default() };
        let (found, problem) = sngp.fit(rows(&mapped_nr, &labels, &[1.0, 2.0])).unwrap();
        let prior = Prior::Fixed(found.evidence.prior_precision);
        let laplace = problem.fit(&found.mean_kd, Head::Refit, prior, Tolerance::EXACT).unwrap();
        for mapped_r in mapped_nr.chunks_exact(64).step_by(7) {
            let a = variance(&found.covariance, mapped_r);
            let b = variance(&laplace.covariance, mapped_r);
            assert!((a / b - 1.0).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_count() {
        let (feature_nd, labels) = clusters(200, 3, 3);
        let map = FourierMap::new(&Noise::new(0), 32, WIDTH, 2.0);
        let mapped_nr = map.of(&feature_nd);
        let turned_nr: Vec<f32> = mapped_nr.chunks_exact(32).rev().flatten().copied().collect();
        let turned: Vec<u32> = labels.iter().rev().copied().collect();
        let common = |mapped_nr: &[f32], labels: &[u32]| {
            let rows = rows(mapped_nr, labels, &[1.0; 3]);
            let problem = Problem::new(rows, 32).unwrap();
            problem.common(&vec![1.0; labels.len()], 0.7).unwrap()
        };
        let (one, other) = (common(&mapped_nr, &labels), common(&turned_nr, &turned));
        for mapped_r in mapped_nr.chunks_exact(32).take(20) {
            let (a, b) = (variance(&one, mapped_r), variance(&other, mapped_r));
            assert!((a / b - 1.0).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn the_median_distance_is_that_of_the_rows_as_they_are_read() {
        // Normalised, the rows are ±(−1, 1): distances are 0 and √8.
        let feature_nd = [0.0, 2.0, 5.0, 9.0, 7.0, 1.0];
        assert!((median_distance(&feature_nd, 2) - 8f64.sqrt()).abs() < 1e-6);
        assert_eq!(median_distance(&[1.0, 2.0, 1.0, 2.0], 2), 1.0);
    }

    #[test]
    fn settings_that_are_no_kernel_are_refused() {
        let usual = Sngp::default();
        assert!(usual.check().is_ok());
        for (wrong, key) in [
            (Sngp { sngp_features: 8, ..usual }, "`posterior.sngp_features`"),
            (Sngp { sngp_features: 10_000, ..usual }, "`posterior.sngp_features`"),
            (Sngp { sngp_length_scale: 0.0, ..usual }, "`posterior.sngp_length_scale`"),
            (Sngp { sngp_length_scale: f64::NAN, ..usual }, "`posterior.sngp_length_scale`"),
        ] {
            assert!(wrong.check().unwrap_err().starts_with(key), "{wrong:?}");
        }
    }
}
