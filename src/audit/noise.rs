//! Which labels are wrong: a class that is hidden behind each label that was given.
//!
//! A text has a true class, and whoever labelled it wrote that class or, now and then, another one:
//!
//! p(y | x) = Σ_j p_j(x) N_jy, p(x) = softmax(z(x) / τ)
//!
//! z are logits of a classifier that has not seen the row, N_jy is the share of the rows of class j that were
//! labelled y. Both N and τ are fitted to the labels: by a temperature alone the few rows on which the classifier is
//! sure and the label is another would make it unsure of all rows. The probability that a label is wrong is then
//! Bayes' rule, 1 − p_y N_yy / Σ_j p_j N_jy, and sums of it are numbers of rows that one can expect.
//!
//! N by expectation–maximisation (Dempster, Laird and Rubin 1977; Dawid and Skene 1979 for labels), with a Dirichlet
//! prior around one rate of errors for all classes, whose mean is fitted too; τ by a Newton step in each round.
//! Confident learning (Northcutt, Jiang and Chuang, JAIR 2021) counts rows above a threshold instead of fitting: it
//! takes hard rows for wrong ones where classes overlap.

use rayon::prelude::*;

use crate::calibrate::fit_temperature;

/// Rows of each class that the prior on its errors counts for.
const PRIOR_ROWS: f64 = 30.0;
/// The rate of errors before any row was seen, and the rows that this counts for.
const PRIOR_RATE: (f64, f64) = (0.02, 50.0);
/// Rounds end when no entry of N and no logarithm of τ moves by more.
const REST: f64 = 1e-4;
const MOST_ROUNDS: usize = 300;
/// The temperature of the true classes is at most this factor away from that of the labels.
const FARTHEST: f64 = 20.0;
/// Rows of one task.
const CHUNK: usize = 512;

/// Errors of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelNoise {
    /// τ, which logits are divided by.
    pub temperature: f64,
    /// N, `[c, c]`: a row for each true class.
    pub given_cc: Vec<f64>,
    /// The probability that the label of each row is wrong, `[n]`.
    pub wrong_n: Vec<f64>,
    /// The most probable class of each row besides its label, `[n]`.
    pub instead_n: Vec<u32>,
    /// Rounds that it took.
    pub rounds: usize,
}

/// What one round finds.
struct Round {
    /// p(true class | text, label), `[n, c]`.
    posterior_nc: Vec<f64>,
    /// Of the objective by 1 / τ.
    slope: f64,
    /// Its curvature.
    curvature: f64,
}

impl LabelNoise {
    /// Fitted to logits `[n, c]` of a classifier that has not seen the rows, and the labels, each below `classes`.
    /// `None` for no rows.
    pub fn fit(logit_nc: &[f64], labels: &[u32], classes: usize) -> Option<Self> {
        let start = fit_temperature(logit_nc, labels)?.temperature.recip();
        let mut inverse = start;
        let mut given_cc = around(PRIOR_RATE.0, classes);
        let mut rounds = 0;
        loop {
            let round = Round::new(logit_nc, labels, (inverse, &given_cc), classes);
            rounds += 1;
            let next_cc = round.given(labels, classes);
            let step = round.slope / (round.curvature * inverse).max(f64::MIN_POSITIVE);
            let next =
                (inverse * step.clamp(-0.5, 0.5).exp()).clamp(start / FARTHEST, start * FARTHEST);
            let pairs = given_cc.iter().zip(&next_cc);
            let moved = pairs.map(|(old, new)| (old - new).abs()).fold(0.0, f64::max);
            let moved = moved.max((next / inverse).ln().abs());
            (inverse, given_cc) = (next, next_cc);
            if moved < REST || rounds == MOST_ROUNDS {
                break;
            }
        }
        let Round { posterior_nc, .. } =
            Round::new(logit_nc, labels, (inverse, &given_cc), classes);
        let lines = posterior_nc.chunks_exact(classes).zip(labels);
        let (wrong_n, instead_n) = lines
            .map(|(posterior_c, &label)| {
                let others = || {
                    let all = posterior_c.iter().enumerate();
                    all.filter(|(class, _)| *class != label as usize)
                };
                let instead = others().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
                // Not 1 − p, which loses all digits of what is nearly certain.
                let wrong = others().map(|(_, posterior)| posterior).sum();
                (wrong, instead.map_or(label, |(class, _)| class as u32))
            })
            .unzip::<f64, u32, Vec<f64>, Vec<u32>>();
        Some(Self { temperature: inverse.recip(), given_cc, wrong_n, instead_n, rounds })
    }
}

/// Each class is labelled right but for this share of its rows, `[c, c]`.
fn around(rate: f64, classes: usize) -> Vec<f64> {
    let other = rate / (classes - 1).max(1) as f64;
    let entry = |place: usize| match place / classes == place % classes {
        true => 1.0 - rate,
        false => other,
    };
    (0..classes * classes).map(entry).collect()
}

impl Round {
    fn new(
        logit_nc: &[f64],
        labels: &[u32],
        (inverse, given_cc): (f64, &[f64]),
        classes: usize,
    ) -> Self {
        let mut posterior_nc = vec![0.0; logit_nc.len()];
        let lines = posterior_nc.par_chunks_mut(CHUNK * classes);
        let lines = lines.zip(logit_nc.par_chunks(CHUNK * classes)).zip(labels.par_chunks(CHUNK));
        let sums = lines.map(|((posteriors, logits), labels)| {
            let rows = posteriors.chunks_exact_mut(classes).zip(logits.chunks_exact(classes));
            let sums = rows.zip(labels).map(|((posterior_c, logit_c), &label)| {
                row(posterior_c, logit_c, label as usize, (inverse, given_cc))
            });
            sums.fold([0.0; 2], add)
        });
        // In the order of the rows, whatever the number of threads.
        let sums: Vec<[f64; 2]> = sums.collect();
        let [slope, curvature] = sums.into_iter().fold([0.0; 2], add);
        Self { posterior_nc, slope, curvature }
    }

    /// N, as the rows and the prior say.
    fn given(&self, labels: &[u32], classes: usize) -> Vec<f64> {
        let mut count_cc = vec![0.0; classes * classes];
        for (posterior_c, &label) in self.posterior_nc.chunks_exact(classes).zip(labels) {
            for (class, posterior) in posterior_c.iter().enumerate() {
                count_cc[class * classes + label as usize] += posterior;
            }
        }
        let right: f64 = (0..classes).map(|class| count_cc[class * (classes + 1)]).sum();
        let (rate, rows) = PRIOR_RATE;
        let rate = (labels.len() as f64 - right + rate * rows) / (labels.len() as f64 + rows);
        let prior_cc = around(rate, classes);
        let lines = count_cc.chunks_exact(classes).zip(prior_cc.chunks_exact(classes));
        lines
            .flat_map(|(count_c, prior_c)| {
                let all = count_c.iter().sum::<f64>() + PRIOR_ROWS;
                let entries = count_c.iter().zip(prior_c);
                entries.map(move |(count, prior)| (count + PRIOR_ROWS * prior) / all)
            })
            .collect()
    }
}

fn add(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// p(true class | text, label) of a row, and what it adds to slope and curvature.
fn row(
    posterior_c: &mut [f64],
    logit_c: &[f64],
    label: usize,
    (inverse, given_cc): (f64, &[f64]),
) -> [f64; 2] {
    let classes = logit_c.len();
    let most = logit_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut total, mut mean, mut square, mut joint) = (0.0, 0.0, 0.0, 0.0);
    for (class, (posterior, logit)) in posterior_c.iter_mut().zip(logit_c).enumerate() {
        let z = logit - most;
        let weight = (inverse * z).exp();
        total += weight;
        mean += weight * z;
        square += weight * z * z;
        *posterior = weight * given_cc[class * classes + label];
        joint += *posterior;
    }
    (mean, square) = (mean / total, square / total);
    let mut expected = 0.0;
    for (posterior, logit) in posterior_c.iter_mut().zip(logit_c) {
        *posterior /= joint;
        expected += *posterior * (logit - most);
    }
    [expected - mean, square - mean * mean]
}

#[cfg(test)]
mod tests;
