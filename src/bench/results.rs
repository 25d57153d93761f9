//! What was measured, round by round.

use serde_json::{Map, Value, json};

use super::statistics::{coefficient_of_variation, range};
use crate::metrics::Interval;

/// The coefficient of variation over rounds from which differences mean nothing.
const NOISY: f64 = 0.1;

/// The one figure of each measurement that says how steady the machine was; quantiles vary anyway.
const STEADY: [&str; 4] = ["mean_latency", "throughput", "seconds_per_step", "mean_latency_ms"];

/// Values by key, in the order of the report. A key's dots are levels of the JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    samples: Vec<(String, Vec<f64>)>,
    counts: Vec<(String, u64)>,
}

impl Results {
    /// Adds the value of one round; nothing where the system does not tell it, which is null.
    pub fn add(&mut self, key: String, value: impl Into<Option<f64>>) {
        let place = self.samples.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            self.samples.push((key, Vec::new()));
            self.samples.len() - 1
        });
        self.samples[place].1.extend(value.into());
    }

    /// Adds to a number that is counted and not measured.
    pub fn count(&mut self, key: String, more: u64) {
        match self.counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += more,
            None => self.counts.push((key, more)),
        }
    }

    /// The values of all rounds by key.
    pub fn samples(&self) -> impl Iterator<Item = (&str, &[f64])> {
        self.samples.iter().map(|(key, samples)| (key.as_str(), samples.as_slice()))
    }

    /// The counts by key.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(key, count)| (key.as_str(), *count))
    }

    /// The median over the rounds, from the smallest to the largest value.
    pub fn interval(&self, key: &str) -> Option<Interval> {
        range(self.samples().find(|(known, _)| *known == key)?.1)
    }

    /// A warning for each measurement that varies too much over the rounds.
    pub fn warnings(&self) -> Vec<String> {
        let steady = |key: &str| STEADY.contains(&key.rsplit('.').next().unwrap_or_default());
        let noisy = self.samples().filter(|(key, samples)| {
            steady(key) && samples.len() > 1 && coefficient_of_variation(samples) > NOISY
        });
        let warning = |(key, samples): (&str, &[f64])| {
            format!(
                "the machine is too noisy to tell: `{key}` varies by {:.0} % over the rounds",
                100.0 * coefficient_of_variation(samples)
            )
        };
        noisy.map(warning).collect()
    }

    /// The medians and counts under the keys of the report.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (key, samples) in self.samples() {
            put(&mut object, key, json!(range(samples).map(|interval| interval.value)));
        }
        for (key, count) in self.counts() {
            put(&mut object, key, json!(count));
        }
        object
    }

    /// All samples, under their dotted keys.
    pub fn samples_json(&self) -> Map<String, Value> {
        self.samples().map(|(key, samples)| (key.to_owned(), json!(samples))).collect()
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        object.insert(key.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_levels_and_rounds_become_medians() {
        let mut results = Results::default();
        for value in [3.0, 1.0, 2.0] {
            results.add("throughput.batch_8.throughput".to_owned(), value);
            results.count("throughput.batch_8.samples_processed".to_owned(), 8);
        }
        results.add("memory.memory_allocated_mb".to_owned(), None);
        let expected = json!({
            "throughput": {"batch_8": {"throughput": 2.0, "samples_processed": 24}},
            "memory": {"memory_allocated_mb": null},
        });
        assert_eq!(Value::Object(results.to_json()), expected);
        assert_eq!(results.interval("throughput.batch_8.throughput").unwrap().high, 3.0);
    }

    #[test]
    fn rounds_that_vary_by_more_than_a_tenth_are_named() {
        let mut results = Results::default();
        for (steady, noisy) in [(10.0, 10.0), (10.5, 14.0), (9.8, 7.0)] {
            results.add("latency.mean_latency".to_owned(), steady);
            results.add("latency.p99_latency".to_owned(), noisy);
            results.add("throughput.batch_8.throughput".to_owned(), noisy);
        }
        let warnings = results.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("the machine is too noisy to tell: `throughput.batch_8"));
        assert!(warnings[0].contains("34 %"), "{warnings:?}");
    }
}
