//! What is fitted after training, on rows that training has not seen: temperature, prediction sets,
//! novelty and limits.

use super::prepare::Sets;
use super::{Experiment, ExperimentError, Progress};
use crate::calibrate::novelty::Features;
use crate::calibrate::{
    self, Calibration, CalibrationSummary, Fit, Material, SMALL, conformal, fit_temperature,
    out_of_fold,
};
use crate::compute::Noise;
use crate::data::TokenSet;
use crate::data::split::RowKey;
use crate::model::Classifier;
use crate::posterior::{LogitDistribution, Posterior, Predictive};
use crate::train;

/// What was fitted.
pub(super) struct Calibrated {
    pub(super) fit: Option<Fit>,
    /// Rows that the temperature was fitted on.
    pub(super) rows: usize,
    pub(super) calibration: Calibration,
    pub(super) summary: CalibrationSummary,
}

/// Rows as the model sees them.
#[derive(Clone)]
struct Rows {
    feature_nd: Vec<f32>,
    logits: Vec<LogitDistribution>,
    labels: Vec<u32>,
    uniforms: Vec<f64>,
}

impl Rows {
    fn read(
        classifier: &Classifier,
        set: &TokenSet,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let feature_nd = features(classifier, set, show)?;
        let uniform = |row: usize| {
            let sequence = set.sequence(row);
            conformal::uniform(&sequence.ids, &sequence.type_ids)
        };
        Ok(Self {
            logits: Posterior::map(classifier).logits(&feature_nd)?,
            feature_nd,
            labels: set.labels().to_vec(),
            uniforms: (0..set.len()).map(uniform).collect(),
        })
    }

    fn join(&mut self, mut other: Self) {
        self.feature_nd.append(&mut other.feature_nd);
        self.logits.append(&mut other.logits);
        self.labels.append(&mut other.labels);
        self.uniforms.append(&mut other.uniforms);
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn mean_logits(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().flat_map(|&row| self.logits[row].mean().iter().copied()).collect()
    }

    fn temperature(&self, rows: &[usize]) -> Option<Fit> {
        let labels: Vec<u32> = rows.iter().map(|&row| self.labels[row]).collect();
        fit_temperature(&self.mean_logits(rows), &labels)
    }

    fn predictive(&self, fit: Option<Fit>, row: usize) -> Predictive {
        self.logits[row].predictive(temperature_of(fit))
    }

    /// Rows of equal texts have equal uniform numbers.
    fn keys(&self) -> Vec<RowKey> {
        let rows = self.labels.iter().zip(&self.uniforms);
        rows.map(|(&label, uniform)| RowKey { label, text: uniform.to_bits() }).collect()
    }
}

/// What logits are divided by.
pub(super) fn temperature_of(fit: Option<Fit>) -> f64 {
    fit.map_or(1.0, |fit| fit.temperature)
}

/// Fits the temperature on the temperature part and everything else on the conformal part. Where
/// there are few rows in all, both parts serve both, cross-fitted.
pub(super) fn calibrate(
    classifier: &Classifier,
    experiment: &Experiment,
    sets: &Sets,
    noise: &Noise,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Calibrated, ExperimentError> {
    let config = &experiment.calibration;
    let fitted = |rows: &Rows, chosen: &[usize]| {
        if config.temperature { rows.temperature(chosen) } else { None }
    };
    let mut scaled = Rows::read(classifier, &sets.temperature, show)?;
    let mut judged = Rows::read(classifier, &sets.conformal, show)?;
    let few = sets.train.len() + sets.validation.len() + scaled.len() + judged.len() < SMALL;
    if few {
        scaled.join(judged);
        judged = scaled.clone();
    }
    let fit = fitted(&scaled, &(0..scaled.len()).collect::<Vec<_>>());
    let crossed = few.then(|| {
        let own = |chosen: &[usize]| fitted(&judged, chosen);
        out_of_fold(&judged.keys(), noise, own, |&fit, row| judged.predictive(fit, row))
    });
    let predictive = crossed
        .flatten()
        .unwrap_or_else(|| (0..judged.len()).map(|row| judged.predictive(fit, row)).collect());
    let train_nd = match config.novelty.is_distance() {
        true => features(classifier, &sets.train, show)?,
        false => Vec::new(),
    };
    let material = Material {
        logit_nc: &judged.mean_logits(&(0..judged.len()).collect::<Vec<_>>()),
        predictive: &predictive,
        labels: &judged.labels,
        feature_nd: &judged.feature_nd,
        uniforms: &judged.uniforms,
        train: Features { feature_nd: &train_nd, labels: sets.train.labels() },
        fresh_nd: &scaled.feature_nd,
        temperature: temperature_of(fit),
        cross_fitted: few,
    };
    let (calibration, summary) = calibrate::fit(config, &material, noise);
    for note in &summary.notes {
        show(Progress::Warning(note.clone()));
    }
    Ok(Calibrated { fit, rows: scaled.len(), calibration, summary })
}

fn features(
    classifier: &Classifier,
    set: &TokenSet,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<f32>, ExperimentError> {
    let total = set.len();
    let feature_nd =
        train::features(classifier, &set.lengths(), &|row| set.sequence(row), &mut |done| {
            show(Progress::Work { what: "calibrating", done, total });
        })?;
    Ok(feature_nd)
}
