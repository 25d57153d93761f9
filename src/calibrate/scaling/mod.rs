//! Temperature T and scale s: the mean logits are divided by T, their covariance multiplied by s/T².
//!
//! s = 0 is plain temperature scaling. A larger s keeps the uncertainty that depends on the text. How much of
//! it is kept, [`ScaleRule`] says; the rows decide by the paired differences of −ln p(label).

use std::sync::Arc;

use rayon::prelude::*;

use super::bracket::Bracket;
use super::scale_rule::{MOST_COST, ScaleRule};
use super::temperature::{Doubt, Fit, LOWEST, PRIOR_SD, fit_temperature};
use super::vector::fit_vector;
use crate::posterior::{Link, LogitDistribution, Scaling};
use crate::task::Task;

/// The scales besides zero, from 0.01 to 1000: two a decade.
fn scales() -> impl Iterator<Item = f64> {
    (-4..=6).map(|half_decades| 10f64.powf(0.5 * f64::from(half_decades)))
}

/// So many scales in a row are no better than the best, or are refused, and the search ends.
const PAST: usize = 3;

/// Halvings of the interval between the largest scale of the list that the rows bear and the next.
const HALVINGS: usize = 5;

/// ln T is found to this in the end.
const TOLERANCE: f64 = 1e-4;

/// Which corrections are fitted: a temperature, and
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Corrections {
    /// vector scaling before it, where the rows identify it,
    pub vector: bool,
    /// and a scale, chosen like this.
    pub scale: ScaleRule,
}

/// A fitted temperature and scale.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingFit {
    pub scaling: Scaling,
    /// Temperature scaling by itself, s = 0; behind the vector scaling where there is one.
    pub plain: Fit,
    /// How the scale was chosen.
    pub rule: ScaleRule,
    /// How much less mean −ln p(label) the best s > 0 has than s = 0, or under the other rules the s that was
    /// found, in nats; it may be negative.
    pub gain: f64,
    pub standard_error: f64,
    /// Whether the s that was found is the largest that was tried: the rows do not say how large it should be.
    /// Where it was to help, it is then not taken; where it was to do no harm, s = 1 is.
    pub scale_at_bound: bool,
}

/// T and s, with the prior of T that [`fit_temperature`] has: where the covariance is all that counts, p
/// depends on s alone, and T would drift to its bound. Rows that do not identify T give none below 1 and no
/// vector scaling. `None` for no rows.
///
/// A distribution without a covariance has a temperature only.
pub fn fit_scaling(
    logits: &[LogitDistribution],
    labels: &[u32],
    link: &Link,
    corrections: Corrections,
) -> Option<ScalingFit> {
    let Task::SingleLabel = link.task;
    let mut mean_nc: Vec<f64> = logits.iter().flat_map(|one| one.mean().into_owned()).collect();
    let mut vector = None;
    let identified = !labels.is_empty() && Doubt::of(&mean_nc, labels).is_none();
    if corrections.vector && identified {
        let classes = mean_nc.len() / labels.len();
        let fitted = fit_vector(&mean_nc, labels, classes);
        let moved = mean_nc.chunks_exact(classes).flat_map(|mean_c| fitted.apply(mean_c));
        mean_nc = moved.collect();
        vector = Some(Arc::new(fitted));
    }
    let plain = fit_temperature(&mean_nc, labels)?;
    let alone = Scaling { temperature: plain.temperature, scale: 0.0, vector };
    let mut fit = ScalingFit {
        scaling: alone.clone(),
        plain,
        rule: corrections.scale,
        gain: 0.0,
        standard_error: 0.0,
        scale_at_bound: false,
    };
    if logits.iter().all(|one| matches!(one, LogitDistribution::Point(_))) {
        fit.scaling.scale = 1.0;
        return Some(fit);
    }
    let lowest = match corrections.scale {
        _ if plain.doubt.is_some() => 0.0,
        // A variance that is much the same for all texts can be any, if the mean grows with it.
        ScaleRule::Largest => plain.temperature.ln().min(0.0),
        ScaleRule::Gain | ScaleRule::Fixed(_) => LOWEST,
    };
    let rows = ScaleRows {
        logits,
        labels,
        link,
        alone,
        lowest,
        pull: 0.5 / (PRIOR_SD * PRIOR_SD * labels.len() as f64),
    };
    let found = match corrections.scale {
        ScaleRule::Gain => rows.best(),
        ScaleRule::Largest => rows.largest(),
        ScaleRule::Fixed(scale) => Scaling { scale, ..rows.alone.clone() },
    };
    let scaled = rows.refined(&found);
    (fit.gain, fit.standard_error) = rows.gain(&scaled);
    let at_bound = Some(scaled.scale) == scales().last();
    match corrections.scale {
        ScaleRule::Gain => {
            let clear = fit.gain > fit.standard_error;
            fit.scale_at_bound = clear && at_bound;
            if clear && !at_bound {
                fit.scaling = scaled;
            }
        }
        ScaleRule::Largest if scaled.scale == 0.0 => {}
        ScaleRule::Largest if at_bound => {
            fit.scale_at_bound = true;
            fit.scaling = rows.refined(&Scaling { scale: 1.0, ..scaled });
            (fit.gain, fit.standard_error) = rows.gain(&fit.scaling);
        }
        ScaleRule::Largest | ScaleRule::Fixed(_) => fit.scaling = scaled,
    }
    Some(fit)
}

/// Rows that say which T and s are right.
struct ScaleRows<'a> {
    logits: &'a [LogitDistribution],
    labels: &'a [u32],
    link: &'a Link,
    /// The temperature by itself, s = 0, and what comes before both.
    alone: Scaling,
    /// ln T is not below this.
    lowest: f64,
    /// The prior's weight of ln T, a row.
    pull: f64,
}

impl ScaleRows<'_> {
    fn at(&self, log_temperature: f64, scale: f64) -> Scaling {
        Scaling { temperature: log_temperature.exp(), scale, ..self.alone.clone() }
    }

    /// −ln p(label) of each row.
    fn losses(&self, scaling: &Scaling) -> Vec<f64> {
        let rows = self.logits.par_iter().zip(self.labels.par_iter());
        let loss = |(one, &label): (&LogitDistribution, &u32)| {
            let p = one.probability(self.link, scaling, label as usize);
            // An impossible label costs as much as the least probability that can be written.
            -p.max(f64::MIN_POSITIVE).ln()
        };
        rows.map(loss).collect()
    }

    /// What T is chosen by, as a function of ln T.
    fn cost(&self, scale: f64) -> impl Fn(f64) -> f64 {
        move |t| mean(&self.losses(&self.at(t, scale))) + self.pull * t * t
    }

    /// Nearly the best ln T at a scale, near `start`, and its cost.
    fn near(&self, start: f64, scale: f64) -> (f64, f64) {
        let cost = self.cost(scale);
        Bracket::find(&cost, start, self.lowest).vertex(&cost)
    }

    /// The best T at the scale of these, near theirs.
    fn refined(&self, near: &Scaling) -> Scaling {
        let cost = self.cost(near.scale);
        let bracket = Bracket::find(&cost, near.temperature.ln(), self.lowest);
        self.at(bracket.minimum(&cost, TOLERANCE), near.scale)
    }

    /// How much less mean −ln p(label) there is than without a variance, and the standard error of that.
    fn gain(&self, scaled: &Scaling) -> (f64, f64) {
        let pairs = self.losses(&self.alone).into_iter().zip(self.losses(scaled));
        let gain_n: Vec<f64> = pairs.map(|(plain, scaled)| plain - scaled).collect();
        let gain = mean(&gain_n);
        let spread: f64 = gain_n.iter().map(|one| (one - gain).powi(2)).sum();
        let n = gain_n.len() as f64;
        (gain, (spread / (n - 1.0).max(1.0) / n).sqrt())
    }

    /// The scale above zero with the least cost.
    fn best(&self) -> Scaling {
        let mut log_temperature = self.alone.temperature.ln();
        let mut best = (f64::INFINITY, self.alone.clone());
        let mut worse = 0;
        for scale in scales() {
            let found;
            (log_temperature, found) = self.near(log_temperature, scale);
            if found < best.0 {
                (best, worse) = ((found, self.at(log_temperature, scale)), 0);
            } else {
                worse += 1;
            }
            if worse == PAST {
                break;
            }
        }
        best.1
    }

    /// Whether the rows bear it: it costs no more than [`MOST_COST`], even if by chance they say one standard error
    /// too little.
    fn bear(&self, scaled: &Scaling) -> bool {
        let (gain, standard_error) = self.gain(scaled);
        standard_error - gain <= MOST_COST
    }

    /// The largest scale that the rows bear; 0 where they bear none.
    fn largest(&self) -> Scaling {
        let mut log_temperature = self.alone.temperature.ln();
        let mut largest = self.alone.clone();
        let mut next = None;
        let mut refused = 0;
        for scale in scales() {
            (log_temperature, _) = self.near(log_temperature, scale);
            let scaled = self.at(log_temperature, scale);
            if self.bear(&scaled) {
                (largest, next, refused) = (scaled, None, 0);
            } else {
                next = next.or(Some(scale));
                refused += 1;
            }
            if refused == PAST {
                break;
            }
        }
        let Some(mut above) = next.filter(|_| largest.scale > 0.0) else { return largest };
        for _ in 0..HALVINGS {
            let scale = (largest.scale * above).sqrt();
            let (log_temperature, _) = self.near(largest.temperature.ln(), scale);
            let scaled = self.at(log_temperature, scale);
            if self.bear(&scaled) {
                largest = scaled;
            } else {
                above = scale;
            }
        }
        largest
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests;
