//! One run, from initial parameters to the best ones.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Var;

use super::average::Average;
use super::batch_source::BatchSource;
use super::inspect::{Inspection, suspicious};
use super::objective::Own;
use super::pass::Pass;
use super::step::{NotFinite, class_weights};
use super::updater::Updater;
use super::{
    Best, CalibratedNll, Control, Counters, Event, Follower, Gathered, Group, Guard, Logged,
    Objective, Plan, Snapshot, State, TrainConfig, TrainError, Validation,
};
use crate::compute::Noise;
use crate::data::{StreamedRows, TokenSet};
use crate::model::{EncoderConfig, Parameters, Specification, specifications};

/// What is trained, on what.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub encoder: &'a EncoderConfig,
    pub config: &'a TrainConfig,
    /// Rows to train on; where they are streamed, some of them to look at.
    pub train: &'a TokenSet,
    /// The stream of all of them.
    pub stream: Option<&'a StreamedRows>,
    /// Rows that choose the best weights.
    pub validation: &'a TokenSet,
    /// What is minimised, if not the cross entropy with the labels.
    pub objective: Option<&'a dyn Objective>,
    /// What the best weights have the least of.
    pub calibrated_nll: CalibratedNll,
}

impl Job<'_> {
    /// Rows of an epoch.
    pub fn rows(&self) -> usize {
        self.stream.map_or(self.train.len(), StreamedRows::rows)
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// As planned, or early since it got no better.
    Finished(Box<Outcome>),
    /// By the observer, after so many steps. It can go on from what was saved.
    Stopped(u64),
}

/// What a run ends with.
#[derive(Debug)]
pub struct Outcome {
    /// The weights with the best calibrated NLL, or those of the follower.
    pub parameters: Parameters,
    pub scores: Validation,
    /// After how many steps they were reached.
    pub best_step: u64,
    pub steps: u64,
    /// Mean loss over the last steps, as many as a line of the log is the mean of.
    pub final_loss: f64,
    /// What followed the run, with all that it has gathered.
    pub follower: Option<Box<dyn Follower>>,
    /// The objective's own parameters beside these weights.
    pub own: Gathered,
}

/// The state between two steps.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) noise: Noise,
    pub(super) plan: Plan,
    /// With what is frozen marked as unused.
    pub(super) specifications: Vec<Specification>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) variables: BTreeMap<String, Var>,
    /// Those that the optimizer updates: all, but for what the follower owns.
    pub(super) optimized: BTreeMap<String, Var>,
    /// The same storage as the variables.
    pub(super) parameters: Parameters,
    pub(super) own: Own,
    pub(super) pass: Pass<'a>,
    pub(super) updater: Updater,
    pub(super) follower: Option<Box<dyn Follower>>,
    pub(super) guard: Guard,
    pub(super) class_weights: Vec<f32>,
    pub(super) best: Option<Parameters>,
    pub(super) counters: Counters,
    pub(super) supply: BatchSource<'a>,
    pub(super) began: Instant,
    /// Seconds of earlier processes.
    pub(super) seconds_before: f64,
    /// Tokens and seconds of the steps since the last line of the log.
    pub(super) pace: (usize, f64),
}

/// Who hears what happens, and may stop the run.
pub(super) type Observer<'o> = dyn FnMut(Event<'_>) -> Result<Control, std::io::Error> + 'o;

/// Trains from `state` on and returns the weights with the best calibrated NLL. `observe` hears of
/// every step, saves the state when it is told to, and may stop the run. A run that was saved and
/// goes on comes to the same bytes as one that was never stopped. `follower` sees the weights after every
/// step.
pub fn fit(
    job: &Job<'_>,
    state: State,
    follower: Option<Box<dyn Follower>>,
    observe: &mut Observer<'_>,
) -> Result<Ended, TrainError> {
    if job.train.is_empty() {
        return Err(TrainError::NoTraining);
    }
    if job.validation.is_empty() {
        return Err(TrainError::NoValidation);
    }
    let mut run = Run::new(job, state, follower)?;
    let trainable = run.variables.values().map(|variable| variable.elem_count()).sum();
    let mut saved = run.counters.step;
    let mut control = observe(Event::Started { plan: &run.plan, step: saved, trainable })?;
    while !run.counters.ended {
        let step = run.counters.step;
        if control == Control::Continue && run.evaluation_is_due() {
            control = run.evaluate(observe)?;
        }
        let stopped = control == Control::Stop;
        if !stopped {
            run.end_if_due(observe)?;
        }
        let ended = run.counters.ended;
        if ended || (step > saved && (stopped || step.is_multiple_of(run.plan.save_every))) {
            observe(Event::Save(run.snapshot()?))?;
            saved = step;
        }
        if ended {
            break;
        }
        if stopped {
            return Ok(Ended::Stopped(step));
        }
        control = match run.next_step(observe) {
            Err(error @ (TrainError::NotFinite { .. } | TrainError::Data(_))) => {
                // The weights are still those of the step before.
                if step > saved {
                    observe(Event::Save(run.snapshot()?))?;
                }
                return Err(error);
            }
            result => result?,
        };
    }
    let (steps, epoch) = (run.counters.step, run.epochs());
    let followed = match &run.follower {
        Some(follower) => follower.weights(&run.parameters)?,
        None => None,
    };
    let best = run.counters.best.expect("the best weights have scores");
    if followed.is_none() && job.config.ema_decay > 0.0 && !best.averaged {
        observe(Event::Warning(format!(
            "`train.ema_decay` had no effect: the best weights, those of step {}, are not averaged; averaged ones had \
             no better calibrated NLL on the validation rows",
            best.step
        )))?;
    }
    let (parameters, scores, best_step) = match followed {
        None => (run.best.expect("a run is evaluated before it ends"), best.scores, best.step),
        Some(parameters) => {
            let parameters = parameters.detached_copy()?;
            let Some(scores) = run.scores(&parameters, observe)? else {
                return Ok(Ended::Stopped(steps));
            };
            observe(Event::Evaluated { step: steps, epoch, scores, averaged: true, best: None })?;
            (parameters, scores, steps)
        }
    };
    let own = run.own.values(&parameters)?;
    Ok(Ended::Finished(Box::new(Outcome {
        parameters: run.own.without(&parameters),
        scores,
        best_step,
        steps,
        final_loss: mean(&run.counters.recent),
        follower: run.follower,
        own,
    })))
}

impl Outcome {
    /// What a run came to that has ended, and that nothing followed: all of it is in its last checkpoint. `None`
    /// if it goes on.
    pub fn of_ended(counters: &Counters, best: Parameters) -> Option<Self> {
        let Best { step, scores, .. } = counters.best.filter(|_| counters.ended)?;
        Some(Self {
            parameters: best,
            scores,
            best_step: step,
            steps: counters.step,
            final_loss: mean(&counters.recent),
            follower: None,
            own: Gathered::new(),
        })
    }
}

impl Outcome {
    /// What was gathered beside the weights, by what followed the run or by its objective.
    pub fn gathered(&self) -> Option<&Gathered> {
        match &self.follower {
            Some(follower) => Some(follower.gathered()),
            None => Some(&self.own).filter(|own| !own.is_empty()),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl<'a> Run<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        state: State,
        mut follower: Option<Box<dyn Follower>>,
    ) -> Result<Self, TrainError> {
        let own = Own::of(job.objective);
        let network = own.beside(state.parameters, &state.gathered)?;
        let best = state.best.map(|best| own.beside_best(best, &state.gathered)).transpose()?;
        if let Some(follower) = &mut follower {
            follower.resume(state.gathered);
        }
        let mut specifications = specifications(job.encoder);
        specifications.extend(own.specifications());
        for one in &mut specifications {
            one.used &= !job.config.freezes(&one.name, job.encoder);
        }
        let layers = job.encoder.layer_weights();
        let group = |one: &Specification| {
            let rate = job.config.rate_factor(&one.name, layers);
            (one.name.clone(), Group { decays: one.decay, rate })
        };
        let groups = specifications.iter().map(group).collect();
        let (variables, parameters) = network.variables(&specifications)?;
        let owned = |name: &str| follower.as_ref().is_some_and(|follower| follower.owns(name));
        let mut optimized = variables.clone();
        optimized.retain(|name, _| !owned(name));
        let decay = job.config.ema_decay;
        let begins = state.counters.step == 0;
        let average = match (decay > 0.0, begins) {
            (false, _) => None,
            (true, true) => Some(Average::new(&variables, decay)?),
            (true, false) => Some(Average::resumed(state.average, decay)),
        };
        let guard = if begins {
            Guard::new(&specifications)
        } else {
            Guard::resumed(&state.counters.silent)
        };
        Ok(Self {
            job,
            noise: Noise::new(job.config.seed),
            plan: Plan::new(job.config, job.rows()),
            pass: Pass::new(job.encoder, job.config, &parameters, job.objective),
            updater: Updater::new(&parameters, &variables, state.optimizer, average)?,
            guard,
            specifications,
            groups,
            variables,
            optimized,
            parameters,
            follower,
            class_weights: class_weights(job),
            best,
            own,
            supply: BatchSource::new(job, state.counters.stream),
            seconds_before: state.counters.seconds,
            counters: state.counters,
            began: Instant::now(),
            pace: (0, 0.0),
        })
    }

    fn snapshot(&self) -> Result<Snapshot<'_>, TrainError> {
        let gathered = match &self.follower {
            Some(follower) => Some(Cow::Borrowed(follower.gathered())),
            None if self.own.is_empty() => None,
            None => Some(Cow::Owned(self.own.kept(&self.parameters, self.best.as_ref())?)),
        };
        Ok(Snapshot {
            plan: &self.plan,
            parameters: &self.parameters,
            counters: &self.counters,
            optimizer: self.updater.optimizer()?,
            average: self.updater.average()?,
            gathered,
        })
    }

    /// Epochs finished, as a fraction.
    pub(super) fn epochs(&self) -> f64 {
        self.counters.step as f64 / self.plan.steps_per_epoch as f64
    }

    /// The learning rate of a step as a share of the peak.
    pub(super) fn rate(&self, step: u64) -> f64 {
        match &self.follower {
            Some(follower) => follower.rate(&self.plan, step),
            None => self.plan.rate(step),
        }
    }

    fn evaluation_is_due(&self) -> bool {
        let Counters { step, evaluated, .. } = self.counters;
        step > evaluated && (self.plan.evaluates_after(step) || self.is_out_of_time())
    }

    fn is_out_of_time(&self) -> bool {
        let most = self.job.config.max_time;
        most > 0.0 && self.counters.seconds >= most
    }

    /// Marks the end: at the last step, when the calibrated NLL gets no better, or when time is up.
    fn end_if_due(&mut self, observe: &mut Observer<'_>) -> Result<(), TrainError> {
        let Counters { step, evaluated, without_progress, .. } = self.counters;
        let patience = self.job.config.early_stopping_patience;
        let stalled = patience > 0 && without_progress >= patience;
        if stalled && step < self.plan.steps {
            observe(Event::Warning(format!(
                "stopped early: no better calibrated NLL in {patience} evaluations"
            )))?;
        }
        let late = self.is_out_of_time() && evaluated == step && step > 0;
        if late && !stalled && step < self.plan.steps {
            let seconds = self.job.config.max_time;
            observe(Event::Warning(format!(
                "stopped early: the time limit of {seconds} seconds is reached"
            )))?;
        }
        self.counters.ended = stalled || late || step == self.plan.steps;
        Ok(())
    }

    /// One optimizer step in the order of the run.
    fn next_step(&mut self, observe: &mut Observer<'_>) -> Result<Control, TrainError> {
        let finished = self.counters.step;
        let learning_rate = self.job.config.learning_rate * self.rate(finished);
        let size = self.job.config.per_device_train_batch_size;
        let micro_batches = self.supply.micro_batches(&self.plan, &self.noise, size, finished)?;
        self.counters.stream = self.supply.position();
        let step = finished + 1;
        let started = Instant::now();
        let done = match self.step(finished, learning_rate, &micro_batches)? {
            Ok(done) => done,
            Err(found) if self.job.config.skip_nonfinite => {
                self.counters.step = step;
                self.counters.skipped += 1;
                let NotFinite { what, rows } = found;
                return Ok(observe(Event::Warning(format!(
                    "step {step} is skipped, {} so far: {what} is not finite (rows {rows:?})",
                    self.counters.skipped
                )))?);
            }
            Err(found) => return Err(found.error(step)),
        };
        if let Some(follower) = &mut self.follower {
            follower.follow(step, &self.variables)?;
        }
        self.counters.step = step;
        self.counters.seconds = self.seconds_before + self.began.elapsed().as_secs_f64();
        self.pace.0 += done.tokens;
        self.pace.1 += started.elapsed().as_secs_f64();
        self.counters.silent = self.guard.silent();
        for warning in done.warnings {
            observe(Event::Warning(warning))?;
        }
        if let Some(what) =
            suspicious(done.gradient_norm).filter(|_| !self.counters.warned.gradient)
        {
            self.counters.warned.gradient = true;
            observe(Event::Warning(format!(
                "the gradient {what}: its global norm is {:.1e} at step {step}",
                done.gradient_norm
            )))?;
        }
        let recent = &mut self.counters.recent;
        recent.push(done.loss);
        let surplus = recent.len().saturating_sub(self.plan.log_every as usize);
        recent.drain(..surplus);
        let loss = mean(recent);
        let logged = self.plan.logs_after(step).then(|| {
            let (tokens, seconds) = std::mem::take(&mut self.pace);
            Logged { loss, tokens_per_second: tokens as f64 / seconds }
        });
        let control = observe(Event::Step {
            step,
            epoch: self.epochs(),
            loss: done.loss,
            logged,
            learning_rate,
            gradient_norm: done.gradient_norm,
            tokens: done.tokens,
        })?;
        if self.plan.inspects_after(step) {
            self.inspect(observe)?;
        }
        Ok(control)
    }

    fn inspect(&mut self, observe: &mut Observer<'_>) -> Result<(), TrainError> {
        let step = self.counters.step;
        let (specifications, parameters) = (&self.specifications, &self.parameters);
        let gradients = self.updater.gradients()?;
        let inspection = Inspection::new(step, self.job, specifications, parameters, &gradients)?;
        let collapsed = inspection.collapsed();
        observe(Event::Inspected(inspection))?;
        if !collapsed.is_empty() && !self.counters.warned.attention {
            self.counters.warned.attention = true;
            let layers: Vec<String> = collapsed.iter().map(usize::to_string).collect();
            let which = if layers.len() == 1 { "layer" } else { "layers" };
            let layers = layers.join(", ");
            observe(Event::Warning(format!(
                "at step {step}, the attention of {which} {layers} has collapsed onto a single \
                 token (entropy below 5 % of its maximum); a lower `train.learning_rate` may help"
            )))?;
        }
        Ok(())
    }
}
