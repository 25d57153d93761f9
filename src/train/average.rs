//! The exponential moving average of the weights.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

use crate::model::Parameters;

/// Averaged values by name.
#[derive(Clone, Debug)]
pub struct Average {
    values: BTreeMap<String, Vec<f32>>,
    decay: f64,
}

impl Average {
    /// Begins at the weights as they are.
    pub fn new(variables: &BTreeMap<String, Var>, decay: f64) -> Result<Self> {
        let value = |(name, variable): (&String, &Var)| {
            Ok((name.clone(), variable.flatten_all()?.to_vec1()?))
        };
        Ok(Self { values: variables.iter().map(value).collect::<Result<_>>()?, decay })
    }

    /// Goes on from values that [`Self::values`] gave.
    pub fn resumed(values: BTreeMap<String, Vec<f32>>, decay: f64) -> Self {
        Self { values, decay }
    }

    /// The averaged values.
    pub fn values(&self) -> &BTreeMap<String, Vec<f32>> {
        &self.values
    }

    /// Takes the weights after `steps` steps in, with decay min(d, (1 + t) / (10 + t)).
    pub fn update(&mut self, variables: &BTreeMap<String, Var>, steps: u64) -> Result<()> {
        let decay = self.decay.min((1.0 + steps as f64) / (10.0 + steps as f64)) as f32;
        for (name, values) in &mut self.values {
            let current: Vec<f32> = variables[name].flatten_all()?.to_vec1()?;
            for (value, current) in values.iter_mut().zip(current) {
                *value = decay * *value + (1.0 - decay) * current;
            }
        }
        Ok(())
    }

    /// The averaged weights, shaped and placed as `parameters`; what is not averaged is taken over.
    pub fn parameters(&self, parameters: &Parameters) -> Result<Parameters> {
        let tensor = |(name, current): (&String, &Tensor)| {
            let tensor = match self.values.get(name) {
                Some(values) => Tensor::from_slice(values, current.shape(), current.device())?,
                None => current.clone(),
            };
            Ok((name.clone(), tensor))
        };
        parameters.iter().map(tensor).collect::<Result<_>>().map(Parameters::from_map)
    }
}
