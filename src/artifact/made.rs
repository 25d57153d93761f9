//! What data did to a model, in words: its own, and those of the models that came before it.

use serde::{Deserialize, Serialize};

use super::{Ancestor, Manifest};

/// What a fit changed of the classifier that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitted {
    /// The last layer, and what comes after it.
    LastLayer,
    /// What lies around a last layer that stayed.
    Posterior,
    /// Temperature, prediction sets, novelty and limits alone.
    Calibration,
}

impl Fitted {
    /// What that is, without a calibration that other rows have replaced since.
    pub fn what(self, recalibrated: bool) -> &'static str {
        match (self, recalibrated) {
            (Self::LastLayer, false) => "last layer, posterior and calibration",
            (Self::LastLayer, true) => "last layer and posterior",
            (Self::Posterior, false) => "posterior and calibration",
            (Self::Posterior, true) => "posterior",
            (Self::Calibration, _) => "calibration",
        }
    }
}

/// The words between a model and its data.
fn made_on(fitted: Option<Fitted>, recalibrated: bool) -> &'static str {
    match (fitted, recalibrated) {
        (None, _) => "trained on",
        (Some(Fitted::LastLayer), false) => {
            "whose last layer, posterior and calibration were fitted on"
        }
        (Some(Fitted::LastLayer), true) => "whose last layer and posterior were fitted on",
        (Some(Fitted::Posterior), false) => "whose posterior and calibration were fitted on",
        (Some(Fitted::Posterior), true) => "whose posterior was fitted on",
        (Some(Fitted::Calibration), false) => "calibrated on",
        (Some(Fitted::Calibration), true) => "first calibrated on",
    }
}

impl Ancestor {
    /// The words between this model and its data.
    pub fn made_on(&self) -> &'static str {
        made_on(self.fitted, false)
    }
}

impl Manifest {
    /// What a fit by its own data changed, as far as that is known.
    fn own_fitted(&self) -> Option<Fitted> {
        // A folder of an earlier version does not say it; of labels that a user named nothing else can be.
        self.fitted.or(self.zero_shot.is_some().then_some(Fitted::Calibration))
    }

    /// The words between this model and its own data.
    pub fn made_on(&self) -> &'static str {
        made_on(self.own_fitted(), self.recalibrated.is_some())
    }

    /// The same as the beginning of a sentence, which the name of the data ends.
    pub fn made_this(&self) -> String {
        match self.own_fitted() {
            Some(fitted @ (Fitted::LastLayer | Fitted::Posterior)) => {
                let what = fitted.what(self.recalibrated.is_some());
                let were = if what == "posterior" { "was" } else { "were" };
                format!("The {what} of this model {were} fitted on")
            }
            Some(Fitted::Calibration) | None => format!("This model was {}", self.made_on()),
        }
    }

    /// A sentence on the models that this one was made from and their data, whose names are written as `shown` says;
    /// `None` where it was made from none of ours.
    pub fn made_from(&self, shown: impl Fn(&str) -> String) -> Option<String> {
        let mut all: Vec<String> = Vec::new();
        for ancestor in &self.lineage {
            let name = ancestor.data.as_ref().map_or_else(
                || "data that are not recorded".to_owned(),
                |data| format!("`{}`", shown(&data.dataset)),
            );
            let one = format!("{} {name}", ancestor.made_on());
            if !all.contains(&one) {
                all.push(one);
            }
        }
        let verb = if self.fit.teacher.is_some() { "learned from" } else { "was made from" };
        match all.as_slice() {
            [] => None,
            [one] => Some(format!("It {verb} an earlier model: one {one}.")),
            several => Some(format!("It {verb} earlier models: one {}.", several.join("; one "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    /// As little as a file must have.
    fn manifest() -> Manifest {
        let value = serde_json::json!({
            "schema": 1, "bayes": "0.1.0", "name": "x", "method": "laplace", "transformers": "", "labels": [],
            "preprocessing": { "max_length": 8, "truncation": "head", "clean": false }, "data": null, "seed": 0,
            "parts": {}, "seen_in_test": 0, "test": null, "files": {},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_model_before_is_named_by_what_its_data_did() {
        let data = |name: &str| DataConfig { dataset: name.to_owned(), ..DataConfig::default() };
        let trained = Manifest { data: Some(data("a.csv")), ..manifest() };
        let plain = |name: &str| name.to_owned();
        assert_eq!((trained.made_on(), trained.made_from(plain)), ("trained on", None));
        let refitted = Manifest {
            data: Some(data("b.csv")),
            lineage: trained.continued(),
            fitted: Some(Fitted::LastLayer),
            ..manifest()
        };
        let from = "It was made from an earlier model: one trained on `a.csv`.";
        assert_eq!(refitted.made_from(plain).as_deref(), Some(from));
        let kept = Manifest {
            data: Some(data("c.csv")),
            lineage: refitted.continued(),
            fitted: Some(Fitted::Posterior),
            ..manifest()
        };
        assert_eq!(kept.made_on(), "whose posterior and calibration were fitted on");
        assert_eq!(kept.made_this(), "The posterior and calibration of this model were fitted on");
        let from = "It was made from earlier models: one whose last layer, posterior and calibration were fitted on \
                    `b.csv`; one trained on `a.csv`.";
        assert_eq!(kept.made_from(plain).as_deref(), Some(from));
        let foreign = Manifest { lineage: manifest().continued(), ..manifest() };
        assert!(
            foreign.made_from(plain).unwrap().contains("trained on data that are not recorded")
        );
    }
}
