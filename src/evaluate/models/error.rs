//! Why models were not evaluated.

use crate::artifact::ArtifactError;
use crate::data::DataError;
use crate::evaluate::{EvaluateError, OUT_OF_SCOPE};
use crate::metrics::MetricsError;

/// Why models were not evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("`{folder}` does not record its training data; give a data set with --dataset")]
    NoDataset { folder: String },
    /// A coverage was asked for, of sets that there are none of.
    #[error(
        "`--coverage` has no effect on `{folder}`, which was not calibrated for prediction sets; `bayes fit` \
         calibrates it for them"
    )]
    NoSets { folder: String },
    #[error("`{model}` is given twice")]
    Twice { model: String },
    #[error(
        "`--shift` has `{damage}` twice; to apply a damage two times in a row, write \
         `{damage}+{damage}`"
    )]
    DamageTwice { damage: String },
    /// What is said of tables cannot be.
    #[error("{0}")]
    Overrides(String),
    #[error("`{dataset}` has no split `{split}`; available splits: {known}")]
    NoSplit { dataset: String, split: String, known: String },
    #[error(
        "the model has no `{split}` split: those rows trained the last layer, and each was scored \
         by a last layer that had not seen it (cross-fitting); see the run's report for the figures"
    )]
    CrossFitted { split: String },
    /// Two sets of texts of no class, of one name.
    #[error("two --ood data sets are called `{name}`; rename one")]
    OutsideTwice { name: String },
    /// A set of the name that the data set's own texts of no class have.
    #[error(
        "an --ood data set is named `{OUT_OF_SCOPE}`, which is also the name for the {rows} \
         out-of-scope texts of `{dataset}`; rename the --ood file"
    )]
    OutsideName { rows: String, dataset: String },
    #[error("`{name}` has no texts that differ from those of the data set")]
    OutsideEmpty { name: String },
    /// All of a set's rows have a label of the model's.
    #[error(
        "{said}, so none of its texts is out of distribution; to evaluate them, use `bayes eval --dataset`; if \
         none of the classes is correct for them, give a file without the label column"
    )]
    OutsideLabels { said: String },
    /// All of a set's texts are known to the model or asked of it.
    #[error("{said}, so none is out of distribution; give other texts")]
    OutsideTexts { said: String },
    /// A set of texts of no class cannot be read.
    #[error("{said}")]
    Outside { said: String },
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
