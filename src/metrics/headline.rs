//! The sums that the headline metrics are made of, fast enough to be bootstrapped.
//!
//! A row is looked at once; a resample is then one pass over sums and one over the rows by
//! confidence. The plain functions beside this file are what its values are tested against.

use super::calibration::{Tally, bin_of, entropy};
use super::classification::{ClassCount, brier_of, count, nll_of};
use super::ranking::{Order, Ranking};
use super::resample::bootstrap;
use super::table::where_defined;
use super::{
    BINS, COARSE_BINS, HEADLINE, Interval, Scored, Summary, argmax, noise_floor, reliability,
};

/// Number of headline metrics.
const METRICS: usize = HEADLINE.len();

/// All that the headline metrics need to know of a row.
struct Row {
    predicted: u32,
    label: u32,
    bin: u32,
    coarse_bin: u32,
    confidence: f64,
    nll: f64,
    brier: f64,
    entropy: f64,
}

impl Row {
    fn new(probability_c: &[f64], label: usize) -> Self {
        let predicted = argmax(probability_c);
        let confidence = probability_c[predicted];
        Self {
            predicted: predicted as u32,
            label: label as u32,
            bin: bin_of(confidence, BINS) as u32,
            coarse_bin: bin_of(confidence, COARSE_BINS) as u32,
            confidence,
            nll: nll_of(probability_c, label),
            brier: brier_of(probability_c, label),
            entropy: entropy(probability_c),
        }
    }

    fn hit(&self) -> bool {
        self.predicted == self.label
    }
}

/// What one pass over the rows, or a resample of them, leaves for the metrics.
pub(super) struct Sums {
    pub(super) class_counts_c: Vec<ClassCount>,
    pub(super) bins: [Tally; BINS],
    pub(super) coarse_bins: [Tally; COARSE_BINS],
    pub(super) confidence: f64,
    pub(super) nll: f64,
    pub(super) brier: f64,
    pub(super) entropy: f64,
    pub(super) rows: f64,
    /// Rows by doubt; wrong answers are positives.
    pub(super) doubt: Ranking,
}

/// One model's rows.
struct ModelRows {
    classes: usize,
    rows: Vec<Row>,
    /// By doubt; wrong answers are positives.
    doubt: Order,
}

impl ModelRows {
    fn new(scored: &Scored) -> Self {
        let rows: Vec<Row> = scored.iter().map(|(row_c, label)| Row::new(row_c, label)).collect();
        // −confidence and not 1 − confidence, which would make ties of what differs.
        let doubt_n: Vec<f64> = rows.iter().map(|row| -row.confidence).collect();
        let doubt = Order::new(&doubt_n, |row| !rows[row].hit());
        Self { classes: scored.classes(), rows, doubt }
    }

    /// The metrics when row `n` stands `times_n[n]` times; NaN for what is not defined.
    fn metrics(&self, times_n: &[u32]) -> [f64; METRICS] {
        let mut class_counts_c = vec![ClassCount::default(); self.classes];
        let (mut bins, mut coarse_bins) =
            ([Tally::default(); BINS], [Tally::default(); COARSE_BINS]);
        let (mut confidence, mut nll, mut brier, mut entropy) = (0.0, 0.0, 0.0, 0.0);
        for (row, &times) in self.rows.iter().zip(times_n) {
            if times == 0 {
                // Nor may 0 × infinity make a NaN of the negative log-likelihood.
                continue;
            }
            let weight = f64::from(times);
            let (times, hit) = (u64::from(times), row.hit());
            count(&mut class_counts_c, row.predicted as usize, row.label as usize, times);
            bins[row.bin as usize].add(row.confidence, hit, times);
            coarse_bins[row.coarse_bin as usize].add(row.confidence, hit, times);
            confidence += weight * row.confidence;
            nll += weight * row.nll;
            brier += weight * row.brier;
            entropy += weight * row.entropy;
        }
        let rows: u32 = times_n.iter().sum();
        let rows = f64::from(rows);
        let doubt = self.doubt.ranking(&mut |row| times_n[row]);
        let sums = Sums {
            class_counts_c,
            bins,
            coarse_bins,
            confidence,
            nll,
            brier,
            entropy,
            rows,
            doubt,
        };
        std::array::from_fn(|metric| (HEADLINE[metric].of)(&sums))
    }
}

/// Every headline metric with its bootstrap interval over `resamples` draws of N rows with
/// replacement (not stratified), and the noise floor over `floor_resamples`. The floor is drawn
/// first.
///
/// The interval of a calibration error near its floor lies too high, and may lie above the value: a
/// resample adds noise of its own to an absolute difference. Read it together with the floor. A
/// resample on which a metric is not defined (no wrong answer to be found) does not count.
pub fn summarise(
    scored: &Scored,
    resamples: usize,
    floor_resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> Summary {
    let floor = noise_floor(scored, BINS, floor_resamples, uniform);
    let rows = ModelRows::new(scored);
    let values = rows.metrics(&vec![1; scored.rows()]);
    let resampled =
        by_metric(&bootstrap(scored.rows(), resamples, uniform, |times_n| rows.metrics(times_n)));
    let bins = reliability(scored, BINS);
    Summary::new(values.into_iter().zip(resampled), &floor, scored.rows(), bins)
}

/// `other` − `one` in every headline metric, on the same rows in the same order, with the interval
/// over resamples that are drawn once for both ("paired bootstrap"): chance in the rows, which
/// moves both models, cancels. `None` where a metric is not defined for one of them.
///
/// # Panics
/// When the two have different numbers of rows.
pub fn differences(
    one: &Scored,
    other: &Scored,
    resamples: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> [Option<Interval>; METRICS] {
    assert_eq!(one.rows(), other.rows(), "a paired comparison is about the same rows");
    let (one, other) = (ModelRows::new(one), ModelRows::new(other));
    let difference = |times_n: &[u32]| {
        let (one, other) = (one.metrics(times_n), other.metrics(times_n));
        std::array::from_fn::<f64, METRICS, _>(|metric| other[metric] - one[metric])
    };
    let rows = one.rows.len();
    let values = difference(&vec![1; rows]);
    let resampled = by_metric(&bootstrap(rows, resamples, uniform, difference));
    let mut resampled = resampled.into_iter();
    values.map(|value| where_defined(value, resampled.next().unwrap_or_default()))
}

/// The values of each metric over the resamples.
fn by_metric(resampled: &[[f64; METRICS]]) -> [Vec<f64>; METRICS] {
    std::array::from_fn(|metric| resampled.iter().map(|values| values[metric]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;
    use crate::metrics::Ranking;
    use crate::metrics::resample::resample;
    use crate::metrics::tests::{calibrated, ten, uniform};

    /// The one-pass sums against the plain functions.
    #[test]
    fn a_summary_holds_the_plain_metrics() {
        for classes in [2, 5] {
            let (probability_nc, labels) = calibrated(500, classes, 21);
            let scored = Scored::new(&probability_nc, classes, &labels).unwrap();
            let summary = summarise(&scored, 3, 3, &mut uniform(0));
            let mut doubt_of = [vec![], vec![]];
            for (probability_c, label) in scored.iter() {
                let predicted = argmax(probability_c);
                doubt_of[usize::from(predicted != label)].push(-probability_c[predicted]);
            }
            let doubt = Ranking::new(&doubt_of[0], &doubt_of[1]).unwrap();
            for (ours, plain) in [
                (summary.accuracy.value, metrics::accuracy(&scored)),
                (summary.f1.value, metrics::macro_f1(&scored)),
                (summary.mcc.value, metrics::mcc(&scored)),
                (summary.nll.value, metrics::nll(&scored)),
                (summary.brier.value, metrics::brier(&scored)),
                (summary.ece.value, metrics::ece(&scored, 15)),
                (summary.expected_calibration_error.value, metrics::ece(&scored, 10)),
                (summary.mean_confidence.value, metrics::mean_confidence(&scored)),
                (summary.mean_uncertainty.value, metrics::mean_entropy(&scored)),
                (summary.auroc.unwrap().value, doubt.auroc()),
                (summary.aupr.unwrap().value, doubt.average_precision()),
                (summary.fpr95.unwrap().value, doubt.accepted_at_95()),
                (summary.aurc.unwrap().value, doubt.aurc()),
            ] {
                assert!((ours - plain).abs() < 1e-12, "{ours} and {plain}");
            }
            assert_eq!((summary.rows, summary.bins), (500, reliability(&scored, 15)));
        }
    }

    #[test]
    fn an_interval_contains_its_value_and_shrinks_with_the_rows() {
        let mut widths = Vec::new();
        for rows in [400, 6400] {
            let (probability_nc, labels) = calibrated(rows, 3, 22);
            let scored = Scored::new(&probability_nc, 3, &labels).unwrap();
            let summary = summarise(&scored, 500, 1, &mut uniform(1));
            let all = [
                summary.accuracy,
                summary.f1,
                summary.mcc,
                summary.nll,
                summary.brier,
                summary.mean_confidence,
                summary.mean_uncertainty,
                summary.auroc.unwrap(),
                summary.aupr.unwrap(),
                summary.fpr95.unwrap(),
                summary.aurc.unwrap(),
            ];
            assert!(all.iter().all(|x| x.low < x.value && x.value < x.high), "{all:?}");
            assert!(summary.ece.low < summary.ece.high);
            widths.push(all.map(|x| x.high - x.low));

            // The bootstrap of a mean is the normal interval, to the noise of 500 resamples.
            let share = summary.accuracy.value;
            let normal = 2.0 * 1.96 * (share * (1.0 - share) / rows as f64).sqrt();
            let width = summary.accuracy.high - summary.accuracy.low;
            assert!((width / normal - 1.0).abs() < 0.15, "{width} and {normal}");
        }
        for (few, many) in widths[0].iter().zip(widths[1]) {
            // Sixteen times the rows: a quarter of the width.
            assert!((3.0..5.5).contains(&(few / many)), "{few} and {many}");
        }
    }

    #[test]
    fn equal_seeds_agree_and_different_seeds_differ() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        let summary = |seed| summarise(&scored, 50, 10, &mut uniform(seed));
        assert_eq!(summary(5), summary(5));
        assert_ne!(summary(5), summary(6));
    }
    /// Drawing by counts is the same as copying the rows.
    #[test]
    fn a_resample_is_a_table_of_its_own() {
        let (probability_nc, labels) = calibrated(60, 3, 23);
        let scored = Scored::new(&probability_nc, 3, &labels).unwrap();
        let mut times_n = vec![0; 60];
        resample(&mut times_n, &mut uniform(9));
        let drawn: Vec<usize> = (0..60).flat_map(|row| vec![row; times_n[row] as usize]).collect();
        let copied_nc: Vec<f64> =
            drawn.iter().flat_map(|&row| &probability_nc[3 * row..3 * row + 3]).copied().collect();
        let copied: Vec<u32> = drawn.iter().map(|&row| labels[row]).collect();
        let copied =
            ModelRows::new(&Scored::new(&copied_nc, 3, &copied).unwrap()).metrics(&[1; 60]);
        for (one, other) in ModelRows::new(&scored).metrics(&times_n).iter().zip(copied) {
            assert!((one - other).abs() < 1e-13, "{one} and {other}");
        }
    }

    #[test]
    fn a_model_does_not_differ_from_itself_and_a_better_one_shows() {
        let (probability_nc, labels) = calibrated(2000, 3, 24);
        let scored = Scored::new(&probability_nc, 3, &labels).unwrap();
        let zero = Some(Interval { value: 0.0, low: 0.0, high: 0.0 });
        assert!(differences(&scored, &scored, 20, &mut uniform(2)).iter().all(|d| *d == zero));

        // The same answers, but half as sure of them.
        let flat_nc: Vec<f64> = probability_nc.iter().map(|p| 0.5 * p + 0.5 / 3.0).collect();
        let flat = Scored::new(&flat_nc, 3, &labels).unwrap();
        let found = differences(&scored, &flat, 200, &mut uniform(3)).map(|one| one.unwrap());
        let [accuracy, _, _, nll, _, ece, ..] = found;
        assert_eq!((accuracy.value, accuracy.low, accuracy.high), (0.0, 0.0, 0.0));
        assert!(nll.low > 0.0 && ece.low > 0.0, "{found:?}");
        let alone = summarise(&scored, 200, 1, &mut uniform(4)).nll;
        assert!(nll.high - nll.low < alone.high - alone.low, "pairing takes noise away");
    }

    #[test]
    fn without_a_wrong_answer_there_is_nothing_to_detect() {
        let probability_nc = [0.9, 0.1, 0.2, 0.8];
        let scored = Scored::new(&probability_nc, 2, &[0, 1]).unwrap();
        let summary = summarise(&scored, 5, 1, &mut uniform(0));
        assert_eq!((summary.auroc, summary.aupr, summary.fpr95), (None, None, None));
        assert_eq!(summary.aurc.map(|aurc| aurc.value), Some(0.0));
        // One wrong answer is absent from a third of the resamples.
        let scored = Scored::new(&probability_nc, 2, &[0, 0]).unwrap();
        let auroc = summarise(&scored, 50, 1, &mut uniform(0)).auroc.unwrap();
        assert_eq!((auroc.value, auroc.low, auroc.high), (1.0, 1.0, 1.0));
    }
}
