//! The loss through random Fourier features, while the encoder is fine-tuned.
//!
//! The length scale cannot follow the features, so it is `sngp_length_scale` times the distance of two unrelated ones,
//! √(2d). The last linear layer, which other tools use and which chooses the best weights on the validation rows, is
//! trained on features that it does not shape. Of the encoder only the dense layer before the last is normalised
//! spectrally: it is new, where the others are pretrained with larger norms.

use std::collections::BTreeMap;

use candle_core::{D, Result, Tensor, Var};

use super::Sngp;
use crate::compute::ops::cross_entropy;
use crate::compute::{Noise, Purpose};
use crate::method::ObjectiveInput;
use crate::posterior::{DRAWS_SEED, FourierMap};
use crate::train::{Answers, Objective, OwnParameter};

const WEIGHT: &str = "classifier.fourier.weight";
const BIAS: &str = "classifier.fourier.bias";
/// The dense layer before the last, where the encoder has one.
const DENSE: &str = "pooler.weight";

/// What keeps the normalisation of a constant feature finite.
const EPSILON: f64 = 1e-12;
/// Rounds of the power iteration; after so many the norm of a trained layer is found to well below a percent.
const ROUNDS: usize = 20;

/// Fine-tuning with β Φ(φ) in the place of the last layer.
#[derive(Debug)]
pub(super) struct Joint {
    classes: usize,
    /// Ω / ℓ, `[r, d]`.
    frequency_rd: Tensor,
    /// b, `[r]`.
    phase_r: Tensor,
    norm_bound: f64,
}

impl Joint {
    pub(super) fn new(own: &Sngp, input: ObjectiveInput<'_>) -> Result<Self> {
        let length_scale = own.sngp_length_scale * (2.0 * input.width as f64).sqrt();
        let noise = Noise::new(DRAWS_SEED);
        let map = FourierMap::new(&noise, own.sngp_features, input.width, length_scale);
        let (frequency_rd, phase_r) = map.tensors()?;
        Ok(Self { classes: input.classes, frequency_rd, phase_r, norm_bound: own.sngp_norm_bound })
    }

    /// √2 cos(Ω x / ℓ + b) of features `[b, d]`: `[b, r]`. Φ without its 1/√R, so that β has the size of any last
    /// layer's weights.
    fn mapped(&self, feature_bd: &Tensor) -> Result<Tensor> {
        let like =
            |tensor: &Tensor| tensor.to_device(feature_bd.device())?.to_dtype(feature_bd.dtype());
        let centred_bd = feature_bd.broadcast_sub(&feature_bd.mean_keepdim(D::Minus1)?)?;
        let variance_b1 = centred_bd.sqr()?.mean_keepdim(D::Minus1)?;
        let x_bd = centred_bd.broadcast_div(&(variance_b1 + EPSILON)?.sqrt()?)?;
        let angle_br = x_bd.matmul(&like(&self.frequency_rd)?.t()?)?;
        angle_br.broadcast_add(&like(&self.phase_r)?)?.cos()? * 2f64.sqrt()
    }
}

impl Objective for Joint {
    fn parameters(&self) -> Vec<OwnParameter> {
        let (classes, features) = (self.classes, self.phase_r.elem_count());
        let own = |name: &str, shape: &[usize], decays| OwnParameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            start: vec![0.0; shape.iter().product()],
            decays,
        };
        vec![own(WEIGHT, &[classes, features], true), own(BIAS, &[classes], false)]
    }

    fn loss(&self, answers: &Answers<'_>, variables: &BTreeMap<String, Var>) -> Result<Tensor> {
        let Answers { feature_bd, labels, weights, step_rows, .. } = *answers;
        let of_layer = |input_bi: &Tensor, weight: &str, bias: &str| {
            let logit_bc = input_bi.matmul(&variables[weight].t()?)?;
            let logit_bc = logit_bc.broadcast_add(variables[bias].as_tensor())?;
            cross_entropy(&logit_bc, labels, weights, 0.0, step_rows as f64)
        };
        let own = of_layer(&self.mapped(feature_bd)?, WEIGHT, BIAS)?;
        own + of_layer(&feature_bd.detach(), "classifier.weight", "classifier.bias")?
    }

    fn constrain(&self, variables: &BTreeMap<String, Var>) -> Result<()> {
        let Some(dense) = variables.get(DENSE).filter(|_| self.norm_bound > 0.0) else {
            return Ok(());
        };
        let norm = spectral_norm(dense.as_tensor())?;
        if norm > self.norm_bound {
            dense.set(&(dense.as_tensor().detach() * (self.norm_bound / norm))?)?;
        }
        Ok(())
    }
}

/// The largest singular value of `[o, i]`, by power iteration from a vector that is always the same.
fn spectral_norm(weight_oi: &Tensor) -> Result<f64> {
    let weight_oi = weight_oi.detach();
    let (_, width) = weight_oi.dims2()?;
    let mut stream = Noise::new(DRAWS_SEED).stream(Purpose::Fourier, 2, 0);
    let start: Vec<f32> = (0..width).map(|_| stream.normal() as f32).collect();
    let mut along_i1 = Tensor::from_vec(start, (width, 1), weight_oi.device())?;
    let mut norm = 0.0;
    for _ in 0..ROUNDS {
        let image_o1 = weight_oi.matmul(&along_i1)?;
        let back_i1 = weight_oi.t()?.matmul(&image_o1)?;
        let [before, after, last] = [&along_i1, &image_o1, &back_i1].map(length);
        let (before, after, last) = (before?, after?, last?);
        norm = after / before;
        if last == 0.0 {
            break;
        }
        along_i1 = (back_i1 / last)?;
    }
    Ok(norm)
}

/// The Euclidean norm.
fn length(vector: &Tensor) -> Result<f64> {
    Ok(f64::from(vector.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::compute::ops::gradient_check::{assert_gradients, sample};

    const WIDTH: usize = 6;

    fn joint() -> Joint {
        let own = Sngp { sngp_features: 16, sngp_joint: true, ..Sngp::default() };
        Joint::new(&own, ObjectiveInput { classes: 3, width: WIDTH, rows: 100, teacher: None })
            .unwrap()
    }

    #[test]
    fn features_are_those_of_the_posterior_but_for_their_size() {
        let joint = joint();
        let feature_bd = sample(&[4, WIDTH], 1);
        let found: Vec<f64> =
            joint.mapped(&feature_bd).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f64> = feature_bd.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        let length_scale = 2.0 * (2.0 * WIDTH as f64).sqrt();
        let map = FourierMap::new(&Noise::new(DRAWS_SEED), 16, WIDTH, length_scale);
        for (found, one) in found.iter().zip(map.of(&values)) {
            assert!((found / 4.0 - f64::from(one)).abs() < 1e-5, "{found} {one}");
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let joint = joint();
        let (weight, bias) = (sample(&[3, 16], 2), sample(&[3], 3));
        assert_gradients(&[sample(&[4, WIDTH], 4), weight, bias], |x| {
            let logit_bc = joint.mapped(&x[0])?.matmul(&x[1].t()?)?.broadcast_add(&x[2])?;
            cross_entropy(&logit_bc, &[2, 0, 1, 1], &[1.0, 0.5, 2.0, 1.0], 0.0, 4.0)
        });
    }

    /// The encoder learns through the random features alone, and the last layer learns without it.
    #[test]
    fn the_last_layer_does_not_shape_the_feature() {
        let joint = joint();
        let var = |shape: &[usize], seed| {
            Var::from_tensor(&sample(shape, seed).to_dtype(candle_core::DType::F32).unwrap())
                .unwrap()
        };
        let of = |last_seed| {
            let read_bd = var(&[2, WIDTH], 1);
            let variables: BTreeMap<String, Var> = [
                (WEIGHT, var(&[3, 16], 2)),
                (BIAS, var(&[3], 3)),
                ("classifier.weight", var(&[3, WIDTH], last_seed)),
                ("classifier.bias", var(&[3], last_seed + 1)),
            ]
            .into_iter()
            .map(|(name, one)| (name.to_owned(), one))
            .collect();
            let answers = Answers {
                feature_bd: read_bd.as_tensor(),
                logit_bc: read_bd.as_tensor(),
                rows: &[0, 1],
                labels: &[0, 2],
                weights: &[1.0, 1.0],
                step_rows: 2,
                pass: 0,
            };
            let found = joint.loss(&answers, &variables).unwrap().backward().unwrap();
            assert!(found.get(variables["classifier.weight"].as_tensor()).is_some());
            let gradient = found.get(read_bd.as_tensor()).unwrap().flatten_all().unwrap();
            gradient.to_vec1::<f32>().unwrap()
        };
        let one = of(10);
        assert_eq!(one, of(20));
        assert!(one.iter().any(|value| value.abs() > 1e-4));
    }

    #[test]
    fn a_layer_that_stretches_too_far_is_brought_back_and_no_other_is_touched() {
        let joint = joint();
        let rotated = |largest: f64| {
            // diag(largest, 0.2, 0.1) between two rotations.
            let (c, s) = (0.6f64, 0.8f64);
            let turn = [c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0];
            let turn = Tensor::from_slice(&turn, (3, 3), &Device::Cpu).unwrap();
            let size = [largest, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 0.1];
            let size = Tensor::from_slice(&size, (3, 3), &Device::Cpu).unwrap();
            let both = turn.matmul(&size).unwrap().matmul(&turn).unwrap();
            Var::from_tensor(&both.to_dtype(candle_core::DType::F32).unwrap()).unwrap()
        };
        for (largest, expected) in [(2.0, 0.95), (0.9, 0.9)] {
            let dense = rotated(largest);
            assert!((spectral_norm(dense.as_tensor()).unwrap() - largest).abs() < 1e-5);
            let variables = BTreeMap::from([(DENSE.to_owned(), dense.clone())]);
            joint.constrain(&variables).unwrap();
            assert!((spectral_norm(dense.as_tensor()).unwrap() - expected).abs() < 1e-5);
        }
        joint.constrain(&BTreeMap::new()).unwrap();
    }
}
