//! Temperature and scale on rows that were drawn, and on rows that say too little.

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
        let fit = fit_scaling(&logits, &labels, &link(classes), Corrections::default()).unwrap();
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
        let fit = fit_scaling(&logits, &labels, &link(classes), Corrections::default()).unwrap();
        assert_eq!(fit.scaling.scale, 0.0, "{fit:?}");
        assert_eq!(fit.scaling.temperature, fit.plain.temperature);
        assert!(fit.gain <= fit.standard_error);
    }
}

#[test]
fn a_point_has_a_temperature_only() {
    let (logits, labels) = drawn(400, 3, &Scaling { temperature: 2.0, scale: 0.0, vector: None });
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
        let logit_mc: Vec<f64> =
            (0..members * classes).map(|i| centre[i % classes] + 2.0 * stream.normal()).collect();
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
