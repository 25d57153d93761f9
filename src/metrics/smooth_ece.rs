//! A calibration error without bins: Błasiok and Nakkiran, "Smooth ECE: principled reliability
//! diagrams via kernel smoothing" (ICLR 2024), sections 3 and 5.
//!
//! | paper | here |
//! |---|---|
//! | f, y: prediction and outcome | confidence, and whether the answer is right |
//! | r̂_σ(t): residual f − y smoothed by a reflected Gaussian of width σ | `smoothed` of the residuals |
//! | smECE_σ = ∫ \|r̂_σ(t)\| dt | `error_at` |
//! | smECE = σ* with smECE_σ* = σ* | `smooth_ece` |
//!
//! The grid, the number of halvings and the least width (0.001) are those of the authors' package,
//! relplot, with its kernel on [0, 1] and not the one on logits that torch-uncertainty takes by
//! default. One departure: a confidence of exactly 0 or 1 is its own mirror image and counts twice,
//! as one infinitely near to it does. In relplot it counts once, so that sure answers, which a
//! trained classifier gives in large numbers, have half their weight there.

use super::Scored;
use super::calibration_error::top_label;

/// Least width: where the error is below it, the value is the error at the first width below it.
const LEAST_WIDTH: f64 = 0.001;
/// Halvings of the width.
const HALVINGS: usize = 10;
/// Points at which the smoothed residual is looked at, unless the width asks for more.
const MESH: f64 = 200.0;
/// Keeps the quotient finite where there are no rows.
const LEAST_DENSITY: f64 = 1e-4;
/// Beyond so many widths the Gaussian is below 1e-14 of its peak.
const REACH: f64 = 8.0;

/// Smooth calibration error of the predicted class, on [0, 1]: the width σ at which the error of
/// the residuals smoothed with width σ is σ itself.
pub fn smooth_ece(scored: &Scored) -> f64 {
    let (confidence_n, hit_n) = top_label(scored);
    Smoother::new(&confidence_n).error(&hit_n)
}

/// Smooths residuals of rows with these confidences; what does not depend on the outcomes is kept.
pub(super) struct Smoother<'a> {
    confidence_n: &'a [f64],
    kernels: Vec<(Kernel, f64)>,
}

impl<'a> Smoother<'a> {
    pub fn new(confidence_n: &'a [f64]) -> Self {
        Self { confidence_n, kernels: Vec::new() }
    }

    /// Bisection for the width that equals its error.
    pub fn error(&mut self, hit_n: &[bool]) -> f64 {
        let residual = |(p, &hit): (&f64, &bool)| if hit { p - 1.0 } else { *p };
        let residual_n: Vec<f64> = self.confidence_n.iter().zip(hit_n).map(residual).collect();
        let (mut above, mut below, mut error) = (1.0, 0.0, None);
        for _ in 0..HALVINGS {
            let width = f64::midpoint(above, below);
            let found = (width >= LEAST_WIDTH).then(|| self.error_at(width, &residual_n));
            match found {
                Some(found) if found <= width => (above, error) = (width, Some(found)),
                _ => below = width,
            }
        }
        error.unwrap_or_else(|| self.error_at(above, &residual_n))
    }

    fn error_at(&mut self, width: f64, residual_n: &[f64]) -> f64 {
        let known = self.kernels.iter().position(|(kernel, _)| kernel.width == width);
        let place = known.unwrap_or_else(|| {
            let kernel = Kernel::new(width);
            let ones = vec![1.0; self.confidence_n.len()];
            let density = kernel.smoothed(self.confidence_n, &ones);
            let mass = density.iter().map(|density| density + LEAST_DENSITY).sum();
            self.kernels.push((kernel, mass));
            self.kernels.len() - 1
        });
        let (kernel, mass) = &self.kernels[place];
        let smoothed = kernel.smoothed(self.confidence_n, residual_n);
        smoothed.iter().map(|value| value.abs()).sum::<f64>() / mass
    }
}

/// A Gaussian on a grid of [0, 1].
struct Kernel {
    width: f64,
    /// Steps of the grid.
    steps: usize,
    /// Points that are looked at.
    mesh: usize,
    /// The weight of a distance in steps.
    weights: Vec<f64>,
}

impl Kernel {
    fn new(width: f64) -> Self {
        let steps = (10.0 / width).round().max(1000.0) as usize;
        // The authors' kernel reaches half the interval at most.
        let reach = ((REACH * width * steps as f64).ceil() as usize).min(steps / 2);
        let scale = (std::f64::consts::TAU.sqrt() * width).recip();
        let weight = |distance: usize| {
            let z = distance as f64 / steps as f64 / width;
            scale * (-0.5 * z * z).exp()
        };
        Self {
            width,
            steps,
            mesh: (10.0 / width).round().max(MESH) as usize,
            weights: (0..=reach).map(weight).collect(),
        }
    }

    /// Σ_n value_n K(t, confidence_n) at the points t of the mesh, K reflected at 0 and 1.
    fn smoothed(&self, confidence_n: &[f64], value_n: &[f64]) -> Vec<f64> {
        let grid = self.reflected(confidence_n, value_n);
        let reach = self.weights.len() - 1;
        let at = |place: usize| {
            let middle = place + reach;
            let pair = |distance| grid[middle - distance] + grid[middle + distance];
            let pairs = (1..=reach).map(|distance| self.weights[distance] * pair(distance));
            self.weights[0] * grid[middle] + pairs.sum::<f64>()
        };
        // Two neighbours on the grid serve for each point, and often for the next one.
        let (mut known, mut value) = (0, (at(0), at(1)));
        let point = |index| {
            let place = index as f64 / (self.mesh - 1) as f64 * self.steps as f64;
            let cell = (place as usize).min(self.steps - 1);
            value = match cell - known {
                0 => value,
                1 => (value.1, at(cell + 1)),
                _ => (at(cell), at(cell + 1)),
            };
            known = cell;
            let share = place - cell as f64;
            value.0 * (1.0 - share) + value.1 * share
        };
        (0..self.mesh).map(point).collect()
    }

    /// The values on the grid, each divided between its two neighbours, with the mirror images of
    /// what lies within reach of the ends.
    fn reflected(&self, confidence_n: &[f64], value_n: &[f64]) -> Vec<f64> {
        let (reach, last) = (self.weights.len() - 1, self.steps);
        let mut grid = vec![0.0; last + 1 + 2 * reach];
        for (confidence, value) in confidence_n.iter().zip(value_n) {
            // A probability may exceed [0, 1] by the rounding that `Scored` allows.
            let place = confidence.clamp(0.0, 1.0) * last as f64;
            let cell = (place as usize).min(last - 1);
            let share = place - cell as f64;
            grid[reach + cell] += (1.0 - share) * value;
            grid[reach + cell + 1] += share * value;
        }
        // An end is its own mirror image.
        grid[reach] *= 2.0;
        grid[reach + last] *= 2.0;
        for distance in 1..=reach {
            grid[reach - distance] = grid[reach + distance];
            grid[reach + last + distance] = grid[reach + last - distance];
        }
        grid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{calibrated, ten};

    /// All confidences are c, so the smoothed residual is everywhere (c − accuracy) × density.
    #[test]
    fn one_confidence_has_its_gap_as_error() {
        for (c, hits) in [(0.9, 70), (0.75, 75), (0.6, 10), (1.0, 80), (0.9995, 80)] {
            let probability_nc = [1.0 - c, c].repeat(100);
            let labels: Vec<u32> = (0..100).map(|row| u32::from(row < hits)).collect();
            let scored = Scored::new(&probability_nc, 2, &labels).unwrap();
            let gap = (c - f64::from(hits) / 100.0).abs();
            assert!((smooth_ece(&scored) - gap).abs() < 1e-6, "{c}");
        }
    }

    /// Mass at an end is worth as much as mass beside it: the value is continuous there.
    #[test]
    fn a_confidence_of_one_is_no_jump() {
        let error = |sure: f64| {
            let probability_nc = [[1.0 - sure, sure], [0.3, 0.7]].concat().repeat(50);
            let labels: Vec<u32> = (0..100).map(|row| u32::from(row % 10 < 6)).collect();
            smooth_ece(&Scored::new(&probability_nc, 2, &labels).unwrap())
        };
        assert!((error(1.0) - error(1.0 - 1e-9)).abs() < 1e-8);
        assert!((error(1.0) - error(0.998)).abs() < 0.003);
    }

    #[test]
    fn it_is_between_zero_and_the_mean_residual() {
        let (probability_nc, labels) = ten();
        let small = smooth_ece(&Scored::new(&probability_nc, 2, &labels).unwrap());
        assert!(small > 0.0 && small < 0.35, "{small}");
        let (probability_nc, labels) = calibrated(20_000, 3, 61);
        let calibrated = smooth_ece(&Scored::new(&probability_nc, 3, &labels).unwrap());
        assert!(calibrated < 0.02, "{calibrated}");
        let scored = Scored::new(&[0.0, 1.0, 1.0, 0.0], 2, &[0, 1]).unwrap();
        assert!((smooth_ece(&scored) - 1.0).abs() < 1e-3);
    }
}
