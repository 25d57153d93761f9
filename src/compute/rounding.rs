//! Weights that a precision can hold, as f32.
//!
//! What is rounded is rounded to itself again, so weights that were stored at a precision are those that are packed
//! at it from f32.

use half::bf16;
use rayon::prelude::*;

use super::Precision;

/// The largest weight of eight bits.
pub const MOST: f32 = 127.0;

/// The bits of a significand that a step does without: 16 are left, so the product with up to seven bits is exact.
const SPARE: u32 = 0xff;

/// The step between the eight-bit weights of one output, of which [`MOST`] make the largest.
pub fn step(w: &[f32]) -> f32 {
    let largest = w.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    // Upwards, so that no weight is more than so many steps.
    f32::from_bits(((largest / MOST).to_bits() + SPARE) & !SPARE)
}

/// Added to a small number and taken away again, it leaves the nearest whole one, ties to even: 1.5 · 2²³. The
/// function of the standard library is one call for each number where the CPU is not known.
const WHOLE: f32 = 12_582_912.0;

/// How many steps a weight is, to the nearest, ties to even.
pub fn steps(weight: f32, step: f32) -> i8 {
    let steps = (weight / step).clamp(-MOST, MOST);
    // 0 / 0 becomes 0.
    (steps + WHOLE - WHOLE) as i8
}

impl Precision {
    /// Rounds the weights of linear maps, or of a table, `[n, k]`, each row by itself.
    pub fn round(self, weights: &mut [f32], k: usize) {
        match self {
            Self::F32 => {}
            Self::Bf16 => weights.iter_mut().for_each(|w| *w = bf16::from_f32(*w).to_f32()),
            Self::Int8 => weights.par_chunks_exact_mut(k).for_each(|row| {
                let step = step(row);
                row.iter_mut().for_each(|w| *w = step * f32::from(steps(*w, step)));
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn what_is_rounded_is_rounded_to_itself_and_is_near() {
        let mut stream = Noise::new(3).stream(Purpose::Init, 0, 0);
        for (magnitude, k) in [(1e-6, 3), (0.02, 384), (1.0, 7), (300.0, 64), (1e-30, 5)] {
            let w: Vec<f32> = (0..40 * k).map(|_| (magnitude * stream.normal()) as f32).collect();
            for precision in Precision::ALL {
                let mut once = w.clone();
                precision.round(&mut once, k);
                let mut twice = once.clone();
                precision.round(&mut twice, k);
                assert_eq!(once, twice, "{precision}, {magnitude}");
                for (row, rounded) in w.chunks_exact(k).zip(once.chunks_exact(k)) {
                    let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
                    let most = match precision {
                        Precision::F32 => 0.0,
                        // Half of the last of eight bits.
                        Precision::Bf16 => largest / 256.0,
                        Precision::Int8 => largest / 253.9,
                    };
                    let far = |(w, rounded): (&f32, &f32)| (w - rounded).abs() > most + 1e-43;
                    assert!(!row.iter().zip(rounded).any(far), "{precision}, {magnitude}");
                }
            }
        }
        let mut zeros = vec![0.0; 8];
        Precision::Int8.round(&mut zeros, 4);
        assert_eq!(zeros, [0.0; 8]);
    }
}
