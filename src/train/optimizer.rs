//! AdamW with its own moments, in place.
//!
//! Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2, with the
//! schedule multiplied into the learning rate, as in PyTorch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{Gradients, TrainConfig, TrainError};
use crate::compute::kernels::simd::vectorised;
use crate::compute::ops::device::AdamW as Coefficients;

/// Values a block of the element-wise update.
const BLOCK: usize = 1 << 14;

/// First and second moments of one parameter, shaped like it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// The optimizer's state: plain vectors by name, and the number of steps taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdamW {
    pub(super) moments: BTreeMap<String, Moments>,
    pub(super) steps: u64,
}

/// How a parameter is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Whether it has weight decay.
    pub decays: bool,
    /// What its learning rate is multiplied with.
    pub rate: f64,
}

/// What step number `steps`, from 1, of a parameter needs to know besides the values; `scale` multiplies the gradients.
pub(super) fn coefficients(
    config: &TrainConfig,
    group: Group,
    (learning_rate, scale): (f64, f64),
    steps: u64,
) -> Coefficients {
    let steps = steps as f64;
    let decay = if group.decays { config.weight_decay } else { 0.0 };
    let learning_rate = learning_rate * group.rate;
    Coefficients {
        beta1: config.adam_beta1 as f32,
        beta2: config.adam_beta2 as f32,
        epsilon: config.adam_epsilon as f32,
        rate: (learning_rate / (1.0 - config.adam_beta1.powf(steps))) as f32,
        root: (1.0 - config.adam_beta2.powf(steps)).sqrt() as f32,
        shrink: (1.0 - learning_rate * decay) as f32,
        scale: scale as f32,
    }
}

impl AdamW {
    /// One step over all variables. `groups` says how each is treated; `scale` multiplies the
    /// gradients.
    pub fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        groups: &BTreeMap<String, Group>,
        gradients: &Gradients,
        config: &TrainConfig,
        learning_rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.steps += 1;
        for (name, variable) in variables {
            let gradient = gradients.get(name);
            let moments = self.moments.entry(name.clone()).or_insert_with(|| Moments {
                first: vec![0.0; gradient.len()],
                second: vec![0.0; gradient.len()],
            });
            let coefficients =
                coefficients(config, groups[name], (learning_rate, scale), self.steps);
            update(variable, gradient, moments, coefficients)?;
        }
        Ok(())
    }

    /// The state as a safetensors file: `first.NAME`, `second.NAME` and `steps`, and `average.NAME`
    /// where the weights are averaged.
    pub fn to_bytes(&self, average: Option<&BTreeMap<String, Vec<f32>>>) -> Vec<u8> {
        let steps = self.steps.to_le_bytes();
        let mut tensors = vec![("steps".to_owned(), view(Dtype::U64, &steps))];
        for (name, moments) in &self.moments {
            for (kind, values) in [("first", &moments.first), ("second", &moments.second)] {
                tensors.push((format!("{kind}.{name}"), view(Dtype::F32, bytes_of(values))));
            }
        }
        for (name, values) in average.into_iter().flatten() {
            tensors.push((format!("average.{name}"), view(Dtype::F32, bytes_of(values))));
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(tensors, Some(metadata)).expect("names and shapes are valid")
    }

    /// The state and the averaged weights from such a file.
    pub fn from_bytes(
        bytes: &[u8],
    ) -> std::result::Result<(Self, BTreeMap<String, Vec<f32>>), TrainError> {
        let broken = |message: String| TrainError::OptimizerState { message };
        let file = SafeTensors::deserialize(bytes).map_err(|error| broken(error.to_string()))?;
        let tensor = |name: &str, dtype: Dtype| {
            let view = file.tensor(name).map_err(|error| broken(error.to_string()))?;
            if view.dtype() == dtype { Ok(view) } else { Err(broken(format!("`{name}`: type"))) }
        };
        let floats = |name: &str| -> std::result::Result<Vec<f32>, TrainError> {
            let data = tensor(name, Dtype::F32)?;
            let value = |four: &[u8]| f32::from_le_bytes(four.try_into().expect("four bytes"));
            Ok(data.data().chunks_exact(4).map(value).collect())
        };
        let steps = tensor("steps", Dtype::U64)?;
        let steps = steps.data().try_into().map_err(|_| broken("`steps`: shape".to_owned()))?;
        let (mut moments, mut average) = (BTreeMap::new(), BTreeMap::new());
        for name in file.names() {
            if let Some(parameter) = name.strip_prefix("average.") {
                average.insert(parameter.to_owned(), floats(name)?);
            }
            let Some(parameter) = name.strip_prefix("first.") else { continue };
            let pair =
                Moments { first: floats(name)?, second: floats(&format!("second.{parameter}"))? };
            if pair.first.len() != pair.second.len() {
                return Err(broken(format!("`{parameter}`: moments of different lengths")));
            }
            moments.insert(parameter.to_owned(), pair);
        }
        Ok((Self { moments, steps: u64::from_le_bytes(steps) }, average))
    }
}

fn view(dtype: Dtype, bytes: &[u8]) -> TensorView<'_> {
    let width = if dtype == Dtype::F32 { 4 } else { 8 };
    TensorView::new(dtype, vec![bytes.len() / width], bytes)
        .expect("the shape was made from the bytes")
}

/// The bytes as they lie in memory: safetensors is little-endian, as every machine that candle runs on.
fn bytes_of(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

fn update(
    variable: &Var,
    gradient: &[f32],
    moments: &mut Moments,
    coefficients: Coefficients,
) -> Result<()> {
    if variable.elem_count() != gradient.len() || moments.first.len() != gradient.len() {
        bail!("gradient and moments must have the size of the parameter");
    }
    let op = InPlace(Mutex::new(moments), gradient, coefficients);
    variable.as_tensor().inplace_op1(&op)
}

struct InPlace<'a>(Mutex<&'a mut Moments>, &'a [f32], Coefficients);

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("adamw: parameters are contiguous f32");
        };
        let mut moments = self.0.lock().expect("nothing panics while it holds the moments");
        apply(&mut values[start..end], self.1, &mut moments, self.2);
        Ok(())
    }
}

fn apply(values: &mut [f32], gradient: &[f32], moments: &mut Moments, k: Coefficients) {
    let blocks = values
        .par_chunks_mut(BLOCK)
        .zip(gradient.par_chunks(BLOCK))
        .zip(moments.first.par_chunks_mut(BLOCK))
        .zip(moments.second.par_chunks_mut(BLOCK));
    blocks.for_each(|(((values, gradient), first), second)| {
        update_block(values, gradient, first, second, k);
    });
}

vectorised! {
    fn update_block<'a>(
        values: &'a mut [f32],
        gradient: &'a [f32],
        first: &'a mut [f32],
        second: &'a mut [f32],
        k: Coefficients,
    ) {
        for (((x, &g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = g * k.scale;
            *m = k.beta1 * *m + (1.0 - k.beta1) * g;
            *v = k.beta2 * *v + (1.0 - k.beta2) * g * g;
            *x = *x * k.shrink - k.rate * *m / (v.sqrt() / k.root + k.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn run(steps: usize, optimizer: &mut AdamW, start: &[f32]) -> Vec<f32> {
        let x = Var::from_slice(start, start.len(), &Device::Cpu).unwrap();
        let variables = BTreeMap::from([("x".to_owned(), x)]);
        let groups = BTreeMap::from([("x".to_owned(), Group { decays: true, rate: 1.0 })]);
        let config = TrainConfig { weight_decay: 0.1, ..TrainConfig::default() };
        for _ in 0..steps {
            let x = variables["x"].as_tensor();
            let loss = (x.sqr().unwrap() * 0.5).unwrap().sum_all().unwrap();
            let mut gradients = Gradients::default();
            gradients.add(&variables, &loss.backward().unwrap()).unwrap();
            optimizer.step(&variables, &groups, &gradients, &config, 0.01, 1.0).unwrap();
        }
        variables["x"].as_tensor().to_vec1().unwrap()
    }

    /// The formula written out in f64 for f(x) = x² / 2, whose gradient is x.
    #[test]
    fn steps_follow_the_algorithm() {
        let mut expected: Vec<f64> = vec![1.0, -2.0, 0.5];
        let (mut m, mut v) = ([0.0f64; 3], [0.0f64; 3]);
        for t in 1..=5 {
            for i in 0..3 {
                let g = expected[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m_hat, v_hat) =
                    (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                expected[i] -= 0.01 * 0.1 * expected[i];
                expected[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        let found = run(5, &mut AdamW::default(), &[1.0, -2.0, 0.5]);
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    /// The first step of Adam is the learning rate, whatever the gradient.
    #[test]
    fn the_last_layer_has_a_learning_rate_of_its_own() {
        let config = TrainConfig {
            learning_rate: 0.01,
            head_learning_rate: 0.03,
            weight_decay: 0.0,
            ..TrainConfig::default()
        };
        for (name, expected) in [("classifier.weight", 0.03), ("pooler.weight", 0.01)] {
            let x = Var::from_slice(&[1f32], 1, &Device::Cpu).unwrap();
            let variables = BTreeMap::from([(name.to_owned(), x)]);
            let group = Group { decays: false, rate: config.rate_factor(name, 1) };
            let groups = BTreeMap::from([(name.to_owned(), group)]);
            let mut gradients = Gradients::default();
            let loss = variables[name].as_tensor().sqr().unwrap().sum_all().unwrap();
            gradients.add(&variables, &loss.backward().unwrap()).unwrap();
            AdamW::default()
                .step(&variables, &groups, &gradients, &config, config.learning_rate, 1.0)
                .unwrap();
            let moved = 1.0 - variables[name].as_tensor().to_vec1::<f32>().unwrap()[0];
            assert!((moved - expected).abs() < 1e-6, "{name} moved by {moved}");
        }
    }

    #[test]
    fn a_restored_state_goes_on_to_the_same_bits() {
        let mut straight = AdamW::default();
        let whole = run(6, &mut straight, &[1.0, -2.0]);
        let mut first = AdamW::default();
        let half = run(3, &mut first, &[1.0, -2.0]);
        let average = BTreeMap::from([("x".to_owned(), vec![0.25f32, -3.0])]);
        let file = first.to_bytes(Some(&average));
        let (mut restored, read) = AdamW::from_bytes(&file).unwrap();
        assert_eq!((&restored, read), (&first, average));
        assert_eq!(run(3, &mut restored, &half), whole);
        assert!(AdamW::from_bytes(&file[..40]).is_err());
    }
}
