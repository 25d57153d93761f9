//! What is fitted after training, on features: the posterior, then temperature, prediction sets,
//! novelty and limits on rows that training has not seen.

use super::posterior::{PosteriorReport, install};
use super::{ExperimentError, Features, Progress};
use crate::artifact::Artifact;
use crate::calibrate::novelty::ReferenceRows;
use crate::calibrate::{
    self, CalibrationConfig, CalibrationSummary, Material, Others, ROWS_A_CLASS, SMALL,
    fit_scaling, out_of_fold,
};
use crate::compute::Noise;
use crate::data::split::RowKey;
use crate::data::{Dataset, Parts};
use crate::method::{Fitted, PosteriorConfig};
use crate::posterior::{LogitDistribution, Posterior, Predictive, Scaling};

/// The rows that were kept from training.
pub(super) struct HeldOut {
    temperature: Features,
    conformal: Features,
    /// Whether there are so few rows in all that both parts serve both, cross-fitted.
    few: bool,
}

impl HeldOut {
    /// Divides what is there; `others` counts the rows that were trained on or selected by.
    pub(super) fn new(mut temperature: Features, mut conformal: Features, others: usize) -> Self {
        let few = others + temperature.len() + conformal.len() < SMALL;
        if few {
            temperature.join(conformal);
            conformal = temperature.clone();
        }
        Self { temperature, conformal, few }
    }
}

/// Refuses what the parts of the data cannot bear, before anything is computed.
pub(super) fn check_rows(
    config: &CalibrationConfig,
    dataset: &Dataset,
    parts: &Parts,
) -> Result<(), ExperimentError> {
    let crossed = parts.temperature.rows.is_empty();
    let part = if crossed { &parts.train } else { &parts.temperature };
    let (rows, needed) = (part.rows.len(), ROWS_A_CLASS * dataset.labels.len());
    if config.vector && rows < needed {
        return Err(ExperimentError::FewForVector { rows, needed });
    }
    Ok(())
}

/// How it is fitted.
pub(super) struct FitSettings<'a> {
    pub(super) posterior: &'a PosteriorConfig,
    pub(super) calibration: &'a CalibrationConfig,
}

impl FitSettings<'_> {
    /// Fits to a posterior all that comes after it, and leaves both in the artifact, whose last layer becomes
    /// the posterior's mean.
    pub(super) fn fit(
        &self,
        artifact: &mut Artifact,
        train: &Features,
        held_out: &HeldOut,
        fitted: Fitted,
        noise: &Noise,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(PosteriorReport, CalibrationSummary), ExperimentError> {
        let corrections = self.calibration.corrections();
        let scaled = self.calibration.temperature.then_some((&held_out.temperature, corrections));
        let posterior = install(artifact, self.posterior, fitted, train.len(), scaled)?;
        for warning in posterior.warnings() {
            show(Progress::Warning(format!("{}: {warning}", self.posterior.name().name())));
        }
        let summary = self.calibrate(artifact, train, held_out, noise)?;
        for note in &summary.notes {
            show(Progress::Warning(note.clone()));
        }
        Ok((posterior, summary))
    }

    fn calibrate(
        &self,
        artifact: &mut Artifact,
        train: &Features,
        held_out: &HeldOut,
        noise: &Noise,
    ) -> Result<CalibrationSummary, ExperimentError> {
        let HeldOut { temperature: scaled, conformal: judged, few } = held_out;
        let uncertainty = &artifact.uncertainty;
        let posterior = Posterior::new(&artifact.parameters, uncertainty);
        let logits = posterior.logits(judged.read())?;
        let predictive = |scaling: &Scaling, row: usize| -> Predictive {
            logits[row].predictive(&uncertainty.link, scaling)
        };
        let crossed = few.then(|| {
            let own = |chosen: &[usize]| -> Scaling {
                if !self.calibration.temperature {
                    return uncertainty.scaling.clone();
                }
                let some: Vec<LogitDistribution> =
                    chosen.iter().map(|&row| logits[row].clone()).collect();
                let labels: Vec<u32> = chosen.iter().map(|&row| judged.labels[row]).collect();
                let corrections = self.calibration.corrections();
                let fitted = fit_scaling(&some, &labels, &uncertainty.link, corrections);
                fitted.map_or_else(|| uncertainty.scaling.clone(), |fit| fit.scaling)
            };
            out_of_fold(&keys(judged), noise, own, predictive)
        });
        let all = || (0..judged.len()).map(|row| predictive(&uncertainty.scaling, row)).collect();
        let predictive: Vec<Predictive> = crossed.flatten().unwrap_or_else(all);
        let logit_nc: Vec<f64> = logits.iter().flat_map(|one| one.mean().into_owned()).collect();
        let material = Material {
            logit_nc: &logit_nc,
            predictive: &predictive,
            labels: &judged.labels,
            novelty_ne: &judged.novelty_ne,
            uniforms: &judged.uniforms,
            others: Others::Apart {
                train: ReferenceRows { feature_nd: &train.novelty_ne, labels: &train.labels },
                fresh_ne: &scaled.novelty_ne,
            },
            width: artifact.encoder.hidden_size,
            temperature: uncertainty.scaling.temperature,
            own_doubt: uncertainty.own_doubt(),
            note: few.then(|| {
                format!(
                    "with fewer than {SMALL} rows in total, temperature, prediction sets and \
                     novelty share {} rows, and each row is calibrated without itself \
                     (cross-fitting); coverage is then only approximately the target",
                    judged.len()
                )
            }),
        };
        let (calibration, summary) = calibrate::fit(self.calibration, &material, noise);
        artifact.calibration = calibration;
        Ok(summary)
    }
}

/// Rows of equal texts have equal uniform numbers.
fn keys(rows: &Features) -> Vec<RowKey> {
    let pairs = rows.labels.iter().zip(&rows.uniforms);
    pairs.map(|(&label, uniform)| RowKey { label, text: uniform.to_bits() }).collect()
}
