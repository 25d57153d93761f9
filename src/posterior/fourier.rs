//! A last layer over random Fourier features of φ, in the place of one over φ itself.
//!
//! Rahimi and Recht, "Random features for large-scale kernel machines" (NeurIPS 2007), as Liu and others
//! use them ("Simple and principled uncertainty estimation with deterministic deep learning via distance
//! awareness", NeurIPS 2020): with x the feature φ without its mean and divided by its standard deviation
//! (layer normalisation without weights),
//!
//! Φ = √(2/R) cos(Ω x / ℓ + b), Ω_ij ~ N(0, 1), b_i ~ U(0, 2π),
//!
//! and Φ(x)ᵀΦ(y) is on average exp(−‖x − y‖² / 2ℓ²): a linear layer on Φ is a Gaussian process on x. Ω and b
//! are drawn once and stored: a file predicts the same whatever draws numbers elsewhere.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use crate::compute::kernels::lines::times;
use crate::compute::{Noise, Purpose};
use crate::model::last_layer;
use crate::store::{TensorFile, Tensors};

/// The map from φ to Φ.
#[derive(Clone, Debug, PartialEq)]
pub struct FourierMap {
    /// Ω / ℓ, `[r, d]`.
    frequency_rd: Vec<f32>,
    /// b, `[r]`.
    phase_r: Vec<f32>,
    /// ℓ.
    length_scale: f64,
}

/// The most features.
pub const MOST_FEATURES: usize = 8192;

/// What keeps the normalisation of a constant feature finite.
const EPSILON: f64 = 1e-12;

impl FourierMap {
    /// With drawn frequencies and phases: `features` of them for a φ of `width`.
    pub fn new(noise: &Noise, features: usize, width: usize, length_scale: f64) -> Self {
        let mut stream = noise.stream(Purpose::Fourier, 0, 0);
        let frequency_rd =
            (0..features * width).map(|_| (stream.normal() / length_scale) as f32).collect();
        let mut stream = noise.stream(Purpose::Fourier, 1, 0);
        let turn = std::f64::consts::TAU;
        let phase_r = (0..features).map(|_| (turn * stream.uniform()) as f32).collect();
        Self { frequency_rd, phase_r, length_scale }
    }

    /// `r`.
    pub fn features(&self) -> usize {
        self.phase_r.len()
    }

    /// Ω / ℓ, `[r, d]`, and b, `[r]`.
    pub fn tensors(&self) -> Result<(Tensor, Tensor)> {
        let features = self.features();
        let shape = (features, self.frequency_rd.len() / features);
        let frequency_rd = Tensor::from_slice(&self.frequency_rd, shape, &Device::Cpu)?;
        Ok((frequency_rd, Tensor::from_slice(&self.phase_r, features, &Device::Cpu)?))
    }

    /// ℓ.
    pub fn length_scale(&self) -> f64 {
        self.length_scale
    }

    /// Φ of each of n features φ, `[n, d]`: `[n, r]`, each row by itself.
    pub fn of(&self, feature_nd: &[f32]) -> Vec<f32> {
        let features = self.features();
        let width = self.frequency_rd.len() / features;
        let mut mapped_nr = vec![0.0; feature_nd.len() / width * features];
        let rows = mapped_nr.par_chunks_mut(features).zip(feature_nd.par_chunks_exact(width));
        rows.for_each(|(mapped_r, feature_d)| {
            times(&self.frequency_rd, &normalised(feature_d), mapped_r);
            let size = (2.0 / features as f32).sqrt();
            for (value, phase) in mapped_r.iter_mut().zip(&self.phase_r) {
                *value = size * (*value + phase).cos();
            }
        });
        mapped_nr
    }
}

/// φ without its mean, over its standard deviation: `[d]`, of length √d.
pub fn normalised(feature_d: &[f32]) -> Vec<f32> {
    let count = feature_d.len() as f64;
    let mean = feature_d.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares: f64 = feature_d.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    let factor = (squares / count + EPSILON).sqrt().recip();
    feature_d.iter().map(|&x| (factor * (f64::from(x) - mean)) as f32).collect()
}

/// A linear layer on Φ.
#[derive(Clone, Debug)]
pub struct FourierLayer {
    pub map: FourierMap,
    /// Mean of its weight, `[c, r]`.
    pub mean_cr: Tensor,
    /// Mean of its bias, `[c]`.
    pub mean_c: Tensor,
}

const FREQUENCIES: &str = "fourier.frequencies";
const PHASES: &str = "fourier.phases";
const LENGTH_SCALE: &str = "fourier.length_scale";
const WEIGHT: &str = "fourier.weight";
const BIAS: &str = "fourier.bias";

impl FourierLayer {
    /// The logits at the mean of the weights, from Φ of n texts, `[n, r]`: `[n, c]`.
    pub fn mean_logits(&self, mapped_nr: &[f32]) -> Result<Vec<f64>> {
        last_layer(mapped_nr, &self.mean_cr, &self.mean_c)
    }

    /// Puts its tensors into a file.
    pub fn put(&self, tensors: &mut Tensors) {
        let values = |tensor: &Tensor| -> Vec<f32> {
            let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
            flat.expect("a layer is f32 in memory")
        };
        let FourierMap { frequency_rd, phase_r, length_scale } = &self.map;
        let features = phase_r.len();
        tensors.put_f32(FREQUENCIES, &[features, frequency_rd.len() / features], frequency_rd);
        tensors.put_f32(PHASES, &[1, features], phase_r);
        tensors.put_f64(LENGTH_SCALE, &[*length_scale]);
        let bias = values(&self.mean_c);
        tensors.put_f32(WEIGHT, &[bias.len(), features], &values(&self.mean_cr));
        tensors.put_f32(BIAS, &[1, bias.len()], &bias);
    }

    /// That of a file, where it has one, for a φ of `width`. The error names the tensor that is wrong.
    pub fn read(
        file: &TensorFile<'_>,
        classes: usize,
        width: usize,
    ) -> std::result::Result<Option<Self>, String> {
        if !file.has(FREQUENCIES) {
            return Ok(None);
        }
        let frequency_rd = file.matrix(FREQUENCIES, None, width)?;
        let features = frequency_rd.len() / width;
        if features > MOST_FEATURES {
            return Err(format!("`{FREQUENCIES}` has more than {MOST_FEATURES} rows"));
        }
        let phase_r = file.matrix(PHASES, Some(1), features)?;
        let length_scale = file.finite_f64(LENGTH_SCALE, 1)?[0];
        let weight = file.matrix(WEIGHT, Some(classes), features)?;
        let bias = file.matrix(BIAS, Some(1), classes)?;
        let tensor = |values: Vec<f32>, shape: &[usize]| {
            Tensor::from_vec(values, shape, &Device::Cpu).map_err(|error| error.to_string())
        };
        Ok(Some(Self {
            map: FourierMap { frequency_rd, phase_r, length_scale },
            mean_cr: tensor(weight, &[classes, features])?,
            mean_c: tensor(bias, &[classes])?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    /// At R = 8,192 an entry of the kernel errs by at most about 1/√R.
    #[test]
    fn products_of_features_are_the_gaussian_kernel() {
        let (n, d, features) = (12, 10, 8192);
        let feature_nd = drawn(n * d, 1);
        let x: Vec<Vec<f32>> = feature_nd.chunks_exact(d).map(normalised).collect();
        for length_scale in [2.0, 6.0] {
            let map = FourierMap::new(&Noise::new(0), features, d, length_scale);
            let mapped_nr = map.of(&feature_nd);
            let line = |row: usize| &mapped_nr[row * features..(row + 1) * features];
            for a in 0..n {
                for b in 0..=a {
                    let found: f64 = line(a)
                        .iter()
                        .zip(line(b))
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    let distance: f64 =
                        x[a].iter().zip(&x[b]).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                    let exact = (-0.5 * distance / (length_scale * length_scale)).exp();
                    assert!((found - exact).abs() < 0.03, "{a} {b}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_bits_that_it_has_alone_and_its_size_does_not_count() {
        let d = 17;
        let feature_nd = drawn(5 * d, 2);
        let map = FourierMap::new(&Noise::new(0), 40, d, 3.0);
        let together = map.of(&feature_nd);
        for (row, mapped_r) in feature_nd.chunks_exact(d).zip(together.chunks_exact(40)) {
            assert_eq!(map.of(row), mapped_r);
            let moved: Vec<f32> = row.iter().map(|x| 4.0 * x + 1.0).collect();
            let near = map.of(&moved).iter().zip(mapped_r).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(near, "layer normalisation takes shift and size away");
        }
        assert!(map.of(&vec![0.5; d]).iter().all(|value| value.is_finite()));
        assert_ne!(map, FourierMap::new(&Noise::new(1), 40, d, 3.0));
    }
}
