//! This run against a saved one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::document::SCHEMA;
use super::statistics::ratio;
use super::{BenchError, Results};
use crate::compute::{Noise, Precision, Purpose};
use crate::metrics::Interval;

/// Rounds below which an interval says nothing.
const LEAST_ROUNDS: usize = 3;

/// What must be equal for a ratio to be about the code alone.
const SAME: [&str; 6] = ["model", "method", "dataset", "rows", "tokens", "max_length"];

/// A saved run.
#[derive(Clone, Debug)]
pub struct Baseline {
    document: Value,
    samples: BTreeMap<String, Vec<f64>>,
}

/// What a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The interval lies on the good side of 1.
    #[serde(rename = "better")]
    Better,
    /// The interval lies on the bad side of 1.
    #[serde(rename = "worse")]
    Worse,
    /// The interval contains 1.
    #[serde(rename = "no difference seen")]
    NoDifference,
    /// There are not enough rounds for an interval.
    #[serde(rename = "too few rounds")]
    TooFewRounds,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifference => "no difference seen",
            Self::TooFewRounds => "too few rounds",
        }
    }
}

/// One figure of this run over the same figure of the saved one.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub key: String,
    /// New over old, with its 95 % interval.
    pub ratio: Interval,
    pub verdict: Verdict,
}

impl Baseline {
    /// Reads what `--save` wrote.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let failed = |message: String| BenchError::Baseline { path: path.to_owned(), message };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let document =
            serde_json::from_str(&text).map_err(|_| failed("it is not JSON".to_owned()))?;
        Self::parse(document).map_err(failed)
    }

    fn parse(document: Value) -> Result<Self, String> {
        if document["schema"] != SCHEMA {
            return Err(format!("its `schema` is {}, not {SCHEMA}", document["schema"]));
        }
        let samples = BTreeMap::deserialize(&document["samples"])
            .map_err(|error| format!("`samples`: {error}"))?;
        Ok(Self { document, samples })
    }

    /// What was different about the saved run, so that a ratio may have other reasons than the code.
    pub fn differences(&self, now: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |name: String, then: &Value, now: &Value| {
            if then != now {
                found.push(format!("the baseline has {name} {then}, but this run has {now}"));
            }
        };
        for key in SAME {
            differ(key.to_owned(), &self.document[key], &now[key]);
        }
        // Earlier versions had no other, and said none.
        let [then, now_at] = [&self.document, now].map(|document| match &document["precision"] {
            Value::Null => json!(Precision::F32),
            precision => precision.clone(),
        });
        differ("precision".to_owned(), &then, &now_at);
        for section in ["architecture", "machine", "settings"] {
            let fields = now[section].as_object().into_iter().flatten();
            // The version is what is compared.
            for (key, value) in fields.filter(|(key, _)| *key != "bayes") {
                differ(format!("{section}.{key}"), &self.document[section][key], value);
            }
        }
        found
    }

    /// The ratio of every figure that both runs have.
    pub fn compare(&self, results: &Results) -> Vec<Comparison> {
        let mut stream = Noise::new(0).stream(Purpose::Bootstrap, 0, 0);
        let mut comparisons = Vec::new();
        for (key, new) in results.samples() {
            let Some(old) = self.samples.get(key) else { continue };
            let Some(ratio) = ratio(new, old, &mut || stream.uniform()) else { continue };
            let verdict = if new.len().min(old.len()) < LEAST_ROUNDS {
                Verdict::TooFewRounds
            } else {
                verdict(ratio, more_is_better(key))
            };
            comparisons.push(Comparison { key: key.to_owned(), ratio, verdict });
        }
        comparisons
    }
}

fn more_is_better(key: &str) -> bool {
    key.ends_with("_per_second") || key.ends_with(".throughput")
}

fn verdict(ratio: Interval, more_is_better: bool) -> Verdict {
    if ratio.low <= 1.0 && ratio.high >= 1.0 {
        Verdict::NoDifference
    } else if (ratio.low > 1.0) == more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn baseline(samples: &Value) -> Baseline {
        let document = json!({
            "schema": SCHEMA, "model": "m", "machine": {"threads": 2, "bayes": "0"},
            "settings": {"rounds": 5}, "samples": samples,
        });
        Baseline::parse(document).unwrap()
    }

    #[test]
    fn a_verdict_knows_which_side_is_better() {
        let old = baseline(&json!({
            "latency.mean_latency": [10.0, 10.1, 9.9, 10.0, 10.2],
            "latency.p50_latency": [10.0, 12.0, 8.0, 11.0, 9.0],
            "throughput.batch_8.throughput": [10.0, 10.1, 9.9, 10.0, 10.2],
            "train.seconds_per_step": [1.0, 1.0],
            "gone": [1.0],
        }));
        let mut results = Results::default();
        for (slower, same) in [(20.0, 9.5), (20.2, 11.5), (19.9, 10.0), (20.1, 8.5), (20.0, 10.5)] {
            results.add("latency.mean_latency".to_owned(), slower);
            results.add("latency.p50_latency".to_owned(), same);
            results.add("throughput.batch_8.throughput".to_owned(), slower);
            results.add("train.seconds_per_step".to_owned(), slower);
            results.add("new".to_owned(), slower);
        }
        let found = old.compare(&results);
        let verdicts: Vec<Verdict> = found.iter().map(|one| one.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Worse, Verdict::NoDifference, Verdict::Better, Verdict::TooFewRounds]
        );
        assert!((found[0].ratio.value - 2.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn another_machine_or_setting_is_named_and_another_version_is_not() {
        let now = json!({
            "model": "m", "machine": {"threads": 4, "bayes": "1"}, "settings": {"rounds": 5},
        });
        let found = baseline(&json!({})).differences(&now);
        assert_eq!(found, ["the baseline has machine.threads 2, but this run has 4"]);
        // Of the same name, and another encoder, posterior or file.
        let now = json!({
            "model": "m", "method": "laplace", "dataset": "d", "architecture": {"hidden_size": 8},
            "machine": {"threads": 2}, "settings": {"rounds": 5},
        });
        let at = json!({
            "model": "m", "precision": "int8", "machine": {"threads": 2}, "settings": {"rounds": 5},
        });
        let found = baseline(&json!({})).differences(&at);
        assert_eq!(found, ["the baseline has precision \"f32\", but this run has \"int8\""]);
        let mut then = baseline(&json!({}));
        then.document["method"] = json!("map");
        then.document["dataset"] = json!("e");
        then.document["architecture"] = json!({"hidden_size": 4});
        assert_eq!(
            then.differences(&now),
            [
                "the baseline has method \"map\", but this run has \"laplace\"",
                "the baseline has dataset \"e\", but this run has \"d\"",
                "the baseline has architecture.hidden_size 4, but this run has 8",
            ]
        );
        let message = Baseline::parse(json!({"schema": 9})).unwrap_err();
        assert!(message.contains("`schema` is 9"), "{message}");
    }
}
