//! Scores of features: how far from the training rows, in one or several feature spaces.
//!
//! Scores of several spaces are added after each has been standardised by its mean and standard
//! deviation on rows that were not trained on: on training rows distances are too small. The entropy of the
//! prediction may stand beside them, standardised too, with the weight of all spaces together: a text of a class that
//! was not trained on may lie among the others, where the last layer has to choose between neighbours.
//!
//! ℓ2-normalised features, x / ‖x‖, are those of Mueller and Hein, "Mahalanobis++: improving OOD
//! detection via feature normalization" (ICML 2025, arXiv 2505.18032), section 4: the norm of a feature
//! varies within a class more than a Gaussian does.

use std::borrow::Cow;

use rayon::prelude::*;

use super::density::Density;
use super::length::LengthCurve;
use super::mahalanobis::Mahalanobis;
use super::neighbours::Neighbours;
use super::vectors::sum;
use crate::calibrate::{Cuts, Fold};
use crate::compute::Noise;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The distance to the nearest class, less that to the data as a whole if `relative`.
    Mahalanobis { relative: bool, normalised: bool },
    /// The distance to the k-th nearest of some normalised training rows.
    Neighbours,
    /// −ln of the density of Gaussians, one for each class.
    Density,
}

impl Form {
    /// All of them, with their names in the config.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Mahalanobis { relative: true, normalised: false }, "relative_mahalanobis"),
        (Self::Mahalanobis { relative: false, normalised: false }, "mahalanobis"),
        (Self::Mahalanobis { relative: true, normalised: true }, "relative_mahalanobis_pp"),
        (Self::Mahalanobis { relative: false, normalised: true }, "mahalanobis_pp"),
        (Self::Neighbours, "knn"),
        (Self::Density, "ddu"),
    ];

    /// Its name in the config.
    pub fn name(self) -> &'static str {
        let own = Self::ALL.iter().find(|(form, _)| *form == self);
        own.map(|(_, name)| *name).expect("all are named")
    }

    /// How many of so many feature spaces it looks at: the Mahalanobis distances at all, the others at
    /// the head's feature alone, as their papers do.
    pub fn spaces(self, all: usize) -> usize {
        match self {
            Self::Mahalanobis { .. } => all,
            Self::Neighbours | Self::Density => all.min(1),
        }
    }

    fn is_normalised(self) -> bool {
        matches!(self, Self::Mahalanobis { normalised: true, .. } | Self::Neighbours)
    }
}

/// Scores in one or several feature spaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    pub form: Form,
    /// One for each of the last feature spaces; a feature is their parts one after another.
    pub layers: Vec<Layer>,
    /// Whether the last of them is that of the encoder before it was fine-tuned.
    pub reference: bool,
    /// What is usual at each length, where that is looked at.
    pub lengths: Option<Box<LengthCurve>>,
    /// The usual entropy of a prediction, where it is part of the score.
    pub entropy: Option<Standard>,
}

/// The score in one feature space.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub space: Space,
    /// The width of the feature.
    pub width: usize,
    pub standard: Standard,
}

/// What is usual on rows that were not trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// The mean.
    pub centre: f64,
    /// The standard deviation, above 0.
    pub scale: f64,
}

/// What was fitted on the training rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Space {
    Mahalanobis(Mahalanobis),
    Neighbours(Neighbours),
    Density(Density),
}

/// Features `[n, Σ d]` with labels `[n]`.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceRows<'a> {
    /// Features by row: the parts of all layers one after another.
    pub feature_nd: &'a [f32],
    pub labels: &'a [u32],
}

/// How a distance is fitted.
#[derive(Clone, Copy, Debug)]
pub struct DistanceFit<'a> {
    pub form: Form,
    /// The widths of the parts of a feature.
    pub widths: &'a [usize],
    /// Whether the last part is of the encoder before it was fine-tuned.
    pub reference: bool,
    /// Draws the rows that are kept.
    pub noise: &'a Noise,
}

/// A distance that was fitted on all rows, and what the rows came to by fits that had not seen them.
#[derive(Clone, Debug)]
pub struct CrossFitted {
    pub distance: Distance,
    /// In the order of the folds' judged rows.
    pub scores: Vec<f64>,
    /// Of the copies; zero for a copy of a row that is not judged.
    pub cut_scores: Vec<f64>,
}

impl DistanceFit<'_> {
    /// Fits on training rows, and the standardisation on `fresh` features `[n, Σ d]` of others. `None`
    /// where a layer does not vary or there are no rows.
    pub fn run(&self, train: &ReferenceRows<'_>, fresh_nd: &[f32]) -> Option<Distance> {
        let layers = self.parts().map(|part| {
            let mut layer = self.layer(&part.of_all(train.feature_nd), train.labels, part.width)?;
            let fresh = part.of_all(fresh_nd);
            let scores: Vec<f64> =
                fresh.chunks_exact(part.width).map(|x_d| layer.space.score(x_d)).collect();
            layer.standard = Standard::of(&scores)?;
            Some(layer)
        });
        Some(self.distance(layers.collect::<Option<_>>()?))
    }

    /// Fits on all rows, and standardises by scores of rows that were each judged by the other folds;
    /// gives these scores too, in the order of the folds' judged rows, and those of copies of judged rows.
    /// `None` where a layer does not vary or there are no rows.
    pub fn cross(
        &self,
        rows: &ReferenceRows<'_>,
        folds: &[Fold],
        cuts: &Cuts<'_>,
    ) -> Option<CrossFitted> {
        let mut scores = vec![0.0; folds.iter().map(|fold| fold.judged.len()).sum()];
        let copies_of = |fold: &Fold| -> Vec<usize> {
            let own = |&copy: &usize| fold.judged.binary_search(&cuts.rows[copy]).is_ok();
            (0..cuts.rows.len()).filter(own).collect()
        };
        let copies: Vec<Vec<usize>> = folds.iter().map(copies_of).collect();
        let mut cut_scores = vec![0.0; cuts.rows.len()];
        let mut layers = Vec::with_capacity(self.widths.len());
        for part in self.parts() {
            let of = |all: &'_ [f32], row: usize| -> Vec<f32> {
                part.of(&all[row * part.whole..][..part.whole]).into_owned()
            };
            let fit = |chosen: &[usize]| {
                let labels: Vec<u32> = chosen.iter().map(|&row| rows.labels[row]).collect();
                let lines = chosen.iter().flat_map(|&row| of(rows.feature_nd, row));
                self.layer(&lines.collect::<Vec<f32>>(), &labels, part.width)
            };
            let judge = |(fold, copies): (&Fold, &Vec<usize>)| -> Option<[Vec<f64>; 2]> {
                let space = fit(&fold.train)?.space;
                let all = |features: &[f32], chosen: &[usize]| -> Vec<f64> {
                    chosen.iter().map(|&row| space.score(&of(features, row))).collect()
                };
                Some([all(rows.feature_nd, &fold.judged), all(cuts.novelty_ne, copies)])
            };
            let all: Vec<usize> = (0..rows.labels.len()).collect();
            let (judged, layer) = rayon::join(
                || folds.par_iter().zip(&copies).map(judge).collect::<Option<Vec<_>>>(),
                || fit(&all),
            );
            let (own, of_copies): (Vec<_>, Vec<_>) =
                judged?.into_iter().map(|[own, copies]| (own, copies)).unzip();
            let (own, mut layer) = (own.concat(), layer?);
            layer.standard = Standard::of(&own)?;
            for (sum, score) in scores.iter_mut().zip(own) {
                *sum += layer.standard.of_score(score);
            }
            for (&copy, score) in copies.iter().flatten().zip(of_copies.concat()) {
                cut_scores[copy] += layer.standard.of_score(score);
            }
            layers.push(layer);
        }
        Some(CrossFitted { distance: self.distance(layers), scores, cut_scores })
    }

    fn distance(&self, layers: Vec<Layer>) -> Distance {
        let (form, reference) = (self.form, self.reference);
        Distance { form, layers, reference, lengths: None, entropy: None }
    }

    /// A layer that is not standardised yet, from features `[n, d]` that are normalised where the form
    /// wants it.
    fn layer(&self, feature_nd: &[f32], labels: &[u32], width: usize) -> Option<Layer> {
        let space = match self.form {
            Form::Mahalanobis { relative, .. } => {
                Space::Mahalanobis(Mahalanobis::fit(feature_nd, labels, width, relative)?)
            }
            Form::Neighbours => {
                Space::Neighbours(Neighbours::fit(feature_nd, labels, width, self.noise)?)
            }
            Form::Density => Space::Density(Density::fit(feature_nd, labels, width)?),
        };
        Some(Layer { space, width, standard: Standard { centre: 0.0, scale: 1.0 } })
    }

    /// The parts of a feature that the form looks at.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let whole: usize = self.widths.iter().sum();
        let normalised = self.form.is_normalised();
        let mut end = 0;
        let parts = self.widths.iter().map(move |&width| {
            end += width;
            Part { start: end - width, width, whole, normalised }
        });
        // Every form looks at the encoder before fine-tuning.
        let own = self.widths.len() - usize::from(self.reference);
        parts.skip(own - self.form.spaces(own))
    }
}

/// Where a layer's part of a feature stands.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: usize,
    width: usize,
    whole: usize,
    normalised: bool,
}

impl Part {
    fn of<'a>(&self, feature: &'a [f32]) -> Cow<'a, [f32]> {
        let own = &feature[self.start..][..self.width];
        if self.normalised { Cow::Owned(normalised(own)) } else { Cow::Borrowed(own) }
    }

    /// Of features `[n, Σ d]`: `[n, d]`.
    fn of_all(&self, feature_nd: &[f32]) -> Vec<f32> {
        let lines = feature_nd.chunks_exact(self.whole);
        lines.flat_map(|line| self.of(line).into_owned()).collect()
    }
}

/// x / ‖x‖; zeros stay.
fn normalised(x_d: &[f32]) -> Vec<f32> {
    let norm = sum(x_d, x_d, |a, b| a * b).sqrt();
    let factor = if norm > 0.0 { norm.recip() } else { 1.0 };
    x_d.iter().map(|x| x * factor).collect()
}

impl Distance {
    /// The score of a feature, whose last parts are those of the layers, of a text of so many tokens whose
    /// prediction has this entropy in nats: larger is stranger.
    pub fn score(&self, feature_d: &[f32], tokens: u32, entropy: f64) -> f64 {
        let score = self.sum(feature_d);
        let score = self.lengths.as_ref().map_or(score, |one| one.standardised(score, tokens));
        score + self.of_entropy(entropy)
    }

    /// What the entropy of a prediction, in nats, adds to the score: as much as all layers together.
    pub fn of_entropy(&self, entropy: f64) -> f64 {
        // What is usual at a length is a standardisation of the sum.
        let weight = if self.lengths.is_some() { 1.0 } else { self.layers.len() as f64 };
        self.entropy.map_or(0.0, |usual| weight * usual.of_score(entropy))
    }

    /// The sum of the layers' standardised scores.
    pub fn sum(&self, feature_d: &[f32]) -> f64 {
        let own: usize = self.layers.iter().map(|layer| layer.width).sum();
        let mut rest = &feature_d[feature_d.len() - own..];
        let normalise = self.form.is_normalised();
        let scores = self.layers.iter().map(|layer| {
            let (own, others) = rest.split_at(layer.width);
            rest = others;
            let score = match normalise {
                true => layer.space.score(&normalised(own)),
                false => layer.space.score(own),
            };
            layer.standard.of_score(score)
        });
        scores.sum()
    }
}

impl Standard {
    /// By scores of rows that nothing was fitted on; `None` where they do not vary.
    pub fn of(scores: &[f64]) -> Option<Self> {
        let n = scores.len() as f64;
        let centre = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|score| (score - centre).powi(2)).sum::<f64>() / n;
        let scale = variance.sqrt();
        // Equal scores may differ from their mean by a rounding.
        (scale > 1e-12 * centre.abs()).then_some(Self { centre, scale })
    }

    fn of_score(&self, score: f64) -> f64 {
        (score - self.centre) / self.scale
    }
}

impl Space {
    /// The score of a feature `[d]`, normalised where the form wants it.
    pub fn score(&self, feature_d: &[f32]) -> f64 {
        match self {
            Self::Mahalanobis(space) => space.score(feature_d),
            Self::Neighbours(space) => space.score(feature_d),
            Self::Density(space) => space.score(feature_d),
        }
    }
}
