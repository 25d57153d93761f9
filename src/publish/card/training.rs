//! How the model was made.

use toml::{Table, Value};

use super::Card;
use super::numbers::{code, line};
use crate::artifact::Fitted;
use crate::calibrate::SMALL;
use crate::numbers::{counted, grouped};
use crate::publish::evaluation::Training;
use crate::train::Recipe;

/// The parts, in the order in which they are told.
const PARTS: [&str; 5] = ["train", "validation", "temperature", "conformal", "test"];

impl Card<'_> {
    /// Rows, steps, and every hyperparameter.
    pub(super) fn training(&self) -> String {
        let manifest = &self.source.artifact.manifest;
        let mut text = String::new();
        if !manifest.parts.is_empty() {
            text.push_str("| split | rows | content SHA-256 (first digits) |\n|---|---:|---|\n");
            for name in PARTS {
                let Some(part) = manifest.parts.get(name) else { continue };
                let digits = part.sha256.get(..16).unwrap_or(&part.sha256);
                text.push_str(&line([name, &grouped(part.rows), &code(digits)]));
            }
            let notes = self.facts().map_or(&[][..], |one| one.notes.as_slice());
            let notes: String = notes.iter().map(|note| format!(" {note}")).collect();
            text.push_str(&format!("\n{}{notes}\n\n", self.what_for()));
        }
        if let Some((data, rows)) = self.source.recalibrated_by() {
            text.push_str(&format!(
                "After that, temperature, prediction sets, the p-values of novelty and limits were fitted anew to {} \
                 of {}, and what was fitted to other rows is gone. Weights and posterior stayed.\n\n",
                counted(rows, "row"),
                code(&data)
            ));
        }
        if let Some(training) = self.facts() {
            let how = if self.kept_head() {
                let tuned = if training.tuning_left {
                    " Fine-tuning was tried but not used, because it did not improve the \
                     likelihood of held-out rows."
                } else {
                    ""
                };
                format!(
                    "The encoder was frozen; the last layer was fitted to convergence.{tuned} This \
                     took"
                )
            } else if let Some(count) = self.source.artifact.networks() {
                format!(
                    "{count} networks were trained one after another, {} in all; each keeps the \
                     weights that were best on the validation rows. This took",
                    counted(training.steps as usize, "optimizer step")
                )
            } else {
                format!(
                    "{}; the weights of step {} were best. This took",
                    counted(training.steps as usize, "optimizer step"),
                    grouped(training.best_step as usize)
                )
            };
            text.push_str(&format!(
                "{how} {}, including posterior, calibration and test.\n\n",
                counted(training.seconds.ceil() as usize, "second"),
            ));
        }
        match self.settings() {
            Some(config) if !self.fitted_afterwards() => text.push_str(&format!(
                "All hyperparameters that were used; those in `[train]` have the same names as in \
                 transformers' `TrainingArguments`. The same config, data and seed produce the \
                 same weights on the same kind of CPU.\n\n```toml\n{}```\n",
                hyperparameters(config)
            )),
            _ => text.push_str(
                "How the classifier itself was trained is not recorded here; its posterior and its \
                 calibration were fitted afterwards.\n",
            ),
        }
        text
    }

    fn facts(&self) -> Option<&Training> {
        self.source.evaluation.as_ref().and_then(|one| one.training.as_ref())
    }

    /// Whether only posterior and calibration were made here, of a classifier that was there.
    pub(super) fn fitted_afterwards(&self) -> bool {
        // A folder of an earlier version does not say it, and has no config.
        let unsaid = self.facts().is_none() && self.settings().is_none();
        self.source.artifact.manifest.fitted.is_some() || unsaid
    }

    /// The config, where it has more than the author's words.
    fn settings(&self) -> Option<&Table> {
        self.source.config.as_ref().filter(|config| config.keys().any(|key| key != "publish"))
    }

    /// Whether nobody knows which of the rows that calibrate the model it was trained on before.
    pub(super) fn origin_unknown(&self) -> bool {
        let manifest = &self.source.artifact.manifest;
        match &manifest.recalibrated {
            Some(anew) => !anew.origin_known,
            None => !manifest.lineage_known,
        }
    }

    /// Whether the encoder is the one that it began with.
    pub(super) fn kept_head(&self) -> bool {
        // A folder of an older version does not say it, but counts its steps.
        match self.facts() {
            Some(Training { kept: Some(kept), .. }) => *kept == Recipe::Head,
            Some(training) => training.steps == 0,
            None => !self.fitted_afterwards() && !self.source.artifact.manifest.encoder_trained,
        }
    }

    /// Whether the rows that train the last layer calibrate it too, each by one that has not seen it.
    pub(super) fn crossed(&self) -> bool {
        let parts = &self.source.artifact.manifest.parts;
        parts.contains_key("train") && !parts.contains_key("temperature")
    }

    fn rows_of(&self, part: &str) -> usize {
        self.source.artifact.manifest.parts.get(part).map_or(0, |part| part.rows)
    }

    /// Whether the rows were so few that those of temperature and sets serve both, by cross-fitting.
    pub(super) fn few_rows(&self) -> bool {
        let made = PARTS.into_iter().filter(|name| *name != "test").map(|name| self.rows_of(name));
        made.sum::<usize>() < SMALL
    }

    /// Whether the prior of the last layer is the one under which held-out rows are most probable.
    pub(super) fn prior_by_held_out_rows(&self) -> bool {
        // A folder of an older version says it only next to its evaluation.
        let in_manifest = self.source.artifact.manifest.fit.prior_by_held_out_rows;
        in_manifest || self.facts().is_some_and(|one| one.prior_by_held_out_rows)
    }

    /// What the rows of each part were used for.
    fn what_for(&self) -> String {
        if self.crossed() {
            let how = self.facts().and_then(|one| one.crossed.as_deref());
            let how = how.map_or(String::new(), |how| format!(" This uses {how}."));
            return format!(
                "The `train` rows train the last layer and fit temperature, prediction sets and \
                 novelty.{how} The `test` split is used only for the reported results."
            );
        }
        let rows = |name: &str| self.rows_of(name);
        let chosen = if self.kept_head() { "its prior was" } else { "the best weights were" };
        let few = |both: &str| {
            if !self.few_rows() {
                return String::new();
            }
            let rows = grouped(rows("temperature") + rows("conformal"));
            format!(
                " With so few rows, the {rows} rows of {both} together serve both purposes: each is \
                 scored by a calibration fitted without it."
            )
        };
        let artifact = &self.source.artifact;
        let fitted = artifact.manifest.calibration.as_ref().is_none_or(|config| config.temperature);
        let temperature = if fitted { "the temperature was fitted on `temperature`, " } else { "" };
        let reported = match self.source.evaluation {
            Some(_) => "; results are reported on `test`",
            None => "",
        };
        if self.fitted_afterwards() {
            let unused =
                if rows("validation") > 0 { "; the `validation` rows were not used" } else { "" };
            let what = match artifact.manifest.fitted {
                Some(Fitted::LastLayer) => {
                    "The last layer and the posterior were fitted on `train`"
                }
                Some(Fitted::Calibration) => "No weight was fitted on `train`",
                Some(Fitted::Posterior) | None => "The posterior was fitted on `train`",
            };
            return format!(
                "{what}; {temperature}prediction sets and novelty were fitted on \
                 `conformal`{reported}{unused}.{}",
                few("`temperature` and `conformal`")
            );
        }
        format!(
            "The model was trained on `train`; {chosen} selected by NLL on `validation`; {temperature}prediction sets \
             and novelty were fitted on `conformal`{reported}.{}",
            few("`temperature` and `conformal`")
        )
    }
}

/// Every section but the one of this card.
fn hyperparameters(config: &Table) -> String {
    let mut own: Table = config.clone();
    own.remove("publish");
    own.retain(|_, value| !matches!(value, Value::Table(table) if table.is_empty()));
    toml::to_string(&own).expect("a table is plain data")
}
