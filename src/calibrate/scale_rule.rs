//! `calibration.scale`: how much of the variance of the logits is used.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How s is chosen. In a file it is `"gain"`, `"largest"`, or a number.
///
/// The question "does the variance help?" is nearly always answered no by rows like those of training, which
/// say little of texts that are unlike them. `largest` asks instead how much of it these rows bear, as
/// training-free Bayesianisation does (Shi, Wang, Han, Zhang and Wang, 2024), with T fitted anew at each s, but
/// not below 1, or below what it is without a variance: a mean that is made surer takes up any variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ScaleRule {
    /// The best s, where the held-out rows show that it helps: by more than one standard error.
    #[default]
    Gain,
    /// The largest s that the held-out rows bear: it costs them at most 0.002 nats a row, one standard error included.
    Largest,
    /// This one; above 0.
    Fixed(f64),
}

/// The most that a scale may cost in mean −ln p(label), in nats, under [`ScaleRule::Largest`], together with one
/// standard error of the paired differences. That error is no tolerance by itself: it vanishes with s as the cost does,
/// so that a cost of nothing can be more than one.
pub const MOST_COST: f64 = 0.002;

/// The most that can be asked for.
const MOST: f64 = 1e6;

impl ScaleRule {
    /// Whether it is the usual one.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What of it cannot be, as a message that begins with the key.
    pub fn check(self, key: &str) -> Result<(), String> {
        match self {
            Self::Fixed(scale) if !(scale > 0.0 && scale <= MOST) => Err(format!(
                "`{key}` is {scale}; use `gain`, `largest`, or a number above 0 and at most {MOST}"
            )),
            Self::Gain | Self::Largest | Self::Fixed(_) => Ok(()),
        }
    }
}

impl Serialize for ScaleRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Gain => serializer.serialize_str("gain"),
            Self::Largest => serializer.serialize_str("largest"),
            Self::Fixed(scale) => serializer.serialize_f64(*scale),
        }
    }
}

impl<'de> Deserialize<'de> for ScaleRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Every format that these are written in says itself what comes.
        deserializer.deserialize_any(Written)
    }
}

/// What may be written.
struct Written;

impl Visitor<'_> for Written {
    type Value = ScaleRule;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`gain`, `largest`, or a number such as 1")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<ScaleRule, E> {
        match name {
            "gain" => Ok(ScaleRule::Gain),
            "largest" => Ok(ScaleRule::Largest),
            // As `--set` has it, which takes a value for what the usual one is.
            other => match other.parse() {
                Ok(scale) => Ok(ScaleRule::Fixed(scale)),
                Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
            },
        }
    }

    fn visit_f64<E: Error>(self, scale: f64) -> Result<ScaleRule, E> {
        Ok(ScaleRule::Fixed(scale))
    }

    fn visit_i64<E: Error>(self, scale: i64) -> Result<ScaleRule, E> {
        Ok(ScaleRule::Fixed(scale as f64))
    }

    fn visit_u64<E: Error>(self, scale: u64) -> Result<ScaleRule, E> {
        Ok(ScaleRule::Fixed(scale as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Section {
        scale: ScaleRule,
    }

    #[test]
    fn a_name_and_a_number_are_read_and_written_as_they_were() {
        for (written, rule) in [
            ("scale = \"gain\"\n", ScaleRule::Gain),
            ("scale = \"largest\"\n", ScaleRule::Largest),
            ("scale = 0.5\n", ScaleRule::Fixed(0.5)),
        ] {
            let section: Section = toml::from_str(written).unwrap();
            assert_eq!(section.scale, rule);
            assert_eq!(toml::to_string(&section).unwrap(), written);
            let json = serde_json::to_string(&section).unwrap();
            assert_eq!(serde_json::from_str::<Section>(&json).unwrap(), section);
        }
        for written in ["scale = 1", "scale = \"1\""] {
            let whole: Section = toml::from_str(written).unwrap();
            assert_eq!(whole.scale, ScaleRule::Fixed(1.0));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_would_be_right() {
        for wrong in ["scale = \"most\"", "scale = [1]", "scale = true"] {
            let message = toml::from_str::<Section>(wrong).unwrap_err().to_string();
            assert!(message.contains("`gain`, `largest`, or a number"), "{message}");
        }
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            let message = ScaleRule::Fixed(scale).check("calibration.scale").unwrap_err();
            assert!(message.starts_with("`calibration.scale` is "), "{message}");
        }
    }
}
