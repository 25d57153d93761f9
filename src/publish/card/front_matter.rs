//! The front matter: what the Hub reads of a card.

use super::Card;
use super::yaml::Yaml;
use crate::compute::Precision;
use crate::data::Terms;
use crate::model::Pooling;
use crate::posterior::OwnDoubt;
use crate::task::Task;

impl Card<'_> {
    /// The licence as the Hub names it, and the name of one that it does not know.
    pub(super) fn license(&self) -> (String, Option<&'static str>) {
        let other = |name| ("other".to_owned(), Some(name));
        match (self.source.terms(&self.config.data_license), self.config.license.as_str()) {
            (Terms::Unknown, _) => other("terms-of-the-data-unknown"),
            (Terms::NonCommercial, _) => other("non-commercial-data"),
            (Terms::Open, "") => other("none-chosen"),
            (Terms::Open, license) => (license.to_owned(), None),
        }
    }

    /// The languages of the texts, as far as anybody says. The known data sets are all English.
    pub(super) fn languages(&self) -> Vec<String> {
        let known = self.source.known().is_some();
        match self.config.language.as_slice() {
            [] if known => vec!["en".to_owned()],
            stated => stated.to_vec(),
        }
    }

    /// The YAML between the two lines of dashes, with them.
    pub(super) fn front_matter(&self) -> String {
        let mut yaml = Yaml::default();
        yaml.list("language", &self.languages());
        let (license, name) = self.license();
        yaml.pair(0, "license", &license);
        if let Some(name) = name {
            yaml.pair(0, "license_name", name);
        }
        let library = match self.source.artifact.manifest.precision {
            Precision::Int8 => "bayes",
            _ if self.own_head() => "sentence-transformers",
            _ => "transformers",
        };
        yaml.pair(0, "library_name", library);
        yaml.pair(0, "pipeline_tag", self.pipeline());
        if let Some(base) = &self.source.artifact.manifest.base_model {
            yaml.pair(0, "base_model", base);
            yaml.pair(0, "base_model_relation", "finetune");
        }
        yaml.list("tags", &self.tags());
        yaml.list("datasets", &self.source.dataset_ids());
        yaml.list("metrics", &["accuracy", "f1", "nll", "ece"].map(str::to_owned));
        let widget = self.widget();
        if !widget.is_empty() {
            yaml.open(0, "widget");
            for text in widget {
                yaml.pair(0, "- text", &text);
            }
        }
        self.model_index(&mut yaml);
        format!("---\n{}---\n", yaml.finish())
    }

    /// The task, as the Hub calls it.
    fn pipeline(&self) -> &'static str {
        match self.source.artifact.manifest.zero_shot {
            Some(_) => "zero-shot-classification",
            None => self.task().pipeline(),
        }
    }

    fn tags(&self) -> Vec<String> {
        let method = self.source.artifact.manifest.fit.method;
        let mut tags = vec![self.pipeline().to_owned(), "bayes".to_owned()];
        tags.extend(["uncertainty", "calibration"].map(str::to_owned));
        if self.source.artifact.posterior.own_doubt() != OwnDoubt::Absent {
            tags.push(method.name().replace('_', "-"));
        }
        if self.source.evaluation.as_ref().is_some_and(|one| one.generated) {
            tags.push("generated-data".to_owned());
        }
        for tag in &self.config.tags {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags
    }

    /// The results in the form that leaderboards read.
    fn model_index(&self, yaml: &mut Yaml) {
        let Some(evaluation) = &self.source.evaluation else { return };
        let summary = &evaluation.summary;
        yaml.open(0, "model-index");
        yaml.pair(0, "- name", &self.title());
        yaml.open(2, "results");
        yaml.open(2, "- task");
        yaml.pair(6, "type", self.pipeline());
        yaml.pair(6, "name", "Text classification");
        yaml.open(4, "dataset");
        let name = self.source.dataset_name();
        yaml.pair(6, "type", &self.source.dataset_id().unwrap_or_else(|| slug(&name)));
        yaml.pair(6, "name", &name);
        yaml.pair(6, "split", &evaluation.split);
        yaml.open(4, "metrics");
        for (kind, name, value) in [
            ("accuracy", "Accuracy", summary.accuracy.value),
            ("f1", "Macro F1", summary.f1.value),
            ("nll", "Negative log-likelihood (nats)", summary.nll.value),
            ("ece", "Expected calibration error (15 bins)", summary.ece.value),
        ] {
            // YAML has a word for infinity, but readers of cards have none.
            if value.is_finite() {
                yaml.pair(4, "- type", kind);
                yaml.number(6, "value", value);
                yaml.pair(6, "name", name);
            }
        }
    }

    pub(super) fn task(&self) -> Task {
        self.source.artifact.manifest.task
    }

    /// Whether transformers computes the same answers from the folder.
    pub(super) fn own_head(&self) -> bool {
        self.source.artifact.encoder.pooling != Pooling::Auto
    }
}

/// A name in the letters that an identifier of the Hub may have.
fn slug(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = stem.chars().map(letter).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "data".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_of_files_become_identifiers() {
        for (name, expected) in
            [("tickets.csv", "tickets"), ("My Data (1).jsonl", "my-data--1"), ("ä.csv", "data")]
        {
            assert_eq!(slug(name), expected);
        }
    }
}
