//! The report on the answers of one model.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answers::{Answers, Inside};
use super::classes::{self, ClassReport, ConfusionReport};
use super::outside::outside;
use super::{Answer, BenchmarkReport, OutOfScope, Selective};
use crate::calibrate::conformal::coverage_band;
use crate::compute::{Noise, Purpose};
use crate::metrics::{
    self, CalibrationErrors, FLOOR_RESAMPLES, MetricsError, RESAMPLES, Scored, SetReport, Summary,
    best_accuracy, calibration_errors,
};
use crate::task::Task;

/// Which of the report's numbers a stream of noise is for.
pub(super) mod stream {
    pub const SUMMARY: u32 = 0;
    pub const FLOORS: u32 = 1;
    pub const OUTSIDE: u32 = 2;
    pub const COMPARISON: u32 = 3;
    pub const BASELINE: u32 = 4;
    pub const EXCHANGE: u32 = 5;
    pub const BENCHMARK: u32 = 6;
}

/// The report on one split.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The headline metrics, under their fixed keys.
    #[serde(flatten)]
    pub summary: Summary,
    pub calibration: CalibrationErrors,
    /// Every class, in the order of the labels.
    pub by_class: Vec<ClassReport>,
    /// The most frequent confusions, twenty at most.
    pub confusions: Vec<ConfusionReport>,
    /// What is gained by leaving doubtful answers out, by what doubt is: `confidence`, and
    /// `epistemic` where the model knows its own part of the uncertainty.
    pub selective: BTreeMap<&'static str, Selective>,
    /// Mean uncertainty of the answers: `all`, `right` and `wrong` ones. Its parts are `None` where the
    /// model does not know them.
    pub uncertainty: BTreeMap<&'static str, Uncertainty>,
    /// How prediction sets kept their promise.
    pub sets: Option<SetReport>,
    /// What their calibration rows promise.
    pub set_band: Option<SetBand>,
    /// Rows whose label was given a probability below 1e-12.
    pub improbable: usize,
    /// Rows that were truncated.
    pub truncated: usize,
    /// How the score looks without texts that were seen before.
    pub without_seen: Option<WithoutSeen>,
    /// Against the known truth.
    pub truth: Option<TruthReport>,
    /// Texts of no class, by where they are from.
    pub ood: BTreeMap<String, OutOfScope>,
    /// What the suite of benchmarks counts that the data set is a task of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<BenchmarkReport>,
}

/// Where the true coverage of prediction sets lies in 99 % of the draws of as many calibration rows:
/// see [`coverage_band`]. What is found on test rows scatters a little more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SetBand {
    /// Calibration rows behind the bound that has the fewest.
    pub rows: usize,
    /// From; `None` where a class has no rows: it is in every set.
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl SetBand {
    /// `from – to`, or why there is no band.
    pub fn words(&self, shown: impl Fn(f64) -> String) -> Result<String, &'static str> {
        match self.low.zip(self.high) {
            Some((low, high)) => Ok(format!("{} to {}", shown(low), shown(high))),
            None => Err("a class has no calibration rows, so it is in every set"),
        }
    }
}

/// Mean uncertainty in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Uncertainty {
    pub rows: usize,
    /// Entropy of the predictive distribution.
    pub total: f64,
    /// Its part that more training data would not remove.
    pub aleatoric: Option<f64>,
    /// Its part that comes from not knowing the weights.
    pub epistemic: Option<f64>,
    /// `epistemic / total`.
    pub epistemic_share: Option<f64>,
}

/// The score without texts that were also trained or calibrated on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WithoutSeen {
    pub seen: usize,
    /// Accuracy on the others, where there are any.
    pub accuracy: Option<f64>,
    /// NLL on the others, where there are any.
    pub nll: Option<f64>,
}

impl WithoutSeen {
    /// Of rows with these probabilities `[n, c]`, those of `seen` left aside; `None` where none was seen.
    pub fn of(
        seen: &[usize],
        probability_nc: &[f64],
        labels: &[u32],
    ) -> Result<Option<Self>, MetricsError> {
        if seen.is_empty() {
            return Ok(None);
        }
        let fresh: Vec<usize> =
            (0..labels.len()).filter(|row| seen.binary_search(row).is_err()).collect();
        if fresh.is_empty() {
            return Ok(Some(Self { seen: seen.len(), accuracy: None, nll: None }));
        }
        let classes = probability_nc.len() / labels.len();
        let line = |&row: &usize| &probability_nc[row * classes..(row + 1) * classes];
        let probability_nc: Vec<f64> = fresh.iter().flat_map(line).copied().collect();
        let labels: Vec<u32> = fresh.iter().map(|&row| labels[row]).collect();
        let scored = Scored::new(&probability_nc, classes, &labels)?;
        let (accuracy, nll) = (Some(metrics::accuracy(&scored)), Some(metrics::nll(&scored)));
        Ok(Some(Self { seen: seen.len(), accuracy, nll }))
    }
}

/// How far from the truth, where it is known.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TruthReport {
    /// The accuracy of someone who knows p(label | text): no classifier does better on average.
    pub best_accuracy: f64,
    /// The accuracy that these answers have on average over the draws of the labels.
    pub expected_accuracy: f64,
    /// Mean |p − truth| of the predicted class's probability.
    pub mean_error: f64,
}

impl Report {
    /// Whether the answers say how much of their uncertainty is the model's own.
    pub fn knows_epistemic(&self) -> bool {
        let ood = self.ood.values().filter_map(|one| one.uncertainty.as_ref());
        self.uncertainty.values().chain(ood).any(|one| one.epistemic.is_some())
    }
}

/// Scores answers. Resampling is seeded by `noise`: the same answers give the same bits.
///
/// # Errors
/// There is no labelled answer, or the numbers are no probabilities.
pub fn evaluate(answers: &Answers, noise: &Noise) -> Result<Report, MetricsError> {
    let Task::SingleLabel = answers.task;
    let inside = answers.inside();
    let classes = answers.labels.len();
    let scored = Scored::new(&inside.probability_nc, classes, &inside.labels)?;
    let stream = |kind| noise.stream(Purpose::Bootstrap, 0, kind);
    let mut bootstrap = stream(stream::SUMMARY);
    let mut floors = stream(stream::FLOORS);
    let hit = |row: usize| inside.rows[row].predicted == inside.labels[row] as usize;
    let sets = sets(answers, &inside)?;
    let by_class = classes::by_class(&scored, &answers.labels, sets.as_ref());
    let (summary, calibration) = rayon::join(
        || metrics::summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, &mut || bootstrap.uniform()),
        || calibration_errors(&scored, FLOOR_RESAMPLES, &mut || floors.uniform()),
    );
    Ok(Report {
        benchmark: BenchmarkReport::of(answers, &inside, &summary, noise),
        summary,
        calibration,
        selective: Selective::by_doubt(&inside.rows, &hit)?,
        uncertainty: uncertainty_by_outcome(&inside.rows, &hit),
        confusions: classes::confusions(&scored, &answers.labels, &by_class),
        by_class,
        sets,
        set_band: answers.alpha.zip(answers.bound_rows).map(|(alpha, rows)| {
            let (low, high) = coverage_band(rows, alpha, 0.99).unzip();
            SetBand { rows, low, high }
        }),
        improbable: metrics::improbable(&scored),
        truncated: inside.rows.iter().filter(|one| one.truncated).count(),
        without_seen: WithoutSeen::of(&inside.seen, &inside.probability_nc, &inside.labels)?,
        truth: match &inside.truth_nc {
            Some(truth_nc) => Some(truth(&inside.rows, truth_nc, classes)?),
            None => None,
        },
        ood: outside(&inside.rows, &answers.outside(), noise)?,
    })
}

/// Mean uncertainties; `None` where there are no rows.
pub(super) fn uncertainty(rows: &[&Answer]) -> Option<Uncertainty> {
    let mean = |value: &dyn Fn(&Answer) -> Option<f64>| -> Option<f64> {
        let sum = rows.iter().map(|one| value(one)).sum::<Option<f64>>()?;
        (!rows.is_empty()).then(|| sum / rows.len() as f64)
    };
    let total = mean(&|one| Some(one.total))?;
    let epistemic = mean(&|one| one.epistemic);
    Some(Uncertainty {
        rows: rows.len(),
        total,
        aleatoric: mean(&|one| one.aleatoric),
        epistemic,
        epistemic_share: epistemic.filter(|_| total > 0.0).map(|epistemic| epistemic / total),
    })
}

fn uncertainty_by_outcome(
    rows: &[&Answer],
    hit: &impl Fn(usize) -> bool,
) -> BTreeMap<&'static str, Uncertainty> {
    let of = |wanted: bool| -> Vec<&Answer> {
        (0..rows.len()).filter(|&row| hit(row) == wanted).map(|row| rows[row]).collect()
    };
    let groups = [("all", rows.to_vec()), ("right", of(true)), ("wrong", of(false))];
    groups.into_iter().filter_map(|(name, rows)| Some((name, uncertainty(&rows)?))).collect()
}

fn sets(answers: &Answers, inside: &Inside<'_>) -> Result<Option<SetReport>, MetricsError> {
    let sets: Option<Vec<Vec<u32>>> = inside.rows.iter().map(|one| one.set.clone()).collect();
    match (sets, answers.alpha) {
        (Some(sets), Some(alpha)) => {
            metrics::sets(&sets, &inside.labels, answers.labels.len(), alpha).map(Some)
        }
        _ => Ok(None),
    }
}

fn truth(rows: &[&Answer], truth_nc: &[f64], classes: usize) -> Result<TruthReport, MetricsError> {
    let mean = |value: &dyn Fn(f64, f64) -> f64| {
        let lines = rows.iter().zip(truth_nc.chunks_exact(classes));
        let sum: f64 = lines.map(|(one, p)| value(one.confidence(), p[one.predicted])).sum();
        sum / rows.len() as f64
    };
    Ok(TruthReport {
        best_accuracy: best_accuracy(truth_nc, classes)?,
        expected_accuracy: mean(&|_, truth| truth),
        mean_error: mean(&|confidence, truth| (confidence - truth).abs()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::answers::tests::answers;
    use super::super::{least_covered, worst_first};
    use super::*;

    #[test]
    fn all_that_a_model_knows_is_in_the_report() {
        let report = evaluate(&answers(), &Noise::new(1)).unwrap();
        assert_eq!(report.summary.rows, 9);
        assert_eq!(report.truncated, 1);
        let sets = report.sets.as_ref().unwrap();
        assert_eq!((sets.alpha, sets.mean_size), (0.1, 1.0));
        // Labels 1 0 0 0 1 0 0 0 1, all answered 1.
        let [first, second] = &report.by_class[..] else { panic!("two classes") };
        assert_eq!(
            (first.label.as_str(), first.rows, first.recall),
            ("billing, \"old\"", 6, Some(0.0))
        );
        assert_eq!((second.precision, second.recall), (Some(3.0 / 9.0), Some(1.0)));
        assert_eq!(worst_first(&report.by_class)[0], first);
        let confusion = &report.confusions[0];
        assert_eq!((confusion.rows, confusion.share, report.confusions.len()), (6, 1.0, 1));
        assert_eq!(confusion.predicted, "technical.support");
        let (name, coverage) = least_covered(&report.by_class).unwrap();
        let lowest = sets.by_class.iter().flatten().map(|one| one.coverage).fold(1.0, f64::min);
        assert_eq!((name, coverage), ("billing, \"old\"", lowest));
        let keys: Vec<_> = report.selective.keys().copied().collect();
        assert_eq!(keys, ["confidence", "epistemic"]);
        let right = report.uncertainty["right"];
        assert_eq!((right.rows, report.uncertainty["wrong"].rows), (3, 6));
        let parts = right.aleatoric.unwrap() + right.epistemic.unwrap();
        assert!((right.total - parts).abs() < 1e-15);
        assert_eq!(report.without_seen.unwrap().seen, 1);
        assert_eq!(report.truth.unwrap().expected_accuracy, 0.75);
        let ood = report.ood.values().next().unwrap();
        assert_eq!((ood.rows, ood.score, ood.detection.auroc.value), (3, "novelty", 1.0));
        assert_eq!(ood.by_score.len(), 4);
    }

    #[test]
    fn what_a_model_does_not_know_is_absent() {
        let mut answers = answers();
        for row in &mut answers.rows {
            (row.aleatoric, row.epistemic, row.set, row.novelty) = (None, None, None, None);
        }
        let report = evaluate(&answers, &Noise::new(1)).unwrap();
        assert!(report.sets.is_none() && report.selective.len() == 1);
        let ood = report.ood.values().next().unwrap();
        assert_eq!((ood.score, ood.by_score.len()), ("confidence", 2));
        answers.rows.retain(|row| matches!(row.truth, super::super::Truth::OutOfScope { .. }));
        assert!(evaluate(&answers, &Noise::new(1)).is_err());
    }

    #[test]
    fn equal_seeds_agree_and_different_seeds_differ() {
        let json = |seed| {
            let report = evaluate(&answers(), &Noise::new(seed)).unwrap();
            serde_json::to_string(&report).unwrap()
        };
        assert_eq!(json(1), json(1));
        assert_ne!(json(1), json(2));
    }
}
