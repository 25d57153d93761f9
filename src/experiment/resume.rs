//! Whether a run begins, goes on, or is finished already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::begun::{Begun, Unusable, usable};
use super::differences::{differences, other_labels, other_parts, without_effect};
use super::{Experiment, ExperimentError, Progress, RunFolder};
use crate::artifact::{self, PartRecord};
use crate::posterior::MOST_MEMBERS;
use crate::store::{self, Lock, StoreError};
use crate::train::{Place, checkpoints};

/// What `--resume` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Go on where the run of this name was left, if it was.
    Auto,
    Never,
    /// Go on from this checkpoint.
    From(PathBuf),
}

/// The file of a [`Record`].
const RECORD: &str = "run.json";

/// The run that a name stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    schema: u32,
    run: PathBuf,
    /// Folders that it had before, of which somebody took the log away; checkpoints still name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<PathBuf>,
    finished: bool,
    experiment: Experiment,
    parts: BTreeMap<String, PartRecord>,
    /// SHA-256 over the files of the encoder that it began with; absent from files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    /// SHA-256 over the teacher and the texts that it is asked about, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lessons: Option<String>,
    /// SHA-256 over the rows of a stream, where there is one; absent from files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Class names, whose places the rows of the parts have; none in records of earlier versions.
    #[serde(default)]
    labels: Vec<String>,
    /// Where it computes, if not on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// The engine of runs whose record names none.
const CPU: &str = "cpu";

/// The folder of a name under `checkpoints`, held by this process.
pub(super) struct Home {
    pub(super) path: PathBuf,
    _lock: Lock,
}

/// Refuses a model folder in that of a name under which a run stands: the run would go on beside a model that
/// is not its own.
pub(super) fn refuse_folder_of_run(model: &Path) -> Result<(), ExperimentError> {
    let homes = [Some(model), model.parent()];
    let Some(home) = homes.into_iter().flatten().find(|home| home.join(RECORD).is_file()) else {
        return Ok(());
    };
    Err(ExperimentError::Config {
        place: "`--output`".to_owned(),
        message: format!(
            "`{}` belongs to the training run in `{}`; choose a different folder, such as \
             `checkpoints/fitted/model`",
            model.display(),
            home.display()
        ),
    })
}

/// What a run is told by its config and data.
pub(super) struct Wanted<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) parts: &'a BTreeMap<String, PartRecord>,
    pub(super) labels: &'a [String],
    /// SHA-256 over the files of the encoder that it begins with, if with any.
    pub(super) init: Option<String>,
    /// SHA-256 over the teacher and its texts, if there is one.
    pub(super) lessons: Option<String>,
    /// SHA-256 over the rows of a stream, if there is one.
    pub(super) stream: Option<String>,
    /// Where it computes, as [`Backend::kind`](crate::compute::Backend::kind) has it.
    pub(super) device: &'a str,
    pub(super) runs: &'a Path,
    /// The folder of a finished run whose network may be the first of several.
    pub(super) first: Option<&'a Path>,
}

/// How it starts.
pub(super) enum Decision {
    /// From the initial weights.
    Fresh(RunFolder),
    /// From these checkpoints, one of each network that was begun.
    Resume(RunFolder, Vec<Begun>),
    /// Not at all: its report is in this run folder.
    Finished(PathBuf),
}

/// Where the best weights are, beside the checkpoints of a network.
pub(super) fn best_model(home: &Path) -> PathBuf {
    home.join("best_model")
}

fn remove(folder: &Path) -> Result<(), ExperimentError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError { doing: "remove", path: folder.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

impl Home {
    /// Takes the folder for this process and clears away what a killed one left.
    pub(super) fn open(checkpoints: &Path, name: &str) -> Result<Self, ExperimentError> {
        let path = checkpoints.join(name);
        let failed = |source| StoreError { doing: "create", path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let lock = Lock::try_take(&path.join(".lock"))?;
        let lock = lock.ok_or_else(|| ExperimentError::Busy(name.to_owned()))?;
        let home = Self { path, _lock: lock };
        for number in 0..MOST_MEMBERS {
            let folder = home.of_network(number);
            if folder.is_dir() {
                store::tidy(&folder)?;
            }
        }
        Ok(home)
    }

    /// Where the checkpoints and the best weights of a network are; those after the first have a folder of their
    /// own.
    pub(super) fn of_network(&self, number: usize) -> PathBuf {
        match number {
            0 => self.path.clone(),
            _ => self.members().join(number.to_string()),
        }
    }

    fn members(&self) -> PathBuf {
        self.path.join("members")
    }

    /// Takes away what an earlier run has left of a network after the first.
    pub(super) fn clear_network(&self, number: usize) -> Result<(), ExperimentError> {
        remove(&self.of_network(number))
    }

    pub(super) fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// Decides, and writes down which run the name stands for from now on.
    pub(super) fn start(
        &self,
        resume: &Resume,
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Decision, ExperimentError> {
        let start = match resume {
            Resume::Never => None,
            Resume::Auto => self.automatic(wanted, show)?,
            Resume::From(path) if !path.is_dir() => {
                return Err(Unusable::Absent(path.clone()).into());
            }
            Resume::From(path) => Some(self.named(path, wanted, show)?),
        };
        let start = match start {
            Some(start) => start,
            None => self.fresh(wanted)?,
        };
        if let Decision::Fresh(run) | Decision::Resume(run, _) = &start {
            for folder in [self.model(), best_model(&self.path)] {
                artifact::check_target(&folder)?;
            }
            let begun =
                if let Decision::Resume(_, begun) = &start { begun.as_slice() } else { &[] };
            let named = begun.iter().map(|one| one.state.run.clone());
            let mut earlier: Vec<PathBuf> = named.filter(|own| own != run.path()).collect();
            earlier.dedup();
            self.write(run.path(), earlier, wanted, false)?;
        }
        if let Decision::Fresh(_) = &start {
            remove(&self.members())?;
        }
        Ok(start)
    }

    /// A new run, with the first network where another run has it.
    fn fresh(&self, wanted: &Wanted<'_>) -> Result<Decision, ExperimentError> {
        let run = RunFolder::create(wanted.runs, &wanted.experiment.name)?;
        let Some(first) = wanted.first.filter(|_| wanted.networks() > 1) else {
            return Ok(Decision::Fresh(run));
        };
        let usable = checkpoints(first)?.into_iter().filter_map(|place| usable(place, wanted).ok());
        let ended = usable.filter(|one| one.state.number == 0).find(Begun::has_ended);
        let Some(Begun { place, state }) = ended else { return Ok(Decision::Fresh(run)) };
        remove(&self.members())?;
        let place = place.linked_into(&self.path)?;
        Ok(Decision::Resume(run, vec![Begun { place, state }]))
    }

    /// Writes down that the run is over and its model in place.
    pub(super) fn finish(&self, run: &Path, wanted: &Wanted<'_>) -> Result<(), ExperimentError> {
        self.write(run, Vec::new(), wanted, true)
    }

    fn write(
        &self,
        run: &Path,
        earlier: Vec<PathBuf>,
        wanted: &Wanted<'_>,
        finished: bool,
    ) -> Result<(), ExperimentError> {
        let record = Record {
            schema: 1,
            run: run.to_owned(),
            earlier,
            finished,
            experiment: wanted.experiment.clone(),
            parts: wanted.parts.clone(),
            init: wanted.init.clone(),
            lessons: wanted.lessons.clone(),
            stream: wanted.stream.clone(),
            labels: wanted.labels.to_vec(),
            device: Some(wanted.device).filter(|&device| device != CPU).map(str::to_owned),
        };
        let bytes = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        Ok(store::write_atomically(&self.path.join(RECORD), &bytes)?)
    }

    fn automatic(
        &self,
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Decision>, ExperimentError> {
        let path = self.path.join(RECORD);
        if !path.exists() {
            let (name, model) = (wanted.experiment.name.clone(), self.model());
            return match model.is_dir() {
                true => Err(ExperimentError::ModelOfOther { name, model }),
                false => Ok(None),
            };
        }
        let bytes = std::fs::read(&path)
            .map_err(|source| ExperimentError::Read { path: path.clone(), source })?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("{error}; start over with `--resume never`");
            ExperimentError::Config { place: format!("`{}`", path.display()), message }
        })?;
        let finished = record.finished && self.model().is_dir();
        let mut differences = differences(&record.experiment, wanted.experiment, finished);
        differences.extend(other_labels(&record.labels, wanted.labels));
        differences.extend(other_parts(&record.parts, wanted.parts));
        if let (Some(before), Some(now)) = (&record.init, &wanted.init)
            && before != now
            && differences.is_empty()
        {
            differences.push("the encoder files (`model.init`) have changed".to_owned());
        }
        if record.lessons != wanted.lessons && differences.is_empty() {
            differences.push(
                "the teacher (`train.teacher`) or the texts of `data.unlabelled` have changed"
                    .to_owned(),
            );
        }
        if let (Some(before), Some(now)) = (&record.stream, &wanted.stream)
            && before != now
            && differences.is_empty()
        {
            differences.push("the files of the streamed rows have changed".to_owned());
        }
        if !differences.is_empty() {
            let name = wanted.experiment.name.clone();
            return Err(ExperimentError::OtherTrajectory { name, finished, differences });
        }
        if finished {
            let late = without_effect(&record.experiment, wanted.experiment);
            if !late.is_empty() {
                show(Progress::Warning(format!(
                    "this run is already finished, so these changes have no effect: {}",
                    late.join("; ")
                )));
            }
            return Ok(Some(Decision::Finished(record.run)));
        }
        let before = record.device.as_deref().unwrap_or(CPU);
        if before != wanted.device {
            show(Progress::Warning(format!(
                "this run was begun on the device {before} and goes on on {}: its weights will differ in their last \
                 bits from those of a run on one device; for these, resume it on {before}",
                wanted.device
            )));
        }
        let folders = [std::slice::from_ref(&record.run), &record.earlier].concat();
        let begun = self.begun(&folders, wanted, show)?;
        if !begun.is_empty() {
            return go_on(begun, wanted, show).map(Some);
        }
        // Stopped before its first checkpoint: the same run from its beginning.
        Ok(RunFolder::reopen(&record.run, 0)?.map(Decision::Fresh))
    }

    /// The newest usable checkpoint of each network, up to the first that has not ended. `runs` are the folders
    /// of the run.
    fn begun(
        &self,
        runs: &[PathBuf],
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Begun>, ExperimentError> {
        let mut all: Vec<Begun> = Vec::new();
        while all.len() < wanted.networks() && all.iter().all(Begun::has_ended) {
            let Some(next) = self.newest(all.len(), runs, wanted, show)? else { break };
            all.push(next);
        }
        Ok(all)
    }

    fn newest(
        &self,
        number: usize,
        runs: &[PathBuf],
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Begun>, ExperimentError> {
        let folder = self.of_network(number);
        if !folder.is_dir() {
            return Ok(None);
        }
        for place in checkpoints(&folder)? {
            match usable(place, wanted) {
                // A checkpoint that another run of this name has left.
                Ok(one) if one.state.number != number || !runs.contains(&one.state.run) => {}
                Ok(one) => return Ok(Some(one)),
                Err(why) => show(Progress::Warning(format!("{why}; this checkpoint is skipped"))),
            }
        }
        Ok(None)
    }

    /// From the checkpoint that a person named, behind those of the networks before it.
    fn named(
        &self,
        path: &Path,
        wanted: &Wanted<'_>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Decision, ExperimentError> {
        let named = usable(Place::named(path), wanted).map_err(ExperimentError::Checkpoint)?;
        let number = named.state.number;
        if number == 0 {
            return go_on(vec![named], wanted, show);
        }
        let mut begun = self.begun(std::slice::from_ref(&named.state.run), wanted, show)?;
        begun.truncate(number);
        if begun.len() < number || !begun.iter().all(Begun::has_ended) {
            return Err(Unusable::Later { path: path.to_owned(), number: 1 + number }.into());
        }
        begun.push(named);
        go_on(begun, wanted, show)
    }
}

impl Wanted<'_> {
    /// How many networks are trained.
    pub(super) fn networks(&self) -> usize {
        self.experiment.posterior.approach().needs().runs
    }
}

/// Resumes from the last of these checkpoints; those before it have ended.
fn go_on(
    begun: Vec<Begun>,
    wanted: &Wanted<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Decision, ExperimentError> {
    let Begun { place, state } = begun.last().expect("there is one to resume from");
    show(Progress::Note(format!("resuming this run: going on from {}", place.path.display())));
    let run = match RunFolder::reopen(&state.run, state.log_bytes)? {
        Some(run) => run,
        None => {
            show(Progress::Warning(format!(
                "the run folder `{}` or its log is missing; a new one begins at this step",
                state.run.display()
            )));
            RunFolder::create(wanted.runs, &wanted.experiment.name)?
        }
    };
    Ok(Decision::Resume(run, begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_folder_of_a_run_is_refused_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("tickets");
        std::fs::create_dir(&home).unwrap();
        let model = home.join("model");
        refuse_folder_of_run(&model).unwrap();
        std::fs::write(home.join(RECORD), "{}").unwrap();
        for path in [&model, &home, &home.join("best_model"), &model.join("")] {
            let message = refuse_folder_of_run(path).unwrap_err().to_string();
            assert!(
                message.contains("belongs to the training run") && message.contains("`--output`"),
                "{message}"
            );
        }
        refuse_folder_of_run(&folder.path().join("fitted/model")).unwrap();
    }
}
