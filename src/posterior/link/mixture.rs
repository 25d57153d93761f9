//! The mean of softmax over points in logit space, and the mean of its entropy.

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

    /// With the points of another one.
    pub fn joined(mut self, other: &Self) -> Self {
        let both = self.probability_k.iter_mut().zip(&other.probability_k);
        both.for_each(|(own, other)| *own += other);
        self.entropy += other.entropy;
        self.points += other.points;
        self
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
        let (mean, mean_rest) = mean_k.as_chunks();
        let (offset, offset_rest) = offset_k.as_chunks();
        let (weight, weight_rest) = weight_k.as_chunks_mut();
        let mut peaks = [f64::NEG_INFINITY; LANES];
        for ((mean, offset), weight) in mean.iter().zip(offset).zip(&mut *weight) {
            (*weight, peaks) = moved(mean, offset, sign, peaks);
        }
        let rest = mean_rest.iter().zip(offset_rest).zip(&mut *weight_rest);
        for (((mean, offset), weight), peak) in rest.zip(&mut peaks) {
            *weight = sign.mul_add(*offset, *mean);
            *peak = if *weight > *peak { *weight } else { *peak };
        }
        let peak = peaks.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sums, mut slopes) = ([0.0; LANES], [0.0; LANES]);
        for weight in weight {
            (*weight, sums, slopes) = weighed(weight, peak, sums, slopes);
        }
        for (lane, value) in weight_rest.iter_mut().enumerate() {
            let below = *value - peak;
            *value = exp(below);
            sums[lane] += *value;
            slopes[lane] = value.mul_add(below, slopes[lane]);
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

type Lanes = [f64; LANES];

/// Logits of a point, and the peaks with them; by value, so that they stay in registers.
#[inline(always)]
fn moved(mean: &Lanes, offset: &Lanes, sign: f64, mut peaks: Lanes) -> (Lanes, Lanes) {
    let mut logits = [0.0; LANES];
    for lane in 0..LANES {
        logits[lane] = sign.mul_add(offset[lane], mean[lane]);
        peaks[lane] = if logits[lane] > peaks[lane] { logits[lane] } else { peaks[lane] };
    }
    (logits, peaks)
}

/// Weights of logits, with the sums of the weights and of the weights times ln of them.
#[inline(always)]
fn weighed(logits: &Lanes, peak: f64, mut sums: Lanes, mut slopes: Lanes) -> (Lanes, Lanes, Lanes) {
    let mut weights = [0.0; LANES];
    for lane in 0..LANES {
        let below = logits[lane] - peak;
        weights[lane] = exp(below);
        sums[lane] += weights[lane];
        slopes[lane] = weights[lane].mul_add(below, slopes[lane]);
    }
    (weights, sums, slopes)
}

/// eˣ for x ≤ 0 with a relative error below 1e-15, e⁻⁷⁰⁰ below that; without branches, so that loops
/// over it become vector code. Reduction by ln 2 in two parts, Taylor's polynomial of degree 13.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // Adding and taking away 1.5 · 2⁵² rounds to the nearest integer, which then stands in the bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = if x > -700.0 { x } else { -700.0 };
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.0 / 6_227_020_800.0;
    for coefficient in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = r.mul_add(p, coefficient);
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023) << 52;
    p * f64::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for step in 0..700_000 {
            let x = -f64::from(step) * 1e-3;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-15, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), exp(-700.0));
    }

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
