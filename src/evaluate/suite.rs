//! Models on the tasks of a suite of benchmarks, with its average.

use std::collections::BTreeMap;
use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Evaluation;
use super::models::{Event, ModelsError, Options, evaluate_models};
use super::render::{Block, table};
use crate::artifact::manifest_of;
use crate::compute::Backend;
use crate::data::{DataError, Known, Remark, Role, Suite, find_known, locate};
use crate::metrics::{Calibration, Interval};

/// Models on the tasks of a suite.
#[derive(Clone, Debug, Serialize)]
pub struct SuiteReport {
    pub suite: Suite,
    pub tasks: Vec<TaskReport>,
    /// Tasks that count in its average and have no score here, by name.
    pub missing: Vec<&'static str>,
    /// Second tests of tasks that are here, which are not, by name.
    pub untested: Vec<&'static str>,
    /// Mean of the tasks that count: of one with several scores their mean, of one with two tests the mean of both, as
    /// the servers of the suites do it. `None` where no task counts.
    pub average: Option<f64>,
}

/// A model on a task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    pub task: &'static str,
    /// The model's folder.
    pub model: String,
    pub rows: usize,
    /// What the suite counts, by its key.
    pub scores: BTreeMap<&'static str, Interval>,
    /// Their mean.
    pub score: f64,
    pub accuracy: Interval,
    pub nll: Interval,
    pub ece: Calibration,
    /// Rows whose text was also trained or calibrated on, where that is known.
    pub seen: Option<usize>,
}

/// The task of a suite that a model was trained for; `None` where it was for something else.
///
/// # Errors
/// Its manifest cannot be read.
pub fn task_of(suite: Suite, model: &Path) -> Result<Option<&'static Known>, ModelsError> {
    let manifest = manifest_of(model)?;
    let data = manifest.as_ref().and_then(|manifest| manifest.data.as_ref());
    let known = data.and_then(|data| find_known(&data.dataset));
    Ok(known.filter(|known| known.suite == Some(suite) && known.role == Role::Own))
}

/// Evaluates each model on the test rows of its task, and on what else models of that task are tested on, as far as that
/// is on this machine. What fails is told and left out. Of what is asked the data set and the baseline have no meaning.
pub fn evaluate_suite(
    suite: Suite,
    models: &[(&'static Known, PathBuf)],
    device: &Backend,
    asked: &Options,
    show: &mut dyn FnMut(Event),
) -> SuiteReport {
    let mut tasks = Vec::new();
    for known in suite.tasks() {
        let own = match known.role {
            Role::Own => known.name,
            Role::SecondTest { of, .. } | Role::Diagnostic(of) => of,
        };
        let Some((_, model)) = models.iter().find(|(task, _)| task.name == own) else { continue };
        let Some((dataset, split)) = rows_of(known) else { continue };
        let (dataset, split) = (Some(dataset.to_owned()), split.map(str::to_owned));
        let options = Options { dataset, split, no_baseline: true, ..asked.clone() };
        let evaluated = evaluate_models(std::slice::from_ref(model), device, &options, show);
        let evaluated = evaluated.unwrap_or_else(|error| {
            let causes = successors(Some(&error as &dyn Error), |&error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            let left_out = format!("`{}` is left out: {}", known.name, causes.join(": "));
            show(Event::Remark(Remark::Warning(left_out)));
            Vec::new()
        });
        for one in evaluated {
            match TaskReport::of(known, model, &one) {
                Some(task) => tasks.push(task),
                None => {
                    let why = match asked.limit {
                        0 => format!("its classes are not {}", known.labels.join(", ")),
                        _ => "of what it counts nothing was asked whole (`--limit`), or its classes are others"
                            .to_owned(),
                    };
                    let model = model.display();
                    show(Event::Remark(Remark::Warning(format!(
                        "`{model}` has no score on `{}`: {why}",
                        known.name
                    ))));
                }
            }
        }
    }
    SuiteReport::new(suite, tasks)
}

/// The data set and the split of it that have the rows of a task; `None` where they are not here, or their labels are
/// hidden.
fn rows_of(known: &Known) -> Option<(&'static str, Option<&'static str>)> {
    let is_here = || !matches!(locate(known.name), Err(DataError::NotHere { .. }));
    let has = |of, split| locate(of).is_ok_and(|found| found.splits.contains_key(split));
    match known.role {
        Role::Own => Some((known.name, None)),
        Role::SecondTest { of, split } if has(of, split) => Some((of, Some(split))),
        // All labels of a task without a split to report on are hidden.
        _ => (!known.reported.is_empty() && is_here()).then_some((known.name, None)),
    }
}

impl SuiteReport {
    fn new(suite: Suite, tasks: Vec<TaskReport>) -> Self {
        let is_here = |known: &&Known| tasks.iter().any(|task| task.task == known.name);
        let counting = || suite.tasks().filter(|known| known.role == Role::Own);
        let missing = counting().filter(|known| !is_here(known)).map(|known| known.name);
        let missing = missing.chain(suite.others().iter().copied()).collect();
        let of_task = |known: &Known| {
            let second = second_test(suite, known);
            let both = [Some(known.name), second.map(|second| second.name)];
            let is_one = |task: &&TaskReport| both.contains(&Some(task.task));
            mean(tasks.iter().filter(is_one).map(|task| task.score))
        };
        let counted = counting().filter(is_here).filter_map(of_task).collect::<Vec<_>>();
        let average = mean(counted.into_iter());
        let untested = counting().filter(is_here).filter_map(|known| second_test(suite, known));
        let untested = untested.filter(|known| !is_here(known)).map(|known| known.name).collect();
        Self { suite, tasks, missing, untested, average }
    }

    /// What the average is of.
    pub fn of_the_average(&self) -> String {
        let counts =
            |task: &&TaskReport| find_known(task.task).is_some_and(|known| known.role == Role::Own);
        let counted = self.tasks.iter().filter(counts).count();
        let all = counted + self.missing.len();
        let of = format!("{counted} of the {all} tasks of {}", self.suite.title());
        let missing = match self.missing.is_empty() {
            true => String::new(),
            false => format!("; there is no score of {}", self.missing.join(", ")),
        };
        let untested = match self.untested.is_empty() {
            true => String::new(),
            false => format!("; without {}", self.untested.join(", ")),
        };
        of + &missing + &untested
    }

    /// The report for people.
    pub fn blocks(&self) -> Vec<Block> {
        let four = |value: f64| format!("{value:.4}");
        let line = |task: &TaskReport| {
            let scores = task.scores.iter();
            let scores = scores.map(|(key, one)| {
                let name = super::score_title(key);
                format!("{name} {} ({} to {})", four(one.value), four(one.low), four(one.high))
            });
            vec![
                task.task.to_owned(),
                scores.collect::<Vec<_>>().join(", "),
                four(task.score),
                four(task.accuracy.value),
                four(task.nll.value),
                format!("{} ({})", four(task.ece.value), four(task.ece.floor)),
                task.rows.to_string(),
                task.seen.map_or("not known".to_owned(), |seen| seen.to_string()),
                task.model.clone(),
            ]
        };
        let head = [
            "task",
            "scores",
            "their mean",
            "accuracy",
            "NLL",
            "ECE (floor)",
            "rows",
            "seen before",
            "model",
        ];
        let average = self.average.map(|average| {
            Block::Text(format!("Average {}, of {}.", four(average), self.of_the_average()))
        });
        let heading = Block::Heading(self.suite.title().to_owned());
        let lines = table(&head, self.tasks.iter().map(line).collect());
        [heading, lines].into_iter().chain(average).collect()
    }
}

impl TaskReport {
    fn of(known: &'static Known, model: &Path, one: &Evaluation) -> Option<Self> {
        let benchmark = one.report.benchmark.as_ref()?;
        let summary = &one.report.summary;
        Some(Self {
            task: known.name,
            model: model.display().to_string(),
            rows: summary.rows,
            scores: benchmark.scores.clone(),
            score: benchmark.score,
            accuracy: summary.accuracy,
            nll: summary.nll,
            ece: summary.ece,
            seen: one.hygiene.as_ref().and_then(|hygiene| hygiene.seen),
        })
    }
}

/// The other test of a task, where it has one.
fn second_test(suite: Suite, known: &Known) -> Option<&'static Known> {
    suite.tasks().find(|one| matches!(one.role, Role::SecondTest { of, .. } if of == known.name))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, score: f64) -> TaskReport {
        let one = Interval { value: score, low: score, high: score };
        TaskReport {
            task: find_known(name).unwrap().name,
            model: String::new(),
            rows: 1,
            scores: BTreeMap::new(),
            score,
            accuracy: one,
            nll: one,
            ece: Calibration { value: 0.0, low: 0.0, high: 0.0, floor: 0.0, floor_sd: 0.0 },
            seen: None,
        }
    }

    /// The line of BERT-large in the table of Devlin et al. (NAACL 2019) and on the server: 80.5 with all nine tasks. What
    /// is left without STS-B (87.05) is (9 × 80.52 − 87.05) / 8.
    #[test]
    fn the_average_is_that_of_the_server() {
        let scores = [
            ("cola", 60.5),
            ("sst2", 94.9),
            ("mrpc", (89.3 + 85.4) / 2.0),
            ("qqp", (72.1 + 89.3) / 2.0),
            ("mnli", 86.7),
            ("mnli_mismatched", 85.9),
            ("qnli", 92.7),
            ("rte", 70.1),
            ("wnli", 65.1),
        ];
        let tasks = scores.map(|(name, score)| task(name, score)).to_vec();
        let report = SuiteReport::new(Suite::Glue, tasks);
        let average = report.average.unwrap();
        assert!(((8.0 * average + 87.05) / 9.0 - 80.5).abs() < 0.05, "{average}");
        assert_eq!(report.missing, ["stsb"]);
        assert_eq!(report.of_the_average(), "8 of the 9 tasks of GLUE; there is no score of stsb");
        assert!(report.untested.is_empty());
        let alone = SuiteReport::new(Suite::Glue, vec![task("mnli", 0.8)]);
        assert!(alone.of_the_average().ends_with("stsb; without mnli_mismatched"), "{alone:?}");
        // A diagnostic task counts nothing.
        let rte = || task("super_glue/rte", 0.7);
        let alone = SuiteReport::new(Suite::SuperGlue, vec![rte()]).average;
        let both = SuiteReport::new(Suite::SuperGlue, vec![rte(), task("super_glue/axb", 0.1)]);
        assert_eq!((alone, both.average), (Some(0.7), Some(0.7)));
        assert_eq!(SuiteReport::new(Suite::Glue, Vec::new()).average, None);
    }
}
