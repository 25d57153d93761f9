//! What the weights that a run begins with have seen before.

use std::path::Path;

use super::{Experiment, ExperimentError};
use crate::artifact::{Ancestor, Manifest, manifest_of};
use crate::compute::Precision;
use crate::data::{Dataset, Parts, Remark};
use crate::evaluate::Seen;
use crate::numbers::{counted, grouped};
use crate::train::Recipe;

/// The models whose weights a run begins with, the newest first, and what they have seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    pub(super) models: Vec<Ancestor>,
    /// Whether the first of them is the teacher.
    taught: bool,
    /// What the weights are stored in, where they are rounded.
    rounded: Option<Precision>,
    pub(super) seen: Seen,
}

impl Lineage {
    /// Of the encoder in `folder`; one of another tool does not say.
    pub(super) fn of_init(folder: &Path, experiment: &Experiment) -> Result<Self, ExperimentError> {
        let Some(manifest) = manifest_of(folder)? else { return Ok(Self::default()) };
        // The recipe `head` takes the encoder alone, which rows of a last layer have not touched.
        let keeps = manifest.encoder_trained || experiment.train.recipe != Recipe::Head;
        let rounded = Some(manifest.precision).filter(|precision| !precision.is_f32());
        Ok(Self { rounded, ..Self::of(&manifest, keeps) })
    }

    /// Of a model. `keeps` says whether weights are kept that its own rows trained.
    pub(super) fn of(manifest: &Manifest, keeps: bool) -> Self {
        let models = if keeps { manifest.continued() } else { manifest.lineage.clone() };
        Self { seen: Seen::by(&models), models, taught: false, rounded: None }
    }

    /// With a teacher before them: what it was trained on reaches the student through its answers.
    pub(super) fn with_teacher(self, teacher: &Manifest) -> Self {
        let models: Vec<Ancestor> = teacher.continued().into_iter().chain(self.models).collect();
        Self { seen: Seen::by(&models), models, taught: true, rounded: self.rounded }
    }

    /// What the first of them is to this run.
    fn role(&self) -> &'static str {
        if self.taught { "teacher" } else { "starting model" }
    }

    /// Rows of a split whose text the weights have seen.
    pub(super) fn seen_of(&self, dataset: &Dataset, split: &str) -> usize {
        dataset.rows(split).iter().filter(|row| self.seen.texts.contains(&row.key())).count()
    }

    /// Whether it is known what the weights have seen.
    pub(super) fn is_known(&self) -> bool {
        self.seen.unknown.is_none()
    }

    /// What a person should know before trusting the figures.
    pub(super) fn remarks(&self, dataset: &Dataset, parts: &Parts) -> Vec<Remark> {
        let why = self.seen.unknown.as_ref().map(|why| format!(": {why}"));
        let rounded = self.rounded.map(|precision| {
            Remark::Warning(format!(
                "the starting model is stored in {precision}, and training begins with its rounded weights; better \
                 begin with the model that it was made from"
            ))
        });
        rounded.into_iter().chain(self.told(dataset, parts, &why.unwrap_or_default())).collect()
    }

    /// The same for a report, without paths of this machine.
    pub(super) fn notes(&self, dataset: &Dataset, parts: &Parts) -> Vec<Remark> {
        self.told(dataset, parts, "")
    }

    /// What to say of test rows that are no test.
    pub(super) fn of_test(&self, parts: &Parts) -> Option<Remark> {
        let (seen, all) = (parts.seen_in_test.len(), parts.test.rows.len());
        let earlier = match self.models.as_slice() {
            [] => String::new(),
            _ => format!(" or were used to train the {}", self.role()),
        };
        let what = format!("test texts also occur in another split{earlier}");
        (seen > 0).then(|| {
            Remark::Warning(match seen == all {
                true => format!(
                    "all {} {what}; the figures of this run say nothing about new texts; give other test rows",
                    grouped(all)
                ),
                false => format!("{} {what}; the scores without them are given too", grouped(seen)),
            })
        })
    }

    fn told(&self, dataset: &Dataset, parts: &Parts, why: &str) -> Vec<Remark> {
        let Some(name) = self.models.first().map(|model| model.name.as_str()) else {
            return Vec::new();
        };
        let role = self.role();
        let gap = (!self.is_known()).then(|| {
            Remark::Warning(format!(
                "it is unknown which of these rows were used to train the {role} `{name}`{why}; if \
                 any were, the figures of this run are too good"
            ))
        });
        let seen = |split: &str| (split.to_owned(), self.seen_of(dataset, split));
        let counts: Vec<(String, usize)> = dataset.splits.keys().map(|name| seen(name)).collect();
        let old = counts.iter().filter(|(_, rows)| *rows > 0).map(|(split, rows)| {
            let all = dataset.rows(split).len();
            let kept = match split.as_str() {
                "test" => "they are no test of it",
                "validation" if parts.validation.split != "validation" => {
                    "the others are too few, so rows of the training split are used instead"
                }
                _ if parts.test.split == *split => "they are used for training only",
                _ => "they are not used for calibration",
            };
            Remark::Warning(format!(
                "the {role} `{name}` was trained on {} of the {} in split `{split}`; {kept}",
                grouped(*rows),
                counted(all, "row")
            ))
        });
        gap.into_iter().chain(old).collect()
    }
}
