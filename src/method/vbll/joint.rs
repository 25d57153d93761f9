//! The bound as a loss, while the encoder is fine-tuned: w̄ is the last layer, S is diagonal.

use std::collections::BTreeMap;

use candle_core::{D, Result, Tensor, Var};

use super::bound::{SCALE, Sizes};
use crate::train::{Answers, Objective, OwnParameter};

/// ln s of the weights `[k, d]` and of the biases `[k]`, and ln σ² `[k]`.
const OWN: [&str; 3] =
    ["classifier.log_variance.weight", "classifier.log_variance.bias", "classifier.log_noise"];
/// w̄ of the weights `[k, d]` and of the biases `[k]`.
const LAST: [&str; 2] = ["classifier.weight", "classifier.bias"];

/// Fine-tuning by the bound.
#[derive(Debug)]
pub(super) struct Joint {
    pub(super) classes: usize,
    /// The width `d` of the feature.
    pub(super) width: usize,
    /// Training rows.
    pub(super) rows: usize,
}

/// q(W) and the noise, as tensors.
struct Layer<'a> {
    mean: [&'a Tensor; 2],
    log_variance: [&'a Tensor; 2],
    log_noise_k: &'a Tensor,
}

impl Joint {
    fn sizes(&self) -> Sizes {
        Sizes { classes: self.classes, width: self.width + 1, rank: 0 }
    }

    /// −(1/n) Σ c_b L_b over a part of the n rows of a step.
    fn fit(
        layer: &Layer<'_>,
        answers: &Answers<'_>,
        (feature_bd, logit_bc): (&Tensor, &Tensor),
    ) -> Result<Tensor> {
        let Answers { labels, weights, step_rows, .. } = *answers;
        let (_, classes) = logit_bc.dims2()?;
        let [weight_kd, bias_k] = layer.log_variance;
        let variance_bc = feature_bd.sqr()?.matmul(&weight_kd.exp()?.t()?)?;
        let same_c = (bias_k.exp()? + layer.log_noise_k.exp()?)?;
        let exponent_bc = (logit_bc + (variance_bc.broadcast_add(&same_c)? * 0.5)?)?;
        let peak_b1 = exponent_bc.max_keepdim(D::Minus1)?.detach();
        let sum_b1 = exponent_bc.broadcast_sub(&peak_b1)?.exp()?.sum_keepdim(D::Minus1)?;
        let log_sum_b1 = (sum_b1.log()? + peak_b1)?;
        let mut chosen_bc = vec![0.0f32; labels.len() * classes];
        for (line, (&label, &weight)) in
            chosen_bc.chunks_exact_mut(classes).zip(labels.iter().zip(weights))
        {
            line[label as usize] = weight;
        }
        let chosen_bc = Tensor::from_vec(chosen_bc, logit_bc.dims(), logit_bc.device())?
            .to_dtype(logit_bc.dtype())?;
        (log_sum_b1.broadcast_sub(logit_bc)? * chosen_bc)?.sum_all()? / step_rows as f64
    }

    /// KL(q ‖ p) − ln p(Σ) over the number of training rows, up to a constant; ς is the best for this q.
    fn pull(&self, layer: &Layer<'_>) -> Result<Tensor> {
        let Sizes { classes, width, .. } = self.sizes();
        let count = (classes * width) as f64;
        let sum = |pair: [&Tensor; 2], of: &dyn Fn(&Tensor) -> Result<Tensor>| {
            of(pair[0])?.sum_all()? + of(pair[1])?.sum_all()?
        };
        let norm = sum(layer.mean, &|w| w.sqr())?;
        let trace = sum(layer.log_variance, &|log| log.exp())?;
        let log_determinant = sum(layer.log_variance, &|log| Ok(log.clone()))?;
        let log_prior = ((norm + trace)? / count)?.log()?;
        let divergence = (((log_prior * count)? - log_determinant)? * 0.5)?;
        let noise = (layer.log_noise_k.sum_all()? * self.sizes().degrees())?;
        let precision = (layer.log_noise_k.neg()?.exp()?.sum_all()? * (0.5 * SCALE))?;
        ((divergence + noise)? + precision)? / self.rows as f64
    }
}

impl Objective for Joint {
    fn parameters(&self) -> Vec<OwnParameter> {
        let Self { classes, width, rows } = *self;
        // As narrow as the rows of a class make it, if each is half a class of its own.
        let each = rows as f64 / classes as f64;
        let log_variance = -(1.0 + each).ln() as f32;
        let log_noise = self.sizes().log_noise(each) as f32;
        let own = |name: &str, shape: &[usize], value: f32| OwnParameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            start: vec![value; shape.iter().product()],
            decays: false,
        };
        vec![
            own(OWN[0], &[classes, width], log_variance),
            own(OWN[1], &[classes], log_variance),
            own(OWN[2], &[classes], log_noise),
        ]
    }

    fn loss(&self, answers: &Answers<'_>, variables: &BTreeMap<String, Var>) -> Result<Tensor> {
        let of = |name: &str| variables[name].as_tensor();
        let layer = Layer {
            mean: LAST.map(of),
            log_variance: [of(OWN[0]), of(OWN[1])],
            log_noise_k: of(OWN[2]),
        };
        let rows = (answers.feature_bd, answers.logit_bc);
        let share = answers.labels.len() as f64 / answers.step_rows as f64;
        Self::fit(&layer, answers, rows)? + (self.pull(&layer)? * share)?
    }
}

#[cfg(test)]
mod tests {
    use super::super::bound::Bound;
    use super::*;
    use crate::compute::ops::gradient_check::{assert_gradients, sample};
    use crate::posterior::algebra::Design;

    const ROWS: usize = 5;
    const CLASSES: usize = 3;
    const WIDTH: usize = 4;
    const LABELS: [u32; ROWS] = [0, 2, 1, 1, 0];
    const WEIGHTS: [f32; ROWS] = [1.0, 0.5, 2.0, 1.0, 1.0];

    fn joint() -> Joint {
        Joint { classes: CLASSES, width: WIDTH, rows: ROWS }
    }

    /// The loss of all rows; φ, w̄ (two), ln s (two), ln σ².
    fn loss(x: &[Tensor]) -> Result<Tensor> {
        let layer =
            Layer { mean: [&x[1], &x[2]], log_variance: [&x[3], &x[4]], log_noise_k: &x[5] };
        let logit_bc = x[0].matmul(&x[1].t()?)?.broadcast_add(&x[2])?;
        let answers = Answers {
            feature_bd: &x[0],
            logit_bc: &logit_bc,
            rows: &[0, 1, 2, 3, 4],
            labels: &LABELS,
            weights: &WEIGHTS,
            step_rows: ROWS,
            pass: 0,
        };
        Joint::fit(&layer, &answers, (&x[0], &logit_bc))? + joint().pull(&layer)?
    }

    fn samples(seed: u64) -> Vec<Tensor> {
        let shapes: [&[usize]; 5] =
            [&[CLASSES, WIDTH], &[CLASSES], &[CLASSES, WIDTH], &[CLASSES], &[CLASSES]];
        let own = shapes.iter().zip(seed..).map(|(shape, seed)| sample(shape, seed));
        std::iter::once(sample(&[ROWS, WIDTH], 1)).chain(own).collect()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        assert_gradients(&samples(2), loss);
    }

    /// Between two places the loss of all rows and the objective of the fit differ by the same.
    #[test]
    fn it_is_the_bound_that_the_fit_maximises() {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let places = [samples(2), samples(20)];
        let feature: Vec<f32> = flat(&places[0][0]).into_iter().map(|x| x as f32).collect();
        let design = Design::scaled(&feature, &[1.0; WIDTH + 1]).unwrap();
        let squared = design.squared().unwrap();
        let weight_n = WEIGHTS.map(f64::from);
        let sizes = joint().sizes();
        let bound = Bound::new((&design, &squared), &LABELS, &weight_n, sizes).unwrap();
        let objective = |x: &[Tensor]| {
            let both = |weight: &Tensor, bias: &Tensor| -> Vec<f64> {
                let (weight, bias) = (flat(weight), flat(bias));
                let lines = weight.chunks_exact(WIDTH).zip(bias);
                lines.flat_map(|(line, bias)| line.iter().copied().chain([bias])).collect()
            };
            let values = [both(&x[1], &x[2]), both(&x[3], &x[4]), flat(&x[5])].concat();
            bound.at(&values).unwrap().objective / ROWS as f64
        };
        let of = |x: &[Tensor]| loss(x).unwrap().to_scalar::<f64>().unwrap();
        let found = of(&places[1]) - of(&places[0]);
        let expected = objective(&places[1]) - objective(&places[0]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}
