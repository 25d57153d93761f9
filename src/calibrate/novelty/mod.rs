//! How unlike the training data a text is: a score, and what it means as a p-value.
//!
//! With the scores s_i of n held-out rows, p = (1 + #{s_i ≥ s}) / (n + 1). For a text from the same
//! distribution p ≤ α has probability at most α, whatever the score is worth (Bates, Candès, Lei,
//! Romano and Sesia, "Testing for outliers with conformal p-values", 2023): flagging at p ≤ 0.01
//! gives at most 1 % false alarms. How many strange texts are found is up to the score.
//!
//! Where there are rows enough, the held-out rows that a text is compared with are those of like length,
//! so that the promise holds for short and long texts alike (Mondrian conformal prediction, with the
//! length as the category).

mod density;
mod distance;
mod length;
mod length_groups;
mod mahalanobis;
mod moments;
mod neighbours;
mod vectors;

use serde::{Deserialize, Serialize};

pub use density::Density;
pub use distance::{
    CrossFitted, Distance, DistanceFit, Form, Layer, ReferenceRows, Space, Standard,
};
pub use length::{KNOTS, LengthCurve, LengthRows};
pub use length_groups::LengthGroups;
pub use mahalanobis::Mahalanobis;
pub use neighbours::{MOST as MOST_NEIGHBOURS, MOST_K, Neighbours};

use crate::model::TrunkRows;
use crate::posterior::Predictive;
use crate::task::Task;

/// From so many classes on the relative distance is taken. Of the head's feature alone it sees little
/// more than the directions in which classes differ: with two classes and queries of other kinds as
/// strange texts its AUROC was 0.10, that of the absolute distance 0.92 (the generated reviews).
pub const MANY_CLASSES: usize = 10;

/// The name of [`NoveltyMethod::Combined`] in the config.
pub const COMBINED: &str = "combined";

/// How many of the last layers' inputs are looked at beside the feature of the head.
pub const INPUTS: usize = 3;

/// What novelty looks at, `[n, e]`: for each row the means over the tokens of what enters the last
/// `inputs` layers, or all of those that are there, then the feature φ, each as wide as a hidden state, and
/// the means of what leaves the encoder as it was before fine-tuning, where that is read. The head's feature is
/// made to tell classes apart; earlier states, and that encoder, still know what else a text is.
pub fn vectors(trunk: &TrunkRows, inputs: usize, rows: usize) -> Vec<f32> {
    let TrunkRows { feature_nd, input_ne, reference_nd, .. } = trunk;
    let (width, wide) = (feature_nd.len() / rows.max(1), input_ne.len() / rows.max(1));
    let looked_at = (inputs * width).min(wide);
    let before = reference_nd.len() / rows.max(1);
    let mut vectors = Vec::with_capacity(rows * (looked_at + width + before));
    for row in 0..rows {
        vectors.extend_from_slice(&input_ne[(row + 1) * wide - looked_at..(row + 1) * wide]);
        vectors.extend_from_slice(&feature_nd[row * width..(row + 1) * width]);
        vectors.extend_from_slice(&reference_nd[row * before..(row + 1) * before]);
    }
    vectors
}

/// The novelty score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoveltyMethod {
    /// None: no p-values.
    None,
    /// [`Self::Combined`] for at least [`MANY_CLASSES`] classes, else [`Self::Mahalanobis`].
    #[default]
    Auto,
    /// `relative_mahalanobis` and the entropy of the prediction, each standardised, in equal parts: for many
    /// classes.
    Combined,
    /// The distance to the nearest class, less the distance to the data as a whole.
    RelativeMahalanobis,
    /// The distance to the nearest class.
    Mahalanobis,
    /// `relative_mahalanobis` on ℓ2-normalised features.
    RelativeMahalanobisPp,
    /// `mahalanobis` on ℓ2-normalised features (Mueller and Hein, ICML 2025).
    MahalanobisPp,
    /// The distance to the k-th nearest training row, on ℓ2-normalised features of the last layer (Sun,
    /// Ming, Zhu and Li, ICML 2022). Keeps at most 2,000 rows; k is a tenth of those of a class, at most 10.
    Knn,
    /// The density of a Gaussian for each class, on features of the last layer (Mukhoti and others, CVPR
    /// 2023). Large with many classes: 0.3 MB a class at a width of 384.
    Ddu,
    /// −T ln Σ exp(μ/T) (Liu, Wang, Owens and Li, NeurIPS 2020).
    Energy,
    /// One minus the confidence.
    MaxSoftmax,
    /// The entropy of the prediction.
    Entropy,
    /// The mutual information of label and weights; only a model with a posterior has it.
    MutualInformation,
}

/// A score that is ready to use.
#[derive(Clone, Debug, PartialEq)]
pub enum NoveltyScore {
    /// Those that compare features with training rows: see [`Form`].
    Distance(Distance),
    /// [`NoveltyMethod::Energy`].
    Energy,
    /// [`NoveltyMethod::MaxSoftmax`].
    MaxSoftmax,
    /// [`NoveltyMethod::Entropy`].
    Entropy,
    /// [`NoveltyMethod::MutualInformation`].
    MutualInformation,
}

/// What is known of a text once the model has read it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What the probabilities are.
    pub task: Task,
    /// Of hidden states, `[e]`: see [`vectors`].
    pub novelty_e: &'a [f32],
    /// How many tokens the encoder saw: of a text that was cut, those that were left.
    pub tokens: u32,
    /// The mean logits, `[c]`.
    pub logit_c: &'a [f64],
    /// What the logits are divided by.
    pub temperature: f64,
    pub predictive: &'a Predictive,
}

impl NoveltyMethod {
    /// What is measured, with so many classes; `None` where features are not compared with those of
    /// training rows.
    pub fn form(self, classes: usize) -> Option<Form> {
        let mahalanobis = |relative, normalised| Some(Form::Mahalanobis { relative, normalised });
        match self {
            Self::Auto => mahalanobis(classes >= MANY_CLASSES, false),
            Self::Combined | Self::RelativeMahalanobis => mahalanobis(true, false),
            Self::Mahalanobis => mahalanobis(false, false),
            Self::RelativeMahalanobisPp => mahalanobis(true, true),
            Self::MahalanobisPp => mahalanobis(false, true),
            Self::Knn => Some(Form::Neighbours),
            Self::Ddu => Some(Form::Density),
            Self::None
            | Self::Energy
            | Self::MaxSoftmax
            | Self::Entropy
            | Self::MutualInformation => None,
        }
    }

    /// Whether the entropy of the prediction is part of a distance, with so many classes. With few classes it says
    /// more of hard texts than of strange ones.
    pub fn adds_entropy(self, classes: usize) -> bool {
        self == Self::Combined || (self == Self::Auto && classes >= MANY_CLASSES)
    }

    /// Whether features are compared with those of training rows.
    pub fn is_distance(self) -> bool {
        self.form(MANY_CLASSES).is_some()
    }
}

impl NoveltyScore {
    /// The method's name in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Distance(distance) if distance.entropy.is_some() => COMBINED,
            Self::Distance(distance) => distance.form.name(),
            Self::Energy => "energy",
            Self::MaxSoftmax => "max_softmax",
            Self::Entropy => "entropy",
            Self::MutualInformation => "mutual_information",
        }
    }

    /// The score, larger for stranger texts; `None` where the model does not know its own
    /// part of the uncertainty.
    pub fn of(&self, evidence: &Evidence<'_>) -> Option<f64> {
        let predictive = evidence.predictive;
        match self {
            Self::Distance(distance) => {
                Some(distance.score(evidence.novelty_e, evidence.tokens, predictive.total))
            }
            Self::Energy => match evidence.task {
                Task::SingleLabel => Some(energy(evidence.logit_c, evidence.temperature)),
            },
            Self::MaxSoftmax => Some(1.0 - evidence.task.confidence(&predictive.probability_c)),
            Self::Entropy => Some(predictive.total),
            Self::MutualInformation => predictive.epistemic,
        }
    }
}

fn energy(logit_c: &[f64], temperature: f64) -> f64 {
    let peak = logit_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logit_c.iter().map(|logit| ((logit - peak) / temperature).exp()).sum();
    -(peak + temperature * sum.ln())
}

/// A score with its values on held-out rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    pub score: NoveltyScore,
    /// Its values on held-out rows of known classes.
    pub reference: LengthGroups,
    /// A text with a p-value up to this one is called out of distribution.
    pub alarm: f64,
}

impl Novelty {
    /// How many of the last layers' inputs a prediction must give.
    pub fn inputs(&self) -> usize {
        match &self.score {
            NoveltyScore::Distance(distance) => {
                distance.layers.len() - 1 - usize::from(distance.reference)
            }
            _ => 0,
        }
    }

    /// Whether a prediction must give what the encoder made of the text before it was fine-tuned.
    pub fn reads_reference(&self) -> bool {
        matches!(&self.score, NoveltyScore::Distance(distance) if distance.reference)
    }

    /// The share of texts of known classes, of like length where that is looked at, that are at least as
    /// strange.
    pub fn p_value(&self, score: f64, tokens: u32) -> f64 {
        let reference = self.reference.of(tokens);
        let below = reference.partition_point(|&one| one < score);
        (1 + reference.len() - below) as f64 / (reference.len() + 1) as f64
    }
}

#[cfg(test)]
mod tests;
