//! The headline metrics: a row here, and the file with the function, is all that a metric takes. Reports,
//! cards, comparisons and gates run over the table.

use serde::{Deserialize, Serialize};

use super::calibration::gap;
use super::classification::{accuracy_of, macro_f1_of, mcc_of};
use super::headline::Sums;
use super::{Bin, Calibration, Floor, Interval, interval};

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    Neither,
}

/// A headline metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in JSON and for `--fail-if`.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Of its values, where they have one.
    pub unit: &'static str,
    /// Which value is better.
    pub better: Better,
    /// Whether short reports show it too.
    pub brief: bool,
    /// From the sums over the rows; NaN where it is not defined.
    pub(super) of: fn(&Sums) -> f64,
    read: fn(&Summary) -> Option<Interval>,
}

impl Metric {
    pub fn name(&self) -> String {
        let comma = if self.unit.is_empty() { "" } else { ", " };
        format!("{}{comma}{}", self.title, self.unit)
    }

    /// In a summary; `None` where it is not defined.
    pub fn read(&self, summary: &Summary) -> Option<Interval> {
        (self.read)(summary)
    }

    /// What a difference between two models says: `better`, `worse`, `differs`, or nothing where it may be
    /// chance.
    pub fn verdict(&self, difference: &Interval) -> &'static str {
        let (more, less) = (difference.low > 0.0, difference.high < 0.0);
        match (self.better, more, less) {
            (_, false, false) => "",
            (Better::Higher, true, _) | (Better::Lower, _, true) => "better",
            (Better::Higher | Better::Lower, ..) => "worse",
            (Better::Neither, ..) => "differs",
        }
    }
}

/// How a metric stands in a summary.
trait Figure {
    fn new(value: f64, resampled: Vec<f64>, floor: &Floor) -> Self;
    fn interval(&self) -> Option<Interval>;
}

impl Figure for Interval {
    /// Of a mean over rows, which is always defined.
    fn new(value: f64, mut resampled: Vec<f64>, _: &Floor) -> Self {
        resampled.retain(|value| !value.is_nan());
        interval(value, resampled)
    }

    fn interval(&self) -> Option<Interval> {
        Some(*self)
    }
}

impl Figure for Option<Interval> {
    fn new(value: f64, resampled: Vec<f64>, _: &Floor) -> Self {
        where_defined(value, resampled)
    }

    fn interval(&self) -> Option<Interval> {
        *self
    }
}

impl Figure for Calibration {
    fn new(value: f64, resampled: Vec<f64>, floor: &Floor) -> Self {
        let Interval { value, low, high } = Figure::new(value, resampled, floor);
        Self { value, low, high, floor: floor.mean, floor_sd: floor.sd }
    }

    fn interval(&self) -> Option<Interval> {
        let Self { value, low, high, .. } = *self;
        Some(Interval { value, low, high })
    }
}

/// The interval of a metric that may not be defined, on some resamples or at all.
pub(super) fn where_defined(value: f64, mut resampled: Vec<f64>) -> Option<Interval> {
    resampled.retain(|value| !value.is_nan());
    (!value.is_nan()).then(|| interval(value, resampled))
}

macro_rules! headline {
    ($(
        $(#[$doc:meta])*
        $key:ident: $figure:ty =
            $title:literal, $unit:literal, $better:ident, $brief:literal, $of:expr;
    )+) => {
        /// All headline metrics of one set of predictions, each with its 95 % interval. The fields' names
        /// and order are those of the JSON.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Summary {
            $($(#[$doc])* pub $key: $figure,)+
            /// Number of rows scored.
            pub rows: usize,
            /// The reliability diagram, 15 bins.
            pub bins: Vec<Bin>,
        }

        /// The headline metrics in the order of [`Summary`].
        pub const HEADLINE: &[Metric] = &[$(Metric {
            key: stringify!($key),
            title: $title,
            unit: $unit,
            better: Better::$better,
            brief: $brief,
            of: $of,
            read: |summary| Figure::interval(&summary.$key),
        }),+];

        impl Summary {
            /// From the values in the order of [`HEADLINE`], each with those of the resamples.
            pub(super) fn new(
                mut values: impl Iterator<Item = (f64, Vec<f64>)>,
                floor: &Floor,
                rows: usize,
                bins: Vec<Bin>,
            ) -> Self {
                $(
                    let (value, resampled) = values.next().expect("one for each metric");
                    let $key = Figure::new(value, resampled, floor);
                )+
                Self { $($key,)+ rows, bins }
            }
        }
    };
}

headline! {
    /// See [`super::accuracy`].
    accuracy: Interval = "accuracy", "", Higher, true, |sums| accuracy_of(&sums.class_counts_c);
    /// See [`super::macro_f1`].
    f1: Interval = "macro F1", "", Higher, true, |sums| macro_f1_of(&sums.class_counts_c);
    /// See [`super::mcc`].
    mcc: Interval = "MCC", "", Higher, true, |sums| mcc_of(&sums.class_counts_c);
    /// See [`super::nll`].
    nll: Interval = "NLL", "nats", Lower, true, |sums| sums.nll / sums.rows;
    /// See [`super::brier`].
    brier: Interval = "Brier", "multi-class", Lower, true, |sums| sums.brier / sums.rows;
    /// See [`super::ece`], 15 bins.
    ece: Calibration = "ECE (15 bins)", "", Lower, true, |sums| gap(&sums.bins);
    /// The same with 10 bins.
    expected_calibration_error: Interval = "ECE (10 bins)", "", Lower, false,
        |sums| gap(&sums.coarse_bins);
    /// See [`super::mean_confidence`].
    mean_confidence: Interval = "mean confidence", "", Neither, true,
        |sums| sums.confidence / sums.rows;
    /// See [`super::mean_entropy`].
    mean_uncertainty: Interval = "mean uncertainty", "nats", Neither, true,
        |sums| sums.entropy / sums.rows;
    /// Do errors have less confidence than right answers: AUROC of 1 − confidence, wrong answers as
    /// positives. These three are `None` where every answer is right, or none.
    auroc: Option<Interval> = "error AUROC", "", Higher, true, |sums| sums.doubt.auroc();
    /// The same question as average precision, see [`super::Ranking::average_precision`].
    aupr: Option<Interval> = "error AUPR", "", Higher, false,
        |sums| sums.doubt.average_precision();
    /// Share of wrong answers that are accepted where 95 % of the right ones are, see
    /// [`super::Ranking::accepted_at_95`].
    fpr95: Option<Interval> = "error FPR95", "", Lower, false, |sums| sums.doubt.accepted_at_95();
    /// See [`super::Ranking::aurc`], by confidence; `None` only when read from a model folder that
    /// was written before it was measured.
    aurc: Option<Interval> = "AURC", "", Lower, true, |sums| sums.doubt.aurc();
}
