//! One run, from initial parameters to the best ones.

use std::collections::BTreeMap;

use candle_core::Var;

use super::average::Average;
use super::pass::{Pass, Targets};
use super::{
    AdamW, ClassWeights, Control, Event, Gradients, Guard, Plan, Scores, TrainConfig, TrainError,
    Wanted, features, last_layer,
};
use crate::compute::{Noise, Packed};
use crate::data::{TokenSet, epoch_batches};
use crate::model::specifications;
use crate::model::{Classifier, DropoutSource, EncoderConfig, Parameters, Specification};

/// What is trained, on what.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The classifier's config.
    pub encoder: &'a EncoderConfig,
    /// The loop's settings.
    pub config: &'a TrainConfig,
    /// Rows to train on.
    pub train: &'a TokenSet,
    /// Rows that choose the best weights.
    pub validation: &'a TokenSet,
}

/// What a run ends with.
#[derive(Debug)]
pub struct Outcome {
    /// The weights with the best validation NLL.
    pub parameters: Parameters,
    /// Their scores.
    pub scores: Scores,
    /// After how many steps they were reached.
    pub best_step: u64,
    /// Steps taken.
    pub steps: u64,
    /// Mean loss over the last logging interval.
    pub final_loss: f64,
    /// Whether the observer stopped it.
    pub interrupted: bool,
}

/// The state between two steps.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    noise: Noise,
    plan: Plan,
    specifications: Vec<Specification>,
    variables: BTreeMap<String, Var>,
    /// The same storage as the variables.
    parameters: Parameters,
    pub(super) pass: Pass,
    gradients: Gradients,
    optimizer: AdamW,
    average: Option<Average>,
    guard: Guard,
    class_weights: Vec<f32>,
    best: Option<(Parameters, Scores, u64)>,
    without_progress: u64,
}

/// Trains from `initial` and returns the weights with the best validation NLL. `observe` hears of
/// every step and may stop the run, which then is evaluated once more and ends.
pub fn fit(
    job: &Job<'_>,
    initial: &Parameters,
    observe: &mut dyn FnMut(Event<'_>) -> Result<Control, std::io::Error>,
) -> Result<Outcome, TrainError> {
    if job.train.is_empty() {
        return Err(TrainError::Empty("train"));
    }
    if job.validation.is_empty() {
        return Err(TrainError::Empty("validation"));
    }
    let mut run = Run::new(job, initial)?;
    let trainable = run.variables.values().map(|variable| variable.elem_count()).sum();
    observe(Event::Started { plan: &run.plan, trainable })?;
    let (mut step, mut epoch) = (0, 0);
    let mut recent = Vec::new();
    let lengths = job.train.lengths();
    let interrupted = 'run: loop {
        let size = job.config.per_device_train_batch_size;
        let batches = epoch_batches(&lengths, size, &run.noise, epoch);
        for micro_batches in batches.chunks(job.config.gradient_accumulation_steps) {
            let learning_rate = job.config.learning_rate * run.plan.rate(step);
            let done = run.step(step, learning_rate, micro_batches)?;
            step += 1;
            for warning in done.warnings {
                observe(Event::Warning(warning))?;
            }
            recent.push(done.loss);
            let epochs = step as f64 / run.plan.steps_per_epoch as f64;
            let interrupted = observe(Event::Step {
                step,
                epoch: epochs,
                loss: done.loss,
                learning_rate,
                gradient_norm: done.gradient_norm,
                tokens: done.tokens,
            })? == Control::Stop;
            if interrupted || run.plan.evaluates_after(step) {
                run.evaluate(step, epochs, observe)?;
            }
            let patience = job.config.early_stopping_patience;
            let stalled = patience > 0 && run.without_progress >= patience;
            if stalled && step < run.plan.steps {
                let message =
                    format!("stopped early: no better validation NLL in {patience} evaluations");
                observe(Event::Warning(message))?;
            }
            if interrupted || stalled || step == run.plan.steps {
                break 'run interrupted;
            }
        }
        epoch += 1;
    };
    let last = recent.len().saturating_sub(job.config.logging_steps as usize);
    let final_loss = recent[last..].iter().sum::<f64>() / recent[last..].len() as f64;
    let (parameters, scores, best_step) = run.best.expect("the last step was evaluated");
    Ok(Outcome { parameters, scores, best_step, steps: step, final_loss, interrupted })
}

/// What one step tells.
pub(super) struct StepDone {
    pub(super) loss: f64,
    gradient_norm: f64,
    tokens: usize,
    warnings: Vec<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(job: &'a Job<'a>, initial: &Parameters) -> Result<Self, TrainError> {
        let specifications = specifications(job.encoder);
        let (variables, parameters) = initial.variables(job.encoder)?;
        let decay = job.config.ema_decay;
        let average = if decay > 0.0 { Some(Average::new(&variables, decay)?) } else { None };
        Ok(Self {
            job,
            noise: Noise::new(job.config.seed),
            plan: Plan::new(job.config, job.train.len()),
            pass: Pass::new(job.encoder, job.config, &parameters),
            gradients: Gradients::default(),
            guard: Guard::new(&specifications),
            specifications,
            variables,
            parameters,
            optimizer: AdamW::default(),
            average,
            class_weights: class_weights(job),
            best: None,
            without_progress: 0,
        })
    }

    /// Forward, backward and update over the micro-batches of one optimizer step.
    pub(super) fn step(
        &mut self,
        step: u64,
        learning_rate: f64,
        micro_batches: &[Vec<u32>],
    ) -> Result<StepDone, TrainError> {
        let config = self.job.config;
        let weight =
            |&row: &u32| self.class_weights[self.job.train.labels()[row as usize] as usize];
        let total: f64 = micro_batches.iter().flatten().map(|row| f64::from(weight(row))).sum();
        let width = self.job.encoder.hidden_size;
        self.gradients.clear(width);
        let (mut loss, mut tokens, mut seen) = (0.0, 0, Vec::new());
        for (index, rows) in micro_batches.iter().enumerate() {
            let batch = Packed::new(rows.iter().map(|&row| self.job.train.sequence(row as usize)));
            let labels: Vec<u32> =
                rows.iter().map(|&row| self.job.train.labels()[row as usize]).collect();
            let weights: Vec<f32> = rows.iter().map(weight).collect();
            let pass = step * config.gradient_accumulation_steps as u64 + index as u64;
            let source = DropoutSource { noise: self.noise, step: pass };
            let targets = Targets { labels: &labels, weights: &weights, total };
            let value = self.pass.run(
                &self.parameters,
                &self.variables,
                &batch,
                &targets,
                &source,
                &mut self.gradients,
            )?;
            if !value.is_finite() {
                return Err(TrainError::NotFinite {
                    what: "the loss".to_owned(),
                    step: step + 1,
                    rows: batch.rows().to_vec(),
                });
            }
            loss += value;
            tokens += batch.tokens();
            seen.extend_from_slice(batch.rows());
        }
        let gradients = &self.gradients;
        gradients.check(&self.variables)?;
        let gradient_norm = gradients.norm(width);
        if !gradient_norm.is_finite() {
            let name = gradients.not_finite().unwrap_or("all parameters together");
            return Err(TrainError::NotFinite {
                what: format!("the gradient of `{name}`"),
                step: step + 1,
                rows: seen,
            });
        }
        let silent = self.guard.watch(step + 1, &self.specifications, gradients)?;
        let warnings = silent
            .iter()
            .map(|name| format!("`{name}` had no gradient in the first steps: it is not trained"))
            .collect();
        let most = config.max_grad_norm;
        let scale = if most > 0.0 && gradient_norm > most { most / gradient_norm } else { 1.0 };
        let decays: BTreeMap<String, bool> =
            self.specifications.iter().map(|one| (one.name.clone(), one.decay)).collect();
        let variables = &self.variables;
        self.optimizer.step(variables, &decays, gradients, config, learning_rate, scale)?;
        if let Some(average) = &mut self.average {
            average.update(variables, step + 1)?;
        }
        Ok(StepDone { loss, gradient_norm, tokens, warnings })
    }

    /// Scores the weights, and the averaged ones where there are any; keeps the best.
    fn evaluate(
        &mut self,
        step: u64,
        epoch: f64,
        observe: &mut dyn FnMut(Event<'_>) -> Result<Control, std::io::Error>,
    ) -> Result<(), TrainError> {
        let mut candidates = vec![(false, self.parameters.detached_copy()?)];
        if let Some(average) = &self.average {
            candidates.push((true, average.parameters(&self.parameters)?.detached_copy()?));
        }
        let rows = self.job.validation;
        let mut improved = false;
        for (averaged, parameters) in candidates {
            let classifier = Classifier::packed(self.job.encoder, &parameters)?;
            let sequence = |row| rows.sequence(row);
            let found = features(
                &classifier,
                &rows.lengths(),
                &sequence,
                &Wanted::default(),
                &mut |done| {
                    // A failing observer is heard at the next event that can fail.
                    let _ = observe(Event::Evaluating { done, rows: rows.len() });
                },
            )?;
            let (weight_cd, bias_c) = classifier.last_layer();
            let logits_nc = last_layer(&found.feature_nd, weight_cd, bias_c)?;
            let scores = Scores::of_logits(&logits_nc, rows.labels())?;
            let threshold = self.job.config.early_stopping_threshold;
            let better = self.best.as_ref().is_none_or(|(_, best, _)| scores.nll < best.nll);
            improved |=
                self.best.as_ref().is_none_or(|(_, best, _)| scores.nll < best.nll - threshold);
            let best = better.then_some(&parameters);
            observe(Event::Evaluated { step, epoch, scores, averaged, best })?;
            if better {
                self.best = Some((parameters, scores, step));
            }
        }
        self.without_progress = if improved { 0 } else { self.without_progress + 1 };
        Ok(())
    }
}

/// The weight of each class; balanced weights have a mean of 1 over the rows.
fn class_weights(job: &Job<'_>) -> Vec<f32> {
    let classes = job.encoder.labels.len();
    if job.config.class_weights == ClassWeights::None {
        return vec![1.0; classes];
    }
    let mut counts = vec![0usize; classes];
    job.train.labels().iter().for_each(|&label| counts[label as usize] += 1);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| job.train.len() as f32 / (present * count.max(1)) as f32;
    counts.iter().map(weight).collect()
}
