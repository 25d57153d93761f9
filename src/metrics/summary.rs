//! A calibration error with its floor, and numbers that JSON does not have.

use serde::{Deserialize, Serialize};

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
pub mod infinite_as_null {
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
    use crate::metrics::tests::{ten, uniform};
    use crate::metrics::{HEADLINE, Interval, Scored, Summary, summarise};

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
        let keys = HEADLINE.iter().map(|metric| metric.key).chain(["rows", "bins"]);
        let places: Vec<usize> =
            keys.map(|key| json.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{json}");
        let ece = &json[places[5]..places[6]];
        let parts = ["value", "low", "high", "floor", "floor_sd"];
        assert!(parts.map(|key| ece.find(&format!("\"{key}\":")).expect(key)).is_sorted(), "{ece}");

        let read: Summary = serde_json::from_str(&json).unwrap();
        assert_eq!(read, summary);
        let values: serde_json::Value = serde_json::from_str(&json).unwrap();
        for metric in HEADLINE {
            let value = metric.read(&summary).map(|interval| interval.value);
            assert_eq!(values[metric.key]["value"].as_f64(), value, "{}", metric.key);
        }
    }
}
