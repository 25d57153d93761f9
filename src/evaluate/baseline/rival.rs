//! The baseline's answers to the rows that models answered.

use super::{Baseline, BaselineReport, Difference, Standing};
use crate::compute::{Noise, Purpose};
use crate::data::{Dataset, Example};
use crate::evaluate::report::stream;
use crate::evaluate::{Answer, Answers, EvaluateError, compare, labels_of_model};
use crate::metrics::{
    Calibration, FLOOR_RESAMPLES, Interval, MetricsError, RESAMPLES, Scored, summarise,
};
use crate::task::Task;

/// The baseline and what it answered.
#[derive(Clone)]
pub struct Rival {
    baseline: Baseline,
    answers: Answers,
    accuracy: Interval,
    nll: Interval,
    ece: Calibration,
}

impl std::fmt::Debug for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rival").field("accuracy", &self.accuracy).finish_non_exhaustive()
    }
}

impl Rival {
    /// Fits the training rows of `dataset` and answers the labelled rows that a model answered:
    /// `test`, in their order. Seeded as the answers are.
    ///
    /// # Errors
    /// The data set has a class that the model does not know, or there is nothing to score.
    pub fn new(
        dataset: &Dataset,
        train: &[&Example],
        test: &[&Example],
        answers: &Answers,
    ) -> Result<Self, EvaluateError> {
        let Task::SingleLabel = answers.task;
        let by_label = labels_of_model(&dataset.labels, &answers.labels)?;
        let labels: Vec<u32> =
            train.iter().map(|example| by_label[example.label as usize]).collect();
        let (classes, noise) = (answers.labels.len(), Noise::new(answers.seed));
        let baseline = Baseline::fit(train, &labels, classes, &noise);
        let probability_nc = baseline.predict(test);
        let inside = answers.inside();
        assert_eq!(inside.rows.len(), test.len(), "one answer for each row");
        let scored = Scored::new(&probability_nc, classes, &inside.labels)?;
        let mut stream = noise.stream(Purpose::Bootstrap, 0, stream::BASELINE);
        let summary = summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, &mut || stream.uniform());
        let lines = probability_nc.chunks_exact(classes);
        let answer = |(of_model, line): (&&Answer, &[f64])| Answer {
            predicted: answers.task.decision(line),
            probability_c: line.to_vec(),
            logit_c: Vec::new(),
            aleatoric: None,
            epistemic: None,
            set: None,
            novelty: None,
            ..(**of_model).clone()
        };
        let rows = inside.rows.iter().zip(lines).map(answer).collect();
        let answers = Answers { model: "baseline".to_owned(), rows, ..answers.clone() };
        let (accuracy, nll, ece) = (summary.accuracy, summary.nll, summary.ece);
        Ok(Self { baseline, answers, accuracy, nll, ece })
    }

    /// A model's answers to the same rows beside it.
    ///
    /// # Errors
    /// The numbers are no probabilities.
    pub fn beside(&self, answers: &Answers) -> Result<Option<BaselineReport>, MetricsError> {
        let Self { baseline, accuracy, nll, ece, .. } = self;
        let Some(found) = compare(&[&self.answers, answers])?.pop() else { return Ok(None) };
        let of = |metric: &str| found.difference[metric];
        let (Some(by_accuracy), Some(by_ece)) = (of("accuracy"), of("ece")) else {
            return Ok(None);
        };
        let difference = Difference { accuracy: by_accuracy, nll: of("nll"), ece: by_ece };
        Ok(Some(BaselineReport {
            rows: baseline.rows.0,
            of_rows: baseline.rows.1,
            features: baseline.weighting.features,
            cost: baseline.choice.cost.into(),
            temperature: baseline.choice.temperature,
            accuracy: *accuracy,
            nll: *nll,
            ece: *ece,
            better: difference.standing() == Standing::Better,
            difference,
            test_rows: self.answers.rows.len(),
        }))
    }
}
