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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compute::{Noise, Purpose};
    use crate::posterior::{Draws, LinkChoice, LogitCovariance};

    /// Logits and labels with p(label) as the distributions themselves say at these settings.
    fn drawn(n: usize, classes: usize, made_by: &Scaling) -> (Vec<LogitDistribution>, Vec<u32>) {
        let mut stream = Noise::new(21).stream(Purpose::Bootstrap, 0, 0);
        let link = link(classes);
        let mut all = (Vec::new(), Vec::new());
        for _ in 0..n {
            let mean_c = (0..classes).map(|_| 3.0 * stream.normal()).collect();
            let size = 2.0 * stream.uniform();
            let covariance = if classes == 2 {
                LogitCovariance::Difference(2.0 * size * size)
            } else {
                let wide = classes * (classes - 1);
                LogitCovariance::Root((0..wide).map(|_| size * stream.normal()).collect())
            };
            let one = LogitDistribution::Gaussian { mean_c, covariance };
            let mut left = stream.uniform();
            let label = one.predictive(&link, made_by).probability_c.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            all.0.push(one);
            all.1.push(label.unwrap_or(classes - 1) as u32);
        }
        all
    }

    fn link(classes: usize) -> Link {
        let width = if classes == 2 { 0 } else { classes - 1 };
        let task = Task::SingleLabel;
        Link { task, choice: LinkChoice::Qmc, draws: Arc::new(Draws::new(&Noise::new(0), width)) }
    }

    #[test]
    fn a_scale_is_taken_where_the_labels_were_drawn_with_it() {
        for (classes, n) in [(2, 1500), (4, 600)] {
            let made_by = Scaling { temperature: 1.3, ..Scaling::default() };
            let (logits, labels) = drawn(n, classes, &made_by);
            let fit =
                fit_scaling(&logits, &labels, &link(classes), Corrections::default()).unwrap();
            assert!(fit.gain > 2.0 * fit.standard_error, "{fit:?}");
            assert!((0.3..=3.2).contains(&fit.scaling.scale), "{fit:?}");
            assert!((fit.scaling.temperature / 1.3).ln().abs() < 0.25, "{fit:?}");
        }
    }

    #[test]
    fn without_a_clear_gain_it_is_plain_temperature_scaling() {
        for classes in [2, 4] {
            let made_by = Scaling { temperature: 2.3, scale: 0.0, vector: None };
            let (logits, labels) = drawn(400, classes, &made_by);
            let fit =
                fit_scaling(&logits, &labels, &link(classes), Corrections::default()).unwrap();
            assert_eq!(fit.scaling.scale, 0.0, "{fit:?}");
            assert_eq!(fit.scaling.temperature, fit.plain.temperature);
            assert!(fit.gain <= fit.standard_error);
        }
    }

    #[test]
    fn a_point_has_a_temperature_only() {
        let (logits, labels) =
            drawn(400, 3, &Scaling { temperature: 2.0, scale: 0.0, vector: None });
        let points: Vec<LogitDistribution> =
            logits.iter().map(|one| LogitDistribution::Point(one.mean().into_owned())).collect();
        let fit = fit_scaling(&points, &labels, &link(3), Corrections::default()).unwrap();
        assert_eq!(fit.scaling.temperature, fit.plain.temperature);
        assert_eq!(fit_scaling(&[], &[], &link(3), Corrections::default()), None);
    }

    /// A covariance so wide that p depends on s alone leaves T where the prior has it.
    #[test]
    fn a_temperature_that_the_covariance_hides_does_not_drift() {
        let made_by = Scaling { temperature: 1.0, scale: 30.0, vector: None };
        let (logits, labels) = drawn(1500, 2, &made_by);
        let fit = fit_scaling(&logits, &labels, &link(2), Corrections::default()).unwrap();
        assert!((0.3..3.0).contains(&fit.scaling.temperature), "{fit:?}");
    }

    #[test]
    fn rows_that_are_all_right_make_nothing_surer() {
        for vector in [false, true] {
            let corrections = Corrections { vector, ..Corrections::default() };
            let (logits, _) = drawn(60, 2, &Scaling::default());
            let best = |one: &LogitDistribution| u32::from(one.mean()[1] > one.mean()[0]);
            let labels: Vec<u32> = logits.iter().map(best).collect();
            let fit = fit_scaling(&logits, &labels, &link(2), corrections).unwrap();
            assert!(fit.scaling.temperature >= 1.0 && fit.scaling.vector.is_none(), "{fit:?}");
            assert_eq!(fit.plain.doubt, Some(Doubt::AllRight));
        }
    }

    fn with_rule(
        scale: ScaleRule,
        made_by: &Scaling,
        (n, classes): (usize, usize),
    ) -> (ScalingFit, Vec<LogitDistribution>, Vec<u32>) {
        let (logits, labels) = drawn(n, classes, made_by);
        let corrections = Corrections { scale, ..Corrections::default() };
        let fit = fit_scaling(&logits, &labels, &link(classes), corrections).unwrap();
        (fit, logits, labels)
    }

    /// The rows were drawn without a variance, so that any costs something; the most that costs no more than
    /// the tolerance is taken, and twice as much would cost more.
    #[test]
    fn the_largest_scale_costs_no_more_than_the_tolerance() {
        for classes in [2, 4] {
            let made_by = Scaling { temperature: 1.5, scale: 0.0, vector: None };
            let (fit, logits, labels) = with_rule(ScaleRule::Largest, &made_by, (1000, classes));
            assert!(fit.scaling.scale > 0.0 && !fit.scale_at_bound, "{fit:?}");
            assert!(fit.standard_error - fit.gain <= MOST_COST + 1e-4, "{fit:?}");
            let twice = ScaleRule::Fixed(2.0 * fit.scaling.scale);
            let corrections = Corrections { scale: twice, ..Corrections::default() };
            let twice = fit_scaling(&logits, &labels, &link(classes), corrections).unwrap();
            assert!(twice.standard_error - twice.gain > MOST_COST, "{twice:?}");
            let (gain, _, _) = with_rule(ScaleRule::Gain, &made_by, (1000, classes));
            assert_eq!(gain.scaling.scale, 0.0);
        }
    }

    #[test]
    fn where_the_variance_helps_the_largest_scale_is_at_least_the_best() {
        let made_by = Scaling { temperature: 1.3, ..Scaling::default() };
        let (best, ..) = with_rule(ScaleRule::Gain, &made_by, (1500, 2));
        let (largest, ..) = with_rule(ScaleRule::Largest, &made_by, (1500, 2));
        assert!(largest.scaling.scale >= best.scaling.scale, "{largest:?} {best:?}");
    }

    #[test]
    fn a_given_scale_is_kept_and_has_the_temperature_that_fits_it() {
        let made_by = Scaling { temperature: 1.0, scale: 4.0, vector: None };
        let (fit, ..) = with_rule(ScaleRule::Fixed(4.0), &made_by, (3000, 2));
        assert_eq!(fit.scaling.scale, 4.0);
        assert!(fit.scaling.temperature.ln().abs() < 0.25, "{fit:?}");
        assert!(fit.gain > 0.0, "{fit:?}");
    }

    /// Every row has the same variance, which a temperature can stand for as well: T does not fall below 1 to make
    /// room for more of it.
    #[test]
    fn a_variance_that_tells_no_row_from_another_does_not_grow_with_the_mean() {
        let alike = |one: LogitDistribution| LogitDistribution::Gaussian {
            mean_c: one.mean().into_owned(),
            covariance: LogitCovariance::Difference(1.0),
        };
        for temperature in [0.8, 1.0, 1.6] {
            let made_by = Scaling { temperature, scale: 0.0, vector: None };
            let (logits, labels) = drawn(2000, 2, &made_by);
            let logits: Vec<LogitDistribution> = logits.into_iter().map(alike).collect();
            let corrections = Corrections { scale: ScaleRule::Largest, ..Corrections::default() };
            let fit = fit_scaling(&logits, &labels, &link(2), corrections).unwrap();
            let least = fit.plain.temperature.min(1.0);
            assert!(fit.scaling.temperature >= least - 1e-9, "{fit:?}");
            assert!(fit.scaling.scale < 10.0, "{fit:?}");
        }
    }

    /// A variance that is nothing beside what the logits say: rows do not limit it, and it stays as it is.
    #[test]
    fn a_scale_that_nothing_limits_is_one() {
        let (logits, labels) = drawn(300, 2, &Scaling { scale: 0.0, ..Scaling::default() });
        let tiny = |one: &LogitDistribution| LogitDistribution::Gaussian {
            mean_c: one.mean().into_owned(),
            covariance: LogitCovariance::Difference(1e-9),
        };
        let logits: Vec<LogitDistribution> = logits.iter().map(tiny).collect();
        let corrections = Corrections { scale: ScaleRule::Largest, ..Corrections::default() };
        let fit = fit_scaling(&logits, &labels, &link(2), corrections).unwrap();
        assert!(fit.scale_at_bound && fit.scaling.scale == 1.0, "{fit:?}");
    }

    /// Labels drawn from the mean of five networks at T = 2.
    #[test]
    fn the_temperature_of_the_mean_is_found_and_the_scale_is_one() {
        let (rows, members, classes) = (4000, 5, 3);
        let mut stream = Noise::new(5).stream(Purpose::Bootstrap, 0, 0);
        let draws = Arc::new(Draws::new(&Noise::new(0), 0));
        let link = Link { task: Task::SingleLabel, choice: LinkChoice::Qmc, draws };
        let made_by = Scaling { temperature: 2.0, ..Scaling::default() };
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let centre: Vec<f64> = (0..classes).map(|_| 4.0 * stream.normal()).collect();
            let logit_mc: Vec<f64> = (0..members * classes)
                .map(|i| centre[i % classes] + 2.0 * stream.normal())
                .collect();
            let one = LogitDistribution::Samples { logit_mc, classes };
            let mut left = stream.uniform();
            let p_c = one.predictive(&link, &made_by).probability_c;
            let label = p_c.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            labels.push(label.unwrap_or(classes - 1) as u32);
            logits.push(one);
        }
        let as_they_are = Corrections { scale: ScaleRule::Fixed(1.0), ..Corrections::default() };
        let fit = fit_scaling(&logits, &labels, &link, as_they_are).unwrap();
        assert_eq!(fit.scaling.scale, 1.0);
        assert!((fit.scaling.temperature / 2.0).ln().abs() < 0.1, "{fit:?}");
        assert!(fit.gain > 0.0, "the labels are the mixture's: {fit:?}");
        assert_eq!(fit_scaling(&[], &[], &link, as_they_are), None);
    }

    #[test]
    fn rows_that_are_all_right_make_no_network_surer() {
        let draws = Arc::new(Draws::new(&Noise::new(0), 0));
        let link = Link { task: Task::SingleLabel, choice: LinkChoice::Qmc, draws };
        let of = |label: u32| {
            let sign = if label == 1 { 1.0 } else { -1.0 };
            let logit_mc = vec![-sign, sign, -2.0 * sign, 2.0 * sign];
            LogitDistribution::Samples { logit_mc, classes: 2 }
        };
        let labels: Vec<u32> = (0..40).map(|row| row % 2).collect();
        let logits: Vec<LogitDistribution> = labels.iter().map(|&label| of(label)).collect();
        let as_they_are = Corrections { scale: ScaleRule::Fixed(1.0), ..Corrections::default() };
        let fit = fit_scaling(&logits, &labels, &link, as_they_are).unwrap();
        assert!(fit.scaling.temperature >= 1.0 && fit.plain.doubt.is_some(), "{fit:?}");
    }
}
