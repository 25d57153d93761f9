//! One optimizer step.

use super::TrainError;
use super::class_weights::counts;
use super::pass::Targets;
use super::run::{Job, Run};
use super::updater::Rates;
use crate::compute::Packed;
use crate::model::DropoutSource;

/// What one step tells.
pub(super) struct StepDone {
    pub(super) loss: f64,
    pub(super) gradient_norm: f64,
    pub(super) tokens: usize,
    pub(super) warnings: Vec<String>,
}

/// What the passes of a step came to, besides their gradients.
struct Passed {
    /// Of each micro-batch; none where they are on a device still.
    losses: Vec<f64>,
    tokens: usize,
    /// Of each micro-batch.
    rows: Vec<Vec<u64>>,
}

/// What is found where a number should be.
pub(super) struct NotFinite {
    pub(super) what: String,
    pub(super) rows: Vec<u64>,
}

impl NotFinite {
    pub(super) fn error(self, step: u64) -> TrainError {
        TrainError::NotFinite { what: self.what, step, rows: self.rows }
    }
}

impl Run<'_> {
    /// Forward, backward and update over the micro-batches of one optimizer step. Where loss or gradient
    /// is not finite, nothing has changed.
    pub(super) fn step(
        &mut self,
        step: u64,
        learning_rate: f64,
        micro_batches: &[Vec<u32>],
    ) -> Result<Result<StepDone, NotFinite>, TrainError> {
        let (config, width) = (self.job.config, self.job.encoder.embedding_width());
        if let Some(follower) = &mut self.follower {
            follower.perturb(step, &self.variables)?;
        }
        let passed = self.passes(step, micro_batches);
        if let Some(follower) = &mut self.follower {
            follower.restore(&self.variables)?;
        }
        let Passed { losses, tokens, rows: seen } = match passed? {
            Ok(passed) => passed,
            Err(found) => return Ok(Err(found)),
        };
        let found = self.updater.found(&self.variables, &self.specifications, width)?;
        let losses = if losses.is_empty() { found.losses } else { losses };
        if let Some((_, rows)) = losses.iter().zip(&seen).find(|(loss, _)| !loss.is_finite()) {
            return Ok(Err(NotFinite { what: "the loss".to_owned(), rows: rows.clone() }));
        }
        let (loss, gradient_norm) = (losses.iter().sum(), found.norm);
        if !gradient_norm.is_finite() {
            let name = found.not_finite.as_deref().unwrap_or("all parameters together");
            let what = format!("the gradient of `{name}`");
            return Ok(Err(NotFinite { what, rows: seen.concat() }));
        }
        let (guard, specifications) = (&mut self.guard, &self.specifications);
        let silent = self.updater.watch(guard, step + 1, specifications, found.heard)?;
        let warnings = silent
            .iter()
            .map(|name| format!("`{name}` had no gradient in the first steps: it is not trained"))
            .collect();
        let most = config.max_grad_norm;
        let scale = if most > 0.0 && gradient_norm > most { most / gradient_norm } else { 1.0 };
        let rates = Rates { groups: &self.groups, config, learning_rate, scale };
        self.updater.step(&self.optimized, rates)?;
        if let Some(objective) = self.job.objective {
            objective.constrain(&self.variables)?;
        }
        let share = self.rate(step);
        // Gradients come from a device only for one that updates weights itself.
        let owns = self.optimized.len() < self.variables.len();
        if let Some(follower) = self.follower.as_mut().filter(|_| owns) {
            follower.update(share, &self.variables, &*self.updater.gradients()?)?;
        }
        self.updater.take_in(&self.variables, step + 1)?;
        Ok(Ok(StepDone { loss, gradient_norm, tokens, warnings }))
    }

    /// The passes over the micro-batches of a step: their gradients, and what they saw.
    fn passes(
        &mut self,
        step: u64,
        micro_batches: &[Vec<u32>],
    ) -> Result<Result<Passed, NotFinite>, TrainError> {
        let config = self.job.config;
        let set = self.supply.rows().unwrap_or(self.job.train);
        let weight = |&row: &u32| self.class_weights[set.labels()[row as usize] as usize];
        let total: f64 = micro_batches.iter().flatten().map(|row| f64::from(weight(row))).sum();
        let step_rows = micro_batches.iter().map(Vec::len).sum();
        self.updater.clear(self.job.encoder.embedding_width());
        let (mut losses, mut tokens, mut seen) = (Vec::new(), 0, Vec::new());
        for (index, rows) in micro_batches.iter().enumerate() {
            let batch = Packed::new(rows.iter().map(|&row| set.sequence(row as usize)));
            let labels: Vec<u32> = rows.iter().map(|&row| set.labels()[row as usize]).collect();
            let weights: Vec<f32> = rows.iter().map(weight).collect();
            let pass = step * config.gradient_accumulation_steps as u64 + index as u64;
            let source = DropoutSource { noise: self.noise, step: pass };
            let targets = Targets { labels: &labels, weights: &weights, total, rows, step_rows };
            let value = self.pass.run(
                &self.parameters,
                &self.variables,
                &batch,
                &targets,
                &source,
                &mut self.updater,
            )?;
            if value.is_some_and(|value| !value.is_finite()) {
                let rows = batch.rows().to_vec();
                return Ok(Err(NotFinite { what: "the loss".to_owned(), rows }));
            }
            losses.extend(value);
            tokens += batch.tokens();
            seen.push(batch.rows().to_vec());
        }
        Ok(Ok(Passed { losses, tokens, rows: seen }))
    }
}

/// The weight of each class.
pub(super) fn class_weights(job: &Job<'_>) -> Vec<f32> {
    let counts = match job.stream {
        Some(stream) => stream.counts(),
        None => counts(job.train.labels(), job.encoder.labels.len()),
    };
    job.config.class_weights.of(&counts)
}
