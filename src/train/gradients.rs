//! Gradients as plain vectors by name, and the guard that finds parameters without one.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Tensor, Var, backprop::GradStore};
use rayon::prelude::*;

use super::TrainError;
use crate::compute::fetch;
use crate::model::{GradientMap, Specification, transformers_view};

/// Steps after which a gradient that was always zero is named.
const WATCHED_STEPS: u64 = 20;

/// Values a block: sums over blocks are added in order, whatever the number of threads.
const BLOCK: usize = 1 << 14;

/// Gradients by name, in name order. Their memory is used again from step to step.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    values: GradientMap,
    /// Rows of the word embeddings that a batch had, where only those can differ from zero.
    words: Option<BTreeSet<u32>>,
}

/// The one table of which a batch has few rows.
const WORDS: &str = "embeddings.word";

impl Gradients {
    /// All zero. Of the word embeddings only the rows that were touched are cleared.
    pub fn clear(&mut self, width: usize) {
        for (name, values) in &mut self.values {
            match &self.words {
                Some(words) if name == WORDS => {
                    for &word in words {
                        let start = word as usize * width;
                        values[start..start + width].fill(0.0);
                    }
                }
                _ => values.fill(0.0),
            }
        }
        self.words = Some(BTreeSet::new());
    }

    /// The values, for a backward pass that touches no word embeddings but those of `words`.
    pub fn values_mut(&mut self, words: &[u32]) -> &mut GradientMap {
        if let Some(known) = &mut self.words {
            known.extend(words);
        }
        &mut self.values
    }

    /// Every variable has a gradient of its own shape, or the first one without is named.
    pub fn check(&self, variables: &BTreeMap<String, Var>) -> Result<(), TrainError> {
        for (name, variable) in variables {
            let found = self.get(name).len();
            if found == 0 {
                return Err(TrainError::NoGradient { name: name.clone() });
            }
            if found != variable.elem_count() {
                let (found, expected) = (vec![found], variable.dims().to_vec());
                return Err(TrainError::GradientShape { name: name.clone(), found, expected });
            }
        }
        Ok(())
    }

    /// Adds what one backward pass found. A variable without a gradient of its own shape is an
    /// error that names it.
    pub fn add(
        &mut self,
        variables: &BTreeMap<String, Var>,
        found: &GradStore,
    ) -> Result<(), TrainError> {
        if variables.contains_key(WORDS) {
            self.words = None;
        }
        for (name, variable) in variables {
            let tensor = found.get(variable.as_tensor());
            let tensor = tensor.ok_or_else(|| TrainError::NoGradient { name: name.clone() })?;
            if tensor.dims() != variable.dims() {
                return Err(TrainError::GradientShape {
                    name: name.clone(),
                    found: tensor.dims().to_vec(),
                    expected: variable.dims().to_vec(),
                });
            }
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            match self.values.get_mut(name) {
                None => {
                    self.values.insert(name.clone(), values);
                }
                Some(sum) => sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
            }
        }
        Ok(())
    }

    /// Those of a device, by name.
    pub(super) fn fetched(found: &BTreeMap<String, Tensor>) -> Result<Self, TrainError> {
        let values = |(name, tensor): (&String, &Tensor)| Ok((name.clone(), fetch(tensor)?));
        Ok(Self {
            values: found.iter().map(values).collect::<Result<_, TrainError>>()?,
            words: None,
        })
    }

    /// The gradient of a parameter.
    pub fn get(&self, name: &str) -> &[f32] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The first parameter with a value that is not finite.
    pub fn not_finite(&self) -> Option<&str> {
        let broken = |values: &Vec<f32>| values.iter().any(|value| !value.is_finite());
        self.values.iter().find(|(_, values)| broken(values)).map(|(name, _)| name.as_str())
    }

    /// The global norm, in f64; `width` is that of the word embeddings.
    pub fn norm(&self, width: usize) -> f64 {
        let square =
            |block: &[f32]| block.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let of_one = |(name, values): (&String, &Vec<f32>)| -> f64 {
            let blocks: Vec<f64> = match &self.words {
                Some(words) if name == WORDS => {
                    let row = |word: &u32| square(&values[*word as usize * width..][..width]);
                    words.iter().map(row).collect()
                }
                _ => values.par_chunks(BLOCK).map(square).collect(),
            };
            blocks.iter().sum()
        };
        self.values.iter().map(of_one).sum::<f64>().sqrt()
    }
}

/// Watches the first steps for parameters whose gradient stays exactly zero.
#[derive(Debug)]
pub struct Guard {
    silent: BTreeSet<String>,
}

impl Guard {
    /// Watches every trained tensor under its name in transformers.
    pub fn new(specifications: &[Specification]) -> Self {
        let used = specifications.iter().filter(|one| one.used);
        let names = used.flat_map(|one| &one.parts).map(|part| part.name.clone());
        // A key's bias adds the same to all scores of a line, which the softmax takes away again.
        let silent = names.filter(|name| !name.ends_with("attention.self.key.bias")).collect();
        Self { silent }
    }

    /// Goes on with the names that [`Self::silent`] gave.
    pub fn resumed(silent: &[String]) -> Self {
        Self { silent: silent.iter().cloned().collect() }
    }

    /// The names without a gradient so far; none once the watch is over.
    pub fn silent(&self) -> Vec<String> {
        self.silent.iter().cloned().collect()
    }

    /// Looks at one step; after the last watched one gives the names that never had a gradient.
    pub fn watch(
        &mut self,
        finished: u64,
        specifications: &[Specification],
        gradients: &Gradients,
    ) -> Result<Vec<String>, TrainError> {
        if !self.watches(finished) {
            return Ok(Vec::new());
        }
        let mut heard = Vec::new();
        for one in specifications.iter().filter(|one| one.used) {
            let values = gradients.get(&one.name);
            let tensor =
                Tensor::from_slice(values, one.shape.as_slice(), &candle_core::Device::Cpu)?;
            for (name, part) in transformers_view(one, &tensor)? {
                if self.silent.contains(name.as_ref())
                    && part.abs()?.max_all()?.to_scalar::<f32>()? > 0.0
                {
                    heard.push(name.into_owned());
                }
            }
        }
        Ok(self.hear(finished, heard))
    }

    fn watches(&self, finished: u64) -> bool {
        finished <= WATCHED_STEPS && !self.silent.is_empty()
    }

    /// The same of the names that had a gradient in a step.
    pub(super) fn hear(
        &mut self,
        finished: u64,
        heard: impl IntoIterator<Item = String>,
    ) -> Vec<String> {
        if !self.watches(finished) {
            return Vec::new();
        }
        for name in heard {
            self.silent.remove(&name);
        }
        if finished < WATCHED_STEPS {
            return Vec::new();
        }
        std::mem::take(&mut self.silent).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_words_that_did_not_occur_are_neither_summed_nor_cleared() {
        let mut gradients = Gradients::default();
        gradients.clear(2);
        let values = gradients.values_mut(&[1, 3]);
        values.insert(WORDS.to_owned(), vec![0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 4.0]);
        values.insert("x".to_owned(), vec![12.0]);
        assert_eq!(gradients.norm(2), 13.0);
        // A mark in a row that no batch had: it would be cleared if all rows were.
        gradients.values_mut(&[]).get_mut(WORDS).unwrap()[0] = 7.0;
        gradients.clear(2);
        assert_eq!(gradients.get(WORDS), [7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradients.get("x"), [0.0]);
    }
}
