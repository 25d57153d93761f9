//! What a run updates its weights with: plain vectors for the CPU engine, tensors that stay on the device for the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use candle_core::Var;

use super::average::Average;
use super::on_device::OnDevice;
use super::{AdamW, Gradients, Group, Guard, TrainConfig, TrainError};
use crate::model::{Parameters, Specification};

/// The averaged weights by name.
type Averaged<'a> = Cow<'a, BTreeMap<String, Vec<f32>>>;

/// Gradients, moments and the average of the weights.
#[derive(Debug)]
pub(super) enum Updater {
    Host(Box<OnHost>),
    Device(OnDevice),
}

#[derive(Debug)]
pub(super) struct OnHost {
    pub gradients: Gradients,
    optimizer: AdamW,
    average: Option<Average>,
}

/// What one step knows before it updates weights.
#[derive(Debug)]
pub(super) struct Found {
    /// Of each micro-batch, where they were not known before.
    pub losses: Vec<f64>,
    /// The global norm of the gradients.
    pub norm: f64,
    /// The first parameter with a gradient that is not finite.
    pub not_finite: Option<String>,
    /// The names in transformers that had a gradient, where the guard has not looked at them itself.
    pub heard: Option<Vec<String>>,
}

/// How weights are updated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates<'a> {
    pub groups: &'a BTreeMap<String, Group>,
    pub config: &'a TrainConfig,
    pub learning_rate: f64,
    /// What gradients are multiplied with.
    pub scale: f64,
}

impl Updater {
    /// Goes on from an optimizer, and from the average where there was one, for variables of these parameters.
    pub fn new(
        parameters: &Parameters,
        variables: &BTreeMap<String, Var>,
        optimizer: AdamW,
        average: Option<Average>,
    ) -> Result<Self, TrainError> {
        if parameters.backend().is_cpu() {
            let gradients = Gradients::default();
            return Ok(Self::Host(Box::new(OnHost { gradients, optimizer, average })));
        }
        Ok(Self::Device(OnDevice::new(variables, &optimizer, average.as_ref())?))
    }

    /// Before the passes of a step; `width` is that of the word embeddings.
    pub fn clear(&mut self, width: usize) {
        match self {
            Self::Host(own) => own.gradients.clear(width),
            Self::Device(own) => own.clear(),
        }
    }

    /// What the passes have come to. Every variable has a gradient of its own shape, or the first without is an error.
    pub fn found(
        &mut self,
        variables: &BTreeMap<String, Var>,
        specifications: &[Specification],
        width: usize,
    ) -> Result<Found, TrainError> {
        match self {
            Self::Host(own) => {
                own.gradients.check(variables)?;
                let norm = own.gradients.norm(width);
                let not_finite = || own.gradients.not_finite().map(str::to_owned);
                let not_finite = if norm.is_finite() { None } else { not_finite() };
                Ok(Found { losses: Vec::new(), norm, not_finite, heard: None })
            }
            Self::Device(own) => own.found(variables, specifications),
        }
    }

    /// What the guard says of a step.
    pub fn watch(
        &self,
        guard: &mut Guard,
        finished: u64,
        specifications: &[Specification],
        heard: Option<Vec<String>>,
    ) -> Result<Vec<String>, TrainError> {
        match self {
            Self::Host(own) => guard.watch(finished, specifications, &own.gradients),
            Self::Device(_) => Ok(guard.hear(finished, heard.unwrap_or_default())),
        }
    }

    /// One step of the optimizer over these variables.
    pub fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        rates: Rates<'_>,
    ) -> Result<(), TrainError> {
        match self {
            Self::Host(own) => {
                let Rates { groups, config, learning_rate, scale } = rates;
                let gradients = &own.gradients;
                own.optimizer.step(variables, groups, gradients, config, learning_rate, scale)?;
            }
            Self::Device(own) => own.step(variables, rates)?,
        }
        Ok(())
    }

    /// Takes the weights after `steps` steps into the average, where there is one.
    pub fn take_in(
        &mut self,
        variables: &BTreeMap<String, Var>,
        steps: u64,
    ) -> Result<(), TrainError> {
        match self {
            Self::Host(own) => {
                if let Some(average) = &mut own.average {
                    average.update(variables, steps)?;
                }
            }
            Self::Device(own) => own.take_in(variables, steps)?,
        }
        Ok(())
    }

    /// The parameters with the averaged weights, where there are any, in storage of their own.
    pub fn averaged(&self, parameters: &Parameters) -> Result<Option<Parameters>, TrainError> {
        Ok(match self {
            Self::Host(own) => match &own.average {
                Some(average) => Some(parameters.with_values(average.values())?.detached_copy()?),
                None => None,
            },
            Self::Device(own) => own.averaged(parameters)?,
        })
    }

    /// The gradients of the last step, on the host.
    pub fn gradients(&self) -> Result<Cow<'_, Gradients>, TrainError> {
        match self {
            Self::Host(own) => Ok(Cow::Borrowed(&own.gradients)),
            Self::Device(own) => own.gradients().map(Cow::Owned),
        }
    }

    /// The optimizer, on the host.
    pub fn optimizer(&self) -> Result<Cow<'_, AdamW>, TrainError> {
        match self {
            Self::Host(own) => Ok(Cow::Borrowed(&own.optimizer)),
            Self::Device(own) => own.optimizer().map(Cow::Owned),
        }
    }

    /// The averaged weights by name, on the host.
    pub fn average(&self) -> Result<Option<Averaged<'_>>, TrainError> {
        Ok(match self {
            Self::Host(own) => own.average.as_ref().map(|own| Cow::Borrowed(own.values())),
            Self::Device(own) => own.average()?.map(Cow::Owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::compute::{Backend, Noise, Purpose, fetch};

    /// From the same gradients, weights, moments and averages have the same bits in both engines.
    #[test]
    fn both_engines_update_to_the_same_bits() {
        let config = TrainConfig { weight_decay: 0.1, ..TrainConfig::default() };
        let groups = BTreeMap::from([("x".to_owned(), Group { decays: true, rate: 0.5 })]);
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        let start: Vec<f32> = (0..300).map(|_| stream.normal() as f32).collect();
        let [host, device] = [Backend::Cpu, Backend::TWIN].map(|backend| {
            let own = Var::from_slice(&start, (3, 100), &Device::Cpu).unwrap();
            let tensors = BTreeMap::from([("x".to_owned(), own.as_tensor().clone())]);
            let variables = BTreeMap::from([("x".to_owned(), own)]);
            let parameters = Parameters::from_map(tensors, &backend);
            let average = Some(Average::new(&variables, 0.9).unwrap());
            let mut updater =
                Updater::new(&parameters, &variables, AdamW::default(), average).unwrap();
            for step in 1..=5 {
                updater.clear(100);
                let loss: Tensor = variables["x"].sqr().unwrap().sum_all().unwrap();
                let found = loss.backward().unwrap();
                match &mut updater {
                    Updater::Host(own) => own.gradients.add(&variables, &found).unwrap(),
                    Updater::Device(own) => own.gather(&variables, &found).unwrap(),
                }
                let rates =
                    Rates { groups: &groups, config: &config, learning_rate: 0.01, scale: 0.7 };
                updater.step(&variables, rates).unwrap();
                updater.take_in(&variables, step).unwrap();
            }
            let average = updater.average().unwrap();
            let file = updater.optimizer().unwrap().to_bytes(average.as_deref());
            (fetch::<f32>(&variables["x"]).unwrap(), file)
        });
        assert_ne!(host.0, start);
        assert!(host == device, "weights, moments or averages have other bits");
    }
}
