//! Whether the promise of the prediction sets holds for these rows: it does for rows that are exchangeable with those
//! that the model was calibrated on, and that is tested. See [`crate::calibrate::conformal::exchange`].

use serde::Serialize;

use super::report::stream;
use super::{Answer, Answers};
use crate::artifact::Artifact;
use crate::calibrate::conformal::exchange::{
    Groups, largest_capital, p_values, probability_of_misses,
};
use crate::compute::{Noise, Purpose};
use crate::metrics::{Interval, wilson};
use crate::numbers::grouped;

/// Exchangeable rows raise an alarm in at most this share of evaluations. Each of the two tests has half of it.
pub const FALSE_ALARMS: f64 = 0.01;

/// What the tests found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Exchangeability {
    /// Rows that were tested: those that the model has not seen.
    pub rows: usize,
    /// Rows that the sets were calibrated on.
    pub calibration_rows: usize,
    /// The share of labels that the sets promise to contain.
    pub target: f64,
    /// The share that they contain, with its 95 % Wilson interval.
    pub coverage: Interval,
    /// The probability that sets of exchangeable rows miss so often or oftener.
    pub probability_of_misses: f64,
    /// Largest capital of the test martingale, as a decimal logarithm. It is x or more with probability at most
    /// 10^−x.
    pub log10_e_value: f64,
    /// Whether these two hold as they are: not where the calibration was cross-fitted, or its rows are not known.
    pub exact: bool,
    pub verdict: Verdict,
}

/// What follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against the promise.
    Exchangeable,
    /// The rows are not exchangeable; the sets contain the label as often as was promised all the same.
    Unlike,
    /// The rows are not exchangeable, and the sets contain the label less often.
    Broken,
}

impl Exchangeability {
    /// Of the labelled answers of a model; `None` where it has no sets, or has seen all rows.
    pub fn of(answers: &Answers, artifact: &Artifact) -> Option<Self> {
        let conformal = artifact.calibration.conformal.as_ref()?;
        let alpha = answers.alpha?;
        let inside = answers.inside();
        let fresh = (0..inside.rows.len()).filter(|row| inside.seen.binary_search(row).is_err());
        let fresh: Vec<(&Answer, usize)> =
            fresh.map(|row| (inside.rows[row], inside.labels[row] as usize)).collect();
        let missed = |(answer, label): &&(&Answer, usize)| {
            answer.set.as_ref().is_some_and(|set| !set.contains(&(*label as u32)))
        };
        let misses = fresh.iter().filter(missed).count();
        let rows = fresh.len();
        if rows == 0 {
            return None;
        }
        let Groups { group_c, scores } = conformal.groups(alpha);
        let mut draws = Noise::new(answers.seed).stream(Purpose::Bootstrap, 0, stream::EXCHANGE);
        // A U of its own for each text: as good as that of its set, which is not kept.
        let mut tested: Vec<(usize, f64)> = fresh
            .iter()
            .map(|(answer, label)| {
                let score_c = conformal.score.of(&answer.probability_c, draws.uniform());
                (group_c[*label], score_c[*label])
            })
            .collect();
        let by_group = scores.iter().enumerate().map(|(group, own)| {
            (own.len(), tested.iter().filter(|(other, _)| *other == group).count())
        });
        let probability = probability_of_misses(&by_group.collect::<Vec<_>>(), alpha, misses);
        // Files are sorted, by label or source: their order is not what is asked about.
        draws.shuffle(&mut tested);
        let capital = largest_capital(&p_values(&scores, &tested, &mut || draws.uniform()));
        let (low, high) = wilson((rows - misses) as u64, rows as u64);
        let found = Self {
            rows,
            calibration_rows: conformal.rows(),
            target: 1.0 - alpha,
            coverage: Interval { value: (rows - misses) as f64 / rows as f64, low, high },
            probability_of_misses: probability,
            log10_e_value: capital / std::f64::consts::LN_10,
            exact: is_exact(artifact, conformal.rows()),
            verdict: Verdict::Exchangeable,
        };
        Some(Self { verdict: found.judge(), ..found })
    }

    fn judge(&self) -> Verdict {
        let each = 0.5 * FALSE_ALARMS;
        let alarm = self.log10_e_value >= -each.log10() || self.probability_of_misses <= each;
        match (alarm, self.coverage.value < self.target) {
            (true, true) => Verdict::Broken,
            // The last layer has seen more rows than those that calibrated it: better is no surprise.
            (true, false) if self.exact => Verdict::Unlike,
            _ => Verdict::Exchangeable,
        }
    }

    /// What a user should know; `None` where nothing speaks against the promise.
    pub fn warning(&self) -> Option<String> {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let (target, found) = (percent(self.target), percent(self.coverage.value));
        let calibration = grouped(self.calibration_rows);
        let unproven = match self.exact {
            true => "",
            false => ", both approximate, since the calibration was cross-fitted",
        };
        let evidence = format!(
            "the probability of so many misses is {:.1e}, and a conformal test martingale reaches \
             {}{unproven}",
            self.probability_of_misses,
            power_of_ten(self.log10_e_value)
        );
        match self.verdict {
            Verdict::Exchangeable => None,
            Verdict::Unlike => Some(format!(
                "these rows are not exchangeable with the {calibration} calibration rows \
                 ({evidence}), but the sets keep their promise: {target} promised, {found} contain \
                 the label"
            )),
            Verdict::Broken => Some(format!(
                "the sets promised {target} and contain the label in {found}: these rows are not \
                 exchangeable with the {calibration} calibration rows ({evidence}); the coverage \
                 guarantee does not hold for such rows, and neither do confidence and decisions; \
                 calibrate on labelled rows like these (`bayes fit --dataset`)"
            )),
        }
    }
}

/// 10^x with two digits, however large.
fn power_of_ten(x: f64) -> String {
    let exponent = x.floor();
    if exponent < 4.0 {
        return format!("{:.0}", 10f64.powf(x));
    }
    format!("{:.1}e{exponent}", 10f64.powf(x - exponent))
}

/// Whether the calibration rows are held out as they were: with cross-fitting every row trains (there is no part of
/// them) or serves two purposes (there are more scores than rows).
fn is_exact(artifact: &Artifact, scores: usize) -> bool {
    let part = artifact.manifest.parts.get("conformal");
    part.is_some_and(|part| part.rows >= scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(coverage: f64, probability_of_misses: f64, log10_e_value: f64) -> Exchangeability {
        let one = Exchangeability {
            rows: 100,
            calibration_rows: 1250,
            target: 0.9,
            coverage: Interval { value: coverage, low: 0.0, high: 1.0 },
            probability_of_misses,
            log10_e_value,
            exact: true,
            verdict: Verdict::Exchangeable,
        };
        Exchangeability { verdict: one.judge(), ..one }
    }

    #[test]
    fn the_promise_is_broken_only_by_evidence_and_low_coverage() {
        assert_eq!(found(0.85, 0.2, 1.0).verdict, Verdict::Exchangeable);
        assert_eq!(found(0.85, 0.2, 1.0).warning(), None);
        assert_eq!(found(0.85, 0.004, 1.0).verdict, Verdict::Broken);
        assert_eq!(found(0.85, 0.2, 2.31).verdict, Verdict::Broken);
        assert_eq!(found(0.95, 1.0, 2.31).verdict, Verdict::Unlike);
        let crossed = Exchangeability { exact: false, ..found(0.95, 1.0, 2.31) };
        assert_eq!(crossed.judge(), Verdict::Exchangeable);
        let said = found(0.843, 1.2e-7, 306.5).warning().unwrap();
        assert!(said.starts_with("the sets promised 90.0 % and contain the label in 84.3 %"));
        assert!(said.contains("misses is 1.2e-7") && said.contains("reaches 3.2e306"), "{said}");
        assert!(found(0.95, 1.0, 2.31).warning().unwrap().contains("reaches 204)"));
    }
}
