//! The mean of softmax over points in logit space, and the mean of its entropy.

use super::math::exp;
use crate::compute::kernels::simd::vectorised;

/// Sums over points of softmax(μ + offset): probabilities `[k]` and entropies.
#[derive(Clone, Debug)]
pub struct Mixture {
    probability_k: Vec<f64>,
    entropy: f64,
    points: usize,
    weight_k: Vec<f64>,
}

impl Mixture {
    /// Of no point yet.
    pub fn new(classes: usize) -> Self {
        let zeros = vec![0.0; classes];
        Self { probability_k: zeros.clone(), entropy: 0.0, points: 0, weight_k: zeros }
    }

    /// Adds the point μ + sign · offset.
    pub fn add(&mut self, mean_k: &[f64], offset_k: &[f64], sign: f64) {
        let (weight_k, sum_k) = (&mut self.weight_k, &mut self.probability_k);
        self.entropy += add_point(mean_k, offset_k, sign, weight_k, sum_k);
        self.points += 1;
    }

    /// The mean probabilities `[k]` and the mean entropy.
    pub fn finish(mut self) -> (Vec<f64>, f64) {
        let points = self.points as f64;
        self.probability_k.iter_mut().for_each(|p| *p /= points);
        (self.probability_k, self.entropy / points)
    }
}

vectorised! {
    /// Adds one softmax to `sum_k` and gives its entropy; `weight_k` is memory.
    fn add_point<'a>(
        mean_k: &'a [f64],
        offset_k: &'a [f64],
        sign: f64,
        weight_k: &'a mut [f64],
        sum_k: &'a mut [f64],
    ) -> f64 {
        let classes = mean_k.len();
        let (offset_k, weight_k) = (&offset_k[..classes], &mut weight_k[..classes]);
        let sum_k = &mut sum_k[..classes];
        let mut peaks = [f64::NEG_INFINITY; LANES];
        for k in 0..classes {
            let logit = sign.mul_add(offset_k[k], mean_k[k]);
            weight_k[k] = logit;
            let peak = &mut peaks[k % LANES];
            *peak = if logit > *peak { logit } else { *peak };
        }
        let peak = peaks.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sums, mut slopes) = ([0.0; LANES], [0.0; LANES]);
        let mut chunks = weight_k.chunks_exact_mut(LANES);
        for chunk in &mut chunks {
            for lane in 0..LANES {
                let below = chunk[lane] - peak;
                let weight = exp(below);
                chunk[lane] = weight;
                sums[lane] += weight;
                slopes[lane] = weight.mul_add(below, slopes[lane]);
            }
        }
        for (lane, value) in chunks.into_remainder().iter_mut().enumerate() {
            let below = *value - peak;
            let weight = exp(below);
            *value = weight;
            sums[lane] += weight;
            slopes[lane] = weight.mul_add(below, slopes[lane]);
        }
        let (sum, slope) = (sums.iter().sum::<f64>(), slopes.iter().sum::<f64>());
        let share = 1.0 / sum;
        for (total, weight) in sum_k.iter_mut().zip(weight_k.iter()) {
            *total = weight.mul_add(share, *total);
        }
        // −Σ p ln p with ln p = below − ln sum.
        sum.ln() - slope * share
    }
}

/// Running sums beside one another; two vectors of eight f64.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_point_is_its_softmax_with_its_entropy() {
        for classes in [2, 3, 16, 17, 40] {
            let mean_k: Vec<f64> = (0..classes).map(|k| f64::from(k as u32).sin() * 3.0).collect();
            let offset_k: Vec<f64> = (0..classes).map(|k| f64::from(k as u32).cos()).collect();
            for sign in [1.0, -1.0] {
                let mut mixture = Mixture::new(classes);
                mixture.add(&mean_k, &offset_k, sign);
                let (p_k, entropy) = mixture.finish();
                let moved: Vec<f64> =
                    mean_k.iter().zip(&offset_k).map(|(m, o)| m + sign * o).collect();
                let exact = super::super::softmax(&moved, 1.0);
                assert!(p_k.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-14));
                assert!((entropy - super::super::entropy(&exact)).abs() < 1e-13);
            }
        }
    }
}
