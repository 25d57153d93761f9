//! The folder that a fit writes, and what it may replace there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::origin::base_model;
use super::resume::refuse_folder_of_run;
use super::{ExperimentError, Progress};
use crate::artifact::{self, Artifact};
use crate::store::write_atomically;

/// Beside a model that stands in a folder of our choice: which classifier it was fitted from. It stays on this
/// machine.
const RECORD: &str = "fitted_from.json";

/// A classifier, as a later fit knows it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    /// The Hub id, or the folder.
    model: String,
    /// SHA-256 over all that its predictions depend on.
    sha256: String,
}

impl Source {
    fn of((own, source): (&Path, &Artifact)) -> Self {
        let folder = || own.canonicalize().unwrap_or_else(|_| own.to_owned());
        let model = base_model(own).unwrap_or_else(|| folder().display().to_string());
        Self { model, sha256: source.manifest.content() }
    }

    /// Whether it is the same classifier: in the same place, where it may have been trained anew, or with the same
    /// content elsewhere.
    fn is(&self, other: &Self) -> bool {
        self.model == other.model || self.sha256 == other.sha256
    }
}

/// The folder of the model, which holds nothing that may not be replaced.
pub(in crate::experiment) struct Target {
    pub(in crate::experiment) model: PathBuf,
    /// What to write down, where nobody named the folder.
    record: Option<(PathBuf, Source)>,
}

impl Target {
    /// Says what will be replaced. Without `--output` that is an earlier fit of the same classifier.
    /// `suffix` tells its name from that of the model that it is made from.
    pub(in crate::experiment) fn of(
        (own, source): (&Path, &Artifact),
        suffix: &str,
        output: Option<&Path>,
        checkpoints: &Path,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let home = checkpoints.join(format!("{}-{suffix}", source.manifest.name));
        let model = output.map_or_else(|| home.join("model"), Path::to_owned);
        refuse_folder_of_run(&model)?;
        artifact::check_target(&model)?;
        let same = |path: &Path| path.canonicalize().ok();
        if same(&model).is_some_and(|model| same(own) == Some(model)) {
            return Err(ExperimentError::FitInPlace(model));
        }
        let there = artifact::manifest_of(&model).ok().flatten();
        let shown = model.display();
        if output.is_some() {
            if let Some(there) = there {
                show(Progress::Note(format!(
                    "`{shown}` has the model `{}`, which will be replaced if this succeeds",
                    there.name
                )));
            }
            return Ok(Self { model, record: None });
        }
        let (record, source) = (home.join(RECORD), Source::of((own, source)));
        if model.is_dir() {
            let bytes = std::fs::read(&record).ok();
            let before: Option<Source> =
                bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            match before {
                Some(before) if before.is(&source) => show(Progress::Note(format!(
                    "`{shown}` has an earlier fit of this model, which will be replaced if this succeeds"
                ))),
                before => {
                    let before = before.map(|before| before.model);
                    return Err(ExperimentError::FitOfOther { model, before });
                }
            }
        }
        Ok(Self { model, record: Some((record, source)) })
    }

    /// The same, for what may take the place of the model itself, if that is asked for.
    pub(in crate::experiment) fn in_place_or(
        (own, source): (&Path, &Artifact),
        output: Option<&Path>,
        checkpoints: &Path,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let same = |path: &Path| path.canonicalize().ok();
        if let Some(model) =
            output.filter(|output| same(output).is_some_and(|one| same(own) == Some(one)))
        {
            refuse_folder_of_run(model)?;
            artifact::check_target(model)?;
            return Ok(Self { model: model.to_owned(), record: None });
        }
        Self::of((own, source), "recalibrated", output, checkpoints, show)
    }

    /// Writes down what the model is fitted from. It comes before the model: one without a record is not replaced.
    pub(in crate::experiment) fn write_record(&self) -> Result<(), ExperimentError> {
        let Some((path, source)) = &self.record else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(source).expect("a record is plain data");
        Ok(write_atomically(path, &bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classifier_is_known_by_its_place_or_its_content() {
        let source = |model: &str, sha256: &str| Source {
            model: model.to_owned(),
            sha256: sha256.to_owned(),
        };
        let one = source("/a/net", "1");
        assert!(one.is(&source("/a/net", "2")), "trained anew");
        assert!(one.is(&source("/b/net", "1")), "moved");
        assert!(!one.is(&source("/b/net", "2")));
    }
}
