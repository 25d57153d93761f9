//! How the model was made.

use toml::{Table, Value};

use super::Card;
use super::numbers::{code, counted, grouped, line};

impl Card<'_> {
    /// Rows, steps, and every hyperparameter.
    pub(super) fn training(&self) -> String {
        let manifest = &self.source.artifact.manifest;
        let mut text = String::new();
        if !manifest.parts.is_empty() {
            text.push_str(
                "| part | rows | first digits of the SHA-256 of its content |\n|---|---:|---|\n",
            );
            for name in ["train", "validation", "temperature", "conformal", "test"] {
                let Some(part) = manifest.parts.get(name) else { continue };
                let digits = part.sha256.get(..16).unwrap_or(&part.sha256);
                text.push_str(&line([name, &grouped(part.rows), &code(digits)]));
            }
            text.push_str(
                "\nTrained on the first, weights chosen by the NLL of the second, temperature fitted on \
                 the third, prediction sets and novelty on the fourth, reported on the last. (Of less \
                 than 2,000 rows in all, the third and the fourth serve both, cross-fitted.)\n\n",
            );
        }
        if let Some(training) =
            self.source.evaluation.as_ref().and_then(|one| one.training.as_ref())
        {
            text.push_str(&format!(
                "{}; the weights of step {} were best. {} with posterior, calibration and test.\n\n",
                counted(training.steps as usize, "optimizer step"),
                grouped(training.best_step as usize),
                counted(training.seconds.ceil() as usize, "second"),
            ));
        }
        match &self.source.config {
            Some(config) => text.push_str(&format!(
                "All hyperparameters; those of `[train]` are named as in transformers' \
                 `TrainingArguments`. On the same kind of CPU the same config, data and seed give the \
                 same weights.\n\n```toml\n{}```\n",
                hyperparameters(config)
            )),
            None => text.push_str(
                "How the classifier itself was trained is not recorded here; its posterior and its \
                 calibration were fitted afterwards.\n",
            ),
        }
        text
    }
}

/// Every section but the one of this card.
fn hyperparameters(config: &Table) -> String {
    let mut own: Table = config.clone();
    own.remove("publish");
    own.retain(|_, value| !matches!(value, Value::Table(table) if table.is_empty()));
    toml::to_string(&own).expect("a table is plain data")
}
