//! The headline metrics as they are written to reports, JSON and manifests.

use serde::{Deserialize, Serialize};

use super::{Bin, HEADLINE, Interval};

/// All headline metrics of one set of predictions, each with its 95 % interval. The fields' names
/// and order are those of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// See [`super::accuracy`].
    pub accuracy: Interval,
    /// See [`super::macro_f1`].
    pub f1: Interval,
    /// See [`super::mcc`].
    pub mcc: Interval,
    /// See [`super::nll`].
    pub nll: Interval,
    /// See [`super::brier`].
    pub brier: Interval,
    /// See [`super::ece`], 15 bins.
    pub ece: Calibration,
    /// The same with 10 bins.
    pub expected_calibration_error: Interval,
    /// See [`super::mean_confidence`].
    pub mean_confidence: Interval,
    /// See [`super::mean_entropy`].
    pub mean_uncertainty: Interval,
    /// Do errors have less confidence than right answers: AUROC of 1 − confidence, wrong answers as
    /// positives. These three are `None` where every answer is right, or none.
    pub auroc: Option<Interval>,
    /// The same question as average precision, see [`super::Ranking::average_precision`].
    pub aupr: Option<Interval>,
    /// Share of wrong answers that are accepted where 95 % of the right ones are, see
    /// [`super::Ranking::accepted_at_95`].
    pub fpr95: Option<Interval>,
    /// See [`super::Ranking::aurc`], by confidence; `None` only when read from a model folder that
    /// was written before it was measured.
    pub aurc: Option<Interval>,
    /// Number of rows scored.
    pub rows: usize,
    /// The reliability diagram, 15 bins.
    pub bins: Vec<Bin>,
}

impl Summary {
    /// The values in the order of [`super::HEADLINE`]; `None` for what is not defined.
    pub fn headline(&self) -> [Option<f64>; HEADLINE.len()] {
        let optional = |interval: &Option<Interval>| interval.map(|interval| interval.value);
        [
            Some(self.accuracy.value),
            Some(self.f1.value),
            Some(self.mcc.value),
            Some(self.nll.value),
            Some(self.brier.value),
            Some(self.ece.value),
            Some(self.expected_calibration_error.value),
            Some(self.mean_confidence.value),
            Some(self.mean_uncertainty.value),
            optional(&self.auroc),
            optional(&self.aupr),
            optional(&self.fpr95),
            optional(&self.aurc),
        ]
    }
}

/// A calibration error beside the value that perfect calibration would have shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Value on all rows.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Mean of the noise floor, see [`super::noise_floor`].
    pub floor: f64,
    /// Standard deviation of it.
    pub floor_sd: f64,
}

/// JSON has no infinity: a value that is not finite is written as null, and null is read as
/// infinity, the only such value that a metric here can take.
pub(super) mod infinite_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{ten, uniform};
    use crate::metrics::{Scored, summarise};

    #[test]
    fn an_infinite_value_is_null_in_json_and_infinite_when_read() {
        let scored = Scored::new(&[0.0, 1.0, 0.5, 0.5], 2, &[0, 0]).unwrap();
        let summary = summarise(&scored, 0, 1, &mut uniform(0));
        assert_eq!(summary.nll.value, f64::INFINITY);
        let json = serde_json::to_string(&summary).unwrap();
        assert!(json.contains(r#""nll":{"value":null,"low":null,"high":null}"#), "{json}");
        let read: Summary = serde_json::from_str(&json).unwrap();
        assert_eq!(read.nll, summary.nll);
        assert!(serde_json::from_str::<Interval>(r#"{"value":1.0,"low":0.5}"#).is_err());
    }

    #[test]
    fn the_json_has_the_documented_keys_in_order_and_reads_back() {
        let (probability_nc, labels) = ten();
        let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
        let summary = summarise(&scored, 20, 20, &mut uniform(1));
        let json = serde_json::to_string(&summary).unwrap();
        let keys = [&HEADLINE[..], &["rows", "bins"]].concat();
        let places: Vec<usize> =
            keys.iter().map(|key| json.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{json}");
        let ece = &json[places[5]..places[6]];
        let parts = ["value", "low", "high", "floor", "floor_sd"];
        assert!(parts.map(|key| ece.find(&format!("\"{key}\":")).expect(key)).is_sorted(), "{ece}");

        let read: Summary = serde_json::from_str(&json).unwrap();
        assert_eq!(read, summary);
        let values: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (name, value) in HEADLINE.iter().zip(summary.headline()) {
            assert_eq!(values[name]["value"].as_f64(), value, "{name}");
        }
    }
}
