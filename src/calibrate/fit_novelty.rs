//! Fitting the novelty score, and its values on held-out rows.
//!
//! A p-value keeps its promise exactly where nothing that it rests on was fitted on the rows it is
//! counted among. With rows apart, what is usual at each length comes from the rows of the temperature,
//! and so do the bounds of the groups. Where few rows serve both, or all rows train, what is usual is
//! cross-fitted: a row is standardised by what the other folds say, and the promise holds nearly.

use super::CalibrationConfig;
use super::fit::{Material, Others};
use super::novelty::{
    CrossFitted, Distance, DistanceFit, Evidence, LengthCurve, LengthGroups, LengthRows, Novelty,
    NoveltyMethod, NoveltyScore, Standard,
};
use crate::compute::Noise;

/// Least rows of a group of lengths in which a p-value of an alarm is counted, over the alarm: with 0.01,
/// 200 rows, of which two reach it.
const ROWS_AN_ALARM: f64 = 2.0;

/// A distance, and its values on the rows of the conformal part where others than it gave them.
type Fitted = (Distance, Option<Vec<f64>>);

impl Material<'_> {
    /// The score with its values on the conformal part; `None` where there is none. What a user should know
    /// is added to the notes.
    pub(super) fn novelty(
        &self,
        config: &CalibrationConfig,
        classes: usize,
        noise: &Noise,
        notes: &mut Vec<String>,
    ) -> Option<Novelty> {
        let rows = self.labels.len();
        if config.novelty == NoveltyMethod::None || rows == 0 {
            return None;
        }
        if let (NoveltyMethod::MutualInformation, Some(reason)) =
            (config.novelty, self.own_doubt.reason())
        {
            notes.push(format!(
                "the model has no mutual information because {reason}, so there is no novelty score; \
                 choose another `calibration.novelty`, such as entropy"
            ));
            return None;
        }
        let fitted = match self.others {
            Others::Kept(None) => return None,
            Others::Kept(Some(score)) => Some((score.clone(), None)),
            Others::Apart { .. } | Others::Crossed { .. } => self.score(config, classes, noise),
        };
        let Some((score, crossed)) = fitted else {
            notes.push(
                "the features of the training rows do not vary, so there is no distance and no \
                 novelty score; choose another `calibration.novelty`, such as entropy"
                    .to_owned(),
            );
            return None;
        };
        let Some(scores) = crossed.or_else(|| self.values(&score, classes)) else {
            notes.push(
                "there are too few rows for mutual information: some of them do not use the variance \
                 of the logits, so there is no novelty score; choose another `calibration.novelty`, \
                 such as entropy"
                    .to_owned(),
            );
            return None;
        };
        let reference = match self.bounds(config, &score) {
            bounds if bounds.is_empty() => LengthGroups::one(scores),
            bounds => LengthGroups::new(&scores, self.tokens, bounds),
        };
        let fewest = reference.fewest();
        if config.ood_p > 0.0 && 1.0 / (fewest + 1) as f64 > config.ood_p {
            notes.push(format!(
                "with {fewest} rows, the smallest possible novelty p-value is 1/{}, so none can reach \
                 `calibration.ood_p` = {}",
                fewest + 1,
                config.ood_p
            ));
        }
        Some(Novelty { score, reference, alarm: config.ood_p })
    }

    /// The score, and its values on the rows where others than it gave them.
    fn score(
        &self,
        config: &CalibrationConfig,
        classes: usize,
        noise: &Noise,
    ) -> Option<(NoveltyScore, Option<Vec<f64>>)> {
        let plain = match config.novelty {
            NoveltyMethod::None => return None,
            NoveltyMethod::Energy => NoveltyScore::Energy,
            NoveltyMethod::MaxSoftmax => NoveltyScore::MaxSoftmax,
            NoveltyMethod::Entropy => NoveltyScore::Entropy,
            NoveltyMethod::MutualInformation => NoveltyScore::MutualInformation,
            NoveltyMethod::Auto
            | NoveltyMethod::Combined
            | NoveltyMethod::RelativeMahalanobis
            | NoveltyMethod::Mahalanobis
            | NoveltyMethod::RelativeMahalanobisPp
            | NoveltyMethod::MahalanobisPp
            | NoveltyMethod::Knn
            | NoveltyMethod::Ddu => {
                let form = config.novelty.form(classes)?;
                let wide = self.novelty_ne.len() / self.labels.len();
                let widths = vec![self.width; wide / self.width];
                let reference = self.reference;
                let fit = DistanceFit { form, widths: &widths, reference, noise };
                let (mut distance, mut crossed) = self.distance(&fit, config.novelty_by_length)?;
                if config.novelty.adds_entropy(classes) {
                    distance.entropy = self.usual_entropy();
                    if let Some(scores) = &mut crossed {
                        let rows = scores.iter_mut().zip(self.predictive);
                        rows.for_each(|(score, one)| *score += distance.of_entropy(one.total));
                    }
                }
                return Some((NoveltyScore::Distance(distance), crossed));
            }
        };
        Some((plain, None))
    }

    /// The usual entropy of rows that were not trained on; `None` where all are the same.
    fn usual_entropy(&self) -> Option<Standard> {
        match self.others {
            Others::Apart { fresh_entropies, .. } => Standard::of(fresh_entropies),
            Others::Crossed { .. } | Others::Kept(_) => {
                let entropies = self.predictive.iter().map(|one| one.total);
                Standard::of(&entropies.collect::<Vec<f64>>())
            }
        }
    }

    fn distance(&self, fit: &DistanceFit<'_>, by_length: bool) -> Option<Fitted> {
        let wide: usize = fit.widths.iter().sum();
        match self.others {
            Others::Apart { train, fresh_ne, fresh_tokens, shared, cuts, .. } => {
                let mut distance = fit.run(&train, fresh_ne)?;
                if !by_length {
                    return Some((distance, None));
                }
                let lines = fresh_ne.chunks_exact(wide).chain(cuts.novelty_ne.chunks_exact(wide));
                let scores = lines.map(|line| distance.sum(line)).collect();
                let tokens = [fresh_tokens, cuts.tokens].concat();
                let mut groups = vec![None; fresh_tokens.len()];
                for (fold, of_fold) in shared.unwrap_or_default().iter().enumerate() {
                    of_fold.judged.iter().for_each(|&row| groups[row] = Some(fold));
                }
                groups.extend(cuts.rows.iter().map(|&row| groups[row]).collect::<Vec<_>>());
                let rows = LengthRows { scores, tokens, groups };
                let (curve, judged) = LengthCurve::cross_fit(&rows, fresh_tokens.len());
                distance.lengths = Some(Box::new(curve));
                Some((distance, shared.map(|_| judged)))
            }
            Others::Crossed { rows, folds, cuts } => {
                let CrossFitted { mut distance, mut scores, cut_scores } =
                    fit.cross(&rows, folds, &cuts)?;
                if by_length {
                    let count = scores.len();
                    let of_row = |row: usize| {
                        folds.iter().position(|fold| fold.judged.binary_search(&row).is_ok())
                    };
                    let judged = folds.iter().flat_map(|fold| &fold.judged);
                    let groups = judged.chain(cuts.rows).map(|&row| of_row(row)).collect();
                    scores.extend(cut_scores);
                    let tokens = [self.tokens, cuts.tokens].concat();
                    let rows = LengthRows { scores, tokens, groups };
                    let (curve, judged) = LengthCurve::cross_fit(&rows, count);
                    (distance.lengths, scores) = (Some(Box::new(curve)), judged);
                }
                Some((distance, Some(scores)))
            }
            Others::Kept(_) => unreachable!("its score is there"),
        }
    }

    /// Bounds of groups of lengths; none where lengths are not looked at or the rows are too few.
    fn bounds(&self, config: &CalibrationConfig, score: &NoveltyScore) -> Vec<u32> {
        let by_length =
            matches!(score, NoveltyScore::Distance(distance) if distance.lengths.is_some());
        if !by_length || config.ood_p == 0.0 {
            return Vec::new();
        }
        let others = match self.others {
            Others::Apart { fresh_tokens, .. } => fresh_tokens,
            Others::Crossed { .. } | Others::Kept(_) => self.tokens,
        };
        let least = (ROWS_AN_ALARM / config.ood_p).ceil() as usize;
        LengthGroups::bounds(others, self.labels.len(), least)
    }

    /// What the score says of the rows.
    fn values(&self, score: &NoveltyScore, classes: usize) -> Option<Vec<f64>> {
        let Self { task, temperature, .. } = *self;
        let wide = self.novelty_ne.len() / self.labels.len();
        let lines = self.novelty_ne.chunks_exact(wide).zip(self.logit_nc.chunks_exact(classes));
        let lines = lines.zip(self.predictive).zip(self.tokens);
        let scores = lines.map(|(((novelty_e, logit_c), predictive), &tokens)| {
            score.of(&Evidence { task, novelty_e, tokens, logit_c, temperature, predictive })
        });
        scores.collect()
    }
}
