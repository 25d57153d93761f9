//! The figures of one damage, beside those of the undamaged rows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::report::stream;
use super::super::{Answers, Decided, Exchangeability, Selective};
use crate::artifact::Artifact;
use crate::compute::{Noise, Purpose};
use crate::metrics::{
    self, Calibration, FLOOR_RESAMPLES, HEADLINE, Interval, MetricsError, RESAMPLES, Scored,
    Summary, differences,
};

/// The name of the rows as they are.
pub const UNDAMAGED: &str = "undamaged";

/// Which promises of a model were kept on some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kept {
    /// What its limits do; `None` where it decides nothing.
    pub decisions: Option<Decided>,
    /// The share of labelled rows that are called out of distribution; `None` without a novelty score.
    pub flagged: Option<f64>,
    /// Whether the promise of the prediction sets holds here; `None` without sets, or if all rows were seen.
    pub exchangeability: Option<Exchangeability>,
}

impl Kept {
    /// On the labelled answers of a model.
    pub fn of(answers: &Answers, artifact: &Artifact) -> Self {
        let calibration = &artifact.calibration;
        let limits = calibration.limits.as_ref();
        let alarm = calibration.novelty.as_ref().map(|novelty| novelty.alarm);
        let inside = answers.inside().rows;
        let flagged = |alarm: f64| {
            let p_values: Option<Vec<f64>> =
                inside.iter().map(|one| one.novelty.map(|novelty| novelty.p_value)).collect();
            let p_values = p_values.filter(|all| !all.is_empty())?;
            let count = p_values.iter().filter(|p| **p <= alarm).count();
            Some(count as f64 / p_values.len() as f64)
        };
        // Sets of another coverage (`--coverage`) do not have the size that decides.
        let own = answers.alpha == calibration.usual().bounds.map(|bounds| bounds.alpha);
        let limits = limits.filter(|limits| own || limits.max_set_size.is_none());
        Self {
            decisions: limits
                .and_then(|limits| Decided::new(limits, calibration.risk, &answers.rows)),
            flagged: alarm.and_then(flagged),
            exchangeability: Exchangeability::of(answers, artifact),
        }
    }
}

/// The figures of one evaluation of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shifted {
    /// [`UNDAMAGED`], or the damage as it is written.
    pub label: String,
    /// What it does, in words.
    pub what: String,
    pub rows: usize,
    /// Rows whose text the damage changed.
    pub changed: usize,
    pub accuracy: Interval,
    /// Nats.
    pub nll: Interval,
    /// What the damage adds to the NLL, with the interval over resamples that both share; `None` for the undamaged
    /// rows, and where one of the two is infinite.
    pub nll_difference: Option<Interval>,
    pub ece: Calibration,
    /// The share of labels in their set, where there are sets.
    pub coverage: Option<Interval>,
    pub mean_set_size: Option<f64>,
    /// Accuracy on the 80 % of rows that are most confident.
    pub accuracy_at_80: f64,
    pub accuracy_at_90: f64,
    #[serde(flatten)]
    pub kept: Kept,
    /// AUROC of doubt against "the answer is wrong", by what doubt is: `confidence`, and `epistemic` where the model
    /// knows it. `None` where all are right, or none.
    pub error_auroc: BTreeMap<&'static str, Option<f64>>,
}

impl Shifted {
    /// The rows as they are. `summary` are their headline metrics.
    ///
    /// # Errors
    /// There is no labelled answer, or the numbers are no probabilities.
    pub fn undamaged(
        answers: &Answers,
        summary: &Summary,
        kept: Kept,
    ) -> Result<Self, MetricsError> {
        let inside = answers.inside();
        let hit = |row: usize| inside.rows[row].predicted == inside.labels[row] as usize;
        let selective = Selective::by_doubt(&inside.rows, &hit)?;
        let confidence = &selective["confidence"];
        let sets: Option<Vec<Vec<u32>>> = inside.rows.iter().map(|one| one.set.clone()).collect();
        let sets = match (sets, answers.alpha) {
            (Some(sets), Some(alpha)) => {
                Some(metrics::sets(&sets, &inside.labels, answers.labels.len(), alpha)?)
            }
            _ => None,
        };
        Ok(Self {
            label: UNDAMAGED.to_owned(),
            what: "the rows as they are".to_owned(),
            rows: inside.rows.len(),
            changed: 0,
            accuracy: summary.accuracy,
            nll: summary.nll,
            nll_difference: None,
            ece: summary.ece,
            coverage: sets.as_ref().map(|sets| sets.coverage),
            mean_set_size: sets.as_ref().map(|sets| sets.mean_size),
            accuracy_at_80: confidence.accuracy_at_80,
            accuracy_at_90: confidence.accuracy_at_90,
            kept,
            error_auroc: selective.iter().map(|(&doubt, one)| (doubt, one.error_auroc)).collect(),
        })
    }

    /// Damaged copies of the rows of `before`, of which the damage changed so many.
    ///
    /// # Errors
    /// There is no labelled answer, or the numbers are no probabilities.
    pub fn damaged(
        damage: &super::Damage,
        answers: &Answers,
        before: &Answers,
        artifact: &Artifact,
        changed: usize,
    ) -> Result<Self, MetricsError> {
        let (inside, original) = (answers.inside(), before.inside());
        let classes = answers.labels.len();
        let scored = Scored::new(&inside.probability_nc, classes, &inside.labels)?;
        let scored_before = Scored::new(&original.probability_nc, classes, &original.labels)?;
        let noise = Noise::new(answers.seed);
        let stream = |kind| noise.stream(Purpose::Bootstrap, 0, kind);
        let mut draws = stream(stream::SUMMARY);
        let summary =
            metrics::summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, &mut || draws.uniform());
        let mut draws = stream(stream::COMPARISON);
        let found = differences(&scored_before, &scored, RESAMPLES, &mut || draws.uniform());
        let mut by_metric = HEADLINE.iter().zip(found);
        let nll_difference =
            by_metric.find(|(metric, _)| metric.key == "nll").and_then(|(_, found)| found);
        let kept = Kept::of(answers, artifact);
        let (label, what) = (damage.to_string(), damage.words());
        let as_they_are = Self::undamaged(answers, &summary, kept)?;
        Ok(Self { label, what, changed, nll_difference, ..as_they_are })
    }
}
