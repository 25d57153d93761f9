//! One forward and backward pass.

use std::collections::BTreeMap;

use candle_core::{Result as CandleResult, Tensor, Var};

use super::on_device::OnDevice;
use super::updater::Updater;
use super::{Answers, Gradients, Objective, TrainConfig, TrainError};
use crate::compute::ops::cross_entropy;
use crate::compute::{Packed, Precision};
use crate::model::{
    Classifier, DropoutSource, EncoderConfig, Engine, Parameters, Tape, TrainingPass,
};
use crate::task::Task;

/// What a batch should have been answered.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// A class for each sequence.
    pub labels: &'a [u32],
    /// The weight of each sequence.
    pub weights: &'a [f32],
    /// The weight of all sequences of the step.
    pub total: f64,
    /// The place of each sequence in the training set.
    pub rows: &'a [u32],
    /// The sequences of the step.
    pub step_rows: usize,
}

/// The passes of a run: through the CPU engine, or through Candle's graph.
#[derive(Debug)]
pub struct Pass<'o> {
    encoder: EncoderConfig,
    classifier: Classifier,
    smoothing: f64,
    checkpointing: usize,
    frozen: usize,
    precision: Precision,
    tape: Tape,
    engine: Option<Engine>,
    /// What is minimised, if not the cross entropy.
    objective: Option<&'o dyn Objective>,
}

impl<'o> Pass<'o> {
    /// For variables that `parameters` share.
    pub fn new(
        encoder: &EncoderConfig,
        config: &TrainConfig,
        parameters: &Parameters,
        objective: Option<&'o dyn Objective>,
    ) -> Self {
        Self {
            encoder: encoder.clone(),
            classifier: Classifier::new(encoder, parameters).at(config.precision()),
            smoothing: config.label_smoothing_factor,
            checkpointing: config.activation_checkpointing,
            frozen: config.frozen_layers,
            precision: config.precision(),
            tape: Tape::default(),
            engine: None,
            objective,
        }
    }

    /// Bytes held for activations.
    pub fn activation_bytes(&self) -> usize {
        self.tape.bytes()
    }

    /// The loss of a batch, which is not known yet where it is on a device; adds its gradients.
    pub fn run(
        &mut self,
        parameters: &Parameters,
        variables: &BTreeMap<String, Var>,
        batch: &Packed,
        targets: &Targets<'_>,
        source: &DropoutSource,
        updater: &mut Updater,
    ) -> Result<Option<f64>, TrainError> {
        match updater {
            Updater::Host(own) => self
                .on_cpu(parameters, variables, batch, targets, source, &mut own.gradients)
                .map(Some),
            Updater::Device(own) => {
                self.on_device(variables, batch, targets, source, own)?;
                Ok(None)
            }
        }
    }

    /// The loss of what enters the last layer, `[]`.
    fn loss(
        &self,
        feature_bd: &Tensor,
        variables: &BTreeMap<String, Var>,
        targets: &Targets<'_>,
        pass: u64,
    ) -> CandleResult<Tensor> {
        let Targets { labels, weights, total, rows, step_rows } = *targets;
        let logit_bc = &self.classifier.feature_logits(feature_bd)?;
        if let Some(objective) = self.objective {
            let answers = Answers { feature_bd, logit_bc, rows, labels, weights, step_rows, pass };
            return objective.loss(&answers, variables);
        }
        match self.encoder.task {
            Task::SingleLabel => cross_entropy(logit_bc, labels, weights, self.smoothing, total),
        }
    }

    fn on_device(
        &self,
        variables: &BTreeMap<String, Var>,
        batch: &Packed,
        targets: &Targets<'_>,
        source: &DropoutSource,
        own: &mut OnDevice,
    ) -> Result<(), TrainError> {
        let pass = self.classifier.segments(batch, source, self.checkpointing)?;
        let feature_bd = self.classifier.segments_feature(&pass, source)?;
        let loss = self.loss(&feature_bd, variables, targets, source.step)?;
        let found = loss.backward()?;
        own.loss(&loss);
        // What only the loss and what it reads still hold is given back before layers are made again.
        drop((loss, feature_bd));
        pass.backward(&found, &mut |found| own.gather(variables, found))?;
        Ok(())
    }

    fn on_cpu(
        &mut self,
        parameters: &Parameters,
        variables: &BTreeMap<String, Var>,
        batch: &Packed,
        targets: &Targets<'_>,
        source: &DropoutSource,
        gradients: &mut Gradients,
    ) -> Result<f64, TrainError> {
        match &mut self.engine {
            Some(engine) => engine.update(parameters)?,
            None => self.engine = Engine::above(&self.encoder, parameters, 0, self.precision)?,
        }
        let engine = self.engine.as_ref().expect("parameters are f32");
        let Self { checkpointing, frozen, .. } = *self;
        let pass = TrainingPass { batch, source: Some(source), checkpointing, frozen };
        let pooled_bd = engine.pooled_with_tape(&pass, &mut self.tape)?;
        let pooled_bd = Var::from_tensor(&pooled_bd)?;
        let feature_bd =
            self.classifier.head_feature(pooled_bd.as_tensor(), batch, Some(source))?;
        let loss = self.loss(&feature_bd, variables, targets, source.step)?;
        let found = loss.backward()?;
        let of_pooled = found.get(pooled_bd.as_tensor());
        let of_pooled = of_pooled
            .ok_or_else(|| TrainError::NoGradient { name: "the pooled state".to_owned() })?;
        let head: BTreeMap<String, Var> = variables
            .iter()
            .filter(|(name, _)| name.starts_with("pooler.") || name.starts_with("classifier."))
            .map(|(name, variable)| (name.clone(), variable.clone()))
            .collect();
        gradients.add(&head, &found)?;
        let into = gradients.values_mut(batch.ids());
        engine.backward(parameters, &pass, &mut self.tape, of_pooled, into)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }
}
