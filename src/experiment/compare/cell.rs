//! A method at a seed: what was measured, on the disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ExperimentError, Figures};
use crate::evaluate::shift::{Shifted, UNDAMAGED};
use crate::evaluate::{EvaluateError, Evaluation, WithoutSeen};
use crate::metrics::Detection;
use crate::store;

/// One cell, as its file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cell {
    schema: u32,
    /// SHA-256 over all that the figures follow from.
    pub(super) key: String,
    pub(super) label: String,
    pub(super) seed: u64,
    /// SHA-256 of the manifest of the model that was evaluated; not known of cells of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Test rows.
    pub(super) rows: usize,
    pub(super) figures: Figures,
    /// What deserved attention as it was evaluated, and still does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

const SCHEMA: u32 = 1;

/// SHA-256 of a model's manifest, which has the hashes of its files; `None` where there is no model.
fn manifest_hash(model: &Path) -> Option<String> {
    store::sha256_file(&model.join("bayes").join("manifest.json")).ok()
}

impl Cell {
    pub(super) fn path(folder: &Path, label: &str, seed: u64) -> PathBuf {
        folder.join("cells").join(format!("seed{seed}-{label}.json"))
    }

    /// The cell that was done before; `None` where there is none, or it follows from something else.
    pub(super) fn read(folder: &Path, label: &str, seed: u64, key: &str) -> Option<Self> {
        let bytes = std::fs::read(Self::path(folder, label, seed)).ok()?;
        let cell: Self = serde_json::from_slice(&bytes).ok()?;
        (cell.schema == SCHEMA && cell.key == key).then_some(cell)
    }

    /// Why its figures are of no model that can be found in this folder; `None` where they are of the one there.
    pub(super) fn why_not_of(&self, model: &Path) -> Option<&'static str> {
        match (manifest_hash(model), &self.model) {
            (None, _) => Some("its model is not there any more"),
            (Some(found), Some(own)) if found != *own => {
                Some("its model is another one than that of its figures")
            }
            _ => None,
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), ExperimentError> {
        let bytes = serde_json::to_vec_pretty(self).expect("a cell is plain data");
        Ok(store::write_atomically(&Self::path(folder, &self.label, self.seed), &bytes)?)
    }

    /// Of an evaluation of a model, and of those on other data by their names, with what it cost.
    pub(super) fn new(
        (label, seed, key): (&str, u64, &str),
        model: &Path,
        evaluation: &Evaluation,
        others: &[(&str, Evaluation)],
        cost: Figures,
    ) -> Result<Self, ExperimentError> {
        let Evaluation { report, shift, .. } = evaluation;
        let plain = [plain(evaluation)?];
        let mut figures = figures(evaluation, if shift.is_empty() { &plain } else { shift });
        for (name, other) in others {
            let mut put = |key: String, value: Option<f64>| {
                figures.insert(key, value.filter(|value| value.is_finite()));
            };
            let prefix = format!("data.{name}.");
            of_rows(&self::plain(other)?, &prefix, &mut put);
            of_new_rows(other, &prefix, &mut put);
        }
        figures.extend(cost);
        Ok(Self {
            schema: SCHEMA,
            key: key.to_owned(),
            label: label.to_owned(),
            seed,
            model: manifest_hash(model),
            rows: report.summary.rows,
            figures,
            warnings: Vec::new(),
        })
    }
}

/// The rows as they are; where nothing is damaged they have no table of their own.
fn plain(evaluation: &Evaluation) -> Result<Shifted, ExperimentError> {
    let Evaluation { answers, report, kept, .. } = evaluation;
    let plain = Shifted::undamaged(answers, &report.summary, kept.unwrap_or_default());
    Ok(plain.map_err(EvaluateError::from)?)
}

/// What the table has of an evaluation, by key.
fn figures(one: &Evaluation, shifted: &[Shifted]) -> Figures {
    let mut all = Figures::new();
    let report = &one.report;
    let mut put = |key: String, value: Option<f64>| {
        all.insert(key, value.filter(|value| value.is_finite()));
    };
    put("mean_epistemic".to_owned(), report.uncertainty.get("all").and_then(|one| one.epistemic));
    put("brier".to_owned(), Some(report.summary.brier.value));
    of_new_rows(one, "", &mut put);
    for (source, found) in &report.ood {
        for (score, detection) in &found.by_score {
            let Detection { auroc, aupr, fpr95, .. } = detection;
            for (name, value) in [("auroc", auroc), ("aupr", aupr), ("fpr95", fpr95)] {
                put(format!("ood.{source}.{score}.{name}"), Some(value.value));
            }
        }
    }
    for shifted in shifted {
        let prefix = match shifted.label.as_str() {
            UNDAMAGED => String::new(),
            damage => format!("shift.{damage}."),
        };
        of_rows(shifted, &prefix, &mut put);
    }
    all
}

/// Those of the rows that were in no part which trained or calibrated, where some were.
fn of_new_rows(one: &Evaluation, prefix: &str, put: &mut dyn FnMut(String, Option<f64>)) {
    if let Some(WithoutSeen { accuracy, nll, .. }) = one.report.without_seen {
        put(format!("{prefix}without_seen.accuracy"), accuracy);
        put(format!("{prefix}without_seen.nll"), nll);
    }
}

/// The figures of the test rows, of damaged copies of them, or of other rows.
fn of_rows(one: &Shifted, prefix: &str, put: &mut dyn FnMut(String, Option<f64>)) {
    let decisions = one.kept.decisions;
    let exchange = one.kept.exchangeability;
    let auroc = |doubt: &str| one.error_auroc.get(doubt).copied().flatten();
    for (name, value) in [
        ("accuracy", Some(one.accuracy.value)),
        ("nll", Some(one.nll.value)),
        ("nll_more", one.nll_difference.map(|found| found.value)),
        ("ece", Some(one.ece.value)),
        ("ece_floor", Some(one.ece.floor)),
        ("coverage", one.coverage.map(|found| found.value)),
        ("mean_set_size", one.mean_set_size),
        ("accuracy_at_90", Some(one.accuracy_at_90)),
        ("accepted", decisions.map(|found| found.accepted)),
        ("accepted_error", decisions.and_then(|found| found.error)),
        ("flagged", one.kept.flagged),
        ("log10_e_value", exchange.map(|found| found.log10_e_value)),
        ("error_auroc.confidence", auroc("confidence")),
        ("error_auroc.epistemic", auroc("epistemic")),
    ] {
        put(format!("{prefix}{name}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_again_to_the_last_bit_unless_it_follows_from_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let figures =
            [("nll".to_owned(), Some(1.0 / 3.0)), ("ece".to_owned(), None)].into_iter().collect();
        let cell = Cell {
            schema: SCHEMA,
            key: "k".to_owned(),
            label: "swag".to_owned(),
            seed: 43,
            model: None,
            rows: 9,
            figures,
            warnings: vec!["a word".to_owned()],
        };
        cell.write(folder.path()).unwrap();
        let read = |key: &str| Cell::read(folder.path(), "swag", 43, key);
        assert_eq!(read("k"), Some(cell));
        assert_eq!(read("other"), None);
        std::fs::write(Cell::path(folder.path(), "swag", 43), "{}").unwrap();
        assert_eq!(read("k"), None);
    }

    #[test]
    fn figures_are_of_the_model_that_they_were_computed_from_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut cell: Cell = serde_json::from_str(
            r#"{"schema": 1, "key": "k", "label": "swag", "seed": 43, "rows": 9, "figures": {}}"#,
        )
        .unwrap();
        let gone = Some("its model is not there any more");
        assert_eq!(cell.why_not_of(folder.path()), gone);
        let manifest = folder.path().join("bayes").join("manifest.json");
        std::fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        std::fs::write(&manifest, "one").unwrap();
        // A cell of an earlier version does not say which one.
        assert_eq!(cell.why_not_of(folder.path()), None);
        cell.model = manifest_hash(folder.path());
        assert_eq!(cell.why_not_of(folder.path()), None);
        std::fs::write(&manifest, "other").unwrap();
        assert!(cell.why_not_of(folder.path()).unwrap().contains("another one"));
        std::fs::remove_file(&manifest).unwrap();
        assert_eq!(cell.why_not_of(folder.path()), gone);
    }
}
