//! Are new rows like the rows that the sets were calibrated on? Two tests with a proven rate of false alarms.
//!
//! **A martingale over conformal p-values** tests exchangeability, which is all that the promise of the sets rests
//! on. Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line" (ICML 2003); Vovk, Gammerman and Shafer,
//! "Algorithmic learning in a random world" (2005), sections 4.5 and 7.1; Vovk, "Testing randomness online"
//! (Statistical Science, 2021).
//!
//! | symbol | here |
//! |---|---|
//! | α_i, nonconformity | the score of the row's own label, as the sets have it |
//! | category κ_i | the group of classes that share a bound; one group where the sets have one bound |
//! | p_i = (#{α_j > α_i} + τ_i #{α_j = α_i}) / #{j} over j ≤ i with κ_j = κ_i | [`p_values`], high scores are strange |
//! | τ_i | uniform, from seeded noise |
//! | S_i = mean over ε and direction of Π_{j ≤ i} ε p_j^{ε − 1} | [`largest_capital`] |
//!
//! The calibration rows come first, and every tested row joins the reference after its turn. If all are exchangeable
//! (within each category: the shares of the classes may differ), the smoothed p-values are independent and uniform.
//! Against a fixed reference each would be uniform too, but not independent, and their product would prove nothing.
//! So S is a martingale that begins at 1, and by Ville's inequality P(sup S ≥ 1/δ) ≤ δ.
//!
//! Departures. The paper integrates over ε from 0 to 1; a mean over five values that are near 1 loses less where the
//! departure is small. Half of the capital bets on 1 − p: rows whose labels are suspiciously probable are not
//! exchangeable either. Labels are needed: this is a test of rows that are evaluated.
//!
//! **The number of misses** tests the promise itself. Of n calibration rows and α a set misses with a probability that
//! is Beta(l, n + 1 − l) distributed, l = ⌊(n + 1)α⌋ (see [`super::coverage_band`]), so the misses among m rows are
//! beta-binomial. Ties make them fewer. Groups are independent: their misses are added by convolution.

use statrs::function::gamma::ln_gamma;

use super::Conformal;

/// The exponents ε of the bets.
const EXPONENTS: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 0.95];
/// No p-value is taken to be nearer to 0 or 1: a smaller bet is a fair one too.
const NEAREST: f64 = 1e-12;
/// What a distribution of misses may lose at its ends; it is added to the probability again.
const LOST: f64 = 1e-18;

/// Classes that share a bound, and the scores of their calibration rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// The group of each class, `[c]`.
    pub group_c: Vec<usize>,
    /// The scores of each group.
    pub scores: Vec<Vec<f64>>,
}

impl Conformal {
    /// The groups whose sets at this α have one bound each.
    pub fn groups(&self, alpha: f64) -> Groups {
        let mut groups = Groups { group_c: Vec::new(), scores: Vec::new() };
        let mut common = None;
        for scores in &self.scores_by_class {
            let own = self.has_own(scores, alpha);
            let next = groups.scores.len();
            let group = if own { next } else { *common.get_or_insert(next) };
            if group == next {
                groups.scores.push(Vec::new());
            }
            groups.scores[group].extend(scores);
            groups.group_c.push(group);
        }
        groups
    }
}

/// The smoothed p-values of rows `(group, score)`, each among the calibration rows of its group and the rows before
/// it. `uniform` gives numbers on [0, 1), one for each row.
pub fn p_values(
    calibration: &[Vec<f64>],
    tested: &[(usize, f64)],
    uniform: &mut dyn FnMut() -> f64,
) -> Vec<f64> {
    let mut groups: Vec<Counts> = Vec::new();
    for (group, scores) in calibration.iter().enumerate() {
        let own = tested.iter().filter(|(other, _)| *other == group).map(|(_, score)| *score);
        let mut counts = Counts::of(scores.iter().copied().chain(own));
        scores.iter().for_each(|&score| counts.add(score));
        groups.push(counts);
    }
    let p_value = |&(group, score): &(usize, f64)| {
        let counts = &mut groups[group];
        counts.add(score);
        let (above, equal) = counts.above_and_equal(score);
        (above as f64 + uniform() * equal as f64) / counts.rows as f64
    };
    tested.iter().map(p_value).collect()
}

/// Scores that were added, countable by rank: a binary indexed tree (Fenwick, 1994).
struct Counts {
    /// All scores that may be added, ascending and without repeats.
    known: Vec<f64>,
    tree: Vec<usize>,
    rows: usize,
}

impl Counts {
    fn of(scores: impl Iterator<Item = f64>) -> Self {
        let mut known: Vec<f64> = scores.collect();
        known.sort_unstable_by(f64::total_cmp);
        known.dedup();
        let tree = vec![0; known.len() + 1];
        Self { known, tree, rows: 0 }
    }

    fn rank(&self, score: f64) -> usize {
        self.known.partition_point(|other| *other < score)
    }

    fn add(&mut self, score: f64) {
        let mut place = self.rank(score) + 1;
        while place < self.tree.len() {
            self.tree[place] += 1;
            place += place & place.wrapping_neg();
        }
        self.rows += 1;
    }

    /// Scores of a lower rank.
    fn below(&self, rank: usize) -> usize {
        let (mut place, mut count) = (rank, 0);
        while place > 0 {
            count += self.tree[place];
            place &= place - 1;
        }
        count
    }

    fn above_and_equal(&self, score: f64) -> (usize, usize) {
        let rank = self.rank(score);
        let (below, up_to) = (self.below(rank), self.below(rank + 1));
        (self.rows - up_to, up_to - below)
    }
}

/// ln of the largest capital that the martingale has on its way; at least 0. Under exchangeability it is ln(1/δ) or
/// more with probability at most δ.
pub fn largest_capital(p_values: &[f64]) -> f64 {
    // Each bet's own capital, as a logarithm: on small p-values, then on large ones.
    let mut capitals = [[0.0f64; EXPONENTS.len()]; 2];
    let mut largest = 0.0f64;
    for p in p_values {
        for (side, capitals) in [*p, 1.0 - *p].into_iter().zip(&mut capitals) {
            let ln_p = side.max(NEAREST).ln();
            for (capital, exponent) in capitals.iter_mut().zip(EXPONENTS) {
                *capital += exponent.ln() + (exponent - 1.0) * ln_p;
            }
        }
        largest = largest.max(ln_mean(capitals.as_flattened()));
    }
    largest
}

fn ln_mean(logarithms: &[f64]) -> f64 {
    let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logarithms.iter().map(|one| (one - most).exp()).sum();
    most + (sum / logarithms.len() as f64).ln()
}

/// The probability that the sets of exchangeable rows miss their label so often or oftener. `groups` has the
/// calibration rows and the tested rows behind each bound.
pub fn probability_of_misses(groups: &[(usize, usize)], alpha: f64, misses: usize) -> f64 {
    let (from, sums, lost) = all_misses(groups, alpha);
    let tail: f64 = sums.iter().skip(misses.saturating_sub(from)).sum();
    if misses <= from { 1.0 } else { (tail + lost).min(1.0) }
}

/// The least and the most misses of exchangeable rows with probability `level`: at each end no more than half of the
/// rest is left out.
pub fn miss_band(groups: &[(usize, usize)], alpha: f64, level: f64) -> (usize, usize) {
    let (from, sums, _) = all_misses(groups, alpha);
    let tail = 0.5 * (1.0 - level);
    let place = |sums: &mut dyn Iterator<Item = &f64>| {
        let mut left_out = 0.0;
        sums.take_while(|p| {
            left_out += **p;
            left_out <= tail
        })
        .count()
    };
    let low = from + place(&mut sums.iter());
    let high = from + sums.len().saturating_sub(1 + place(&mut sums.iter().rev()));
    (low, high.max(low))
}

/// P(k misses) over all groups for k from the first number on, and what was cut off at the ends.
fn all_misses(groups: &[(usize, usize)], alpha: f64) -> (usize, Vec<f64>, f64) {
    let (mut from, mut sums, mut lost) = (0, vec![1.0], 0.0);
    for &(rows, tested) in groups {
        let (start, probabilities, cut) = miss_distribution(rows, tested, alpha);
        let mut next = vec![0.0; sums.len() + probabilities.len() - 1];
        for (place, p) in sums.iter().enumerate() {
            for (sum, q) in next[place..].iter_mut().zip(&probabilities) {
                *sum += p * q;
            }
        }
        (from, sums, lost) = (from + start, next, lost + cut);
    }
    (from, sums, lost)
}

/// P(k misses) for k from the first number on, and what was cut off at both ends.
fn miss_distribution(rows: usize, tested: usize, alpha: f64) -> (usize, Vec<f64>, f64) {
    let l = rows + 1 - super::rank(rows, alpha);
    if l == 0 {
        // The set is full.
        return (0, vec![1.0], 0.0);
    }
    let (a, b, m) = (l as f64, (rows + 1 - l) as f64, tested as f64);
    let ln_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let probability = |k: usize| {
        let k = k as f64;
        let choose = ln_gamma(m + 1.0) - ln_gamma(k + 1.0) - ln_gamma(m - k + 1.0);
        (choose + ln_beta(k + a, m - k + b) - ln_beta(a, b)).exp()
    };
    let mut all: Vec<f64> = (0..=tested).map(probability).collect();
    let kept = |p: &f64| *p > LOST;
    let start = all.iter().position(kept).unwrap_or(0);
    let end = all.iter().rposition(kept).unwrap_or(tested);
    let lost = all[..start].iter().chain(&all[end + 1..]).sum();
    all.truncate(end + 1);
    (start, all.split_off(start), lost)
}

#[cfg(test)]
mod tests {
    use super::super::{ConformalMethod, HeldOut, Score};
    use super::*;
    use crate::compute::{Noise, Purpose, Stream};

    fn stream(seed: u64) -> Stream {
        Noise::new(seed).stream(Purpose::Generate, 0, 0)
    }

    /// Scores of a calibrated two-class model whose answers are worth `sharpness` of what they seem.
    fn score(stream: &mut Stream, sharpness: f64) -> f64 {
        let logit = 4.0 * stream.normal();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let right = stream.uniform() < sigmoid(logit * sharpness);
        let p = sigmoid(logit);
        // Rounded, so that there are ties.
        ((1.0 - if right { p } else { 1.0 - p }) * 1e3).round() / 1e3
    }

    fn scores(stream: &mut Stream, count: usize, sharpness: f64) -> Vec<f64> {
        (0..count).map(|_| score(stream, sharpness)).collect()
    }

    /// Whether the martingale and the misses alarm at `level`, for two groups.
    fn alarms(stream: &mut Stream, rows: [usize; 2], sharpness: f64, level: f64) -> [bool; 2] {
        let calibration: Vec<Vec<f64>> = rows.iter().map(|&n| scores(stream, n, 1.0)).collect();
        let tested: Vec<(usize, f64)> =
            (0..400).map(|row| (usize::from(row % 4 == 0), score(stream, sharpness))).collect();
        let p_values = p_values(&calibration, &tested, &mut || stream.uniform());
        let alpha = 0.1;
        let conformal = Conformal {
            score: Score::Lac,
            by_class: true,
            scores_by_class: calibration
                .iter()
                .map(|scores| {
                    let mut scores = scores.clone();
                    scores.sort_by(f64::total_cmp);
                    scores
                })
                .collect(),
        };
        let bounds = conformal.bounds(alpha);
        let misses = tested.iter().filter(|(group, score)| *score > bounds.bound_c[*group]).count();
        let groups = [(rows[0], 300), (rows[1], 100)];
        let chance = probability_of_misses(&groups, alpha, misses);
        [largest_capital(&p_values) >= (1.0 / level).ln(), chance <= level]
    }

    /// Both promise at most 5 % false alarms; 1,000 repetitions, four standard errors above that.
    #[test]
    fn exchangeable_rows_raise_no_more_alarms_than_promised() {
        let mut stream = stream(11);
        let (runs, level) = (1000, 0.05);
        let mut count = [0; 2];
        for _ in 0..runs {
            for (count, alarm) in count.iter_mut().zip(alarms(&mut stream, [120, 40], 1.0, level)) {
                *count += u32::from(alarm);
            }
        }
        let most = level + 4.0 * (level * (1.0 - level) / f64::from(runs)).sqrt();
        let shares = count.map(|count| f64::from(count) / f64::from(runs));
        assert!(shares.iter().all(|share| *share <= most), "{shares:?} of at most {most}");
        // They are tests, and not silent.
        assert!(count[1] > 0, "{shares:?}");
    }

    #[test]
    fn a_shift_is_noticed() {
        let mut stream = stream(12);
        let mut count = [0; 2];
        for _ in 0..50 {
            for (count, alarm) in count.iter_mut().zip(alarms(&mut stream, [1500, 500], 0.4, 0.01))
            {
                *count += u32::from(alarm);
            }
        }
        assert!(count.iter().all(|count| *count >= 48), "{count:?} of 50");
    }

    /// Labels that are too probable are no loss of coverage; the martingale sees them.
    #[test]
    fn rows_that_fit_too_well_are_noticed_by_the_martingale_alone() {
        let mut stream = stream(13);
        let calibration = [scores(&mut stream, 500, 1.0)];
        let tested: Vec<(usize, f64)> =
            (0..400).map(|_| (0, 0.5 * score(&mut stream, 1.0))).collect();
        let p_values = p_values(&calibration, &tested, &mut || stream.uniform());
        assert!(largest_capital(&p_values) > 100f64.ln());
        assert!(probability_of_misses(&[(500, 400)], 0.1, 20) > 0.9);
    }

    #[test]
    fn p_values_are_counted_among_the_rows_before() {
        let calibration = [vec![0.1, 0.3, 0.3], vec![0.5]];
        let tested = [(0, 0.3), (0, 0.2), (1, 0.9), (0, 0.3)];
        let found = p_values(&calibration, &tested, &mut || 0.5);
        // 0 above and 3 equal of 4; 3 above and 1 equal of 5; 1 equal of 2; 0 above and 4 equal of 6.
        assert_eq!(found, [1.5 / 4.0, 3.5 / 5.0, 0.5 / 2.0, 2.0 / 6.0]);
        assert_eq!(largest_capital(&[]), 0.0);
        assert!(largest_capital(&[0.0; 100]).is_finite());
    }

    /// Uniform p-values, tied scores or not: mean and variance of 4,000 within five standard errors, and no
    /// correlation between neighbours.
    #[test]
    fn p_values_of_exchangeable_rows_are_uniform_and_independent() {
        let mut stream = stream(14);
        let calibration = [scores(&mut stream, 30, 1.0)];
        let tested: Vec<(usize, f64)> = (0..4000).map(|_| (0, score(&mut stream, 1.0))).collect();
        let p_values = p_values(&calibration, &tested, &mut || stream.uniform());
        let n = p_values.len() as f64;
        let mean = p_values.iter().sum::<f64>() / n;
        let variance = p_values.iter().map(|p| (p - 0.5).powi(2)).sum::<f64>() / n;
        let lagged = p_values.windows(2).map(|p| (p[0] - 0.5) * (p[1] - 0.5)).sum::<f64>() / n;
        assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / n).sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 5.0 * (1.0 / 180.0 / n).sqrt(), "{variance}");
        assert!(lagged.abs() < 5.0 / 12.0 / n.sqrt(), "{lagged}");
    }

    /// With l = 1 of n = 9 the chance of a miss is Beta(1, 9); of two rows: Σ by hand.
    #[test]
    fn misses_are_beta_binomial_and_groups_add_up() {
        // E(1 − q)² = B(1, 11)/B(1, 9) = 9/11, E q² = B(3, 9)/B(1, 9) = 2/(10 · 11).
        let of_two = |misses| probability_of_misses(&[(9, 2)], 0.1, misses);
        assert_eq!(of_two(0), 1.0);
        assert!((of_two(1) - 2.0 / 11.0).abs() < 1e-12);
        assert!((of_two(2) - 2.0 / 110.0).abs() < 1e-12);
        assert!(of_two(3) < 1e-15);
        let both = probability_of_misses(&[(9, 2), (9, 2)], 0.1, 4);
        assert!((both - (2.0f64 / 110.0).powi(2)).abs() < 1e-12);
        // Each end of the band leaves out as much as it may, and no more.
        let groups = [(200, 150), (60, 80)];
        let (low, high) = miss_band(&groups, 0.1, 0.95);
        let at_least = |misses| probability_of_misses(&groups, 0.1, misses);
        assert!(at_least(high + 1) <= 0.025 && at_least(high) > 0.025, "{low} to {high}");
        assert!(1.0 - at_least(low) <= 0.025 && 1.0 - at_least(low + 1) > 0.025);
        assert_eq!(miss_band(&[(8, 50)], 0.1, 0.95), (0, 0));
        // Too few rows: the set is full and never misses.
        assert_eq!(probability_of_misses(&[(8, 50)], 0.1, 0), 1.0);
        assert_eq!(probability_of_misses(&[(8, 50)], 0.1, 1), 0.0);
        let many = probability_of_misses(&[(1250, 12_500), (1250, 12_500)], 0.1, 2_500);
        assert!((0.4..0.6).contains(&many), "{many}");
    }

    #[test]
    fn groups_are_those_of_the_bounds() {
        let labels: Vec<u32> = [0; 40].into_iter().chain([1; 3]).chain([2; 2]).collect();
        let rows = HeldOut {
            probability_nc: &vec![1.0 / 3.0; 3 * labels.len()],
            labels: &labels,
            uniforms: &vec![0.5; labels.len()],
            classes: 3,
        };
        let fit = |method| Conformal::fit(method, &rows, 0.1, &Noise::new(1));
        let mondrian = fit(ConformalMethod::Mondrian).groups(0.1);
        assert_eq!(mondrian.group_c, [0, 1, 1]);
        assert_eq!(mondrian.scores.iter().map(Vec::len).collect::<Vec<_>>(), [40, 5]);
        let one = fit(ConformalMethod::Lac).groups(0.1);
        assert_eq!((one.group_c, one.scores[0].len()), (vec![0; 3], 45));
    }
}
