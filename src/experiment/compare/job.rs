//! What a comparison runs for a method at a seed.

use std::path::Path;

use super::{CompareJob, Entry, Experiment, ExperimentError};
use crate::data::CrossFit;
use crate::method::PosteriorConfig;
use crate::publish::Push;

impl CompareJob {
    pub(super) fn seeds(&self) -> impl Iterator<Item = u64> {
        let first = self.experiment.train.seed;
        (0..self.seeds).map(move |number| first.wrapping_add(number))
    }

    /// What is trained for a method at a seed; the run that others share has no label.
    pub(super) fn run(
        &self,
        entry: &Entry,
        seed: u64,
        label: Option<&str>,
        checkpoints: &Path,
    ) -> Result<Experiment, ExperimentError> {
        let mut own = self.experiment.clone();
        own.name = self.run_name(seed, label);
        own.train.seed = seed;
        // All methods are fitted and calibrated on the same parts.
        own.data.cross_fit = CrossFit::Never;
        own.posterior = self.posterior(entry);
        if let Some(teacher) = self.teacher(entry) {
            let folder = checkpoints.join(self.run_name(seed, Some(&teacher.label))).join("model");
            own.train.teacher = folder.display().to_string();
        }
        own.publish.push = Push::Never;
        // One precision for all.
        own.calibration.precisions = Vec::new();
        let place = format!("`--methods {}`", entry.label);
        Experiment::parse(&own.to_toml(), &place, &entry.settings)
    }

    pub(super) fn run_name(&self, seed: u64, label: Option<&str>) -> String {
        let label = label.map_or(String::new(), |label| format!("-{label}"));
        format!("{}-seed{seed}{label}", self.experiment.name)
    }

    /// The keys that the experiment has for this method, or the usual ones.
    pub(super) fn posterior(&self, entry: &Entry) -> PosteriorConfig {
        let written = self.experiment.posterior;
        match written.name() == entry.method {
            true => written,
            false => PosteriorConfig { link: written.link, ..entry.method.into() },
        }
    }

    /// Whom a student learns from: the nearest ensemble before it, unless `train.teacher` names another.
    pub(super) fn teacher(&self, student: &Entry) -> Option<&Entry> {
        let learns = self.posterior(student).approach().needs().teacher;
        let before = self.entries.iter().take_while(|entry| *entry != student);
        before
            .filter(|_| learns && self.experiment.train.teacher.is_empty())
            .filter(|entry| self.posterior(entry).approach().needs().runs > 1)
            .last()
    }

    /// What a student learns from: the label of an ensemble, or the folder that `train.teacher` names.
    pub(super) fn teacher_name(&self, student: &Entry) -> Option<String> {
        let named = &self.experiment.train.teacher;
        let learns = self.posterior(student).approach().needs().teacher;
        let folder = (learns && !named.is_empty()).then(|| named.clone());
        folder.or_else(|| self.teacher(student).map(|teacher| teacher.label.clone()))
    }
}
