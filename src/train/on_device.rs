//! Gradients, moments and the average of the weights as tensors of a device. A step reads its losses and the norms of
//! its gradients, once; all else is read when it is saved or looked at.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Result as CandleResult, Tensor, Var};

use super::average::{Average, decay};
use super::optimizer::{Moments, coefficients};
use super::updater::{Found, Rates};
use super::{AdamW, Gradients, TrainError};
use crate::compute::fetch;
use crate::compute::ops::device::{square_sums, take_in};
use crate::model::{Parameters, Specification};

type Tensors = BTreeMap<String, Tensor>;

/// The state of a run on a device.
#[derive(Debug)]
pub(super) struct OnDevice {
    /// Those of the passes so far, in a step.
    gradients: Tensors,
    losses: Vec<Tensor>,
    /// First and second moments, `[2, n]`.
    moments: Tensors,
    steps: u64,
    /// The averaged weights, and the most that they keep of themselves.
    average: Option<(Tensors, f64)>,
}

impl OnDevice {
    pub fn new(
        variables: &BTreeMap<String, Var>,
        optimizer: &AdamW,
        average: Option<&Average>,
    ) -> Result<Self, TrainError> {
        let mut moments = Tensors::new();
        for (name, Moments { first, second }) in &optimizer.moments {
            let Some(variable) = variables.get(name) else { continue };
            let (both, shape) = ([first.as_slice(), second].concat(), (2, first.len()));
            moments.insert(name.clone(), Tensor::from_vec(both, shape, variable.device())?);
        }
        let tensor = |(name, values): (&String, &Vec<f32>)| {
            let variable = &variables[name];
            let own = Tensor::from_slice(values, variable.shape(), variable.device())?;
            Ok((name.clone(), own))
        };
        let average = average.map(|own| -> CandleResult<_> {
            Ok((own.values().iter().map(tensor).collect::<CandleResult<_>>()?, own.most()))
        });
        Ok(Self {
            gradients: Tensors::new(),
            losses: Vec::new(),
            moments,
            steps: optimizer.steps,
            average: average.transpose()?,
        })
    }

    pub fn clear(&mut self) {
        self.gradients.clear();
        self.losses.clear();
    }

    /// Adds the gradients of a pass, or of a part of one: of those variables that it has any of.
    pub fn gather(
        &mut self,
        variables: &BTreeMap<String, Var>,
        found: &GradStore,
    ) -> CandleResult<()> {
        for (name, variable) in variables {
            let Some(own) = found.get(variable.as_tensor()) else { continue };
            let sum = match self.gradients.get(name) {
                Some(sum) => (sum + own.detach())?,
                // Without the graph that Candle's gradients have, which holds activations.
                None => own.detach(),
            };
            self.gradients.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// The loss of a pass, `[]`.
    pub fn loss(&mut self, loss: &Tensor) {
        self.losses.push(loss.detach());
    }

    /// Losses, and the sums of squares of the gradients of each tensor that transformers has, in one read.
    pub fn found(
        &self,
        variables: &BTreeMap<String, Var>,
        specifications: &[Specification],
    ) -> Result<Found, TrainError> {
        let mut numbers = Vec::new();
        for loss in &self.losses {
            numbers.push(loss.to_dtype(DType::F64)?.reshape(1)?);
        }
        let used = || specifications.iter().filter(|one| one.used);
        for one in used() {
            let name = || one.name.clone();
            let Some(gradient) = self.gradients.get(&one.name) else {
                return Err(TrainError::NoGradient { name: name() });
            };
            let (found, expected) = (gradient.dims(), variables[&one.name].dims());
            if found != expected {
                let (found, expected) = (found.to_vec(), expected.to_vec());
                return Err(TrainError::GradientShape { name: name(), found, expected });
            }
            let lengths = one.parts.iter().map(|part| part.shape.iter().product());
            numbers.push(square_sums(gradient, lengths.collect())?);
        }
        let numbers = match numbers.as_slice() {
            [] => Vec::new(),
            _ => fetch::<f64>(&Tensor::cat(&numbers, 0)?)?,
        };
        let (losses, squares) = numbers.split_at(self.losses.len());
        let parts = used().flat_map(|one| one.parts.iter().map(move |part| (one, part)));
        let parts: Vec<_> = parts.zip(squares).collect();
        let not_finite = parts.iter().find(|(_, square)| !square.is_finite());
        let heard = parts.iter().filter(|(_, square)| **square > 0.0);
        Ok(Found {
            losses: losses.to_vec(),
            norm: squares.iter().sum::<f64>().sqrt(),
            not_finite: not_finite.map(|((one, _), _)| one.name.clone()),
            heard: Some(heard.map(|((_, part), _)| part.name.clone()).collect()),
        })
    }

    pub fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        rates: Rates<'_>,
    ) -> CandleResult<()> {
        self.steps += 1;
        let Rates { groups, config, learning_rate, scale } = rates;
        for (name, variable) in variables {
            let weight = variable.as_tensor();
            if !self.moments.contains_key(name) {
                let shape = (2, weight.elem_count());
                let zeros = Tensor::zeros(shape, DType::F32, weight.device())?;
                self.moments.insert(name.clone(), zeros);
            }
            let own = coefficients(config, groups[name], (learning_rate, scale), self.steps);
            own.step(weight, &self.moments[name], &self.gradients[name])?;
        }
        Ok(())
    }

    pub fn take_in(&mut self, variables: &BTreeMap<String, Var>, steps: u64) -> CandleResult<()> {
        let Some((average, most)) = &self.average else { return Ok(()) };
        for (name, own) in average {
            take_in(own, variables[name].as_tensor(), decay(*most, steps))?;
        }
        Ok(())
    }

    pub fn averaged(&self, parameters: &Parameters) -> CandleResult<Option<Parameters>> {
        let Some((average, _)) = &self.average else { return Ok(None) };
        let with = |all: Parameters, (name, own): (&String, &Tensor)| all.with(name, own.clone());
        average.iter().fold(parameters.clone(), with).detached_copy().map(Some)
    }

    pub fn gradients(&self) -> Result<Gradients, TrainError> {
        Gradients::fetched(&self.gradients)
    }

    pub fn optimizer(&self) -> Result<AdamW, TrainError> {
        let moments = |(name, both): (&String, &Tensor)| {
            let mut first = fetch::<f32>(both)?;
            let second = first.split_off(first.len() / 2);
            Ok((name.clone(), Moments { first, second }))
        };
        let moments = self.moments.iter().map(moments).collect::<CandleResult<_>>()?;
        Ok(AdamW { moments, steps: self.steps })
    }

    pub fn average(&self) -> Result<Option<BTreeMap<String, Vec<f32>>>, TrainError> {
        let Some((average, _)) = &self.average else { return Ok(None) };
        let values = |(name, own): (&String, &Tensor)| Ok((name.clone(), fetch(own)?));
        Ok(Some(average.iter().map(values).collect::<CandleResult<_>>()?))
    }
}
