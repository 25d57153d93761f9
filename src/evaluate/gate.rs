//! `--fail-if 'ece>0.02'`: a condition under which the answer is no.

use std::str::FromStr;

use crate::metrics::Interval;
use crate::suggest::nearest;

use serde_json::Value;

/// A condition on one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The metric, with dots between the keys of the report.
    key: String,
    relation: Relation,
    limit: f64,
    /// Whether the limit is a share of what a saved run had: `0.95x`.
    relative: bool,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// The longer signs first, so that `>=` is not read as `>`.
const RELATIONS: [(&str, Relation); 4] = [
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    (">", Relation::Above),
    ("<", Relation::Below),
];

/// Why a condition cannot be decided.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GateError {
    /// It is no condition.
    #[error(
        "`{0}` is not a valid condition; write a metric, one of > >= < <=, and a number, for \
         example `ece>0.02`"
    )]
    Syntax(String),
    /// There is no such metric.
    #[error("`{text}`: the report has no metric `{key}`{hint}")]
    Unknown {
        text: String,
        /// The metric that it names.
        key: String,
        /// `; did you mean …?`, or empty.
        hint: String,
    },
    /// A share of something that is not there.
    #[error(
        "`{0}`: a limit with `x` is a share of what a saved benchmark had, and there is none; give one with --baseline \
         of `bayes bench`, or a number without `x`"
    )]
    Relative(String),
    /// A share that chance alone may decide.
    #[error(
        "`{text}`: too few rounds to compare `{key}`; use --rounds 3 or more, here and in the baseline"
    )]
    TooFewRounds {
        text: String,
        /// The metric that it names.
        key: String,
    },
    /// The metric has no value.
    #[error("`{text}`: `{key}` is not defined for these rows")]
    Undefined {
        text: String,
        /// The metric that it names.
        key: String,
    },
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let syntax = || GateError::Syntax(text.to_owned());
        let split = |(sign, relation): &(&str, Relation)| {
            text.split_once(sign).map(|(key, limit)| (key.trim(), *relation, limit.trim()))
        };
        let (key, relation, limit) = RELATIONS.iter().find_map(split).ok_or_else(syntax)?;
        let share = limit.strip_suffix('x');
        let relative = share.is_some();
        let limit: f64 = share.unwrap_or(limit).parse().map_err(|_| syntax())?;
        if key.is_empty() || !limit.is_finite() {
            return Err(syntax());
        }
        Ok(Self { key: key.to_owned(), relation, limit, relative, text: text.to_owned() })
    }
}

impl Gate {
    /// Whether its limit is a share of what a saved run had.
    pub fn is_relative(&self) -> bool {
        self.relative
    }

    /// Refuses one whose limit is a share, where there is no saved run.
    ///
    /// # Errors
    /// It is.
    pub fn check_absolute(&self) -> Result<(), GateError> {
        match self.relative {
            true => Err(GateError::Relative(self.text.clone())),
            false => Ok(()),
        }
    }

    /// Whether a figure of this run over the same figure of a saved one meets the condition: then the sentence that says
    /// so. All of the interval must meet it, so that chance alone does not. `ratios` has each figure by its key; `None`
    /// where there were too few rounds.
    ///
    /// # Errors
    /// There is no such figure, or too few rounds.
    pub fn met_by_ratio(
        &self,
        ratios: &[(&str, Option<Interval>)],
    ) -> Result<Option<String>, GateError> {
        let (text, key) = (self.text.clone(), self.key.clone());
        let known = || ratios.iter().map(|(key, _)| ((*key).to_owned(), None)).collect::<Vec<_>>();
        let found = ratios.iter().find(|(key, _)| *key == self.key);
        let (_, ratio) = found.ok_or_else(|| self.unknown(&known()))?;
        let Interval { value, low, high } = ratio.ok_or(GateError::TooFewRounds { text, key })?;
        Ok(self.holds(low, high).then(|| {
            format!(
                "`{}` is {value:.3} of the baseline's (95 % interval {low:.3} to {high:.3}), which meets the --fail-if \
                 condition `{}`",
                self.key, self.text
            )
        }))
    }

    /// Whether the report meets the condition: then the sentence that says so. The number that a
    /// key stands for is its `value` where it is an object.
    ///
    /// # Errors
    /// The report has no such number, or the limit is a share of another one.
    pub fn met(&self, report: &Value) -> Result<Option<String>, GateError> {
        self.check_absolute()?;
        let mut known = Vec::new();
        let classes = report["by_class"].as_array().map_or(&[][..], Vec::as_slice);
        numbers(report, "", classes, &mut known);
        let Some((_, found)) = known.iter().find(|(key, _)| *key == self.key) else {
            return Err(self.unknown(&known));
        };
        let Some(found) = *found else {
            return Err(GateError::Undefined { text: self.text.clone(), key: self.key.clone() });
        };
        Ok(self.holds(found, found).then(|| {
            // Counts as such.
            let found = match found.fract() == 0.0 {
                true => found.to_string(),
                false => format!("{found:.6}"),
            };
            format!(
                "`{}` is {found}, which meets the --fail-if condition `{}`",
                self.key, self.text
            )
        }))
    }

    /// Whether all between these stands to the limit as the condition says.
    fn holds(&self, low: f64, high: f64) -> bool {
        match self.relation {
            Relation::AtLeast => low >= self.limit,
            Relation::AtMost => high <= self.limit,
            Relation::Above => low > self.limit,
            Relation::Below => high < self.limit,
        }
    }

    fn unknown(&self, known: &[(String, Option<f64>)]) -> GateError {
        let near = nearest(&self.key, known.iter().map(|(key, _)| key));
        let hint = near.map_or(String::new(), |key| format!("; did you mean `{key}`?"));
        GateError::Unknown { text: self.text.clone(), key: self.key.clone(), hint }
    }
}

/// All numbers by their keys. An interval whose value is null is infinite (see
/// [`crate::metrics::Interval`]); a key that is null itself is not defined. What is in a list is named by its
/// `label`, else by its place from 0; what is in a list `by_class` also by the label that `classes` have there.
fn numbers(value: &Value, path: &str, classes: &[Value], found: &mut Vec<(String, Option<f64>)>) {
    match value {
        Value::Number(number) => found.push((path.to_owned(), number.as_f64())),
        Value::Null => found.push((path.to_owned(), None)),
        Value::Object(object) => {
            if let Some(value) = object.get("value") {
                found.push((path.to_owned(), Some(value.as_f64().unwrap_or(f64::INFINITY))));
            }
            // A bin without rows: what would be a mean over them is 0 there, and says nothing.
            let empty = object.get("count").is_some_and(|count| *count == 0);
            for (key, value) in object {
                let value = if empty && key != "count" { &Value::Null } else { value };
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                numbers(value, &path, classes, found);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let own = item["label"].as_str();
                let name = own.map_or_else(|| place.to_string(), str::to_owned);
                numbers(item, &format!("{path}.{name}"), classes, found);
                let of_class = path.ends_with("by_class") && items.len() == classes.len();
                let label = classes.get(place).and_then(|class| class["label"].as_str());
                if let Some(label) = label.filter(|_| of_class && own.is_none()) {
                    numbers(item, &format!("{path}.{label}"), classes, found);
                }
            }
        }
        Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn met(text: &str) -> Result<bool, GateError> {
        let report = json!({
            "ece": {"value": 0.03, "floor": 0.01},
            "nll": {"value": null, "low": null, "high": null},
            "auroc": null,
            "rows": 10,
            "ood": {"my.texts": {"auroc": {"value": 0.9}}},
            "by_class": [{"label": "no", "recall": 0.7}, {"label": "a.b", "recall": null}],
            "bins": [{"rows": 0}, {"rows": 10}],
            "sets": {"by_class": [{"coverage": 0.9}, null]},
        });
        Ok(text.parse::<Gate>()?.met(&report)?.is_some())
    }

    #[test]
    fn a_condition_is_decided_by_the_value_of_its_key() {
        for (text, expected) in [
            ("ece>0.02", true),
            ("ece > 0.03", false),
            ("ece>=0.03", true),
            ("ece<0.03", false),
            ("ece<=3e-2", true),
            ("ece.floor>0.005", true),
            ("nll>100", true),
            ("rows<11", true),
            ("ood.my.texts.auroc<0.95", true),
            ("by_class.no.recall<0.8", true),
            ("bins.1.rows<=9", false),
            ("sets.by_class.no.coverage<0.95", true),
            ("sets.by_class.0.coverage<0.85", false),
        ] {
            assert_eq!(met(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_share_of_a_saved_run_is_met_by_the_whole_interval() {
        let interval = |value: f64, low, high| Some(Interval { value, low, high });
        let ratios = [
            ("throughput.batch_8.throughput", interval(0.9, 0.88, 0.92)),
            ("latency.mean_latency", interval(1.04, 0.97, 1.12)),
            ("train.seconds_per_step", None),
        ];
        let met = |text: &str| -> Result<bool, GateError> {
            let gate = text.parse::<Gate>()?;
            assert!(gate.is_relative(), "{text}");
            Ok(gate.met_by_ratio(&ratios)?.is_some())
        };
        for (text, expected) in [
            ("throughput.batch_8.throughput<0.95x", true),
            ("throughput.batch_8.throughput < 0.9x", false),
            ("throughput.batch_8.throughput<=0.92x", true),
            ("latency.mean_latency>1.02x", false),
            ("latency.mean_latency>0.95x", true),
        ] {
            assert_eq!(met(text), Ok(expected), "{text}");
        }
        let message = |text: &str| met(text).unwrap_err().to_string();
        assert!(
            message("latency.mean_latenci>1.1x").contains("did you mean `latency.mean_latency`")
        );
        assert!(message("train.seconds_per_step>1.1x").contains("too few rounds"));
        let message = self::met("ece>1.1x").unwrap_err().to_string();
        assert!(message.contains("--baseline"), "{message}");
    }

    #[test]
    fn what_cannot_be_decided_is_refused_with_a_hint() {
        for text in ["ece", "ece=0.1", ">0.1", "ece>x", "ece>nan", "ece>1e999", "ece>1xx", ""] {
            assert_eq!(met(text), Err(GateError::Syntax(text.to_owned())));
        }
        let message = met("acuracy<0.9").unwrap_err().to_string();
        assert!(!message.contains("did you mean `ece`"), "{message}");
        let message = met("ecee>0.1").unwrap_err().to_string();
        assert!(message.ends_with("no metric `ecee`; did you mean `ece`?"), "{message}");
        for key in ["auroc", "by_class.a.b.recall"] {
            let message = met(&format!("{key}<0.9")).unwrap_err().to_string();
            assert!(
                message.ends_with(&format!("`{key}` is not defined for these rows")),
                "{message}"
            );
        }
        let message = met("by_class.yes.recall<0.9").unwrap_err().to_string();
        assert!(message.contains("no metric `by_class.yes.recall`"), "{message}");
    }
}
