//! A last layer that reads the means of hidden states beside the feature φ.
//!
//! φ is made to tell the classes apart. What enters earlier layers still knows what else a text is: a
//! posterior over weights on all of them is uncertain in more directions.

use candle_core::{Device, Tensor};

use crate::model::HiddenStates;
use crate::store::{TensorFile, Tensors};

/// What is read beside φ, and the layer on all of it.
#[derive(Clone, Debug)]
pub struct WideLayer {
    /// Their means over the tokens come before φ, in ascending order: together they are e wide.
    pub states: HiddenStates,
    /// The mean of its weight, `[c, e]`, and bias, `[c]`; absent where random Fourier features of all of it
    /// are read instead.
    pub layer: Option<[Tensor; 2]>,
}

const STATES: &str = "wide.states";
const WEIGHT: &str = "wide.weight";
const BIAS: &str = "wide.bias";

impl WideLayer {
    /// Puts its tensors into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        let numbers: Vec<f64> = self.states.numbers().map(|number| number as f64).collect();
        tensors.put_f64(STATES, &numbers);
        let Some(layer) = &self.layer else { return };
        let [weight, bias] = layer.each_ref().map(|tensor| -> Vec<f32> {
            let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
            flat.expect("a layer is f32 in memory")
        });
        tensors.put_f32(WEIGHT, &[bias.len(), weight.len() / bias.len()], &weight);
        tensors.put_f32(BIAS, &[1, bias.len()], &bias);
    }

    /// That of a file, where it has one, for a φ of `width`. The error names the tensor that is wrong.
    pub fn read(
        file: &TensorFile<'_>,
        classes: usize,
        width: usize,
    ) -> Result<Option<Self>, String> {
        if !file.has(STATES) {
            return Ok(None);
        }
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && (0.0..=HiddenStates::MOST as f64).contains(&number);
            fits.then_some(number as usize).ok_or(format!("`{STATES}` holds {number}"))
        };
        let numbers = file.f64(STATES)?.into_iter().map(whole);
        let states = HiddenStates::new(numbers.collect::<Result<Vec<_>, _>>()?)
            .map_err(|message| format!("`{STATES}`: {message}"))?;
        if states.is_empty() {
            return Err(format!("`{STATES}` is empty"));
        }
        let layer = match file.has(WEIGHT) {
            false => None,
            true => {
                let wide = (states.len() + 1) * width;
                let weight = file.matrix(WEIGHT, Some(classes), wide)?;
                let bias = file.matrix(BIAS, Some(1), classes)?;
                let tensor = |values: Vec<f32>, shape: &[usize]| {
                    Tensor::from_vec(values, shape, &Device::Cpu).map_err(|error| error.to_string())
                };
                Some([tensor(weight, &[classes, wide])?, tensor(bias, &[classes])?])
            }
        };
        Ok(Some(Self { states, layer }))
    }
}
