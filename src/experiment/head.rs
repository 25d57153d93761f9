//! The last layer, fitted to convergence on features that do not change: which prior it has, and what
//! it says of rows that it has not seen.
//!
//! The objective is convex, so a fit is a function of its rows and of the prior's precision δ. That is
//! what the evidence says, or what is better on held-out rows: from the evidence's δ the search goes to
//! the side where the held-out NLL, at its best temperature, falls, in steps of √10, until it rises, and
//! ends at the vertex of the parabola through the last three.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Features;
use crate::calibrate::{Fold, fit_temperature};
use crate::method::laplace::{FeatureRows, Head, Prior, Problem, Tolerance, usual_scale};
use crate::method::{FitRecord, PosteriorConfig, fit_converged, scale_of, tensors};
use crate::model::last_layer;
use crate::posterior::{LogitDistribution, Posterior};
use crate::task::Task;

/// δ changes by this factor from one trial to the next.
const STEP: f64 = 3.162_277_660_168_379_5;
/// Where the evidence begins: nearer to what scaled features come to than 1, at which a fit takes ten
/// times as long.
const FIRST: f64 = 100.0;
/// The most trials besides that of the evidence.
const TRIALS: usize = 8;

/// Where only what heads say of other rows is asked for, the prior is chosen on at most so many rows.
const PRIOR_ROWS: usize = 3000;

/// Rows, and who judges whom.
pub(super) struct HeadRows<'a> {
    pub(super) task: Task,
    pub(super) features: &'a Features,
    pub(super) classes: usize,
    /// What a row of each class counts, `[k]`. Rows that judge all count the same.
    pub(super) class_weights: &'a [f64],
    /// What held-out rows are judged by.
    pub(super) folds: &'a [Fold],
    /// The rows that the head is fitted on in the end.
    pub(super) kept: &'a [usize],
    /// Of the feature φ.
    pub(super) width: usize,
    /// The rate of the dropout before the last layer.
    pub(super) dropout: f64,
}

/// A head.
pub(super) struct HeadFit {
    /// Its posterior, on the rows that it keeps.
    pub(super) fitted: (Posterior, FitRecord),
    /// The rows that were judged, fold by fold.
    pub(super) judged: Vec<usize>,
    /// What heads under the same prior say of them, none of which has seen the row.
    pub(super) logits: Vec<LogitDistribution>,
    /// Those heads, one for each fold; none where the head that is kept is one.
    pub(super) of_folds: Vec<Posterior>,
    pub(super) prior: f64,
}

/// The held-out NLL under one prior after another.
struct Trials<'a> {
    problems: &'a [Problem<'a>],
    judged: &'a [Features],
    /// The weights of each of them at the last prior, `[k, D]`.
    weight_kd: Vec<Vec<f64>>,
    labels: Vec<u32>,
    classes: usize,
}

impl HeadRows<'_> {
    /// Chooses the prior, and fits. Without folds the evidence alone chooses, and nothing is judged.
    pub(super) fn fit(&self, config: &PosteriorConfig) -> candle_core::Result<HeadFit> {
        let states = config.feature_layers;
        let (width, parts) = (self.width, states.len() + 1);
        let start_kd = vec![0.0; self.classes * (parts * width + 1)];
        let kept = self.features.some(self.kept);
        let scale = scale_of(kept.fitted(), width, parts);
        let part = |rows: &dyn Fn(&Fold) -> Vec<usize>| -> Vec<Features> {
            self.folds.iter().map(|fold| self.features.some(&rows(fold))).collect()
        };
        let (train, judged) = (part(&|fold| fold.train.clone()), part(&|fold| fold.judged.clone()));
        let problem = Problem::scaled(self.rows(&kept), scale.clone())?;
        let near = Tolerance::NEAR;
        let problem_of = |rows| Problem::scaled(self.rows(rows), scale.clone());
        let (by_evidence, problems) = rayon::join(
            || problem.fit(&start_kd, Head::Refit, Prior::Evidence(FIRST), near),
            || train.par_iter().map(problem_of).collect::<candle_core::Result<Vec<_>>>(),
        );
        let (by_evidence, problems) = (by_evidence?, problems?);
        tracing::debug!("evidence: {:?}", by_evidence.evidence);
        let mut trials = Trials {
            problems: &problems,
            judged: &judged,
            // Not the weights of the evidence, which have seen the judged rows: a fit stops when it is near.
            weight_kd: vec![start_kd.clone(); problems.len()],
            labels: judged.iter().flat_map(|rows| rows.labels.iter().copied()).collect(),
            classes: self.classes,
        };
        let first = by_evidence.evidence.prior_precision;
        let prior = if trials.labels.is_empty() { first } else { trials.best(first)? };
        let fixed = Prior::Fixed(prior);
        // Under the same prior, and of nearly the same rows.
        let start_kd = trials.weight_kd.first().unwrap_or(&by_evidence.mean_kd);
        let folds = problems.par_iter().zip(&trials.weight_kd).zip(&judged);
        let of_fold = |((problem, start_kd), rows): ((&Problem<'_>, &Vec<f64>), &Features)| {
            let (fold, _) = fit_converged(config, problem, start_kd, (fixed, near), self.dropout)?;
            let logits = fold.logits(rows.read())?;
            Ok((fold, logits))
        };
        let how = (fixed, Tolerance::KEPT);
        let of_kept = || fit_converged(config, &problem, start_kd, how, self.dropout);
        let ((mut posterior, record), (of_folds, logits)) = match self.folds {
            // The head that is kept has not seen the judged rows either.
            [fold] if fold.train == self.kept => {
                let fitted = of_kept()?;
                let logits = fitted.0.logits(judged[0].read())?;
                (fitted, (Vec::new(), vec![logits]))
            }
            _ => {
                let of_folds = || folds.map(of_fold).collect::<candle_core::Result<Vec<_>>>();
                let (fitted, logits) = rayon::join(of_kept, of_folds);
                (fitted?, logits?.into_iter().unzip())
            }
        };
        if !states.is_empty() {
            let (cd, c) = tensors(&self.weights(prior)?, self.classes)?;
            posterior = posterior.wide(states, [cd, c]);
        }
        // A method may have a layer, and then a prior, of its own.
        let own = record.evidence.is_some_and(|evidence| evidence.prior_precision == prior);
        let prior_by_held_out_rows = own && prior != first;
        let fitted = (posterior, FitRecord { prior_by_held_out_rows, ..record });
        let judged = self.folds.iter().flat_map(|fold| fold.judged.iter().copied()).collect();
        Ok(HeadFit { fitted, judged, logits: logits.concat(), of_folds, prior })
    }

    /// What heads say of the rows of each fold, which they have not seen: the rows that are judged, fold by fold, and
    /// logits `[n, k]`. No head is kept, so the evidence is not asked: some of the rows choose the prior.
    pub(super) fn judge(&self) -> candle_core::Result<(Vec<usize>, Vec<f64>)> {
        let all: usize = self.folds.iter().map(|fold| fold.judged.len()).sum();
        let every = all.div_ceil(PRIOR_ROWS).max(1);
        let few = |rows: &[usize]| -> Vec<usize> { rows.iter().copied().step_by(every).collect() };
        let scale = scale_of(self.features.fitted(), self.width, 1);
        let start_kd = vec![0.0; self.classes * (self.width + 1)];
        let some = |rows: &[usize]| self.features.some(rows);
        let (train, judged): (Vec<Features>, Vec<Features>) = self
            .folds
            .iter()
            .map(|fold| (some(&few(&fold.train)), some(&few(&fold.judged))))
            .unzip();
        let problem_of = |rows| Problem::scaled(self.rows(rows), scale.clone());
        let problems = train.par_iter().map(problem_of).collect::<candle_core::Result<Vec<_>>>()?;
        let mut trials = Trials {
            problems: &problems,
            judged: &judged,
            weight_kd: vec![start_kd; problems.len()],
            labels: judged.iter().flat_map(|rows| rows.labels.iter().copied()).collect(),
            classes: self.classes,
        };
        let prior = trials.best(FIRST)?;
        let folds = self.folds.par_iter().zip(&trials.weight_kd);
        let logits = folds.map(|(fold, start_kd)| {
            let (train, judged) = (some(&fold.train), some(&fold.judged));
            let problem = Problem::scaled(self.rows(&train), scale.clone())?;
            let weight_kd = problem.mode(start_kd, prior, Tolerance::NEAR)?;
            let (weight_cd, bias_c) = tensors(&weight_kd, self.classes)?;
            last_layer(judged.fitted(), &weight_cd, &bias_c)
        });
        let logits = logits.collect::<candle_core::Result<Vec<_>>>()?.concat();
        let rows = self.folds.iter().flat_map(|fold| fold.judged.iter().copied()).collect();
        Ok((rows, logits))
    }

    /// Weights `[k, D]` on φ of the rows that are kept, under a prior that is known.
    pub(super) fn weights(&self, prior: f64) -> candle_core::Result<Vec<f64>> {
        let Features { feature_nd, labels, .. } = &self.features.some(self.kept);
        let scale = usual_scale(feature_nd, self.width);
        let Self { task, classes, class_weights, width, .. } = *self;
        let rows = FeatureRows { task, feature_nd, labels, classes, class_weights };
        let start_kd = vec![0.0; classes * (width + 1)];
        Problem::scaled(rows, scale)?.mode(&start_kd, prior, Tolerance::NEAR)
    }

    fn rows<'a>(&'a self, features: &'a Features) -> FeatureRows<'a> {
        let (feature_nd, labels) = (features.fitted(), features.labels.as_slice());
        let Self { task, classes, class_weights, .. } = *self;
        FeatureRows { task, feature_nd, labels, classes, class_weights }
    }
}

/// Where the parabola through (−1, `below`), (0, 0) and (1, `above`) is least, if neither is negative.
fn vertex(below: f64, above: f64) -> f64 {
    let curvature = below + above;
    if curvature > 0.0 && curvature.is_finite() { 0.5 * (below - above) / curvature } else { 0.0 }
}

impl Trials<'_> {
    /// The prior precision with the least held-out NLL, from `first` on: the vertex of the parabola, over
    /// ln δ, through the best trial and those beside it. The weights are those of the best trial.
    fn best(&mut self, first: f64) -> candle_core::Result<f64> {
        let at = |step: i32| first * STEP.powi(step);
        let mut best = (0, self.weight_kd.clone());
        let mut nll = BTreeMap::from([(0, self.nll(first)?)]);
        for direction in [-1, 1] {
            while nll.len() <= TRIALS {
                let step = best.0 + direction;
                nll.insert(step, self.nll(at(step))?);
                if nll[&step] >= nll[&best.0] {
                    break;
                }
                best = (step, self.weight_kd.clone());
            }
            if best.0 != 0 {
                break;
            }
        }
        let (step, weight_kd) = best;
        self.weight_kd = weight_kd;
        let vertex = match (nll.get(&(step - 1)), nll.get(&(step + 1))) {
            (Some(below), Some(above)) => vertex(below - nll[&step], above - nll[&step]),
            _ => 0.0,
        };
        Ok(at(step) * STEP.powf(vertex))
    }

    /// Mean −ln p(label) of the judged rows, at their best temperature.
    fn nll(&mut self, prior: f64) -> candle_core::Result<f64> {
        let folds = self.problems.par_iter().zip(&mut self.weight_kd).zip(self.judged);
        let classes = self.classes;
        let of_fold = |((problem, weight_kd), rows): ((&Problem<'_>, &mut Vec<f64>), &Features)| {
            *weight_kd = problem.mode(weight_kd, prior, Tolerance::NEAR)?;
            let (weight_cd, bias_c) = tensors(weight_kd, classes)?;
            last_layer(rows.fitted(), &weight_cd, &bias_c)
        };
        let of_folds = folds.map(of_fold).collect::<candle_core::Result<Vec<_>>>()?;
        let logit_nc = of_folds.concat();
        let fit = fit_temperature(&logit_nc, &self.labels);
        let nll = fit.map_or(f64::INFINITY, |fit| fit.nll_after);
        tracing::debug!("prior precision {prior}: held-out nll {nll}, {fit:?}");
        Ok(nll)
    }
}

#[cfg(test)]
mod tests {
    use super::{HeadRows, vertex};
    use crate::calibrate::Fold;
    use crate::compute::{Noise, Purpose};
    use crate::experiment::Features;
    use crate::method::PosteriorConfig;
    use crate::task::Task;

    /// The labels say nothing of the features, so no row that is judged can be known.
    #[test]
    fn rows_that_are_judged_have_not_been_seen() {
        let (n, d, classes, folds) = (240, 64, 4, 5);
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        let features = Features {
            feature_nd: (0..n * d).map(|_| stream.normal() as f32).collect(),
            wide_ne: Vec::new(),
            sample_nsd: Vec::new(),
            novelty_ne: Vec::new(),
            reference: false,
            tokens: vec![1; n],
            labels: (0..n as u32).map(|row| row % classes as u32).collect(),
            uniforms: vec![0.5; n],
        };
        let all: Vec<usize> = (0..n).collect();
        // Every fold has as many rows of each class.
        let of_fold = |fold: usize, row: &usize| row / classes % folds == fold;
        let fold = |fold| {
            let (judged, train) = all.iter().partition(|row| of_fold(fold, row));
            Fold { train, judged }
        };
        let folds: Vec<Fold> = (0..folds).map(fold).collect();
        let rows = HeadRows {
            task: Task::SingleLabel,
            features: &features,
            classes,
            class_weights: &vec![1.0; classes],
            folds: &folds,
            kept: &all,
            width: d,
            dropout: 0.0,
        };
        let head = rows.fit(&PosteriorConfig::default()).unwrap();
        let right = head.judged.iter().zip(&head.logits).filter(|(row, logits)| {
            let mean_k = logits.mean();
            let most = (0..classes).max_by(|&a, &b| mean_k[a].total_cmp(&mean_k[b])).unwrap();
            most == features.labels[**row] as usize
        });
        let share = right.count() as f64 / n as f64;
        assert!(share < 0.35, "{share} of the rows are right, and 0.25 by chance");
    }

    #[test]
    fn the_vertex_is_that_of_the_parabola() {
        for place in [-0.5, -0.3, 0.0, 0.4] {
            let parabola = |x: f64| 3.0 * (x - place).powi(2);
            let found = vertex(parabola(-1.0) - parabola(0.0), parabola(1.0) - parabola(0.0));
            assert!((found - place).abs() < 1e-12, "{found}");
        }
        for (below, above) in [(0.0, 0.0), (f64::INFINITY, 1.0), (f64::NAN, 1.0)] {
            assert_eq!(vertex(below, above), 0.0);
        }
    }
}
