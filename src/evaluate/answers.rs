//! What a model answered: all that the report is computed from, and all that a predictions file
//! holds.

use std::collections::{BTreeMap, BTreeSet};

use super::labels_of_model;
use crate::calibrate::conformal::ConformalMethod;
use crate::calibrate::{Ood, PredictionSet};
use crate::compute::Precision;
use crate::data::Known;
use crate::metrics::{MetricsError, Scores};
use crate::posterior::{LinkChoice, OwnDoubt, Posterior};
use crate::predict::Prediction;
use crate::task::Task;

/// The answers of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The model's folder, or how else it is called.
    pub model: String,
    /// The data set of the labelled rows.
    pub dataset: String,
    pub split: String,
    pub seed: u64,
    /// What the model computed with; f32 in files of earlier versions, which do not say it.
    pub precision: Precision,
    /// What the model divides logits by.
    pub temperature: f64,
    /// What else stands between logits and probabilities; not known of files of earlier versions.
    pub link: Option<Link>,
    /// How prediction sets are made, where there are sets; not known of such files either.
    pub set_method: Option<ConformalMethod>,
    /// The share of labels that prediction sets may miss, where there are sets.
    pub alpha: Option<f64>,
    /// The calibration rows behind the bound of those sets that has the fewest.
    pub bound_rows: Option<usize>,
    /// What the model is for.
    pub task: Task,
    /// Class names by label.
    pub labels: Vec<String>,
    /// What labels of the data set were renamed to (`data.label_map`); not known of answers from a file.
    pub renamed: BTreeMap<String, String>,
    /// One for each text.
    pub rows: Vec<Answer>,
}

/// What stands between logits and probabilities, as far as one can be computed from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Probabilities are the softmax of the logits over the temperature.
    Softmax,
    /// The same with a vector scaling before it.
    Scaled,
    /// Probabilities are a mean over the posterior.
    Mean,
    /// They approximate it, and the total uncertainty is not their entropy.
    MeanField,
}

impl Link {
    const ALL: [Self; 4] = [Self::Softmax, Self::Scaled, Self::Mean, Self::MeanField];

    /// That of a model.
    pub fn of(posterior: &Posterior) -> Self {
        let Posterior { link, scaling, .. } = posterior;
        let exact = posterior.passes().is_some() || posterior.classes() == 2;
        match posterior.own_doubt() {
            OwnDoubt::Known if exact => Self::Mean,
            OwnDoubt::Known if link.choice == LinkChoice::Qmc => Self::Mean,
            OwnDoubt::Known => Self::MeanField,
            _ if scaling.vector.is_some() => Self::Scaled,
            _ => Self::Softmax,
        }
    }

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Scaled => "scaled",
            Self::Mean => "mean",
            Self::MeanField => "mean_field",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|link| link.name() == name)
    }
}

/// The answer to one text. The text itself is not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What is true of the text.
    pub truth: Truth,
    /// Its row in the split, from 0.
    pub row: usize,
    /// The class that was decided on.
    pub predicted: usize,
    /// p(class | text), `[c]`.
    pub probability_c: Vec<f64>,
    /// Mean logits before the temperature, `[c]`.
    pub logit_c: Vec<f64>,
    /// Entropy of the probabilities, nats.
    pub total: f64,
    /// Expected entropy under the posterior.
    pub aleatoric: Option<f64>,
    /// Mutual information of label and weights.
    pub epistemic: Option<f64>,
    /// The classes of the prediction set.
    pub set: Option<Vec<u32>>,
    /// How unlike the training data the text is.
    pub novelty: Option<Novelty>,
    /// Whether the text was longer than the model reads.
    pub truncated: bool,
    /// Which question the row is a possible answer to, from 0, where a score counts questions.
    pub question: Option<usize>,
}

/// How unlike the training data a text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Novelty {
    pub score: f64,
    /// Share of held-out texts that are as strange.
    pub p_value: f64,
}

/// What is known of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// It has a label.
    Label {
        label: u32,
        /// p(class | text), `[c]`, where labels were drawn with known probabilities.
        probability_c: Option<Vec<f64>>,
        /// Whether the text was also trained or calibrated on.
        seen: bool,
    },
    /// It belongs to none of the classes.
    OutOfScope {
        /// Where it is from.
        source: String,
    },
}

impl Answer {
    /// What was predicted for a text.
    pub fn new(row: usize, truth: Truth, prediction: &Prediction) -> Self {
        let predictive = &prediction.predictive;
        let judgement = &prediction.judgement;
        let classes = |set: &PredictionSet| set.classes.iter().map(|&class| class as u32).collect();
        let novelty = |ood: Ood| Novelty { score: ood.score, p_value: ood.p_value };
        Self {
            truth,
            row,
            predicted: prediction.label,
            probability_c: predictive.probability_c.clone(),
            logit_c: prediction.logits.mean().to_vec(),
            total: predictive.total,
            aleatoric: predictive.aleatoric,
            epistemic: predictive.epistemic,
            set: judgement.set.as_ref().map(classes),
            novelty: judgement.ood.map(novelty),
            truncated: prediction.truncated,
            question: None,
        }
    }

    /// The probability of the class that was decided on.
    pub fn confidence(&self) -> f64 {
        self.probability_c[self.predicted]
    }
}

/// Labelled answers, in the form that metrics take.
pub(super) struct Inside<'a> {
    pub rows: Vec<&'a Answer>,
    pub labels: Vec<u32>,
    /// Places of rows whose text was seen before, ascending.
    pub seen: Vec<usize>,
    /// `[n, c]`, where it is known for every row.
    pub truth_nc: Option<Vec<f64>>,
    pub probability_nc: Vec<f64>,
}

impl Answers {
    /// The scores of the labelled rows that a softmax of the logits has, without a temperature.
    ///
    /// # Errors
    /// There is no such row.
    pub fn uncalibrated(&self) -> Result<Scores, MetricsError> {
        let inside = self.inside();
        let logit_nc: Vec<f64> =
            inside.rows.iter().flat_map(|one| one.logit_c.iter().copied()).collect();
        match self.task {
            Task::SingleLabel => Scores::of_logits(&logit_nc, &inside.labels),
        }
    }

    /// By class of a known data set its label here; `None` where these are not the classes of the model.
    pub(super) fn classes_of(&self, known: &Known) -> Option<Vec<usize>> {
        let own = |name: &&str| self.renamed.get(*name).cloned().unwrap_or((*name).to_owned());
        let own: Vec<String> = known.labels.iter().map(own).collect();
        let labels = labels_of_model(&own, &self.labels).ok()?;
        let distinct: BTreeSet<u32> = labels.iter().copied().collect();
        let all = labels.len() == self.labels.len() && distinct.len() == labels.len();
        all.then(|| labels.into_iter().map(|label| label as usize).collect())
    }

    /// The answers to texts that have a label.
    pub(super) fn inside(&self) -> Inside<'_> {
        let (mut rows, mut labels, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut truth_nc = Some(Vec::new());
        for answer in &self.rows {
            let Truth::Label { label, probability_c, seen: was_seen } = &answer.truth else {
                continue;
            };
            if *was_seen {
                seen.push(rows.len());
            }
            rows.push(answer);
            labels.push(*label);
            truth_nc = match (truth_nc, probability_c) {
                (Some(mut all), Some(probability_c)) => {
                    all.extend(probability_c);
                    Some(all)
                }
                _ => None,
            };
        }
        let truth_nc = truth_nc.filter(|all| !all.is_empty());
        let probability_nc =
            rows.iter().flat_map(|one| one.probability_c.iter().copied()).collect();
        Inside { rows, labels, seen, truth_nc, probability_nc }
    }

    /// The answers to texts of no class, by source in the order of the names.
    pub(super) fn outside(&self) -> BTreeMap<&str, Vec<&Answer>> {
        let mut sources: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
        for answer in &self.rows {
            if let Truth::OutOfScope { source } = &answer.truth {
                sources.entry(source).or_default().push(answer);
            }
        }
        sources
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Twelve answers of a model with a posterior, sets and novelty: nine labelled, three not.
    pub fn answers() -> Answers {
        let row = |place: usize| {
            let p = 0.5 + 0.04 * place as f64 + 1.0 / 3.0e3;
            let outside = place >= 9;
            let truth = match outside {
                true => Truth::OutOfScope { source: "recipes, \"easy\"".to_owned() },
                false => Truth::Label {
                    label: u32::from(place.is_multiple_of(4)),
                    probability_c: Some(vec![0.25, 0.75]),
                    seen: place == 2,
                },
            };
            Answer {
                truth,
                row: 10 * place,
                predicted: 1,
                probability_c: vec![1.0 - p, p],
                logit_c: vec![-0.1, (p / (1.0 - p)).ln()],
                total: p / 7.0,
                aleatoric: Some(p / 9.0),
                epistemic: Some(p / 7.0 - p / 9.0),
                set: Some([vec![], vec![1], vec![1, 0]][place % 3].clone()),
                novelty: Some(Novelty { score: f64::from(u8::from(outside)) + p, p_value: 0.1 }),
                truncated: place == 4,
                question: (place < 9).then_some(place / 2),
            }
        };
        Answers {
            model: "checkpoints/a b/model".to_owned(),
            dataset: "tickets".to_owned(),
            split: "test".to_owned(),
            seed: u64::MAX,
            precision: Precision::Int8,
            temperature: 1.1,
            link: Some(Link::MeanField),
            set_method: Some(ConformalMethod::Aps),
            alpha: Some(0.1),
            bound_rows: Some(199),
            task: Task::SingleLabel,
            labels: vec!["billing, \"old\"".to_owned(), "technical.support".to_owned()],
            renamed: BTreeMap::new(),
            rows: (0..12).map(row).collect(),
        }
    }

    #[test]
    fn answers_are_divided_by_whether_they_have_a_label() {
        let answers = answers();
        let inside = answers.inside();
        assert_eq!(inside.labels, [1, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!((inside.seen.as_slice(), inside.rows.len()), (&[2][..], 9));
        assert_eq!(inside.truth_nc.map(|truth_nc| truth_nc.len()), Some(18));
        let outside = answers.outside();
        assert_eq!(outside.values().map(Vec::len).collect::<Vec<_>>(), [3]);
        assert_eq!(answers.rows[0].predicted, 1);
    }
}
