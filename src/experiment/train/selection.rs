//! The models of a run, from the first to the one that is kept.

use std::path::PathBuf;

use super::base::Base;
use super::begun::Begun;
use super::calibration::FitSettings;
use super::candidate::Shop;
use super::choice::{Choice, Decided};
use super::posterior::weights_of_classes;
use super::prepare::{Prepared, Sets};
use super::resume::Home;
use super::runs::{Runs, Trained, TunedRows};
use super::{ExperimentError, Progress, RunContext, RunFolder};
use crate::data::StreamedRows;
use crate::train::{EventWriter, Recipe, class_counts};

/// What the models of a run are made from.
pub(super) struct Selection<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) base: &'a Base,
    pub(super) sets: &'a Sets,
    pub(super) home: &'a Home,
    pub(super) context: &'a RunContext<'a>,
}

/// What the selection comes to.
pub(super) enum Selected {
    /// A model, and the event files of its fine-tuning.
    Kept(Box<Decided>, Option<EventWriter>),
    /// Nothing yet: the run was stopped after these steps.
    Stopped { steps: u64, checkpoint: Option<PathBuf> },
}

impl<'a> Selection<'a> {
    /// Fits a head, fine-tunes, or both, and keeps the better model. `begun` are the checkpoints of a run that is
    /// resumed.
    pub(super) fn run(
        &self,
        begun: &[Begun],
        run: &mut RunFolder,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Selected, ExperimentError> {
        let stream = self.prepared.streamed();
        let (mut shop, mut choice) = self.first(stream.as_ref(), begun.is_empty(), show)?;
        if !choice.goes_on(&shop, !begun.is_empty(), show)? {
            return self.kept(&shop, choice, None, show);
        }
        let Self { prepared, base, home, context, .. } = *self;
        let (train, validation) = self.sets.tuning(shop.crossing.as_ref());
        let Prepared { experiment, start, .. } = prepared;
        let (train, teacher) = match &prepared.lessons {
            None => (train, None),
            Some(lessons) => {
                let how = (context.device, context.stop);
                let Some(taught) = lessons.learn(experiment, start, how, show)? else {
                    let steps = begun.iter().map(Begun::steps).sum();
                    return Ok(Selected::Stopped { steps, checkpoint: None });
                };
                shop.teacher = Some(taught.record);
                (taught.train, Some(taught.logits))
            }
        };
        let rows = TunedRows { train, stream, validation, teacher };
        let runs = Runs { prepared, base, rows, home, context };
        let (networks, events) = match runs.run(begun, choice.start(), run, show)? {
            Trained::All(networks, events) => (networks, events),
            Trained::Stopped { steps, checkpoint } => {
                return Ok(Selected::Stopped { steps, checkpoint });
            }
        };
        let tuned = shop.tuned(&networks, show)?;
        choice.compare(tuned, networks, show);
        self.kept(&shop, choice, events, show)
    }

    fn kept(
        &self,
        shop: &Shop<'_>,
        choice: Choice,
        events: Option<EventWriter>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Selected, ExperimentError> {
        let decided = choice.decide(show);
        let candidate = shop.certified(decided.candidate, show)?;
        Ok(Selected::Kept(Box::new(Decided { candidate, ..decided }), events))
    }

    /// What candidates are made from, and the head, where the recipe begins with one.
    fn first(
        &self,
        stream: Option<&StreamedRows>,
        fresh: bool,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Shop<'a>, Choice), ExperimentError> {
        let Self { prepared, base, sets, .. } = *self;
        let Prepared { experiment, start, noise, crossing, .. } = prepared;
        let recipe = experiment.train.recipe;
        let (initial, missing) = start.parameters(noise, self.context.device)?;
        if fresh && !missing.is_empty() && recipe == Recipe::Full {
            show(Progress::Note(format!("randomly initialised (seeded): {}", missing.join(", "))));
        }
        let weights = experiment.train.class_weights;
        let counts = match stream {
            Some(stream) => stream.counts(),
            None => class_counts(sets.train.labels(), start.encoder.labels.len()),
        };
        let shop = Shop {
            prepared,
            sets,
            base,
            teacher: None,
            crossing: crossing.clone(),
            settings: FitSettings {
                posterior: &experiment.posterior,
                calibration: &experiment.calibration,
                class_weights: weights,
            },
            class_weights: weights_of_classes(weights, &counts),
        };
        match recipe {
            Recipe::Full => Ok((shop, Choice::begin(None, initial))),
            Recipe::Head | Recipe::Auto => {
                let mut frozen = shop.frozen(&initial, show)?;
                let shop = Shop { crossing: frozen.crossing.take(), ..shop };
                Ok((shop, Choice::with_head(frozen, show)))
            }
        }
    }
}
