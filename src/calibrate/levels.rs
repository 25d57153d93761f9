//! `calibration.target_risk`: one share, or several of which the strictest is wanted.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shares of wrong answers. In a file a single one is a number, and so it is written again; several
/// are a list. 0, or an empty list, is none.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskLevels(Vec<f64>);

impl RiskLevels {
    /// As they were written.
    pub fn new(levels: impl Into<Vec<f64>>) -> Self {
        Self(levels.into())
    }

    /// The strictest first; none where none is wanted.
    pub fn ascending(&self) -> Vec<f64> {
        let mut levels: Vec<f64> = self.0.iter().copied().filter(|level| *level > 0.0).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        levels
    }

    /// What of it cannot be, as a message that begins with the key.
    pub fn check(&self, key: &str) -> Result<(), String> {
        if let Some(level) = self.0.iter().find(|level| !(0.0..=1.0).contains(*level)) {
            return Err(format!("`{key}` is {level}; use a number from 0 to 1"));
        }
        if self.0.len() > 1 && self.0.contains(&0.0) {
            return Err(format!("`{key}` contains 0 among others; use 0 alone for no such limit"));
        }
        Ok(())
    }
}

impl Serialize for RiskLevels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [level] = self.0[..] {
            return serializer.serialize_f64(level);
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|level| list.serialize_element(level))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for RiskLevels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Every format that these are written in says itself what comes.
        deserializer.deserialize_any(Written)
    }
}

/// What may be written.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = RiskLevels;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number such as 0.02, or a list such as [0.01, 0.05]")
    }

    fn visit_f64<E: Error>(self, level: f64) -> Result<RiskLevels, E> {
        Ok(RiskLevels(vec![level]))
    }

    fn visit_i64<E: Error>(self, level: i64) -> Result<RiskLevels, E> {
        Ok(RiskLevels(vec![level as f64]))
    }

    fn visit_u64<E: Error>(self, level: u64) -> Result<RiskLevels, E> {
        Ok(RiskLevels(vec![level as f64]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RiskLevels, A::Error> {
        let mut levels = Vec::new();
        while let Some(level) = list.next_element()? {
            levels.push(level);
        }
        Ok(RiskLevels(levels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Section {
        risk: RiskLevels,
    }

    #[test]
    fn a_number_and_a_list_are_read_and_written_as_they_were() {
        for (written, levels) in [
            ("risk = 0.02\n", &[0.02][..]),
            ("risk = [0.1, 0.05]\n", &[0.1, 0.05]),
            ("risk = []\n", &[]),
        ] {
            let section: Section = toml::from_str(written).unwrap();
            assert_eq!(section.risk, RiskLevels::new(levels));
            assert_eq!(toml::to_string(&section).unwrap(), written);
            let json = serde_json::to_string(&section).unwrap();
            assert_eq!(serde_json::from_str::<Section>(&json).unwrap(), section);
        }
        let whole: Section = toml::from_str("risk = 1").unwrap();
        assert_eq!(whole.risk, serde_json::from_str::<Section>("{\"risk\": 1}").unwrap().risk);
        // Whole numbers among others are shares too.
        let mixed: Section = toml::from_str("risk = [0, 0.5]").unwrap();
        assert_eq!(mixed.risk, RiskLevels::new([0.0, 0.5]));
    }

    #[test]
    fn what_is_no_share_is_refused_with_what_would_be_right() {
        let message = toml::from_str::<Section>("risk = \"low\"").unwrap_err().to_string();
        assert!(message.contains("a number such as 0.02, or a list"), "{message}");
        for (levels, part) in [
            (&[0.1, 1.5][..], "is 1.5; use a number from 0 to 1"),
            (&[-0.1], "is -0.1"),
            (&[f64::NAN], "is NaN"),
            (&[0.0, 0.1], "0 among others"),
        ] {
            let message = RiskLevels::new(levels).check("calibration.target_risk").unwrap_err();
            assert!(message.starts_with("`calibration.target_risk`") && message.contains(part));
        }
    }

    #[test]
    fn the_strictest_comes_first_and_zero_is_none() {
        assert_eq!(RiskLevels::new([0.1, 0.01, 0.1]).ascending(), [0.01, 0.1]);
        for none in [&[][..], &[0.0]] {
            assert!(RiskLevels::new(none).ascending().is_empty());
            assert_eq!(RiskLevels::new(none).check("key"), Ok(()));
        }
    }
}
