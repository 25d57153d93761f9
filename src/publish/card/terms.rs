//! What stands first in the card: the terms of the data and of the weights, and whether the texts are real.

use super::Card;
use super::numbers::code;
use crate::data::{Known, Terms};

impl Card<'_> {
    /// What a reader has to know before anything else: terms, and whether the texts are real.
    pub(super) fn notice(&self) -> String {
        let mut lines = Vec::new();
        if self.source.checkpoint {
            lines.push(
                "**A checkpoint of an unfinished training run.** It has no posterior, and nothing \
                 was calibrated or tested."
                    .to_owned(),
            );
        }
        lines.extend(self.terms());
        if !self.config.data_license.is_empty() && self.source.known().is_none() {
            lines.push(format!(
                "Terms of the data {}, as the authors of the model state them: {}.",
                code(&self.source.dataset_name()),
                self.config.data_license.trim_end_matches('.')
            ));
        }
        if self.source.evaluation.as_ref().is_some_and(|one| one.generated) {
            lines.push(
                "**Trained on generated texts.** Its figures say how well `bayes` works, and \
                 nothing about real texts."
                    .to_owned(),
            );
        }
        let quoted: Vec<String> = lines.iter().map(|line| format!("> {line}\n")).collect();
        quoted.join(">\n")
    }

    /// A paragraph for each data set whose terms are unknown or restrict the use; where there is none, one for a licence
    /// that nobody chose.
    fn terms(&self) -> Vec<String> {
        let known =
            |known: &Known| format!("{} (as far as known: {})", code(known.name), known.terms);
        let own = match self.source.known() {
            Some(own) => known(own),
            None => code(&self.source.dataset_name()),
        };
        let allows = self.source.own_terms(&self.config.data_license);
        let own = (allows, format!("{} {own}", self.source.artifact.manifest.made_this()));
        let others = self.source.others().into_iter();
        let others = others.map(|(made, one)| (one.allows, format!("{made} {}", known(one))));
        let of = |(allows, made): (Terms, String)| match allows {
            Terms::Unknown => Some(format!(
                "**The terms of the data are unknown.** {made}, and whether you may use it, and for what, depends on \
                 the terms of that data."
            )),
            Terms::NonCommercial => Some(format!(
                "**The data are not for commercial use.** {made}; assume that the same holds for the model."
            )),
            Terms::Open => None,
        };
        let mut lines: Vec<String> = [own].into_iter().chain(others).filter_map(of).collect();
        match (lines.last_mut(), self.config.license.as_str()) {
            (None, "") => lines.push(
                "**No licence was chosen.** Ask the authors before you use these weights for \
                 anything more than looking at them."
                    .to_owned(),
            ),
            (Some(line), license) if !license.is_empty() => line.push_str(&format!(
                " The authors of the model offer their own part, the weights, under {}.",
                code(license)
            )),
            _ => {}
        }
        lines
    }
}
