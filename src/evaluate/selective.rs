//! What is gained by leaving the most doubtful answers to a person.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Answer;
use crate::metrics::{MetricsError, Ranking, RiskPoint};

/// Points of the curve.
const POINTS: usize = 100;

/// Selective prediction by one kind of doubt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selective {
    /// See [`Ranking::aurc`].
    pub aurc: f64,
    /// See [`Ranking::e_aurc`].
    pub e_aurc: f64,
    /// See [`Ranking::augrc`].
    pub augrc: f64,
    /// AUROC of doubt against "the answer is wrong"; `None` where all are right, or none.
    pub error_auroc: Option<f64>,
    /// Accuracy on the 70 % of rows that are least doubtful.
    pub accuracy_at_70: f64,
    pub accuracy_at_80: f64,
    pub accuracy_at_90: f64,
    pub accuracy_at_95: f64,
    /// Share of rows that can be accepted with at most 1 % of them wrong.
    pub coverage_at_risk_1: f64,
    /// With at most 2 %.
    pub coverage_at_risk_2: f64,
    /// With at most 5 %.
    pub coverage_at_risk_5: f64,
    pub curve: Vec<RiskPoint>,
}

impl Selective {
    pub(super) fn by_doubt(
        rows: &[&Answer],
        hit: &impl Fn(usize) -> bool,
    ) -> Result<BTreeMap<&'static str, Self>, MetricsError> {
        let of = |doubt_n: &[f64]| -> Result<Self, MetricsError> {
            let side = |right: bool| -> Vec<f64> {
                (0..rows.len()).filter(|&row| hit(row) == right).map(|row| doubt_n[row]).collect()
            };
            Ok(Self::new(&Ranking::new(&side(true), &side(false))?))
        };
        // −confidence and not 1 − confidence, which would make ties of what differs.
        let confidence: Vec<f64> = rows.iter().map(|one| -one.confidence()).collect();
        let mut all = BTreeMap::from([("confidence", of(&confidence)?)]);
        let epistemic: Option<Vec<f64>> = rows.iter().map(|one| one.epistemic).collect();
        if let Some(epistemic) = epistemic {
            all.insert("epistemic", of(&epistemic)?);
        }
        Ok(all)
    }

    fn new(doubt: &Ranking) -> Self {
        let error_auroc = doubt.auroc();
        Self {
            aurc: doubt.aurc(),
            e_aurc: doubt.e_aurc(),
            augrc: doubt.augrc(),
            error_auroc: (!error_auroc.is_nan()).then_some(error_auroc),
            accuracy_at_70: doubt.selective_accuracy(0.70),
            accuracy_at_80: doubt.selective_accuracy(0.80),
            accuracy_at_90: doubt.selective_accuracy(0.90),
            accuracy_at_95: doubt.selective_accuracy(0.95),
            coverage_at_risk_1: doubt.coverage_at_risk(0.01),
            coverage_at_risk_2: doubt.coverage_at_risk(0.02),
            coverage_at_risk_5: doubt.coverage_at_risk(0.05),
            curve: doubt.risk_curve(POINTS),
        }
    }
}
