//! The parameters of a classifier under our names.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result, Tensor, Var};

use super::layout::{Fill, weights_number};
use super::{EncoderConfig, Specification, specifications};
use crate::compute::{Backend, Noise, Precision, Purpose, fetch};

/// Tensors by name, and where the network computes that they are of. A map in name order, since whatever runs over
/// parameters does so in that order.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    tensors: BTreeMap<String, Tensor>,
    backend: Backend,
}

impl Parameters {
    /// New parameters from the seed: a checkpoint's missing head, or a whole encoder.
    pub fn fresh(config: &EncoderConfig, noise: &Noise, backend: &Backend) -> Result<Self> {
        let all = specifications(config);
        let fill = |(index, specification): (usize, &Specification)| {
            let values = fresh_values(specification, config.initializer_range, noise, index);
            let shape = specification.shape.as_slice();
            let tensor = Tensor::from_vec(values, shape, backend.device())?;
            Ok((specification.name.clone(), tensor))
        };
        let tensors = all.iter().enumerate().map(fill).collect::<Result<_>>()?;
        Ok(Self::from_map(tensors, backend))
    }

    /// From tensors by name, on the device of the backend.
    pub fn from_map(tensors: BTreeMap<String, Tensor>, backend: &Backend) -> Self {
        Self { tensors, backend: backend.clone() }
    }

    /// Where the network computes.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The same weights for a network that computes elsewhere.
    pub fn on(&self, backend: &Backend) -> Result<Self> {
        let moved = |(name, tensor): (&String, &Tensor)| {
            Ok((name.clone(), tensor.to_device(backend.device())?))
        };
        let tensors = self.tensors.iter().map(moved).collect::<Result<_>>()?;
        Ok(Self::from_map(tensors, backend))
    }

    /// Those whose names are kept.
    pub fn retain(mut self, kept: impl Fn(&str) -> bool) -> Self {
        self.tensors.retain(|name, _| kept(name));
        self
    }

    fn with_tensors(&self, tensors: BTreeMap<String, Tensor>) -> Self {
        Self::from_map(tensors, &self.backend)
    }

    /// The tensor of a name that [`specifications`] lists.
    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).expect("every specified parameter is present")
    }

    /// The same with one more tensor, or with this one in the place of that of its name.
    pub fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.tensors.insert(name.to_owned(), tensor);
        self
    }

    /// The tensor of any name, where there is one.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// How many layers of the encoder have weights of their own.
    pub fn layers(&self) -> usize {
        let numbers = self.tensors.keys().filter_map(|name| weights_number(name));
        numbers.collect::<BTreeSet<usize>>().len()
    }

    /// The same with another last linear layer, weight `[c, d]` and bias `[c]`, on the device of the
    /// one that it replaces.
    pub fn with_last_layer(&self, weight_cd: &Tensor, bias_c: &Tensor) -> Result<Self> {
        let device = self.get("classifier.weight").device();
        let mut tensors = self.tensors.clone();
        tensors.insert("classifier.weight".to_owned(), weight_cd.to_device(device)?);
        tensors.insert("classifier.bias".to_owned(), bias_c.to_device(device)?);
        Ok(self.with_tensors(tensors))
    }

    /// The same shapes and devices, with these values; what has none keeps its own.
    pub fn with_values(&self, values: &BTreeMap<String, Vec<f32>>) -> Result<Self> {
        let tensor = |(name, own): (&String, &Tensor)| {
            let tensor = match values.get(name) {
                Some(values) => Tensor::from_slice(values, own.shape(), own.device())?,
                None => own.clone(),
            };
            Ok((name.clone(), tensor))
        };
        Ok(self.with_tensors(self.tensors.iter().map(tensor).collect::<Result<_>>()?))
    }

    /// The same, as they are at a precision. What is so already is shared.
    pub fn rounded(&self, config: &EncoderConfig, precision: Precision) -> Result<Self> {
        if precision == Precision::F32 {
            return Ok(self.clone());
        }
        let mut all = self.clone();
        for one in specifications(config).into_iter().filter(Specification::is_rounded) {
            let own = self.get(&one.name);
            let before = fetch::<f32>(own)?;
            let mut values = before.clone();
            precision.round(&mut values, one.shape[1]);
            if values != before {
                all = all.with(&one.name, Tensor::from_vec(values, own.shape(), own.device())?);
            }
        }
        Ok(all)
    }

    /// Names and tensors, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    /// The same values as new variables, which a gradient can be asked for, where they are used, and
    /// a copy of this set that holds them.
    pub fn variables(
        &self,
        specifications: &[Specification],
    ) -> Result<(BTreeMap<String, Var>, Self)> {
        let mut tensors = self.tensors.clone();
        let mut variables = BTreeMap::new();
        for specification in specifications.iter().filter(|one| one.used) {
            let variable = Var::from_tensor(self.get(&specification.name))?;
            tensors.insert(specification.name.clone(), variable.as_tensor().clone());
            variables.insert(specification.name.clone(), variable);
        }
        Ok((variables, self.with_tensors(tensors)))
    }

    /// The same storage, without the graph that gradients are found by.
    pub fn detached(&self) -> Self {
        let detached = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach()));
        self.with_tensors(detached.collect())
    }

    /// A copy whose storage is shared with nothing.
    pub fn detached_copy(&self) -> Result<Self> {
        let copy = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), tensor.copy()?.detach()));
        Ok(self.with_tensors(self.tensors.iter().map(copy).collect::<Result<_>>()?))
    }

    /// The number of scalars.
    pub fn count(&self) -> usize {
        self.tensors.values().map(Tensor::elem_count).sum()
    }
}

/// Values of one new parameter; `index` numbers it, so that no two share noise.
pub(super) fn fresh_values(
    specification: &Specification,
    deviation: f64,
    noise: &Noise,
    index: usize,
) -> Vec<f32> {
    let count: usize = specification.shape.iter().product();
    match specification.fill {
        Fill::Zero => vec![0.0; count],
        Fill::GammaBeta => {
            let width = specification.shape[1];
            (0..count).map(|i| if i < width { 1.0 } else { 0.0 }).collect()
        }
        Fill::Normal => {
            let mut stream = noise.stream(Purpose::Init, index as u64, 0);
            (0..count).map(|_| (deviation * stream.normal()) as f32).collect()
        }
        Fill::Cut { deviation, at } => {
            let mut stream = noise.stream(Purpose::Init, index as u64, 0);
            // Drawn again where it is beyond the cut, but not for ever.
            let mut within = || {
                let drawn = (0..64).map(|_| stream.normal()).find(|drawn| drawn.abs() <= at);
                drawn.unwrap_or_default()
            };
            (0..count).map(|_| (deviation * within()) as f32).collect()
        }
    }
}
