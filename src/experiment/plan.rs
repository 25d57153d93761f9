//! What a run would do.

use serde::Serialize;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::lessons::Lessons;
use super::prepare::{Opened, Prepared, prepare};
use super::schedule::{long_warmup, overruled_epochs};
use super::{Experiment, ExperimentError};
use crate::compute::Backend;
use crate::data::{Dataset, Remark, repeated_validation, untrained};
use crate::model::{self, Specification};
use crate::train::{self, Recipe};

/// What a run will do, found out without training anything.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the experiment.
    pub name: String,
    pub recipe: Recipe,
    pub dataset: String,
    /// The columns taken for text and label, where they were detected.
    pub columns: String,
    /// How the files are written, where that was found out.
    pub written: String,
    /// What else a person should know of the data.
    pub remarks: Vec<Remark>,
    pub labels: Vec<String>,
    /// Rows of each part.
    pub parts: BTreeMap<&'static str, usize>,
    /// Rows of no class (`data.ood_label`, or a label that no training row has), by split: they train nothing.
    pub out_of_scope: BTreeMap<String, usize>,
    /// Rows of the test part whose text also occurs in another part.
    pub seen_in_test: usize,
    /// Parameters of the classifier; not known before the encoder is here.
    pub parameters: Option<usize>,
    /// What is missing for the run to begin.
    pub missing: Option<String>,
    /// Optimizer steps, of all networks together; for the recipe `auto` those of fine-tuning, if there is any.
    pub steps: u64,
    /// Where the model will be.
    pub model: PathBuf,
}

/// What [`train()`](super::train) would do. An encoder that is not here is no reason not to look at the
/// data.
pub fn plan(written: &Experiment, checkpoints: &Path) -> Result<Plan, ExperimentError> {
    written.train.check_device(&Backend::Cpu)?;
    let here = written.model.init.as_deref().and_then(model::here);
    let opened = Opened::new(written, here.as_deref())?;
    let mut of_encoder = None;
    let (parameters, left_out, missing) = match prepare(written, &mut |_| ()) {
        Ok(Prepared { start, used, .. }) => {
            of_encoder = Some(used);
            let specifications = model::specifications(&start.encoder);
            let size = |one: &Specification| one.shape.iter().product::<usize>();
            (Some(specifications.iter().map(size).sum()), start.remarks(), None)
        }
        Err(error @ ExperimentError::NoEncoder { .. }) => {
            (None, Vec::new(), Some(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let rows = opened.tuned_rows();
    if opened.experiment.train.recipe == Recipe::Full && opened.parts.validation.rows.is_empty() {
        return Err(train::TrainError::NoValidation.into());
    }
    let Opened { experiment, dataset, parts, lineage, used, lessons, .. } = opened;
    let taught = lessons.as_ref().map_or_else(Vec::new, Lessons::told);
    let unused = of_encoder.unwrap_or(used).warning(written).map(Remark::Warning);
    let overruled = overruled_epochs(written, &experiment.train, rows).map(Remark::Note);
    let warmup = long_warmup(&experiment.train, rows).map(Remark::Warning);
    let named = parts.named().into_iter().filter(|(_, part)| !part.rows.is_empty());
    Ok(Plan {
        name: experiment.name.clone(),
        recipe: experiment.train.recipe,
        dataset: dataset.name.clone(),
        columns: dataset.columns.clone(),
        written: dataset.written.clone(),
        remarks: dataset
            .remarks
            .iter()
            .cloned()
            .chain(untrained(&dataset, &parts, experiment.data.train_limit))
            .chain(left_out)
            .chain(repeated_validation(&dataset, &parts))
            .chain(lineage.remarks(&dataset, &parts))
            .chain(taught)
            .chain(unused)
            .chain(overruled)
            .chain(warmup)
            .chain(several_networks(&experiment).map(Remark::Note))
            .collect(),
        labels: dataset.labels.clone(),
        parts: named.map(|(name, part)| (name, part.rows.len())).collect(),
        out_of_scope: out_of_scope(&dataset),
        seen_in_test: parts.seen_in_test.len(),
        parameters,
        missing,
        steps: match experiment.train.recipe {
            Recipe::Head => 0,
            Recipe::Full | Recipe::Auto => {
                let networks = experiment.posterior.approach().needs().runs as u64;
                networks * train::Plan::new(&experiment.train, rows).steps
            }
        },
        model: checkpoints.join(&experiment.name).join("model"),
    })
}

/// What a method of several training runs comes to.
pub(super) fn several_networks(experiment: &Experiment) -> Option<String> {
    let count = experiment.posterior.approach().needs().runs;
    (count > 1).then(|| {
        format!(
            "{count} networks are trained one after another, and every text is read by all of them: \
             training, memory and predictions cost {count} times those of one"
        )
    })
}

/// Rows of no class by split, where there are any.
pub(super) fn out_of_scope(dataset: &Dataset) -> BTreeMap<String, usize> {
    let rows = dataset.out_of_scope.iter().filter(|(_, rows)| !rows.is_empty());
    rows.map(|(split, rows)| (split.clone(), rows.len())).collect()
}
