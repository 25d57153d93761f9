//! Vector scaling: a factor and an offset for each class, by maximum likelihood.
//!
//! Guo, Pleiss, Sun and Weinberger (ICML 2017), section 4.2. The negative log likelihood of
//! softmax(w ∘ μ + b) is convex in (w, b), and its minimum is found by Newton's method with the whole
//! Hessian. A very weak pull towards w = 1, b = 0 ([`RIDGE`]) settles what the rows leave open: a
//! common offset of all classes, and classes that are always answered right.

use nalgebra::{DMatrix, DMatrixView, DVector};

use crate::posterior::{VectorScaling, softmax};

/// Rows for each class without which vector scaling fits noise.
pub const ROWS_A_CLASS: usize = 50;

/// Precision of the Gaussian prior of each parameter.
const RIDGE: f64 = 1e-3;
/// The search ends when a step promises to lower the objective by less than half of this, in nats.
const PRECISION: f64 = 1e-16;
const STEPS: usize = 100;

/// The factors and offsets with the least Σ −ln p(label) on logits `[n, c]` and labels.
pub fn fit_vector(logit_nc: &[f64], labels: &[u32], classes: usize) -> VectorScaling {
    let problem = Problem { logit_nc, labels, classes, free: free(classes) };
    // What is fitted are departures from w = 1, b = 0.
    let mut free = DVector::zeros(problem.free.ncols());
    for _ in 0..STEPS {
        let Derivatives { value, gradient, hessian } = problem.derivatives(&free);
        // Strictly convex by the ridge: only numbers that are not finite have no factor.
        let Some(factor) = hessian.cholesky() else { break };
        let step = factor.solve(&gradient);
        let decrement = step.dot(&gradient);
        if decrement < PRECISION {
            break;
        }
        let mut length = 1.0;
        loop {
            let next = &free - length * &step;
            let fallen = value - problem.value(&next);
            if fallen >= 1e-4 * length * decrement || length < 1e-6 {
                free = next;
                break;
            }
            length *= 0.5;
        }
    }
    problem.scaling(&free)
}

/// Columns that span what may move of (w, b), `[2c, parameters]`: all of it, but for two classes one
/// common factor and offsets that sum to zero.
fn free(classes: usize) -> DMatrix<f64> {
    match classes {
        2 => DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 1.0, 0.0, 0.0, -0.5, 0.0, 0.5]),
        _ => DMatrix::identity(2 * classes, 2 * classes),
    }
}

struct Problem<'a> {
    logit_nc: &'a [f64],
    labels: &'a [u32],
    classes: usize,
    free: DMatrix<f64>,
}

/// Of the objective, by the free parameters.
struct Derivatives {
    value: f64,
    gradient: DVector<f64>,
    hessian: DMatrix<f64>,
}

impl Problem<'_> {
    fn scaling(&self, free: &DVector<f64>) -> VectorScaling {
        let moved = &self.free * free;
        let (weight, bias) = moved.as_slice().split_at(self.classes);
        let weight_c = weight.iter().map(|off| 1.0 + off).collect();
        VectorScaling { weight_c, bias_c: bias.to_vec() }
    }

    /// p(class | row), `[n, c]`, and the objective.
    fn predict(&self, free: &DVector<f64>) -> (Vec<f64>, f64) {
        let scaling = self.scaling(free);
        let mut probability_nc = Vec::with_capacity(self.logit_nc.len());
        let mut value = 0.5 * RIDGE * free.norm_squared();
        for (logit_c, &label) in self.logit_nc.chunks_exact(self.classes).zip(self.labels) {
            let moved_c = scaling.apply(logit_c);
            let peak = moved_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = moved_c.iter().map(|logit| (logit - peak).exp()).sum();
            value += sum.ln() + peak - moved_c[label as usize];
            probability_nc.extend(softmax(&moved_c, 1.0));
        }
        (probability_nc, value)
    }

    fn value(&self, free: &DVector<f64>) -> f64 {
        self.predict(free).1
    }

    /// With Z the logits and P the probabilities, all row by row: the gradient by w is Σ (P − Y) ∘ Z,
    /// by b Σ (P − Y); the Hessian is Σ diag(P) − P Pᵀ between the logits, each with its factor Z
    /// where it stands for a w.
    fn derivatives(&self, free: &DVector<f64>) -> Derivatives {
        let (probability_nc, value) = self.predict(free);
        let (classes, rows) = (self.classes, self.labels.len());
        let mut gradient = DVector::zeros(2 * classes);
        let mut diagonal = DMatrix::zeros(2 * classes, 2 * classes);
        let mut wide_nc = Vec::with_capacity(2 * probability_nc.len());
        let lines = probability_nc.chunks_exact(classes).zip(self.logit_nc.chunks_exact(classes));
        for ((p_c, logit_c), &label) in lines.zip(self.labels) {
            for (class, (p, z)) in p_c.iter().zip(logit_c).enumerate() {
                let slope = p - f64::from(u8::from(class == label as usize));
                let bias = classes + class;
                gradient[class] += slope * z;
                gradient[bias] += slope;
                diagonal[(class, class)] += p * z * z;
                diagonal[(class, bias)] += p * z;
                diagonal[(bias, class)] += p * z;
                diagonal[(bias, bias)] += p;
            }
            wide_nc.extend(p_c.iter().zip(logit_c).map(|(p, z)| p * z));
            wide_nc.extend(p_c);
        }
        // Column by column of the transposed, which is row by row of [n, 2c].
        let wide = DMatrixView::from_slice(&wide_nc, 2 * classes, rows);
        let whole = diagonal - wide * wide.transpose();
        let count = free.len();
        Derivatives {
            value,
            gradient: self.free.tr_mul(&gradient) + RIDGE * free,
            hessian: self.free.tr_mul(&(whole * &self.free))
                + DMatrix::identity(count, count) * RIDGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::fit_temperature;
    use crate::compute::{Noise, Purpose};

    /// Logits, and labels drawn from softmax(w ∘ logits + b).
    fn drawn(n: usize, truth: &VectorScaling) -> (Vec<f64>, Vec<u32>) {
        let mut stream = Noise::new(17).stream(Purpose::Bootstrap, 0, 0);
        let (mut logit_nc, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let logit_c: Vec<f64> = truth.bias_c.iter().map(|_| 2.0 * stream.normal()).collect();
            let mut left = stream.uniform();
            let p_c = softmax(&truth.apply(&logit_c), 1.0);
            let label = p_c.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            labels.push(label.unwrap_or(p_c.len() - 1) as u32);
            logit_nc.extend(logit_c);
        }
        (logit_nc, labels)
    }

    fn truths() -> [VectorScaling; 2] {
        let scaling = |weight_c: &[f64], bias_c: &[f64]| VectorScaling {
            weight_c: weight_c.to_vec(),
            bias_c: bias_c.to_vec(),
        };
        let two = scaling(&[0.6, 0.6], &[-0.4, 0.4]);
        [two, scaling(&[0.5, 1.0, 0.7, 0.4], &[0.5, -0.5, 0.3, -0.3])]
    }

    fn nll(scaling: &VectorScaling, logit_nc: &[f64], labels: &[u32]) -> f64 {
        let lines = logit_nc.chunks_exact(scaling.bias_c.len()).zip(labels);
        let loss = |(logit_c, &label): (&[f64], &u32)| {
            -softmax(&scaling.apply(logit_c), 1.0)[label as usize].ln()
        };
        lines.map(loss).sum::<f64>() / labels.len() as f64
    }

    /// Within four standard errors from the inverse of the Hessian.
    #[test]
    fn the_factors_and_offsets_that_made_the_labels_are_found() {
        for truth in truths() {
            let (classes, n) = (truth.bias_c.len(), 4000);
            let (logit_nc, labels) = drawn(n, &truth);
            let found = fit_vector(&logit_nc, &labels, classes);
            let problem =
                Problem { logit_nc: &logit_nc, labels: &labels, classes, free: free(classes) };
            let off =
                |value: &[f64], less: f64| value.iter().map(move |v| v - less).collect::<Vec<_>>();
            let at = if classes == 2 {
                vec![found.weight_c[0] - 1.0, found.bias_c[1] - found.bias_c[0]]
            } else {
                [off(&found.weight_c, 1.0), off(&found.bias_c, 0.0)].concat()
            };
            let there = problem.derivatives(&DVector::from_vec(at));
            assert!(there.gradient.amax() < 1e-6, "{}", there.gradient.amax());
            let covariance = there.hessian.cholesky().unwrap().inverse();
            let error = |i: usize| covariance[(i, i)].sqrt();
            for class in 0..classes {
                let miss = (found.weight_c[class] - truth.weight_c[class]).abs();
                let i = if classes == 2 { 0 } else { class };
                assert!(miss < 4.0 * error(i), "{class}: {found:?}");
            }
            let (own, true_one) = (&found.bias_c, &truth.bias_c);
            let miss = ((own[1] - own[0]) - (true_one[1] - true_one[0])).abs();
            assert!(miss < 0.2, "{found:?}");
            // It has temperature scaling inside, and says more.
            let plain = fit_temperature(&logit_nc, &labels).unwrap();
            assert!(nll(&found, &logit_nc, &labels) < plain.nll_after - 1e-3);
        }
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for truth in truths() {
            let classes = truth.bias_c.len();
            let (logit_nc, labels) = drawn(40, &truth);
            let problem =
                Problem { logit_nc: &logit_nc, labels: &labels, classes, free: free(classes) };
            let count = problem.free.ncols();
            let place = DVector::from_fn(count, |i, _| 0.1 * (i as f64).sin());
            let here = problem.derivatives(&place);
            let step = 1e-5;
            for i in 0..count {
                let mut up = place.clone();
                up[i] += step;
                let mut down = place.clone();
                down[i] -= step;
                let slope = (problem.value(&up) - problem.value(&down)) / (2.0 * step);
                assert!((here.gradient[i] - slope).abs() < 1e-6);
                let bend = problem.derivatives(&up).gradient - problem.derivatives(&down).gradient;
                let column = here.hessian.column(i) - bend / (2.0 * step);
                assert!(column.amax() < 1e-6);
            }
        }
    }

    #[test]
    fn rows_that_are_all_right_leave_it_finite() {
        let logit_nc = [3.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 3.0];
        let found = fit_vector(&logit_nc, &[0, 1, 2], 3);
        let all = found.weight_c.iter().chain(&found.bias_c);
        assert!(all.clone().all(|value| value.is_finite()), "{found:?}");
        assert!(found.weight_c.iter().all(|&weight| weight > 1.0), "{found:?}");
    }
}
