//! Calibration where every row trains the last layer: each is judged by a head that has not seen it.

use std::ops::Range;

use super::calibration::{Calibrated, FitSettings, SeenRows};
use super::cuts::CutRows;
use super::{ExperimentError, Features, Progress};
use crate::artifact::Artifact;
use crate::calibrate::novelty::ReferenceRows;
use crate::calibrate::{
    self, Corrections, FOLDS, Fold, Material, Others, ScalingFit, fit_scaling, fit_temperature,
};
use crate::compute::Noise;
use crate::method::FitRecord;
use crate::posterior::{Link, LogitDistribution, Posterior, Predictive, Scaling};

/// A scale of the variance is looked for on at most so many rows times classes; it costs more than all
/// else.
const SCALE_ENTRIES: usize = 100_000;

/// The model with a head that was cross-fitted, and with T, s, sets, novelty and limits that are fitted to it.
/// `logits` are what heads that have not seen them say of the judged rows, fold by fold. These rows come with it.
pub(super) fn calibrate(
    settings: &FitSettings<'_>,
    model: Artifact,
    (features, cuts): (&Features, &CutRows),
    folds: &[Fold],
    ((posterior, record), logits): ((Posterior, FitRecord), Vec<LogitDistribution>),
    noise: &Noise,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Calibrated, ExperimentError> {
    let judged: Vec<usize> = folds.iter().flat_map(|fold| fold.judged.iter().copied()).collect();
    let rows = features.some(&judged);
    let link = posterior.link.clone();
    let config = settings.calibration;
    let found = match config.temperature {
        true => scaling(&logits, &rows.labels, &link, config.corrections()),
        false => None,
    };
    let (posterior, record) = settings.scaled((posterior, record), (found, rows.len()), show);
    let scaling = &posterior.scaling;
    let logit_nc: Vec<f64> = logits.iter().flat_map(|one| one.mean().into_owned()).collect();
    let point = matches!(logits.first(), Some(LogitDistribution::Point(_)));
    let plain = config.temperature && scaling.vector.is_none() && (point || scaling.scale == 0.0);
    let predict = |own: Range<usize>, scaling: &Scaling| -> Vec<Predictive> {
        logits[own].iter().map(|one| one.predictive(&link, scaling)).collect()
    };
    let predictive = if plain {
        // One temperature from the other folds for each.
        let (mut all, mut start) = (Vec::with_capacity(rows.len()), 0);
        for fold in folds {
            let own = start..start + fold.judged.len();
            start = own.end;
            let refit = temperature_without(&own, &logit_nc, &rows.labels);
            let temperature = refit.unwrap_or(scaling.temperature);
            all.extend(predict(own, &Scaling { temperature, ..scaling.clone() }));
        }
        all
    } else {
        // A few numbers from all rows, which no single row moves.
        predict(0..rows.len(), scaling)
    };
    // Rows in the others of every fold are those that fine-tuning was made with.
    let tuned = |row: &usize| folds.iter().all(|fold| fold.train.binary_search(row).is_ok());
    let tuned = (0..features.len()).filter(tuned).count();
    let mut others = match tuned {
        0 => String::new(),
        tuned => format!("; fine-tuning used the other {tuned}, which calibrate nothing"),
    };
    let lonely = features.len() - rows.len() - tuned;
    if lonely > 0 {
        others += &format!(
            "; {lonely} rows are the only ones of their class in {FOLDS} folds and calibrate nothing"
        );
    }
    let material = Material {
        task: link.task,
        logit_nc: &logit_nc,
        predictive: &predictive,
        labels: &rows.labels,
        novelty_ne: &rows.novelty_ne,
        tokens: &rows.tokens,
        uniforms: &rows.uniforms,
        others: Others::Crossed {
            rows: ReferenceRows { feature_nd: &features.novelty_ne, labels: &features.labels },
            folds,
            cuts: cuts.view(),
        },
        width: posterior.width(),
        reference: rows.reference,
        temperature: scaling.temperature,
        own_doubt: posterior.own_doubt(),
        note: None,
    };
    let (calibration, mut summary) = calibrate::fit(config, &material, noise);
    summary.crossed = Some(format!(
        "cross-fitting with {FOLDS} folds: each of the {} rows was scored by a last layer that had \
         not seen it; the final last layer was trained on all rows{others}",
        rows.len()
    ));
    for note in &summary.notes {
        show(Progress::Warning(note.clone()));
    }
    let seen = SeenRows { features: rows, logits, predictive };
    let artifact = seen.kept_with(model.with_fit((posterior, record), calibration)?);
    Ok(Calibrated { artifact, summary, seen })
}

/// T and s; T by all rows where the variance is left out.
fn scaling(
    logits: &[LogitDistribution],
    labels: &[u32],
    link: &Link,
    corrections: Corrections,
) -> Option<ScalingFit> {
    let classes = logits.first().map_or(1, |one| one.mean().len());
    let every = (labels.len() * classes).div_ceil(SCALE_ENTRIES).max(1);
    if every == 1 || corrections.vector {
        return fit_scaling(logits, labels, link, corrections);
    }
    let some: Vec<LogitDistribution> = logits.iter().step_by(every).cloned().collect();
    let some_labels: Vec<u32> = labels.iter().step_by(every).copied().collect();
    let mut fit = fit_scaling(&some, &some_labels, link, corrections)?;
    let mean_nc: Vec<f64> = logits.iter().flat_map(|one| one.mean().into_owned()).collect();
    fit.plain = fit_temperature(&mean_nc, labels)?;
    let point = matches!(logits.first(), Some(LogitDistribution::Point(_)));
    if fit.scaling.scale == 0.0 || point {
        fit.scaling.temperature = fit.plain.temperature;
    }
    Some(fit)
}

/// The temperature of all rows but these.
fn temperature_without(own: &Range<usize>, logit_nc: &[f64], labels: &[u32]) -> Option<f64> {
    let classes = logit_nc.len() / labels.len().max(1);
    let others = [0..own.start, own.end..labels.len()];
    let lines = others.iter().map(|rows| &logit_nc[rows.start * classes..rows.end * classes]);
    let labels = others.iter().map(|rows| &labels[rows.clone()]);
    let (logit_nc, labels) =
        (lines.collect::<Vec<_>>().concat(), labels.collect::<Vec<_>>().concat());
    Some(fit_temperature(&logit_nc, &labels)?.temperature)
}
