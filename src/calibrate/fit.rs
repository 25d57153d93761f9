//! Fitting everything but the temperature on the conformal part.

use serde::Serialize;

use super::conformal::{Bounds, Conformal, HeldOut, coverage_band};
use super::cross_fit::Fold;
use super::novelty::{NoveltyScore, ReferenceRows};
use super::risk::{DELTA, prove, rows_needed};
use super::{Calibration, CalibrationConfig, Limits};
use crate::compute::Noise;
use crate::posterior::{OwnDoubt, Predictive};
use crate::task::Task;

/// The rows of the conformal part, as the model sees them.
#[derive(Clone, Debug)]
pub struct Material<'a> {
    /// What the model is for.
    pub task: Task,
    /// Their mean logits, `[n, c]`.
    pub logit_nc: &'a [f64],
    /// What is predicted for them, `[n]`.
    pub predictive: &'a [Predictive],
    /// Their labels, `[n]`.
    pub labels: &'a [u32],
    /// What novelty looks at, `[n, e]`: see [`super::novelty::vectors`].
    pub novelty_ne: &'a [f32],
    /// How many tokens the encoder saw of them, `[n]`.
    pub tokens: &'a [u32],
    /// Their uniform numbers, `[n]`.
    pub uniforms: &'a [f64],
    /// What distances are fitted on.
    pub others: Others<'a>,
    /// Width of a hidden state, `d`.
    pub width: usize,
    /// Whether the last part of what novelty looks at is of the encoder before it was fine-tuned.
    pub reference: bool,
    /// What logits are divided by.
    pub temperature: f64,
    /// Whether the model knows its own part of the uncertainty.
    pub own_doubt: OwnDoubt,
    /// What a user should know of the rows.
    pub note: Option<String>,
}

/// The rows that distances are fitted on.
#[derive(Clone, Copy, Debug)]
pub enum Others<'a> {
    /// Rows that are not judged.
    Apart {
        /// What novelty looks at, and the labels, of the training rows.
        train: ReferenceRows<'a>,
        /// The same of rows that belong to neither, `[m, e]`.
        fresh_ne: &'a [f32],
        /// Their tokens, `[m]`.
        fresh_tokens: &'a [u32],
        /// The entropies of their predictions in nats, `[m]`; empty where [`Self::Apart`] needs none of them.
        fresh_entropies: &'a [f64],
        /// Folds of the rows, where those that belong to neither are the judged ones once more.
        shared: Option<&'a [Fold]>,
        /// Copies of the rows that belong to neither.
        cuts: Cuts<'a>,
    },
    /// All rows, some of which are judged, fold by fold, by the others.
    Crossed {
        /// What novelty looks at, and the labels.
        rows: ReferenceRows<'a>,
        /// The folds; the rows of the conformal part stand in the order of their judged rows.
        folds: &'a [Fold],
        /// Copies of judged rows.
        cuts: Cuts<'a>,
    },
    /// None: the score was fitted before, to rows that are not at hand. There may be none.
    Kept(Option<&'a NoveltyScore>),
}

/// Copies of rows that are cut short, for what is usual at each length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts<'a> {
    /// What novelty looks at, `[k, e]`.
    pub novelty_ne: &'a [f32],
    /// Their tokens, `[k]`.
    pub tokens: &'a [u32],
    /// The row that each is a copy of, `[k]`.
    pub rows: &'a [usize],
}

/// What was fitted, for the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationSummary {
    /// Rows of the conformal part.
    pub rows: usize,
    /// The promise of the prediction sets, for each α.
    pub sets: Vec<SetPromise>,
    /// What an answer must meet; `None` where nothing is decided.
    pub limits: Option<Limits>,
    /// From which confidence on answers are accepted.
    pub min_confidence: Option<f64>,
    /// The share of the rows that has at least this confidence; `None` where nothing is decided.
    pub accepted: Option<f64>,
    /// At most this share of what is accepted is wrong, with 95 % certainty: the strictest of the levels
    /// below that the rows proved.
    pub target_risk: Option<f64>,
    /// The levels that were asked for, ascending.
    pub target_risks: Vec<f64>,
    /// How every row both trains and calibrates, where it does.
    pub crossed: Option<String>,
    /// What a user should know of it.
    pub notes: Vec<String>,
}

/// What prediction sets promise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SetPromise {
    /// The share of texts whose set holds the label, at least.
    pub coverage: f64,
    /// Whether that holds within every class, or group of pooled classes, and not only overall.
    pub by_class: bool,
    /// Rows behind all bounds.
    pub rows: usize,
    /// Rows behind the bound of the class or group with the fewest.
    pub fewest: usize,
    /// In 99 % of draws of the conformal part the true share, there, is from this
    pub low: Option<f64>,
    /// to this; `None` where there are no rows.
    pub high: Option<f64>,
    /// Classes that share a bound since they have too few rows for their own.
    pub pooled: usize,
    /// Classes that are in every set since the rows are too few.
    pub always: usize,
}

/// Fits sets, novelty and limits. RAPS divides its rows with `noise`, and neighbours are drawn with it.
pub fn fit(
    config: &CalibrationConfig,
    material: &Material<'_>,
    noise: &Noise,
) -> (Calibration, CalibrationSummary) {
    let rows = material.labels.len();
    let predictive = material.predictive;
    let classes = predictive.first().map_or(0, |one| one.probability_c.len());
    let probability_nc: Vec<f64> =
        predictive.iter().flat_map(|one| one.probability_c.iter().copied()).collect();
    let mut summary = CalibrationSummary::new(rows, config);
    summary.notes.extend(material.note.clone());

    let held_out = HeldOut {
        probability_nc: &probability_nc,
        labels: material.labels,
        uniforms: material.uniforms,
        classes,
    };
    let task = material.task;
    let conformal = config.conformal_alpha.first().filter(|_| rows > 0).map(|&alpha| {
        let conformal = match task {
            Task::SingleLabel => Conformal::fit(config.conformal_method, &held_out, alpha, noise),
        };
        summary.promise(&conformal, &config.conformal_alpha);
        conformal
    });

    let novelty = material.novelty(config, classes, noise, &mut summary.notes);
    let answers: Vec<(f64, bool)> = predictive
        .iter()
        .zip(material.labels)
        .map(|(one, &label)| {
            let probability_c = &one.probability_c;
            (task.confidence(probability_c), task.is_right(probability_c, label))
        })
        .collect();
    let doubt = (classes, material.own_doubt);
    let limits = limits(config, &answers, doubt, novelty.is_some(), &mut summary);
    summary.limits = limits;
    let alphas = config.conformal_alpha.clone();
    let risk = summary.target_risk;
    (Calibration { conformal, alphas, novelty, limits, risk }, summary)
}

/// The configured limits. Where the rows prove none of the target risks, there is a note, and the other
/// limits are those that the user set; `None` where there is none of them.
fn limits(
    config: &CalibrationConfig,
    answers: &[(f64, bool)],
    (classes, own_doubt): (usize, OwnDoubt),
    has_novelty: bool,
    summary: &mut CalibrationSummary,
) -> Option<Limits> {
    let positive = |value: f64| (value > 0.0).then_some(value);
    let mut max_epistemic = positive(config.max_epistemic);
    if let (Some(limit), Some(reason)) = (max_epistemic, own_doubt.reason()) {
        summary.notes.push(format!(
            "`calibration.max_epistemic` = {limit} has no effect: the model reports no epistemic \
             uncertainty because {reason}"
        ));
        max_epistemic = None;
    }
    let most = (classes.max(1) as f64).ln();
    if let Some(limit) = max_epistemic.filter(|&limit| limit >= most) {
        summary.notes.push(format!(
            "`calibration.max_epistemic` = {limit} has no effect: with {classes} classes the uncertainty is never \
             above {most:.4} nats"
        ));
        max_epistemic = None;
    }
    if config.max_set_size >= classes {
        summary.notes.push(format!(
            "`calibration.max_set_size` = {} refuses only empty sets: with {classes} classes no set has more labels",
            config.max_set_size
        ));
    }
    let max_set_size = (config.max_set_size > 0).then_some(config.max_set_size.min(classes));
    let mut min_confidence = config.min_confidence;
    let least = 1.0 / classes.max(1) as f64;
    if classes > 1 && min_confidence > 0.0 && min_confidence <= least {
        summary.notes.push(format!(
            "`calibration.min_confidence` = {min_confidence} has no effect: with {classes} classes \
             the confidence is never below {least:.4}"
        ));
        min_confidence = 0.0;
    }
    if let Some(&widest) = summary.target_risks.last() {
        if let Some(proof) = prove(answers, &summary.target_risks, min_confidence) {
            min_confidence = proof.threshold;
            summary.target_risk = Some(proof.risk);
        } else {
            // `ood_p` is not among them: it has a value although nobody set it.
            let stay = min_confidence > 0.0 || max_epistemic.is_some() || max_set_size.is_some();
            summary.notes.push(unproved(answers.len(), widest, min_confidence, stay));
            if !stay {
                return None;
            }
        }
    }
    let limits = Limits {
        min_confidence: positive(min_confidence),
        max_epistemic,
        ood_p: positive(config.ood_p).filter(|_| has_novelty),
        max_set_size,
    };
    summary.min_confidence = limits.min_confidence;
    let accepted = answers.iter().filter(|(confidence, _)| *confidence >= min_confidence).count();
    summary.accepted = (!answers.is_empty()).then(|| accepted as f64 / answers.len() as f64);
    Some(limits)
}

/// What to say where so many rows do not even prove the widest level for a confidence from `least` on;
/// `stay` says whether other limits hold all the same.
fn unproved(rows: usize, widest: f64, least: f64, stay: bool) -> String {
    if rows == 0 {
        let result = if least > 0.0 || stay {
            "only the limits that you set decide"
        } else {
            "the model makes no accept/abstain decisions"
        };
        return format!(
            "no rows are held out for calibration, so {result}; raise \
             `data.calibration_fraction`, such as to 0.05, or add more rows"
        );
    }
    let (needed, level) = (rows_needed(widest), percent(widest));
    let why = match rows < needed {
        true => format!("; this takes at least {needed} rows, all predicted correctly"),
        false => String::new(),
    };
    let (which, result) = match (least > 0.0, stay) {
        (true, _) => (
            format!("any confidence threshold of at least {least}"),
            format!(
                "the limit that you set, `calibration.min_confidence` = {least}, stays in effect"
            ),
        ),
        (false, true) => (
            "any confidence threshold".to_owned(),
            "the limits that you set stay in effect".to_owned(),
        ),
        (false, false) => (
            "any confidence threshold".to_owned(),
            "the model makes no accept/abstain decisions".to_owned(),
        ),
    };
    format!(
        "the {rows} held-out rows do not prove, for {which}, that at most {level} % of the \
         predictions above it are wrong (with {} % certainty){why}; {result}; raise \
         `calibration.target_risk`, set it to 0, or add more rows",
        percent(1.0 - DELTA)
    )
}

/// A share in percent, to two places.
fn percent(share: f64) -> f64 {
    (1e4 * share).round() / 100.0
}

impl CalibrationSummary {
    /// Nothing is fitted yet.
    fn new(rows: usize, config: &CalibrationConfig) -> Self {
        Self {
            rows,
            sets: Vec::new(),
            limits: None,
            min_confidence: None,
            accepted: None,
            target_risk: None,
            target_risks: config.target_risk.ascending(),
            crossed: None,
            notes: Vec::new(),
        }
    }

    fn promise(&mut self, conformal: &Conformal, alphas: &[f64]) {
        for &alpha in alphas {
            let bounds = conformal.bounds(alpha);
            let (always, percent) = (bounds.always(), percent(1.0 - alpha));
            let Bounds { pooled, fewest, .. } = bounds;
            let (low, high) = coverage_band(fewest, alpha, 0.99).unzip();
            let (coverage, by_class, rows) = (1.0 - alpha, conformal.by_class, conformal.rows());
            self.sets.push(SetPromise {
                coverage,
                by_class,
                rows,
                fewest,
                low,
                high,
                pooled,
                always,
            });
            if always > 0 {
                self.notes.push(format!(
                    "prediction sets at {percent} %: {always} of {} classes have too few rows to \
                     be excluded and are in every set",
                    bounds.bound_c.len()
                ));
            } else if pooled > 0 {
                self.notes.push(format!(
                    "prediction sets at {percent} %: {} of {} classes have too few rows for a \
                     threshold of their own, so they share one; the coverage guarantee holds for \
                     them jointly",
                    pooled,
                    bounds.bound_c.len()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::RiskLevels;

    /// The limits, and what is said, for rows of which none proves anything.
    fn unproven(
        change: impl FnOnce(&mut CalibrationConfig),
    ) -> (Option<Limits>, CalibrationSummary) {
        let mut config =
            CalibrationConfig { target_risk: RiskLevels::new([0.1, 0.2]), ..Default::default() };
        change(&mut config);
        let answers = [(0.99, true), (0.99, false), (0.9, false)];
        let mut summary = CalibrationSummary::new(answers.len(), &config);
        let limits = limits(&config, &answers, (3, OwnDoubt::Known), true, &mut summary);
        (limits, summary)
    }

    #[test]
    fn a_limit_that_was_set_stays_where_no_target_risk_is_proved() {
        let (limits, summary) = unproven(|config| config.min_confidence = 0.95);
        let limits = limits.unwrap();
        assert_eq!((limits.min_confidence, limits.ood_p), (Some(0.95), Some(0.01)));
        assert_eq!((summary.min_confidence, summary.target_risk), (Some(0.95), None));
        assert_eq!(summary.accepted, Some(2.0 / 3.0));
        let [note] = summary.notes.as_slice() else { panic!("{:?}", summary.notes) };
        assert!(
            note.contains("do not prove, for any confidence threshold of at least 0.95"),
            "{note}"
        );
        assert!(note.contains("`calibration.min_confidence` = 0.95, stays"), "{note}");

        let (limits, summary) = unproven(|config| config.max_set_size = 1);
        let limits = limits.unwrap();
        assert_eq!((limits.min_confidence, limits.max_set_size), (None, Some(1)));
        assert!(summary.notes[0].contains("the limits that you set stay"), "{:?}", summary.notes);

        // No confidence of three classes is below a third.
        for set in [0.2, 1.0 / 3.0] {
            let (limits, summary) = unproven(|config| config.min_confidence = set);
            assert_eq!((limits, summary.min_confidence), (None, None));
            let [idle, unproved] = &summary.notes[..] else { panic!("{:?}", summary.notes) };
            assert!(idle.contains("has no effect: with 3 classes"), "{idle}");
            assert!(unproved.contains("makes no accept/abstain decisions"), "{unproved}");
        }
        let (limits, summary) = unproven(|config| config.min_confidence = 0.34);
        assert_eq!((limits.unwrap().min_confidence, summary.notes.len()), (Some(0.34), 1));

        // Nor is any set larger than all of them, or any doubt than ln 3 nats.
        for set in [3, 4, 9] {
            let (limits, summary) = unproven(|config| config.max_set_size = set);
            assert_eq!(limits.unwrap().max_set_size, Some(3));
            assert!(summary.notes[0].contains("refuses only empty sets"), "{:?}", summary.notes);
        }
        for set in [3f64.ln(), 2.0, 1e9] {
            let (limits, summary) = unproven(|config| config.max_epistemic = set);
            assert_eq!(limits, None);
            assert!(summary.notes[0].contains("is never above 1.0986 nats"), "{:?}", summary.notes);
        }
        let (limits, _) = unproven(|config| config.max_epistemic = 1.09);
        assert_eq!(limits.unwrap().max_epistemic, Some(1.09));

        let (limits, summary) = unproven(|_| ());
        assert_eq!((limits, summary.accepted), (None, None));
        assert!(
            summary.notes[0].contains("the model makes no accept/abstain decisions"),
            "{:?}",
            summary.notes
        );
    }
}
