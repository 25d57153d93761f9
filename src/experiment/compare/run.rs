//! The comparison, seed by seed and method by method.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use toml::Table as Toml;

use super::cell::Cell;
use super::measure::cost;
use super::{
    CompareJob, CompareReport, Compared, Ended, Entry, Experiment, ExperimentError, Figures,
    FitJob, Progress, RunContext, Table, fit, markdown, train,
};
use crate::artifact::{Manifest, manifest_of};
use crate::bench::machine;
use crate::compute::Precision;
use crate::data::{Overrides, Remark};
use crate::evaluate::Evaluation;
use crate::evaluate::models::{self, Event, evaluate_models};
use crate::experiment::Resume;
use crate::method::PosteriorConfig;
use crate::method::laplace::Head;
use crate::numbers::grouped;
use crate::predict::{Loading, SharedTrunk};
use crate::store::{Lock, StoreError, sha256, sha256_file, write_atomically};

/// The file with the whole, and the one for people.
const FILES: [&str; 2] = ["compare.json", "compare.md"];

/// Trains, fits and evaluates what is not done yet, and writes the table.
pub fn compare(
    job: &CompareJob,
    context: &RunContext<'_>,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Compared, ExperimentError> {
    if !job.experiment.calibration.precisions.is_empty() {
        show(Progress::Warning(
            "`calibration.precisions` has no effect in a comparison, whose figures are all of f32; check a precision \
             of the model that you choose (`bayes quantize`)"
                .to_owned(),
        ));
    }
    let written = job.experiment.posterior.name();
    let usual = PosteriorConfig::default().name();
    if written != usual && !job.entries.iter().any(|entry| entry.method == written) {
        show(Progress::Warning(format!(
            "`posterior.method` = `{}` has no effect in a comparison; name the method in `--methods`",
            written.name()
        )));
    }
    let comparison = Comparison::new(job, context)?;
    let entries = &comparison.entries;
    let count = entries.len() * job.seeds as usize;
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); entries.len()];
    let mut done = 0;
    for seed in job.seeds() {
        show(Progress::Note(format!("compare: seed {seed}; {done} of {count} cells are done")));
        let base = job.run(&Entry::reference(), seed, None, context.checkpoints)?;
        let Some(shared) = comparison.trained(&base, None, show)? else {
            return Ok(Compared::Interrupted { done, cells: count });
        };
        let trunk = SharedTrunk::default();
        let mut seconds: BTreeMap<&str, Option<f64>> = BTreeMap::new();
        for (entry, cells) in entries.iter().zip(&mut cells) {
            if context.stop.load(Ordering::Relaxed) {
                return Ok(Compared::Interrupted { done, cells: count });
            }
            let own = job.run(entry, seed, Some(&entry.label), context.checkpoints)?;
            let cell = match own.shapes_training() {
                false => comparison.fitted(entry, seed, &shared, &trunk, show)?,
                true => {
                    let Some(mut model) = comparison.trained(&own, Some((&base, &shared)), show)?
                    else {
                        return Ok(Compared::Interrupted { done, cells: count });
                    };
                    if let Some(teacher) = job.teacher(entry) {
                        let of_teacher = seconds.get(teacher.label.as_str()).copied().flatten();
                        model.seconds = model.seconds.zip(of_teacher).map(|(own, of)| own + of);
                    }
                    seconds.insert(&entry.label, model.seconds);
                    comparison.cell(entry, seed, &model, None, show)?
                }
            };
            cells.push(cell);
            done += 1;
            show(Progress::Note(format!(
                "compare: seed {seed}, {}: done; {} of {count} cells left",
                entry.label,
                count - done
            )));
        }
    }
    comparison.report(&cells).map(|report| Compared::Finished(Box::new(report)))
}

/// A model of a run, and what the training took.
struct Trained {
    model: PathBuf,
    seconds: Option<f64>,
}

struct Comparison<'a> {
    job: &'a CompareJob,
    context: &'a RunContext<'a>,
    /// The reference first.
    entries: Vec<Entry>,
    folder: PathBuf,
    _lock: Lock,
}

impl<'a> Comparison<'a> {
    /// Refuses what cannot be compared, before anything is trained.
    fn new(job: &'a CompareJob, context: &'a RunContext<'a>) -> Result<Self, ExperimentError> {
        let refuse =
            |message: String| ExperimentError::Config { place: "`--methods`".to_owned(), message };
        let reference = Entry::reference();
        let is_reference = |entry: &&Entry| **entry == reference;
        let others = job.entries.iter().filter(|entry| !is_reference(entry)).cloned();
        let entries: Vec<Entry> = std::iter::once(reference.clone()).chain(others).collect();
        for (place, entry) in entries.iter().enumerate() {
            if let Some(before) = entries[..place].iter().find(|one| one.label == entry.label) {
                return Err(refuse(format!(
                    "`{}` is the name of two methods; give one a name of its own, as `NAME={}`",
                    entry.label,
                    entry.written_unlike(before)
                )));
            }
            let own = ["posterior.", "calibration."];
            let other = |setting: &&String| {
                !own.iter().any(|own| setting.starts_with(own))
                    || setting.starts_with("posterior.method")
                    || setting.starts_with("calibration.precisions")
            };
            if let Some(setting) = entry.settings.iter().find(other) {
                return Err(refuse(format!(
                    "`{setting}` is no key of [posterior] or [calibration] that one method of a comparison may have; \
                     for all, use `--set`"
                )));
            }
            let learns = job.posterior(entry).approach().needs().teacher;
            if learns && job.experiment.train.teacher.is_empty() && job.teacher(entry).is_none() {
                return Err(refuse(format!(
                    "`{}` learns from a model of several passes; put `ensemble` before it, or give the folder of such \
                     a model with `--set train.teacher=FOLDER`",
                    entry.label
                )));
            }
            job.run(entry, job.experiment.train.seed, None, context.checkpoints)?;
        }
        let folder = context.checkpoints.join(format!("{}-compare", job.experiment.name));
        let failed = |source| StoreError { doing: "create", path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let lock = Lock::try_take(&folder.join(".lock"))?;
        let lock = lock.ok_or_else(|| ExperimentError::Busy(job.experiment.name.clone()))?;
        Ok(Self { job, context, entries, folder, _lock: lock })
    }

    /// Trains a run, goes on with it, or finds it finished; `None` if it was stopped. The network of the run that all
    /// share is the first of an ensemble, and its time is part of the ensemble's.
    fn trained(
        &self,
        experiment: &Experiment,
        shared: Option<(&Experiment, &Trained)>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Trained>, ExperimentError> {
        let RunContext { device, checkpoints, runs, stop, saved, .. } = *self.context;
        let shared = shared.filter(|_| experiment.posterior.approach().needs().runs > 1);
        let home = shared.map(|(run, _)| checkpoints.join(&run.name));
        let (resume, first) = (Resume::Auto, home.as_deref());
        let context = RunContext { device, checkpoints, runs, stop, resume, first, saved };
        let began = Instant::now();
        let ended = train(experiment, &context, show).map_err(for_comparison)?;
        let spent = began.elapsed().as_secs_f64();
        let mut times = self.times();
        let before = times.get(&experiment.name).copied();
        let (model, total) = match ended {
            Ended::Interrupted { .. } => (None, Some(before.unwrap_or(0.0) + spent)),
            Ended::Finished(report) => (Some(report.model), Some(before.unwrap_or(0.0) + spent)),
            Ended::Already { model, run } => (Some(model), before.or_else(|| seconds_of(&run))),
        };
        if let Some(total) = total {
            times.insert(experiment.name.clone(), total);
            let bytes = serde_json::to_vec_pretty(&times).expect("numbers are plain data");
            write_atomically(&self.times_file(), &bytes)?;
        }
        let of_first = shared.map_or(Some(0.0), |(_, shared)| shared.seconds);
        let seconds = total.zip(of_first).map(|(own, first)| own + first);
        Ok(model.map(|model| Trained { model, seconds }))
    }

    /// Seconds of each run, over all processes that were not killed.
    fn times(&self) -> BTreeMap<String, f64> {
        let bytes = std::fs::read(self.times_file()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn times_file(&self) -> PathBuf {
        self.folder.join("cells").join("times.json")
    }

    /// Fits a method to the run that all share, unless that is done, and evaluates it.
    fn fitted(
        &self,
        entry: &Entry,
        seed: u64,
        shared: &Trained,
        trunk: &SharedTrunk,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Cell, ExperimentError> {
        let key = self.key(entry, &shared.model)?;
        let name = self.job.run_name(seed, Some(&entry.label));
        let model = self.context.checkpoints.join(name).join("model");
        if let Some(cell) = self.done((entry, seed, &key), &model, show) {
            return Ok(cell);
        }
        show(Progress::Note(format!("compare: seed {seed}, {}: fitting", entry.label)));
        let job = FitJob {
            model: shared.model.clone(),
            dataset: None,
            overrides: Overrides::default(),
            labels: None,
            methods: vec![entry.method],
            settings: self.settings(entry),
            limit: 0,
            head: Head::Refit,
            output: Some(model.clone()),
        };
        // The run has said what there is to note of the rows.
        let mut hear = |progress: Progress<'_>| match progress {
            Progress::Note(_) => {}
            progress => show(progress),
        };
        let report = fit(&job, self.context.device, self.context.checkpoints, &mut hear)?;
        self.check_parts(&shared.model, &model)?;
        let seconds = report.scores.last().map(|score| score.seconds);
        let cost =
            [("train_seconds".to_owned(), shared.seconds), ("fit_seconds".to_owned(), seconds)];
        self.evaluated((entry, seed, &key), &model, cost.into_iter().collect(), Some(trunk), show)
    }

    /// Evaluates the model of a run of its own, unless that is done.
    fn cell(
        &self,
        entry: &Entry,
        seed: u64,
        trained: &Trained,
        trunk: Option<&SharedTrunk>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Cell, ExperimentError> {
        let key = self.key(entry, &trained.model)?;
        if let Some(cell) = self.done((entry, seed, &key), &trained.model, show) {
            return Ok(cell);
        }
        let cost = [("train_seconds".to_owned(), trained.seconds)].into_iter().collect();
        self.evaluated((entry, seed, &key), &trained.model, cost, trunk, show)
    }

    /// The cell that was done before, if its model is still there, with what deserved attention.
    fn done(
        &self,
        (entry, seed, key): (&Entry, u64, &str),
        model: &Path,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Option<Cell> {
        let cell = Cell::read(&self.folder, &entry.label, seed, key)?;
        if let Some(why) = cell.why_not_of(model) {
            show(Progress::Note(format!(
                "compare: seed {seed}, {}: {why} (`{}`), so it is computed again",
                entry.label,
                model.display()
            )));
            return None;
        }
        cell.warnings.iter().for_each(|text| show(Progress::Warning(text.clone())));
        Some(cell)
    }

    fn evaluated(
        &self,
        (entry, seed, key): (&Entry, u64, &str),
        model: &Path,
        mut figures: Figures,
        trunk: Option<&SharedTrunk>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Cell, ExperimentError> {
        let options = models::Options {
            limit: self.job.experiment.data.test_limit,
            ood: self.job.ood.clone(),
            ood_overrides: self.job.ood_overrides.clone(),
            shift: self.job.shift.clone(),
            no_baseline: true,
            trunk: trunk.cloned(),
            // Whatever a model was certified for, methods are compared at one precision.
            loading: Loading { precision: Some(Precision::F32), ..Loading::default() },
            ..models::Options::default()
        };
        let mut warnings = Vec::new();
        let mut hear = |event: Event| match event {
            Event::Remark(remark) => {
                if let Remark::Warning(text) = &remark {
                    warnings.push(text.clone());
                }
                show(Progress::from(&remark));
            }
            Event::Work { what, done, total } => show(Progress::Work { what, done, total }),
        };
        let folders = [model.to_owned()];
        let device = self.context.device;
        let evaluated = evaluate_models(&folders, device, &options, &mut hear)?;
        let mut others = Vec::new();
        for name in &self.job.other_data {
            let (ood, shift) = (Vec::new(), Vec::new());
            let options = models::Options {
                dataset: Some(name.clone()),
                usual_label_map: self.job.experiment.data.label_map.clone(),
                ood,
                shift,
                ..options.clone()
            };
            let of_other = evaluate_models(&folders, device, &options, &mut hear)?;
            for one in &of_other {
                if let Some(said) = seen_before(name, seed, one) {
                    hear(Event::Remark(Remark::Warning(said)));
                }
            }
            others.extend(of_other.into_iter().map(|one| (name.as_str(), one)));
        }
        figures.extend(cost(model, device)?);
        let about = (entry.label.as_str(), seed, key);
        let mut cell = Cell::new(about, model, &evaluated[0], &others, figures)?;
        cell.warnings = warnings;
        cell.write(&self.folder)?;
        Ok(cell)
    }

    /// The keys of a method, as `bayes fit --set` takes them.
    fn settings(&self, entry: &Entry) -> Vec<String> {
        let table = Toml::try_from(self.job.posterior(entry)).expect("settings are plain data");
        let own = table.into_iter().filter(|(key, _)| key != "method");
        let own = own.map(|(key, value)| format!("posterior.{key}={value}"));
        own.chain(entry.settings.iter().cloned()).collect()
    }

    /// A hash over all that a cell follows from.
    fn key(&self, entry: &Entry, source: &Path) -> Result<String, ExperimentError> {
        let manifest = source.join("bayes").join("manifest.json");
        let mut text = format!("bayes {}\n{}\n", env!("CARGO_PKG_VERSION"), entry.label);
        text += &format!("{}\n", sha256_file(&manifest)?);
        text += &format!("{:?}\n", (entry.method, self.settings(entry)));
        text += &format!("{}\n", self.job.experiment.data.test_limit);
        self.job.shift.iter().for_each(|damage| text += &format!("{damage}\n"));
        for (what, names) in [("", &self.job.ood), ("data ", &self.job.other_data)] {
            for name in names {
                let path = Path::new(name);
                let content = if path.is_file() { sha256_file(path)? } else { String::new() };
                text += &format!("{what}{name} {content}\n");
            }
        }
        let label_map = &self.job.experiment.data.label_map;
        if !self.job.other_data.is_empty() && !label_map.is_empty() {
            text += &format!("{label_map:?}\n");
        }
        if self.job.ood_overrides != Overrides::default() {
            text += &format!("{:?}\n", self.job.ood_overrides);
        }
        Ok(sha256(text.as_bytes()))
    }

    /// A method must have been fitted and calibrated on the parts that the run has.
    fn check_parts(&self, shared: &Path, fitted: &Path) -> Result<(), ExperimentError> {
        let parts = |folder: &Path| -> Result<_, ExperimentError> {
            let parts = manifest_of(folder)?.map(|manifest: Manifest| manifest.parts);
            let mut parts = parts.unwrap_or_default();
            parts.retain(|name, _| name != "test");
            Ok(parts)
        };
        match parts(shared)? == parts(fitted)? {
            true => Ok(()),
            false => Err(ExperimentError::OtherParts(fitted.to_owned())),
        }
    }

    fn report(&self, cells: &[Vec<Cell>]) -> Result<CompareReport, ExperimentError> {
        let Self { job, entries, folder, .. } = self;
        let first = cells.first().map_or(&[][..], Vec::as_slice);
        let sources = first.iter().flat_map(|cell| cell.figures.keys()).filter_map(|key| {
            let key = key.strip_prefix("ood.")?.strip_suffix(".confidence.auroc")?;
            Some(key.to_owned())
        });
        let (seed, checkpoints) = (job.experiment.train.seed, self.context.checkpoints);
        let base = job.run(&Entry::reference(), seed, None, checkpoints)?;
        let report = CompareReport {
            schema: 1,
            name: job.experiment.name.clone(),
            dataset: job.experiment.data.dataset.clone(),
            seeds: job.seeds().collect(),
            shift: job.shift.iter().map(ToString::to_string).collect(),
            ood: sources.collect::<BTreeSet<String>>().into_iter().collect(),
            other_data: job.other_data.clone(),
            rows: first.iter().map(|cell| cell.rows).collect(),
            table: Table::new(entries, cells, |entry| job.teacher_name(entry)),
            experiment: base.to_toml(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: machine(),
            folder: folder.clone(),
        };
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data") + "\n";
        write_atomically(&folder.join(FILES[0]), json.as_bytes())?;
        write_atomically(&folder.join(FILES[1]), markdown(&report).as_bytes())?;
        Ok(report)
    }
}

/// What to do where a run is there that was made otherwise: a comparison never starts one over.
fn for_comparison(error: ExperimentError) -> ExperimentError {
    match error {
        ExperimentError::OtherTrajectory { name, finished, differences } => {
            ExperimentError::OtherCell { name, finished, differences }
        }
        error => error,
    }
}

/// What to say of rows of other data that the models of a seed are no longer new to.
fn seen_before(name: &str, seed: u64, one: &Evaluation) -> Option<String> {
    let seen = one.report.without_seen?.seen;
    let rows = grouped(one.report.summary.rows as u64);
    Some(format!(
        "{} of the {rows} rows of `{name}` (`--other-data`) were also used to train or calibrate at seed {seed}, so \
         its figures are too good; those of the other rows are given too",
        grouped(seen as u64)
    ))
}

/// What the report of a finished run says that it took.
fn seconds_of(run: &Path) -> Option<f64> {
    let bytes = std::fs::read(run.join("report.json")).ok()?;
    serde_json::from_slice::<serde_json::Value>(&bytes).ok()?["seconds"].as_f64()
}
