//! Softmax over the keys of each query, with a mask and dropout.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, like, words};
#[cfg(feature = "cuda")]
use crate::compute::cuda::kernels;
use crate::compute::kernels::noise::{Factors, fill_line};

/// What makes weights of scores.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// What scores are multiplied with before.
    pub scale: f32,
    /// How many places away from itself a token attends to; all where there is none.
    pub window: Option<u32>,
    pub dropout: Option<Factors>,
}

impl Softmax {
    /// The weights behind their dropout, `[b, h, s, t]`, of scores of that shape. `sequences_b3` has (length, low half
    /// of the row, high half) of each sequence; what is beyond its length has the weight 0, as query and as key.
    pub fn weights(self, score_bhst: &Tensor, sequences_b3: &Tensor) -> Result<Tensor> {
        score_bhst.apply_op2_no_bwd(sequences_b3, &self)
    }

    /// The gradient of the scores, from that of the weights.
    pub fn backward(
        self,
        score_bhst: &Tensor,
        gradient_bhst: &Tensor,
        sequences_b3: &Tensor,
    ) -> Result<Tensor> {
        score_bhst.apply_op3_no_bwd(gradient_bhst, sequences_b3, &Back(self))
    }

    /// Calls `each` with (scores or what they are replaced by, the keys that are seen, factors of dropout) of each
    /// line, and clears the lines beyond a sequence.
    fn lines(
        self,
        values: &mut [f32],
        (dims, sequences): ((usize, usize), &[u32]),
        each: impl Fn(usize, &mut [f32], Option<&[f32]>) + Sync,
    ) {
        let (heads, longest) = dims;
        let lines = values.par_chunks_mut(longest).enumerate();
        lines.for_each(|(place, line)| {
            let (sequence, head) = (place / longest / heads, place / longest % heads);
            let query = place % longest;
            let length = sequences[3 * sequence] as usize;
            if query >= length {
                return line.fill(0.0);
            }
            let row = u64::from(sequences[3 * sequence + 1])
                | u64::from(sequences[3 * sequence + 2]) << 32;
            let mut mask = vec![1.0; longest];
            if let Some(factors) = self.dropout {
                fill_line(&mut mask[..length], factors, row, (head * length + query) as u32);
            }
            let far = self.window.map_or(longest, |window| window as usize);
            let (first, end) = (query.saturating_sub(far), length.min(query + far + 1));
            line[..first].fill(0.0);
            line[end..].fill(0.0);
            let mask = self.dropout.map(|_| &mask[first..end]);
            each(place * longest + first, &mut line[first..end], mask);
        });
    }

    /// Scores become weights, without dropout.
    fn exponentials(self, line: &mut [f32]) {
        line.iter_mut().for_each(|score| *score *= self.scale);
        let most = line.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        line.iter_mut().for_each(|score| *score = (*score - most).exp());
        let sum = line.iter().sum::<f32>();
        line.iter_mut().for_each(|weight| *weight /= sum);
    }
}

impl CustomOp2 for Softmax {
    fn name(&self) -> &'static str {
        "masked_softmax"
    }

    fn cpu_fwd(
        &self,
        score: &CpuStorage,
        score_layout: &Layout,
        sequences: &CpuStorage,
        sequences_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, heads, longest, _) = score_layout.shape().dims4()?;
        let sequences = words((sequences, sequences_layout))?;
        let mut values = floats((score, score_layout))?.into_owned();
        self.lines(&mut values, ((heads, longest), sequences), |_, line, mask| {
            self.exponentials(line);
            if let Some(mask) = mask {
                line.iter_mut().zip(mask).for_each(|(weight, factor)| *weight *= factor);
            }
        });
        Ok((like(score, values), score_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        score: &CudaStorage,
        score_layout: &Layout,
        sequences: &CudaStorage,
        sequences_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let sequences = (sequences, sequences_layout);
        let weights = kernels::masked_softmax((score, score_layout), sequences, *self)?;
        Ok((weights, score_layout.shape().clone()))
    }
}

struct Back(Softmax);

impl CustomOp3 for Back {
    fn name(&self) -> &'static str {
        "masked_softmax_backward"
    }

    fn cpu_fwd(
        &self,
        score: &CpuStorage,
        score_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        sequences: &CpuStorage,
        sequences_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, heads, longest, _) = score_layout.shape().dims4()?;
        let sequences = words((sequences, sequences_layout))?;
        let gradient = floats((gradient, gradient_layout))?;
        let mut values = floats((score, score_layout))?.into_owned();
        self.0.lines(&mut values, ((heads, longest), sequences), |start, line, mask| {
            self.0.exponentials(line);
            let mut gradient = gradient[start..start + line.len()].to_vec();
            if let Some(mask) = mask {
                gradient.iter_mut().zip(mask).for_each(|(g, factor)| *g *= factor);
            }
            let along = line.iter().zip(&gradient).map(|(weight, g)| weight * g).sum::<f32>();
            for (weight, g) in line.iter_mut().zip(gradient) {
                *weight *= self.0.scale * (g - along);
            }
        });
        Ok((like(score, values), score_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        score: &CudaStorage,
        score_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
        sequences: &CudaStorage,
        sequences_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (gradient, sequences) = ((gradient, gradient_layout), (sequences, sequences_layout));
        let score = (score, score_layout);
        let of_scores = kernels::masked_softmax_backward(score, gradient, sequences, self.0)?;
        Ok((of_scores, score_layout.shape().clone()))
    }
}
