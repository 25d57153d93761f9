//! Which of the models that a recipe comes to is kept.

use std::time::Instant;

use serde::Serialize;

use super::candidate::{Candidate, Frozen, Shop};
use super::features::Reads;
use super::judged::HeldOutScores;
use super::runs::Network;
use super::{ExperimentError, Features, Progress};
use crate::model::{Classifier, Parameters};
use crate::numbers::grouped;
use crate::train::{Plan, Recipe};

/// What was trained, and how it was chosen.
#[derive(Clone, Debug, Serialize)]
pub struct RecipeReport {
    /// What was kept: `head` or `full`.
    pub kept: Recipe,
    /// The last layer on the encoder as it was, on rows that it has not seen.
    pub head: Option<HeldOutScores>,
    /// The same of the rows that both are compared by.
    pub head_compared: Option<HeldOutScores>,
    /// The fine-tuned model on these rows.
    pub full: Option<HeldOutScores>,
    /// Seconds that fine-tuning was expected to take.
    pub expected_seconds: Option<f64>,
    /// Why there was no fine-tuning, where it was possible.
    pub left_out: Option<String>,
}

/// The candidates of a run.
pub(super) struct Choice {
    head: Option<Candidate>,
    tuned: Option<(Candidate, Vec<Network>)>,
    start: Parameters,
    report: RecipeReport,
}

/// What is kept.
pub(super) struct Decided {
    pub(super) candidate: Candidate,
    pub(super) recipe: RecipeReport,
    /// Of fine-tuning that was kept.
    pub(super) networks: Vec<Network>,
}

/// About so many passes without gradients does a training pass cost, the evaluations included.
const PASSES: f64 = 3.5;
/// About so many seconds does the optimizer need for a parameter in a step: for short texts most of it.
const UPDATE: f64 = 5e-9;
/// Texts that are timed.
const TIMED: usize = 64;

impl Choice {
    /// Before anything is there but the initial weights.
    pub(super) fn begin(head: Option<Candidate>, start: Parameters) -> Self {
        let all = |one: &Candidate| one.judged.scores(&one.judged);
        let report = RecipeReport {
            kept: Recipe::Full,
            head: head.as_ref().and_then(all),
            head_compared: None,
            full: None,
            expected_seconds: None,
            left_out: None,
        };
        Self { head, tuned: None, start, report }
    }

    /// With a head, whose scores are shown at once.
    pub(super) fn with_head(frozen: Frozen, show: &mut dyn FnMut(Progress<'_>)) -> Self {
        let choice = Self::begin(Some(frozen.candidate), frozen.start);
        if let Some(scores) = &choice.report.head {
            show(Progress::Note(format!("head: {}", words(scores))));
        }
        choice
    }

    /// The weights that fine-tuning begins with.
    pub(super) fn start(&self) -> Parameters {
        self.start.clone()
    }

    /// Whether there is fine-tuning: always for the recipe `full`, never for `head`, and for `auto` if
    /// the time that it should take is within `train.max_time`, or it has begun.
    pub(super) fn goes_on(
        &mut self,
        shop: &Shop<'_>,
        begun: bool,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, ExperimentError> {
        let config = &shop.prepared.experiment.train;
        match config.recipe {
            Recipe::Full => return Ok(true),
            Recipe::Head => return Ok(false),
            Recipe::Auto => {}
        }
        if begun {
            return Ok(true);
        }
        let seconds = self.expected_seconds(shop)?;
        self.report.expected_seconds = Some(seconds);
        let most = config.max_time;
        let about = about(seconds);
        if most > 0.0 && seconds > most {
            let why = format!(
                "fine-tuning would take {about}, longer than `train.max_time` = {most} s, so it is \
                 skipped; raise `train.max_time`, or set `train.recipe=full` for what is often a \
                 better model"
            );
            show(Progress::Note(why.clone()));
            let prepared = shop.prepared;
            if let Some(warning) = prepared.used.kept(Recipe::Head).warning(&prepared.experiment) {
                show(Progress::Warning(warning));
            }
            self.report.left_out = Some(why);
            return Ok(false);
        }
        show(Progress::Note(format!("fine-tuning from there: {about}")));
        Ok(true)
    }

    /// What the training steps should take, from the time of some texts without gradients.
    fn expected_seconds(&self, shop: &Shop<'_>) -> Result<f64, ExperimentError> {
        let (train, _) = shop.sets.tuning(shop.crossing.as_ref());
        let config = &shop.prepared.experiment.train;
        let every = train.len().div_ceil(TIMED).max(1);
        let some = train.some(&(0..train.len()).step_by(every).collect::<Vec<_>>());
        let tokens = |lengths: Vec<u32>| lengths.into_iter().map(f64::from).sum::<f64>();
        let classifier = Classifier::packed(&shop.base.encoder, &self.start)?;
        let began = Instant::now();
        Features::encode(&classifier.into(), &some, Reads::default(), "timing", &mut |_| {})?;
        let a_token = began.elapsed().as_secs_f64() / tokens(some.lengths()).max(1.0);
        let plan = Plan::new(config, train.len());
        let epochs = plan.steps as f64 / plan.steps_per_epoch.max(1) as f64;
        let update = UPDATE * self.start.count() as f64 * plan.steps as f64;
        Ok(PASSES * a_token * tokens(train.lengths()) * epochs + update)
    }

    /// Takes the fine-tuned model in.
    pub(super) fn compare(
        &mut self,
        candidate: Candidate,
        networks: Vec<Network>,
        show: &mut dyn FnMut(Progress<'_>),
    ) {
        if let Some(head) = &self.head {
            self.report.head_compared = head.judged.scores(&candidate.judged);
            self.report.full = candidate.judged.scores(&head.judged);
            if let (Some(head), Some(full)) = (&self.report.head_compared, &self.report.full) {
                show(Progress::Note(format!("fine-tuned: {}", words(full))));
                show(Progress::Note(format!("head, on the same rows: {}", words(head))));
            }
        }
        self.tuned = Some((candidate, networks));
    }

    /// The model with the better held-out NLL.
    pub(super) fn decide(self, show: &mut dyn FnMut(Progress<'_>)) -> Decided {
        let Self { head, tuned, mut report, .. } = self;
        let nll = |scores: &Option<HeldOutScores>| scores.map_or(f64::INFINITY, |one| one.nll);
        let better = nll(&report.full) < nll(&report.head_compared);
        match (head, tuned) {
            (Some(head), None) => {
                report.kept = Recipe::Head;
                Decided { candidate: head, recipe: report, networks: Vec::new() }
            }
            (Some(head), Some(_)) if !better => {
                report.kept = Recipe::Head;
                show(Progress::Note("fine-tuning did not improve it: the head is kept".to_owned()));
                Decided { candidate: head, recipe: report, networks: Vec::new() }
            }
            (_, Some((candidate, networks))) => Decided { candidate, recipe: report, networks },
            (None, None) => unreachable!("a run has a head, or is fine-tuned"),
        }
    }
}

fn words(scores: &HeldOutScores) -> String {
    let HeldOutScores { rows, accuracy, nll } = scores;
    format!("accuracy {accuracy:.4}, NLL {nll:.4} on {} held-out rows", grouped(rows))
}

/// A time in the words of a person.
fn about(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("about {:.0} s", seconds.max(1.0)),
        ..5400.0 => format!("about {:.0} min", seconds / 60.0),
        _ => format!("about {:.1} h", seconds / 3600.0),
    }
}
