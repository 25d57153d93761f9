//! How far Bayesian methods are from the posterior that they approximate.

use std::fmt::Write;

use serde::Serialize;

use super::markdown::figure;

/// Methods against draws of the exact posterior of the last layer, on the same features, without temperature
/// and scale.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reference {
    /// Where the draws are from.
    pub sampler: &'static str,
    pub dataset: String,
    /// Rows that the posteriors are of.
    pub training_rows: usize,
    /// Rows that are predicted.
    pub rows: usize,
    /// Weights that were sampled: those of the contrasts of the classes.
    pub weights: usize,
    /// δ, the precision of the prior, chosen by the evidence.
    pub prior_precision: f64,
    pub chains: usize,
    /// Of all chains.
    pub draws: usize,
    pub divergences: usize,
    /// The largest of a probability.
    pub r_hat: f64,
    /// The largest Monte Carlo standard error of a probability.
    pub standard_error: f64,
    /// The mean epistemic uncertainty of the exact posterior, in nats.
    pub epistemic: f64,
    /// Seconds that the draws took.
    pub seconds: f64,
    /// Each method.
    pub distances: Vec<Distance>,
}

/// How far a method is from the draws, in means over the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// A method, or `mode`.
    pub name: &'static str,
    /// Mean |Δp| over rows and classes.
    pub difference: f64,
    /// Half the sum of |Δp| over the classes.
    pub total_variation: f64,
    /// KL(exact ‖ method), in nats.
    pub kl: f64,
    /// Mean epistemic uncertainty of the method, in nats; `None` where it has none.
    pub epistemic: Option<f64>,
    /// Seconds of its fit.
    pub seconds: f64,
}

impl Distance {
    /// Between probabilities `[n, k]`.
    pub fn between(
        name: &'static str,
        exact_nk: &[f64],
        found_nk: &[f64],
        classes: usize,
        (epistemic, seconds): (Option<f64>, f64),
    ) -> Self {
        let rows = (exact_nk.len() / classes) as f64;
        let pairs = || exact_nk.iter().zip(found_nk);
        let difference: f64 = pairs().map(|(p, q)| (p - q).abs()).sum();
        let divergence = |(p, q): (&f64, &f64)| match *p > 0.0 {
            true => p * (p / q.max(f64::MIN_POSITIVE)).ln(),
            false => 0.0,
        };
        Self {
            name,
            difference: difference / exact_nk.len() as f64,
            total_variation: 0.5 * difference / rows,
            kl: pairs().map(divergence).sum::<f64>() / rows,
            epistemic,
            seconds,
        }
    }
}

impl Reference {
    /// What the draws are, in a sentence.
    pub fn sentence(&self) -> String {
        format!(
            "{} draws of {} chains over {} weights, on {} training rows, prior precision {}; R-hat at most \
             {:.3}, {} divergences, standard error of a probability at most {:.4}, {:.0} s",
            self.draws,
            self.chains,
            self.weights,
            self.training_rows,
            figure(self.prior_precision),
            self.r_hat,
            self.divergences,
            self.standard_error,
            self.seconds,
        )
    }

    /// What a reader should know of the draws.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.r_hat > 1.01 {
            warnings.push(format!(
                "the chains of the reference have not mixed (R-hat {:.3}, at most 1.01 is good); \
                 raise --reference-draws",
                self.r_hat
            ));
        }
        if self.divergences > 0 {
            warnings.push(format!(
                "{} trajectories of the reference diverged, so its draws may be biased",
                self.divergences
            ));
        }
        warnings
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!(
            "\n## Distance from the exact posterior\n\nMeans over {} rows, without temperature and scale. \
             The exact posterior of the last layer: {}.\n\n| method | mean abs. difference | total variation \
             | KL, nats | epistemic, nats | fit, s |\n|---|---:|---:|---:|---:|---:|\n| exact | | | | {:.4} \
             | {:.1} |\n",
            self.rows,
            self.sentence(),
            self.epistemic,
            self.seconds,
        );
        for one in &self.distances {
            let epistemic = one.epistemic.map_or(String::new(), |value| format!("{value:.4}"));
            let _ = writeln!(
                text,
                "| {} | {:.5} | {:.5} | {:.5} | {epistemic} | {:.1} |",
                one.name, one.difference, one.total_variation, one.kl, one.seconds
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_their_definitions() {
        let exact = [0.8, 0.2, 0.5, 0.5, 1.0, 0.0];
        let found = [0.6, 0.4, 0.5, 0.5, 0.5, 0.5];
        let distance = Distance::between("map", &exact, &found, 2, (None, 0.0));
        assert!((distance.total_variation - (0.2 + 0.0 + 0.5) / 3.0).abs() < 1e-12);
        assert!((distance.difference - (0.4 + 0.0 + 1.0) / 6.0).abs() < 1e-12);
        let first = 0.8 * (0.8f64 / 0.6).ln() + 0.2 * (0.2f64 / 0.4).ln();
        assert!((distance.kl - (first + 2f64.ln()) / 3.0).abs() < 1e-12);
        let same = Distance::between("map", &exact, &exact, 2, (None, 0.0));
        assert_eq!((same.difference, same.kl), (0.0, 0.0));
    }
}
