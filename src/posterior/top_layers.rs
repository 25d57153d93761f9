//! A distribution over the weights of the top layers and of what comes behind them, by samples that are drawn once.
//!
//! Partially stochastic networks: Sharma, Farquhar, Nalisnick and Rainforth, "Do Bayesian neural networks need to
//! be fully stochastic?" (AISTATS 2023). What the layers below make of a text is computed once, with their weights
//! as they are; each sample of the layers above reads that. With t of L layers and S samples a text costs
//! 1 + S t / L passes: one of them is that of the mean weights, by which novelty is told.
//!
//! The samples are the same for every text, as the networks of an ensemble are, so a text has the same
//! answer alone, in any batch and in any process.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use super::passes::MOST_LAYERS;
use super::{DRAWS_SEED, MOST_SAMPLES, Passes};
use crate::compute::{Noise, Purpose, memory_left};
use crate::model::{Networks, Parameters, is_above};
use crate::store::{TensorFile, Tensors};

/// How the weights of the top layers differ from their mean, which is the network itself.
#[derive(Clone, Debug, PartialEq)]
pub struct TopLayers {
    pub samples: usize,
    /// How many layers, one at least.
    pub layers: usize,
    /// Of so many.
    pub all: usize,
    /// By name, of parameters of these layers and of what comes behind them; what is not here is certain.
    pub deviations: BTreeMap<String, Deviation>,
}

/// How one parameter differs from its mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Deviation {
    /// Each value is Gaussian, with a variance of its own. Samples are drawn where they are needed.
    Independent {
        /// One for each value, in their order.
        variance: Vec<f32>,
    },
    /// Samples of a weight `[o, i]` differ by products B A of a few columns and rows.
    Product {
        fixed: Fixed,
        /// The other factor of each sample, one after another.
        drawn: Vec<f32>,
    },
}

/// The factor of a product that all samples share.
#[derive(Clone, Debug, PartialEq)]
pub enum Fixed {
    /// A, `[r, i]`; the samples are B, `[m, o, r]`.
    Down(Vec<f32>),
    /// B, `[o, r]`; the samples are A, `[m, r, i]`.
    Up(Vec<f32>),
    /// The samples are whole, `[m, o, i]`.
    Neither,
}

/// Variances above this are those of no trained weight.
const MOST_VARIANCE: f32 = 1e6;
/// Nor are values of a factor.
const MOST_VALUE: f32 = 1e6;

const SAMPLES: &str = "top.samples";
const LAYERS: &str = "top.layers";
const VARIANCE: &str = "top.variance.";
const DOWN: &str = "top.down.";
const UP: &str = "top.up.";
const DRAWN: &str = "top.drawn.";

impl TopLayers {
    pub fn passes(&self) -> Passes {
        Passes::TopLayers { samples: self.samples, layers: self.layers }
    }

    /// What a text costs, in forward passes: one, and what the samples read by themselves.
    pub fn cost(&self) -> f64 {
        1.0 + (self.samples * self.layers) as f64 / self.all.max(1) as f64
    }

    /// How a text is read, and what that costs, in a sentence.
    pub fn words(&self) -> String {
        let Self { samples, layers, all, .. } = self;
        let top = if *layers == 1 { "layer".to_owned() } else { format!("{layers} layers") };
        format!(
            "The lower layers read each text once, and {samples} samples of the top {top} (of {all}) and of the last \
             layer read what they make of it: a prediction costs as much as {:.1} forward passes.",
            self.cost()
        )
    }

    /// The networks with all samples.
    ///
    /// # Errors
    /// The samples do not fit into memory.
    pub(super) fn give(&self, networks: Networks, mean: &Parameters) -> Result<Networks> {
        let values = |name: &String| mean.get(name).elem_count() as u64;
        let needed = 4 * self.samples as u64 * self.deviations.keys().map(values).sum::<u64>();
        if let Some(left) = memory_left().filter(|&left| needed > left) {
            bail!(
                "the {} samples of the top layers need {} MB of memory, but this machine has only {} MB left; \
                 fit the posterior again with a lower `posterior.num_samples`",
                self.samples,
                needed >> 20,
                left >> 20
            )
        }
        let samples = (0..self.samples).map(|sample| self.sample(sample, mean));
        networks.with_tops(mean, self.all - self.layers, samples)
    }

    /// The parameters of one sample; all that is certain is shared with the mean.
    pub fn sample(&self, sample: usize, mean: &Parameters) -> Result<Parameters> {
        let mut all: BTreeMap<String, Tensor> =
            mean.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        for (place, (name, deviation)) in (0..).zip(&self.deviations) {
            let tensor = mean.get(name);
            let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
            match deviation {
                Deviation::Independent { variance } => {
                    let noise = Noise::new(DRAWS_SEED);
                    let mut stream = noise.stream(Purpose::Weights, sample as u64, place);
                    for (value, &variance) in values.iter_mut().zip(variance) {
                        *value += (f64::from(variance).sqrt() * stream.normal()) as f32;
                    }
                }
                Deviation::Product { fixed, drawn } => {
                    let size = drawn.len() / self.samples;
                    let drawn = &drawn[sample * size..(sample + 1) * size];
                    match fixed {
                        Fixed::Down(down_ri) => {
                            add_product(&mut values, drawn, down_ri, tensor.dim(0)?);
                        }
                        Fixed::Up(up_or) => {
                            add_product(&mut values, up_or, drawn, tensor.dim(0)?);
                        }
                        Fixed::Neither => {
                            values.iter_mut().zip(drawn).for_each(|(value, drawn)| *value += drawn);
                        }
                    }
                }
            }
            all.insert(name.clone(), Tensor::from_vec(values, tensor.shape(), tensor.device())?);
        }
        Ok(Parameters::from_map(all, mean.backend()))
    }

    pub(super) fn put(&self, tensors: &mut Tensors) {
        tensors.put_f64(SAMPLES, &[self.samples as f64]);
        tensors.put_f64(LAYERS, &[self.layers as f64]);
        for (name, deviation) in &self.deviations {
            match deviation {
                Deviation::Independent { variance } => {
                    tensors.put_f32(&format!("{VARIANCE}{name}"), &[variance.len()], variance);
                }
                Deviation::Product { fixed, drawn } => {
                    let shape = [self.samples, drawn.len() / self.samples];
                    tensors.put_f32(&format!("{DRAWN}{name}"), &shape, drawn);
                    let (kind, values) = match fixed {
                        Fixed::Down(values) => (DOWN, values),
                        Fixed::Up(values) => (UP, values),
                        Fixed::Neither => continue,
                    };
                    tensors.put_f32(&format!("{kind}{name}"), &[values.len()], values);
                }
            }
        }
    }

    /// That of a file, about the top layers of these parameters. The error names the tensor that is wrong.
    pub(super) fn read(
        file: &TensorFile<'_>,
        mean: &Parameters,
    ) -> std::result::Result<Option<Self>, String> {
        if !file.has(SAMPLES) {
            return match file.names().into_iter().find(|name| name.starts_with("top.")) {
                Some(name) => Err(format!("`{name}` is there, but `{SAMPLES}` is missing")),
                None => Ok(None),
            };
        }
        let samples = file.count(SAMPLES, MOST_SAMPLES)?;
        if samples < 2 {
            return Err(format!("`{SAMPLES}` is {samples}, and 2 is the least"));
        }
        let (layers, all) = (file.count(LAYERS, MOST_LAYERS)?, mean.layers());
        if !(1..=all).contains(&layers) {
            return Err(format!("`{LAYERS}` is {layers}, but the encoder has {all}"));
        }
        let mut deviations = BTreeMap::new();
        for tensor in file.names() {
            let independent = tensor.strip_prefix(VARIANCE);
            let Some(name) = independent.or_else(|| tensor.strip_prefix(DRAWN)) else {
                let fixed = tensor.strip_prefix(DOWN).or_else(|| tensor.strip_prefix(UP));
                match fixed.map(|name| format!("{DRAWN}{name}")).filter(|drawn| !file.has(drawn)) {
                    Some(drawn) => {
                        return Err(format!("`{tensor}` is there, but `{drawn}` is missing"));
                    }
                    None => continue,
                }
            };
            let own = mean.find(name).filter(|_| is_above(name, all - layers));
            let Some(own) = own else {
                return Err(format!("`{tensor}` is for no parameter of the top {layers} layers"));
            };
            let deviation = match independent {
                Some(_) => variance(file, tensor, own)?,
                None => product(file, name, samples, own)?,
            };
            if deviations.insert(name.to_owned(), deviation).is_some() {
                return Err(format!("`{tensor}` is for a parameter that has another"));
            }
        }
        if deviations.is_empty() {
            return Err(format!("`{SAMPLES}` is there, but no weight varies"));
        }
        Ok(Some(Self { samples, layers, all, deviations }))
    }
}

fn variance(
    file: &TensorFile<'_>,
    tensor: &str,
    own: &Tensor,
) -> std::result::Result<Deviation, String> {
    let (_, variance) = file.finite_f32(tensor)?;
    if variance.len() != own.elem_count() {
        let (found, expected) = (variance.len(), own.elem_count());
        return Err(format!("`{tensor}` has {found} values, and its parameter {expected}"));
    }
    match variance.iter().all(|value| (0.0..=MOST_VARIANCE).contains(value)) {
        true => Ok(Deviation::Independent { variance }),
        false => Err(format!("`{tensor}` holds a value that is not 0 to {MOST_VARIANCE}")),
    }
}

/// The factors of a weight.
fn product(
    file: &TensorFile<'_>,
    name: &str,
    samples: usize,
    own: &Tensor,
) -> std::result::Result<Deviation, String> {
    let values = |name: &str| {
        let (_, values) = file.finite_f32(name)?;
        match values.iter().all(|value| value.abs() <= MOST_VALUE) {
            true => Ok(values),
            false => Err(format!("`{name}` holds a value beyond {MOST_VALUE}")),
        }
    };
    let [drawn, down, up] = [DRAWN, DOWN, UP].map(|kind| format!("{kind}{name}"));
    let (rows, columns) =
        own.dims2().map_err(|_| format!("`{drawn}` is for a parameter that is no matrix"))?;
    // What the fixed factor has on the side of the weight, and the drawn one on the other.
    let (fixed, near, far, which) = match (file.has(&down), file.has(&up)) {
        (true, true) => return Err(format!("`{down}` and `{up}` exclude each other")),
        (true, false) => (Fixed::Down(values(&down)?), columns, rows, &down),
        (false, true) => (Fixed::Up(values(&up)?), rows, columns, &up),
        (false, false) => (Fixed::Neither, 1, rows * columns, &drawn),
    };
    let rank = match &fixed {
        Fixed::Down(values) | Fixed::Up(values) => values.len() / near,
        Fixed::Neither => 1,
    };
    let whole = match &fixed {
        Fixed::Down(values) | Fixed::Up(values) => values.len() == rank * near,
        Fixed::Neither => true,
    };
    let found = values(&drawn)?;
    match whole && (1..=near).contains(&rank) && found.len() == samples * rank * far {
        true => Ok(Deviation::Product { fixed, drawn: found }),
        false => Err(format!("`{drawn}` and `{which}` do not fit a weight [{rows}, {columns}]")),
    }
}

/// Adds B A to a weight `[o, i]`.
fn add_product(weight_oi: &mut [f32], up_or: &[f32], down_ri: &[f32], rows: usize) {
    let (columns, rank) = (weight_oi.len() / rows, up_or.len() / rows);
    for (weight_i, up_r) in weight_oi.chunks_exact_mut(columns).zip(up_or.chunks_exact(rank)) {
        for (&up, down_i) in up_r.iter().zip(down_ri.chunks_exact(columns)) {
            weight_i.iter_mut().zip(down_i).for_each(|(value, down)| *value += up * down);
        }
    }
}
