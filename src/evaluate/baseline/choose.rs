//! How strongly to regularise, and the temperature: from rows that were left out of a fit.

use rayon::prelude::*;

use super::solver::{Problem, Until, fit, logits};
use super::sparse::padded;
use crate::calibrate::{SMALL, fit_temperature};
use crate::compute::Noise;
use crate::data::split::{RowKey, carve};

/// The values of C that are tried.
const COSTS: [f32; 5] = [0.25, 1.0, 4.0, 16.0, 64.0];
/// Where no row can be left out.
const USUAL: Choice = Choice { cost: 4.0, temperature: 1.0 };
/// The rows are divided into so many parts.
const FOLDS: usize = 5;
/// Numbers this division among those of one seed.
const DIVISION: u64 = 4;

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub cost: f32,
    /// What the logits are divided by.
    pub temperature: f64,
}

/// The C with the least NLL on rows that were left out, each at its best temperature, and that
/// temperature. Every row is left out once where there are few, else a fifth of them.
pub fn choose(problem: &Problem<'_>, keys: &[RowKey], until: Until, noise: &Noise) -> Choice {
    let shares = [1.0 / FOLDS as f64; FOLDS];
    let Ok(mut folds) = carve(keys, &shares, noise, DIVISION) else { return USUAL };
    folds.truncate(if keys.len() < SMALL { FOLDS } else { 1 });
    let tasks: Vec<(f32, &Vec<usize>)> =
        COSTS.iter().flat_map(|&cost| folds.iter().map(move |fold| (cost, fold))).collect();
    let left_out = |&(cost, fold): &(f32, &Vec<usize>)| {
        let others = (0..keys.len()).filter(|row| fold.binary_search(row).is_err());
        let chosen: Vec<u32> = others.map(|row| row as u32).collect();
        let weight_fw = fit(&Problem { chosen: &chosen, ..*problem }, cost, until, noise);
        predicted(problem, fold, &weight_fw)
    };
    let logits: Vec<Vec<f64>> = tasks.par_iter().map(left_out).collect();
    let labels: Vec<u32> = folds.iter().flatten().map(|&row| keys[row].label).collect();
    let scored = COSTS.iter().zip(logits.chunks(folds.len())).filter_map(|(&cost, logits)| {
        let found = fit_temperature(&logits.concat(), &labels)?;
        // Where every row is answered right no temperature is too low: it is left as it is.
        Some(match found.doubt.is_some() {
            true => (found.nll_before, Choice { cost, temperature: 1.0 }),
            false => (found.nll_after, Choice { cost, temperature: found.temperature }),
        })
    });
    scored.min_by(|(a, _), (b, _)| a.total_cmp(b)).map_or(USUAL, |(_, choice)| choice)
}

/// The logits of some rows, `[n, c]`.
fn predicted(problem: &Problem<'_>, rows: &[usize], weight_fw: &[f32]) -> Vec<f64> {
    let mut z_w = vec![0.0; padded(problem.classes)];
    let mut logit_nc = Vec::with_capacity(rows.len() * problem.classes);
    for &row in rows {
        logits(&problem.rows[row], weight_fw, &mut z_w);
        logit_nc.extend(z_w[..problem.classes].iter().copied().map(f64::from));
    }
    logit_nc
}
