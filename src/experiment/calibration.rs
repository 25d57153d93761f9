//! What is fitted after training, on features: the posterior, then temperature, prediction sets,
//! novelty and limits on rows that training has not seen.

use super::cuts::CutRows;
use super::{ExperimentError, Features, Progress};
use crate::artifact::Artifact;
use crate::calibrate::drift::DriftReference;
use crate::calibrate::novelty::{Novelty, NoveltyScore, ReferenceRows};
use crate::calibrate::{
    self, Calibration, CalibrationConfig, CalibrationSummary, Material, Others, ROWS_A_CLASS,
    SMALL, ScaleRule, ScalingFit, fit_scaling, folds, out_of_fold,
};
use crate::compute::Noise;
use crate::data::split::RowKey;
use crate::data::{Dataset, Parts};
use crate::method::{FitRecord, PosteriorConfig};
use crate::numbers::grouped;
use crate::posterior::{LogitDistribution, Posterior, Predictive, Scaling};
use crate::train::{ClassWeights, class_counts};

/// The rows that were kept from training.
pub(super) struct HeldOut {
    temperature: Features,
    conformal: Features,
    /// Copies of rows of the temperature part.
    cuts: CutRows,
    /// Whether there are so few rows in all that both parts serve both, cross-fitted.
    few: bool,
    /// What novelty measures, where that was fitted before and stays; nothing inside where there is none.
    score: Option<Option<NoveltyScore>>,
}

impl HeldOut {
    /// With the score of a novelty that was fitted before, in the place of one that is fitted to training rows.
    pub(super) fn with_score(self, novelty: Option<&Novelty>) -> Self {
        Self { score: Some(novelty.map(|novelty| novelty.score.clone())), ..self }
    }

    /// Divides what is there; `others` counts the rows that were trained on or selected by.
    pub(super) fn new(
        mut temperature: Features,
        mut conformal: Features,
        cuts: CutRows,
        others: usize,
    ) -> Self {
        let few = others + temperature.len() + conformal.len() < SMALL;
        if few {
            temperature.join(conformal);
            conformal = temperature.clone();
        }
        Self { temperature, conformal, cuts, few, score: None }
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
    let labels: Vec<u32> = part.examples(dataset).map(|example| example.label).collect();
    check_labels(config, &labels, &dataset.labels)
}

/// The same of the labels that temperature and scale are fitted to.
pub(super) fn check_labels(
    config: &CalibrationConfig,
    labels: &[u32],
    names: &[String],
) -> Result<(), ExperimentError> {
    let counts = class_counts(labels, names.len());
    let fewest = counts.iter().zip(names).min_by_key(|(rows, _)| **rows);
    match fewest {
        Some((&rows, label)) if config.vector && rows < ROWS_A_CLASS as u64 => {
            Err(ExperimentError::FewForVector { label: label.clone(), rows })
        }
        _ => Ok(()),
    }
}

/// Rows as a model sees them that no weight behind their logits was fitted to; nor was a temperature or scale, but where
/// cross-fitting leaves those few numbers to all rows.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenRows {
    pub(super) features: Features,
    pub(super) logits: Vec<LogitDistribution>,
    pub(super) predictive: Vec<Predictive>,
}

impl SeenRows {
    /// The model with what it says of the rows, for a server to compare its traffic with.
    pub(super) fn kept_with(&self, model: Artifact) -> Artifact {
        let (task, doubt) = (model.posterior.link.task, model.posterior.own_doubt());
        let drift = DriftReference::of(task, &self.predictive, &self.features.tokens, doubt);
        Artifact { drift, ..model }
    }

    /// `[n, c]`.
    pub(super) fn mean_logits(&self) -> Vec<f64> {
        self.logits.iter().flat_map(|one| one.mean().into_owned()).collect()
    }
}

/// A model, what its calibration promises, and the rows that it was calibrated on as it sees them.
pub(super) struct Calibrated {
    pub(super) artifact: Artifact,
    pub(super) summary: CalibrationSummary,
    pub(super) seen: SeenRows,
}

/// How it is fitted.
pub(super) struct FitSettings<'a> {
    pub(super) posterior: &'a PosteriorConfig,
    pub(super) calibration: &'a CalibrationConfig,
    /// What rows of different classes count where the last layer is fitted.
    pub(super) class_weights: ClassWeights,
}

impl FitSettings<'_> {
    /// The model with this posterior, and with all that is fitted to it on held-out rows.
    pub(super) fn fit(
        &self,
        model: Artifact,
        train: &Features,
        held_out: &HeldOut,
        (posterior, record): (Posterior, FitRecord),
        noise: &Noise,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Calibrated, ExperimentError> {
        let rows = &held_out.temperature;
        let (found, count) = match self.calibration.temperature {
            true => {
                let logits = posterior.logits(rows.read())?;
                (self.scaling(&posterior, &logits, &rows.labels), rows.len())
            }
            false => (None, 0),
        };
        let (posterior, record) = self.scaled((posterior, record), (found, count), show);
        let seen = self.seen(&posterior, held_out, noise)?;
        let (calibration, summary) = self.calibrate(&posterior, train, held_out, &seen, noise)?;
        for note in &summary.notes {
            show(Progress::Warning(note.clone()));
        }
        let artifact = seen.kept_with(model.with_fit((posterior, record), calibration)?);
        Ok(Calibrated { artifact, summary, seen })
    }

    /// What a posterior with its scaling makes of the rows that prediction sets, novelty and limits are fitted on.
    pub(super) fn seen(
        &self,
        posterior: &Posterior,
        held_out: &HeldOut,
        noise: &Noise,
    ) -> Result<SeenRows, ExperimentError> {
        let HeldOut { conformal: judged, few, .. } = held_out;
        let Posterior { link, scaling: usual, .. } = posterior;
        let logits = posterior.logits(judged.read())?;
        let predictive =
            |scaling: &Scaling, row: usize| -> Predictive { logits[row].predictive(link, scaling) };
        let crossed = few.then(|| {
            let own = |chosen: &[usize]| -> Scaling {
                if !self.calibration.temperature {
                    return usual.clone();
                }
                let some: Vec<LogitDistribution> =
                    chosen.iter().map(|&row| logits[row].clone()).collect();
                let labels: Vec<u32> = chosen.iter().map(|&row| judged.labels[row]).collect();
                let fitted = self.scaling(posterior, &some, &labels);
                fitted.map_or_else(|| usual.clone(), |fit| fit.scaling)
            };
            out_of_fold(&keys(judged), noise, own, predictive)
        });
        let all = || (0..judged.len()).map(|row| predictive(usual, row)).collect();
        let predictive: Vec<Predictive> = crossed.flatten().unwrap_or_else(all);
        Ok(SeenRows { features: judged.clone(), logits, predictive })
    }

    /// T and s of a posterior, by these rows.
    fn scaling(
        &self,
        posterior: &Posterior,
        logits: &[LogitDistribution],
        labels: &[u32],
    ) -> Option<ScalingFit> {
        let mut corrections = self.calibration.corrections();
        // What networks or samples of their weights disagree by, or a student has learned that they do, is neither
        // left out nor enlarged, unless that is asked for. The temperature is fitted to their mean: one for each
        // would leave it less sure than it should be (Rahaman and Thiery, "Uncertainty quantification and deep
        // ensembles", NeurIPS 2021).
        if posterior.is_of_networks() && corrections.scale.is_default() {
            corrections.scale = ScaleRule::Fixed(1.0);
        }
        fit_scaling(logits, labels, &posterior.link, corrections)
    }

    /// The posterior with T and s that were found on so many rows, and with what is told of them.
    pub(super) fn scaled(
        &self,
        (posterior, record): (Posterior, FitRecord),
        (found, rows): (Option<ScalingFit>, usize),
        show: &mut dyn FnMut(Progress<'_>),
    ) -> (Posterior, FitRecord) {
        let record = FitRecord { class_weights: self.class_weights, ..record };
        let record = record.scaled(&posterior, found.as_ref(), rows);
        for warning in record.warnings() {
            show(Progress::Warning(format!("{}: {warning}", record.method.name())));
        }
        let posterior = match found {
            Some(ScalingFit { scaling, .. }) => Posterior { scaling, ..posterior },
            None => posterior,
        };
        (posterior, record)
    }

    fn calibrate(
        &self,
        posterior: &Posterior,
        train: &Features,
        held_out: &HeldOut,
        seen: &SeenRows,
        noise: &Noise,
    ) -> Result<(Calibration, CalibrationSummary), ExperimentError> {
        let HeldOut { temperature: scaled, conformal: judged, cuts, few, score } = held_out;
        let Posterior { link, scaling: usual, .. } = posterior;
        let logit_nc = seen.mean_logits();
        let read = score.is_none() && self.calibration.novelty.adds_entropy(posterior.classes());
        let entropies = match read {
            true => {
                let logits = posterior.logits(scaled.read())?;
                logits.iter().map(|one| one.predictive(link, usual).total).collect()
            }
            false => Vec::new(),
        };
        let shared = if *few { folds(&keys(judged), noise) } else { None };
        let material = Material {
            task: link.task,
            logit_nc: &logit_nc,
            predictive: &seen.predictive,
            labels: &judged.labels,
            novelty_ne: &judged.novelty_ne,
            tokens: &judged.tokens,
            uniforms: &judged.uniforms,
            others: match score {
                Some(score) => Others::Kept(score.as_ref()),
                None => Others::Apart {
                    train: ReferenceRows { feature_nd: &train.novelty_ne, labels: &train.labels },
                    fresh_ne: &scaled.novelty_ne,
                    fresh_tokens: &scaled.tokens,
                    fresh_entropies: &entropies,
                    shared: shared.as_deref(),
                    cuts: cuts.view(),
                },
            },
            width: posterior.width(),
            reference: judged.reference,
            temperature: usual.temperature,
            own_doubt: posterior.own_doubt(),
            note: (*few && !judged.labels.is_empty()).then(|| {
                format!(
                    "with fewer than {} rows in total, temperature, prediction sets and novelty \
                     share {} rows, and each row is scored by a calibration fitted without it; \
                     coverage is then only approximately the target",
                    grouped(SMALL),
                    grouped(judged.len())
                )
            }),
        };
        Ok(calibrate::fit(self.calibration, &material, noise))
    }
}

/// Rows of equal texts have equal uniform numbers.
pub(super) fn keys(rows: &Features) -> Vec<RowKey> {
    let pairs = rows.labels.iter().zip(&rows.uniforms);
    pairs.map(|(&label, uniform)| RowKey { label, text: uniform.to_bits() }).collect()
}
