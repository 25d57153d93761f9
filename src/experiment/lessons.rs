//! The rows that a student learns from: the training rows, altered copies of them, and unlabelled texts.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::altered::altered;
use super::encoder::InitialEncoder;
use super::teacher::{Said, Teacher};
use super::{Experiment, ExperimentError, Progress};
use crate::artifact::PartRecord;
use crate::compute::{Backend, Noise};
use crate::data::split::content_hash;
use crate::data::{
    DataError, Dataset, Example, Parts, Remark, TokenSet, clean, encode_clean, unlabelled,
};
use crate::method::{TeacherLogits, TeacherRecord};
use crate::numbers::grouped;
use crate::store::sha256;

/// The texts of a student, and who is asked what they are.
pub(super) struct Lessons {
    pub(super) teacher: Teacher,
    /// Those with a label first.
    examples: Vec<Example>,
    labelled: usize,
    altered: usize,
    remarks: Vec<Remark>,
    /// All texts without labels, if there are some.
    pub(super) further: Option<PartRecord>,
}

/// What the training loop takes.
pub(super) struct Taught {
    /// The label of a row without one is the class that the teacher finds most probable; it stands for the class in
    /// counts, and is not learned.
    pub(super) train: TokenSet,
    pub(super) logits: TeacherLogits,
    pub(super) record: TeacherRecord,
}

impl Lessons {
    /// No text is among them that a part measures or calibrates by.
    pub(super) fn new(
        teacher: Teacher,
        experiment: &Experiment,
        dataset: &Dataset,
        parts: &Parts,
        noise: &Noise,
    ) -> Result<Self, ExperimentError> {
        let rows: Vec<&Example> = parts.train.examples(dataset).collect();
        let held_out = parts.keys_apart(dataset);
        let mut copies = altered(&rows, experiment.posterior.approach().altered_copies(), noise);
        copies.retain(|copy| !held_out.contains(&copy.key()));
        let (mut more, mut remarks) = unlabelled(&experiment.data, &dataset.column_names)?;
        let count = more.len();
        let further = (count > 0).then(|| PartRecord { rows: count, sha256: content_hash(&more) });
        let mut known: HashSet<u64> = rows.iter().map(|row| row.key()).collect();
        more.retain(|one| !held_out.contains(&one.key()) && known.insert(one.key()));
        if more.len() < count {
            remarks.push(Remark::Note(format!(
                "{} of {} unlabelled texts are in the data set too, or repeated, and are left out",
                grouped(count - more.len()),
                grouped(count)
            )));
        }
        remarks.extend(teacher.other_columns(dataset).map(Remark::Warning));
        let (labelled, altered) = (rows.len(), copies.len());
        let examples = rows.into_iter().cloned().chain(copies).chain(more).collect();
        Ok(Self { teacher, examples, labelled, altered, remarks, further })
    }

    pub(super) fn rows(&self) -> usize {
        self.examples.len()
    }

    /// What to say of them.
    pub(super) fn told(&self) -> Vec<Remark> {
        let Self { teacher, examples, labelled, altered, .. } = self;
        let further = match examples.len() - labelled - altered {
            0 => String::new(),
            count => format!(" and {} unlabelled texts", grouped(count)),
        };
        let said = Remark::Note(format!(
            "teacher: `{}` ({}); it is asked once about {} training texts, {} altered copies of \
             them{further}",
            teacher.manifest.name,
            teacher.manifest.fit.method.name(),
            grouped(*labelled),
            grouped(*altered)
        ));
        std::iter::once(said).chain(self.remarks.iter().cloned()).collect()
    }

    /// SHA-256 over the teacher and the texts: what a run that resumes must find again.
    pub(super) fn content(&self) -> String {
        sha256(format!("{}\n{}", self.teacher.content(), content_hash(&self.examples)).as_bytes())
    }

    /// Asks the teacher about all of them. `None` if it was stopped.
    pub(super) fn learn(
        &self,
        experiment: &Experiment,
        start: &InitialEncoder,
        (device, stop): (&Backend, &AtomicBool),
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Taught>, ExperimentError> {
        let Some(said) = self.teacher.ask(&self.examples, (device, stop), show)? else {
            return Ok(None);
        };
        let Said { logit_nmc, passes, record } = said;
        let logits = TeacherLogits {
            logit_nmc,
            passes,
            classes: start.encoder.labels.len(),
            labelled: self.labelled,
            width: start.encoder.hidden_size,
            seed: experiment.train.seed,
        };
        let mean_nc = logits.mean_probabilities();
        let mut labels: Vec<u32> = mean_nc.chunks_exact(logits.classes).map(most).collect();
        let known = self.examples[..self.labelled].iter().map(|one| one.label);
        labels.iter_mut().zip(known).for_each(|(label, known)| *label = known);
        let texts: Vec<_> = self
            .examples
            .iter()
            .map(|one| (clean(&one.text), one.pair.as_deref().map(clean)))
            .collect();
        let texts: Vec<(&str, Option<&str>)> =
            texts.iter().map(|(text, pair)| (&**text, pair.as_deref())).collect();
        let (length, truncation) = (start.max_length, experiment.data.truncation);
        let encoded = encode_clean(&start.tokenizer, &texts, length, truncation);
        let rows = (0..).zip(encoded.map_err(DataError::from)?).collect();
        Ok(Some(Taught { train: TokenSet::in_memory(rows, labels), logits, record }))
    }
}

/// The place of the largest number.
fn most(values: &[f32]) -> u32 {
    let largest = values.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
    largest.map_or(0, |(place, _)| place as u32)
}
