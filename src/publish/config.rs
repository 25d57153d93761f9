//! The section `[publish]`.

use serde::{Deserialize, Serialize};

use crate::hub::is_id;

/// When a training run pushes what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Not at all; use `bayes publish`.
    #[default]
    Never,
    /// The finished model.
    End,
    /// Every checkpoint, and the finished model.
    EverySave,
}

/// Where a model is published, and the texts of its card. Empty keys are derived from the model and
/// its data, or omitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishConfig {
    /// The repository, `OWNER/NAME`.
    pub repo: String,
    /// If the repository does not exist, create it as private.
    pub private: bool,
    /// When a training run pushes.
    pub push: Push,
    /// The licence of the weights, as the Hub spells it: `apache-2.0`.
    pub license: String,
    /// The terms of the data, if it is not a built-in data set.
    pub data_license: String,
    /// The languages of the texts: `["en"]`.
    pub language: Vec<String>,
    /// Tags in addition to the default ones.
    pub tags: Vec<String>,
    /// The authors of the model.
    pub authors: Vec<String>,
    /// Description of the model.
    pub description: String,
    /// Intended uses.
    pub intended_uses: String,
    /// Limitations and biases that the data does not show.
    pub limitations: String,
    /// Texts to try the model with, invented and never from the data.
    pub widget: Vec<String>,
    /// How to cite it.
    pub citation: String,
}

impl PublishConfig {
    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if !self.repo.is_empty() && !is_id(&self.repo) {
            return Err(format!(
                "`publish.repo` is `{}`; use a repository name, OWNER/NAME",
                self.repo
            ));
        }
        if self.repo.is_empty() && self.push != Push::Never {
            return Err(
                "`publish.push` needs a repository; give `publish.repo` a value, OWNER/NAME"
                    .to_owned(),
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if !self.license.chars().all(plain) {
            return Err(format!(
                "`publish.license` is `{}`; use one of the Hub's names of licences, such as \
                 apache-2.0, mit or cc-by-4.0",
                self.license
            ));
        }
        let short =
            |language: &&String| !language.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
        if let Some(language) = self.language.iter().find(short) {
            return Err(format!(
                "`publish.language` contains `{language}`; use codes such as \"en\""
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_are_refused_by_key() {
        let refused = |config: PublishConfig| config.check().unwrap_err();
        let config = PublishConfig { push: Push::End, ..PublishConfig::default() };
        assert!(refused(config).contains("`publish.repo`"));
        let config = PublishConfig { repo: "name".to_owned(), ..PublishConfig::default() };
        assert!(refused(config).contains("OWNER/NAME"));
        let license = "Apache License".to_owned();
        let config = PublishConfig { license, ..PublishConfig::default() };
        assert!(refused(config).contains("apache-2.0"));
        let config = PublishConfig { language: vec!["en\n".to_owned()], ..Default::default() };
        assert!(refused(config).contains("`publish.language`"));
        assert_eq!(PublishConfig::default().check(), Ok(()));
    }
}
