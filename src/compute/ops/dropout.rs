//! Dropout from the counter-based noise: the mask is a function of where it is drawn, so it can be
//! drawn again, in any order and on any number of threads.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::compute::kernels::noise::{Factors, fill_line};
use crate::compute::{Key, Noise, Packed, Purpose};

/// The noise of one place in the network at one step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout(Factors);

impl Dropout {
    /// `place` numbers the dropout layers of the network; `rate` is the share set to zero, taken to
    /// the nearest of 65,536 steps.
    pub fn new(noise: &Noise, step: u64, place: u32, rate: f64) -> Self {
        let Key(key) = noise.key(Purpose::Dropout, step, place);
        let threshold = (rate * 65_536.0).round() as u32;
        Self(Factors {
            key,
            threshold,
            kept: (65_536.0 / (65_536.0 - f64::from(threshold))) as f32,
        })
    }

    /// What the kernels take; nothing where nothing is dropped.
    pub fn factors(self) -> Option<Factors> {
        Some(self.0).filter(|factors| factors.threshold > 0)
    }

    /// The mask of attention weights of one sequence: `heads * s` lines of `t`.
    pub(super) fn attention_mask(&self, row: u64, heads: usize, length: usize) -> Vec<f32> {
        let mut mask_hst = vec![0.0; heads * length * length];
        let lines = mask_hst.par_chunks_mut(length).enumerate();
        lines.for_each(|(line, mask_t)| fill_line(mask_t, self.0, row, line as u32));
        mask_hst
    }
}

/// Multiplies `x_pd` (or `x_bd` with one token a sequence) by a mask; `None` is the identity.
/// `places` gives (row, position) of each line of `x`.
pub fn dropout(x: &Tensor, places: &[(u64, u32)], noise: Option<Dropout>) -> Result<Tensor> {
    let Some(factors) = noise.and_then(Dropout::factors) else { return Ok(x.clone()) };
    let (lines, width) = x.dims2()?;
    assert_eq!(lines, places.len(), "one place for each line");
    let mut mask_pd = vec![0.0f32; lines * width];
    let work = mask_pd.par_chunks_mut(width).zip(places);
    work.for_each(|(mask_d, &(row, token))| fill_line(mask_d, factors, row, token));
    x * Tensor::from_vec(mask_pd, (lines, width), x.device())?.to_dtype(x.dtype())?
}

/// One place a sequence, for pooled features.
pub fn sequence_places(batch: &Packed) -> Vec<(u64, u32)> {
    batch.rows().iter().map(|&row| (row, 0)).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn mask(step: u64, places: &[(u64, u32)]) -> Vec<f32> {
        let x = Tensor::ones((places.len(), 400), DType::F32, &Device::Cpu).unwrap();
        let noise = Dropout::new(&Noise::new(5), step, 3, 0.1);
        let y = dropout(&x, places, Some(noise)).unwrap();
        y.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_share_of_zeros_is_the_rate_and_the_mean_is_kept() {
        let places: Vec<(u64, u32)> = (0..250).map(|row| (row, 7)).collect();
        let values = mask(0, &places);
        let zeros = values.iter().filter(|&&v| v == 0.0).count() as f64;
        let n = values.len() as f64;
        assert!((zeros / n - 0.1).abs() < 5.0 * (0.09 / n).sqrt(), "{zeros} of {n}");
        assert!(values.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.9).abs() < 1e-5));
    }

    #[test]
    fn a_mask_follows_its_row_and_not_its_batch() {
        let both = mask(4, &[(11, 0), (12, 0)]);
        assert_eq!(both[400..], mask(4, &[(12, 0)]));
        assert_ne!(both[..400], both[400..]);
        assert_ne!(mask(4, &[(11, 0)]), mask(5, &[(11, 0)]));
    }
}
