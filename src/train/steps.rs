//! How often something happens in training.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of optimizer steps, written as an integer, or a share of an epoch, written with a point: `1` is
/// every step, and `1.0` once an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steps {
    Number(u64),
    Share(f64),
}

impl Steps {
    /// What it may be, for a message.
    pub(super) const RULE: &'static str =
        "a whole number of steps, or a fraction of an epoch above 0 and up to 1.0";

    /// Whether it can be.
    pub(super) fn holds(self) -> bool {
        match self {
            Self::Number(steps) => steps > 0,
            Self::Share(share) => share > 0.0 && share <= 1.0,
        }
    }

    /// In steps, where an epoch has so many.
    pub(super) fn of(self, epoch: u64) -> u64 {
        let steps = match self {
            Self::Number(steps) => steps,
            Self::Share(share) => (share * epoch as f64).round() as u64,
        };
        steps.max(1)
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(steps) => serializer.serialize_u64(*steps),
            Self::Share(share) => serializer.serialize_f64(*share),
        }
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Steps::RULE)
            }

            fn visit_u64<E: Error>(self, steps: u64) -> Result<Steps, E> {
                Ok(Steps::Number(steps))
            }

            fn visit_i64<E: Error>(self, steps: i64) -> Result<Steps, E> {
                // What is below 0 is refused with its key, by `holds`.
                Ok(Steps::Number(u64::try_from(steps).unwrap_or(0)))
            }

            fn visit_f64<E: Error>(self, share: f64) -> Result<Steps, E> {
                // As earlier versions wrote whole numbers.
                let whole = share > 1.0 && share.fract() == 0.0;
                Ok(if whole { Steps::Number(share as u64) } else { Steps::Share(share) })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_steps_and_a_point_makes_a_share() {
        #[derive(Deserialize, Serialize)]
        struct Key {
            key: Steps,
        }
        for (written, steps) in
            [("1", 1), ("1.0", 60), ("0.25", 15), ("500", 500), ("500.0", 500), ("0.001", 1)]
        {
            let key: Key = toml::from_str(&format!("key = {written}")).unwrap();
            assert!(key.key.holds());
            assert_eq!(key.key.of(60), steps, "{written}");
            let again: Key = toml::from_str(&toml::to_string(&key).unwrap()).unwrap();
            assert_eq!(again.key, key.key);
        }
        for written in ["0", "-1", "0.0", "-0.5", "1.5", "nan"] {
            let key: Key = toml::from_str(&format!("key = {written}")).unwrap();
            assert!(!key.key.holds(), "{written}");
        }
    }
}
