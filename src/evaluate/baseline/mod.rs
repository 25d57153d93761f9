//! A linear classifier on hashed words and characters: what a model has to beat.
//!
//! Words alone and in pairs, runs of two to five characters, sublinear TF-IDF, multinomial logistic
//! regression; C and a temperature from rows of the training part that are left out, then a fit on
//! all of it. It takes seconds and no encoder, it is close to the best that can be had without one
//! (Wang and Manning, "Baselines and bigrams", ACL 2012), and it is calibrated: a model whose
//! accuracy and NLL are no better has learned nothing that the words do not say by themselves.
//!
//! What is read is limited: of a text 2,000 characters (the first and the last half), and of the rows
//! as many, in a seeded order, as have 50 million counts of n-grams together, or 480 million times
//! classes; there are at most 16 million weights, and the rarest n-grams have none. The result is a
//! function of rows and seed, whatever the number of threads: fits run side by side, each by itself.

mod choose;
mod grams;
mod report;
mod rival;
mod rows;
mod solver;
mod sparse;

use rayon::prelude::*;

pub use report::{BaselineReport, Difference};
pub use rival::Rival;

use self::report::Standing;

use self::choose::{Choice, choose};
use self::grams::blocks;
use self::rows::{Weighting, read};
use self::solver::{Problem, Until};
use self::sparse::padded;
use crate::compute::Noise;
use crate::data::Example;
use crate::data::split::RowKey;

/// More passes change NLL on other rows by less than 0.001.
const UNTIL: Until = Until { moved: 2e-3, passes: 20 };

/// A fitted classifier.
#[derive(Clone)]
pub struct Baseline {
    weighting: Weighting,
    /// `[f, w]`, w being the classes, padded.
    weight_fw: Vec<f32>,
    classes: usize,
    choice: Choice,
    /// Rows that were read, and rows that there were.
    rows: (usize, usize),
}

impl Baseline {
    /// Fits rows, whose labels are below `classes`; those in the examples are not looked at.
    pub fn fit(examples: &[&Example], labels: &[u32], classes: usize, noise: &Noise) -> Self {
        let counted = read(examples, classes, noise);
        let weighting = Weighting::of(&counted, classes);
        let places: Vec<usize> = counted.iter().map(|(place, _)| *place).collect();
        let rows: Vec<_> =
            counted.into_par_iter().map(|(_, blocks)| weighting.row(&blocks)).collect();
        let key = |&place: &usize| RowKey { label: labels[place], ..examples[place].into() };
        let keys: Vec<RowKey> = places.par_iter().map(key).collect();
        let labels: Vec<u32> = keys.iter().map(|key| key.label).collect();
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let features = weighting.features;
        let problem = Problem { rows: &rows, labels: &labels, chosen: &all, classes, features };
        let choice = choose(&problem, &keys, UNTIL, noise);
        let weight_fw = solver::fit(&problem, choice.cost, UNTIL, noise);
        Self { weighting, weight_fw, classes, choice, rows: (rows.len(), examples.len()) }
    }

    /// Logits divided by the temperature, `[n, c]`.
    fn logits(&self, examples: &[&Example]) -> Vec<f64> {
        let temperature = self.choice.temperature;
        let one = |example: &&Example| {
            let row = self.weighting.row(&blocks(example));
            let mut z_w = vec![0.0; padded(self.classes)];
            solver::logits(&row, &self.weight_fw, &mut z_w);
            z_w.truncate(self.classes);
            z_w.into_iter().map(move |z| f64::from(z) / temperature)
        };
        examples.par_iter().flat_map_iter(one).collect()
    }

    /// p(class | text), `[n, c]`.
    pub fn predict(&self, examples: &[&Example]) -> Vec<f64> {
        let mut probability_nc = self.logits(examples);
        for line in probability_nc.chunks_exact_mut(self.classes.max(1)) {
            let peak = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            line.iter_mut().for_each(|value| *value = (*value - peak).exp());
            let total: f64 = line.iter().sum();
            line.iter_mut().for_each(|value| *value /= total);
        }
        probability_nc
    }
}

#[cfg(test)]
mod tests;
