//! One model's answers and all that follows from them.

use serde_json::{Value, json};

use super::shift::{Kept, Shifted};
use super::{Answers, BaselineReport, Hygiene, Report, evaluate};
use crate::artifact::Verdict;
use crate::compute::Noise;
use crate::metrics::{MetricsError, Scores};

/// A model's answers, scored.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub answers: Answers,
    /// Whether the model keeps its promises at the precision of its answers, where that was checked; not known of
    /// answers from a file.
    pub certificate: Option<Verdict>,
    /// How good that was.
    pub report: Report,
    /// How good it would be without the temperature, if there is one.
    pub uncalibrated: Option<Scores>,
    /// Which rows these are; not known for answers from a file.
    pub hygiene: Option<Hygiene>,
    /// What it has over a linear classifier on words, where that is known.
    pub baseline: Option<BaselineReport>,
    /// Which promises of the model were kept; not known for answers from a file.
    pub kept: Option<Kept>,
    /// The undamaged rows, then each damage that was asked for; empty if none was.
    pub shift: Vec<Shifted>,
}

impl Evaluation {
    /// Scores answers. Resampling begins at their seed, so that the same answers give the same
    /// bits.
    ///
    /// # Errors
    /// There is no labelled answer, or the numbers are no probabilities.
    pub fn new(answers: Answers, hygiene: Option<Hygiene>) -> Result<Self, MetricsError> {
        let report = evaluate(&answers, &Noise::new(answers.seed))?;
        let scaled = answers.temperature != 1.0;
        let uncalibrated = if scaled { Some(answers.uncalibrated()?) } else { None };
        let (baseline, kept, shift) = (None, None, Vec::new());
        Ok(Self {
            answers,
            certificate: None,
            report,
            uncalibrated,
            hygiene,
            baseline,
            kept,
            shift,
        })
    }

    /// `, int8 with a certificate` behind what an evaluation is of, where its figures are not those of f32.
    pub fn at_precision(&self) -> String {
        let precision = self.answers.precision;
        if precision.is_f32() {
            return String::new();
        }
        if self.hygiene.is_none() {
            return format!(", {precision}");
        }
        let certificate = match &self.certificate {
            Some(Verdict { granted: true, before_recalibration: true, .. }) => {
                "with a certificate of before its recalibration"
            }
            Some(Verdict { granted: true, .. }) => "with a certificate",
            Some(_) => "whose certificate was refused",
            None => "without a certificate",
        };
        format!(", {precision} {certificate}")
    }

    /// The metrics object: the report under its fixed keys, after what it is about.
    pub fn to_json(&self) -> Value {
        let Self { answers, certificate, report, .. } = self;
        let Self { uncalibrated, hygiene, baseline, kept, shift, .. } = self;
        let mut object = json!({
            "model": answers.model,
            "precision": answers.precision,
            "certificate": certificate,
            "dataset": answers.dataset,
            "split": answers.split,
            "generated": report.truth.is_some(),
            "temperature": answers.temperature,
            "seed": answers.seed,
            "without_temperature": uncalibrated,
            "splits": hygiene,
            "baseline": baseline,
            "kept": kept,
            "shift": shift,
        });
        let metrics = serde_json::to_value(report).expect("a report is plain data");
        if let (Some(object), Value::Object(metrics)) = (object.as_object_mut(), metrics) {
            object.extend(metrics);
        }
        object
    }
}
