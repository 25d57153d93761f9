//! The exponential moving average of the weights.

use std::collections::BTreeMap;

use candle_core::{Result, Var};

use crate::compute::fetch;

/// What an average keeps of itself after so many steps: min(d, (1 + t) / (10 + t)).
pub(super) fn decay(most: f64, steps: u64) -> f32 {
    most.min((1.0 + steps as f64) / (10.0 + steps as f64)) as f32
}

/// Averaged values by name.
#[derive(Clone, Debug)]
pub struct Average {
    values: BTreeMap<String, Vec<f32>>,
    decay: f64,
}

impl Average {
    /// Begins at the weights as they are.
    pub fn new(variables: &BTreeMap<String, Var>, decay: f64) -> Result<Self> {
        let value = |(name, variable): (&String, &Var)| Ok((name.clone(), fetch(variable)?));
        Ok(Self { values: variables.iter().map(value).collect::<Result<_>>()?, decay })
    }

    /// Goes on from values that [`Self::values`] gave.
    pub fn resumed(values: BTreeMap<String, Vec<f32>>, decay: f64) -> Self {
        Self { values, decay }
    }

    /// The most that the average keeps of itself.
    pub fn most(&self) -> f64 {
        self.decay
    }

    pub fn values(&self) -> &BTreeMap<String, Vec<f32>> {
        &self.values
    }

    /// Takes the weights after `steps` steps in, with decay min(d, (1 + t) / (10 + t)).
    pub fn update(&mut self, variables: &BTreeMap<String, Var>, steps: u64) -> Result<()> {
        let decay = decay(self.decay, steps);
        for (name, values) in &mut self.values {
            let current: Vec<f32> = fetch(&variables[name])?;
            for (value, current) in values.iter_mut().zip(current) {
                *value = decay * *value + (1.0 - decay) * current;
            }
        }
        Ok(())
    }
}
