//! Flags of the commands that take labels of the user's own.

use clap::Args;

use crate::artifact::ZeroShotLabels;

/// Labels that the model was never trained on.
#[derive(Clone, Debug, Default, Args)]
pub struct ZeroShotFlags {
    /// Labels of your own, for a classifier of natural language inference (zero-shot): each text is
    /// asked whether it entails each label. Separate them by commas
    #[arg(long, alias = "zero-shot-labels", value_name = "LABELS", value_delimiter = ',')]
    labels: Vec<String>,
    /// How a label becomes a sentence, with {} in its place [default: "This text is about {}."]
    #[arg(long, value_name = "TEXT", requires = "labels")]
    template: Option<String>,
}

impl ZeroShotFlags {
    pub fn labels(&self) -> Option<ZeroShotLabels> {
        labels_of(&self.labels, self.template.as_deref())
    }
}

/// The labels that were named, if any.
pub fn labels_of(labels: &[String], template: Option<&str>) -> Option<ZeroShotLabels> {
    let template = template.map(str::to_owned);
    (!labels.is_empty()).then(|| ZeroShotLabels { labels: labels.to_vec(), template })
}
