//! The negative bound and its gradient, at parameters that lie in one flat vector.

use candle_core::Result;
use rayon::prelude::*;

use crate::posterior::algebra::{Design, Matrix};

/// What the bound is of.
pub struct Bound<'a> {
    pub design: &'a Design,
    /// φ̃ ∘ φ̃.
    pub squared: &'a Design,
    pub labels: &'a [u32],
    /// What each row counts, `[n]`.
    pub weight_n: &'a [f64],
    pub sizes: Sizes,
    /// Σ c_n φ̃ over the rows of each class, `[k, D]`.
    pub observed_kd: Vec<f64>,
    /// ς; by empirical Bayes where it is not given.
    pub prior_variance: Option<f64>,
    /// Whether w̄ stays as it is.
    pub keep_mean: bool,
}

/// How the flat vector is divided: w̄ `[k, D]`, ln s `[k, D]`, u `[k, r, D]`, ln σ² `[k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub classes: usize,
    pub width: usize,
    pub rank: usize,
}

/// Parts of the flat vector.
pub struct Parts<'a> {
    /// w̄, `[k, D]`.
    pub mean: &'a [f64],
    /// ln s, `[k, D]`.
    pub log_diagonal: &'a [f64],
    /// u, `[k, r, D]`.
    pub directions: &'a [f64],
    /// ln σ², `[k]`.
    pub log_noise: &'a [f64],
}

/// The bound at some parameters.
pub struct Value {
    /// −Σ c_n L_n + KL − ln p(Σ), up to a constant.
    pub objective: f64,
    pub gradient: Vec<f64>,
    /// KL(q ‖ p) alone.
    pub divergence: f64,
    /// ς.
    pub prior_variance: f64,
    /// Σ_k tr S_k.
    pub trace: f64,
    /// Σ c_n L_n.
    pub fit: f64,
}

/// The Wishart prior of the noise precisions as the authors' code has it: `dof` = 1, `wishart_scale` = 1.
const DEGREES: f64 = 1.0;
pub const SCALE: f64 = 1.0;

impl Sizes {
    /// The length of the whole vector.
    pub fn total(self) -> usize {
        let Self { classes, width, rank } = self;
        classes * (width * (2 + rank) + 1)
    }

    pub fn parts(self, values: &[f64]) -> Parts<'_> {
        let Self { classes, width, rank } = self;
        let (mean, rest) = values.split_at(classes * width);
        let (log_diagonal, rest) = rest.split_at(classes * width);
        let (directions, log_noise) = rest.split_at(classes * rank * width);
        Parts { mean, log_diagonal, directions, log_noise }
    }

    /// (dof + K + 1) / 2.
    pub fn degrees(self) -> f64 {
        (DEGREES + self.classes as f64 + 1.0) / 2.0
    }

    /// ln σ² where the noise of a class has the probability mass `count` in all rows together: the root of
    /// ½ count σ² + dof' − ½ scale / σ² = 0.
    pub fn log_noise(self, count: f64) -> f64 {
        let degrees = self.degrees();
        (SCALE / (degrees + (degrees * degrees + SCALE * count).sqrt())).ln()
    }
}

impl<'a> Bound<'a> {
    /// Of rows with these labels.
    pub fn new(
        (design, squared): (&'a Design, &'a Design),
        labels: &'a [u32],
        weight_n: &'a [f64],
        sizes: Sizes,
    ) -> Result<Self> {
        let mut indicator_nk = vec![0.0; labels.len() * sizes.classes];
        let lines = indicator_nk.chunks_exact_mut(sizes.classes);
        for (line, (&label, &weight)) in lines.zip(labels.iter().zip(weight_n)) {
            line[label as usize] = weight;
        }
        let observed_kd = design.collect(indicator_nk)?;
        let (prior_variance, keep_mean) = (None, false);
        Ok(Self {
            design,
            squared,
            labels,
            weight_n,
            sizes,
            observed_kd,
            prior_variance,
            keep_mean,
        })
    }

    pub fn at(&self, values: &[f64]) -> Result<Value> {
        let Sizes { classes, width, rank } = self.sizes;
        let parts = self.sizes.parts(values);
        let diagonal: Vec<f64> = parts.log_diagonal.iter().map(|value| value.exp()).collect();
        let noise: Vec<f64> = parts.log_noise.iter().map(|value| value.exp()).collect();

        // w̄ᵀφ̃ + ½ (φ̃ᵀSφ̃ + σ²), the exponents of the bound: [n, k].
        let mean_nk = self.design.logits(parts.mean)?;
        let mut exponent_nk = self.squared.logits(&diagonal)?;
        let along_nkr = match rank {
            0 => Vec::new(),
            _ => self.design.logits(parts.directions)?,
        };
        let lines = exponent_nk.par_chunks_mut(classes).zip(mean_nk.par_chunks(classes));
        lines.enumerate().for_each(|(row, (line, mean_k))| {
            let along = &along_nkr[row * classes * rank..(row + 1) * classes * rank];
            for (k, (value, mean)) in line.iter_mut().zip(mean_k).enumerate() {
                let own = &along[k * rank..(k + 1) * rank];
                let variance = *value + own.iter().map(|z| z * z).sum::<f64>() + noise[k];
                *value = mean + 0.5 * variance;
            }
        });
        // Their softmax times c_n, in their place.
        let rows = self.labels.par_iter().zip(self.weight_n.par_iter());
        let lines = exponent_nk.par_chunks_mut(classes).zip(mean_nk.par_chunks(classes));
        let fit_n: Vec<f64> = lines
            .zip(rows)
            .map(|((line, mean_k), (&label, &weight))| {
                let peak = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                line.iter_mut().for_each(|value| *value = (*value - peak).exp());
                let sum: f64 = line.iter().sum();
                line.iter_mut().for_each(|value| *value *= weight / sum);
                weight * (mean_k[label as usize] - peak - sum.ln())
            })
            .collect();
        let fit: f64 = fit_n.iter().sum();
        let share_nk = exponent_nk;

        let mut count_k = vec![0.0; classes];
        for line in share_nk.chunks_exact(classes) {
            count_k.iter_mut().zip(line).for_each(|(count, share)| *count += share);
        }
        let along = match rank {
            0 => Vec::new(),
            _ => self.collect_along(&share_nk, &along_nkr)?,
        };
        let second_kd = self.squared.collect(share_nk.clone())?;
        let first_kd = self.design.collect(share_nk)?;

        let low_rank = LowRank::of(self.sizes, &diagonal, parts.directions);
        let trace = diagonal.iter().chain(&low_rank.squares).sum::<f64>();
        let norm: f64 = parts.mean.iter().map(|w| w * w).sum();
        let count = (classes * width) as f64;
        let prior_variance = self.prior_variance.unwrap_or((trace + norm) / count);
        let log_determinant = parts.log_diagonal.iter().sum::<f64>() + low_rank.log_determinant;
        let divergence = 0.5
            * ((trace + norm) / prior_variance - count + count * prior_variance.ln()
                - log_determinant);
        let wishart: f64 = parts
            .log_noise
            .iter()
            .map(|log| -self.sizes.degrees() * log - 0.5 * SCALE * (-log).exp())
            .sum();

        // At the best ς its own slope is zero, so the gradient is that of a ς that is given.
        let mut gradient = Vec::with_capacity(self.sizes.total());
        let mean = first_kd.iter().zip(&self.observed_kd).zip(parts.mean);
        gradient.extend(mean.map(|((first, observed), w)| match self.keep_mean {
            true => 0.0,
            false => first - observed + w / prior_variance,
        }));
        let both = diagonal.iter().zip(&second_kd).zip(&low_rank.inverse_diagonal);
        gradient.extend(both.map(|((s, second), inverse)| {
            0.5 * s * (second + prior_variance.recip()) - 0.5 * s * inverse
        }));
        let both = along.iter().zip(parts.directions).zip(&low_rank.inverse_directions);
        gradient.extend(both.map(|((along, u), inverse)| along + u / prior_variance - inverse));
        let both = noise.iter().zip(&count_k);
        gradient.extend(both.map(|(noise, count)| {
            0.5 * count * noise + self.sizes.degrees() - 0.5 * SCALE / noise
        }));
        let objective = divergence - fit - wishart;
        Ok(Value { objective, gradient, divergence, prior_variance, trace, fit })
    }

    /// Σ_n q_nk (u_krᵀφ̃) φ̃, `[k, r, D]`.
    fn collect_along(&self, share_nk: &[f64], along_nkr: &[f64]) -> Result<Vec<f64>> {
        let rank = self.sizes.rank;
        let of_class =
            |(z_r, share): (&[f64], &f64)| -> Vec<f64> { z_r.iter().map(|z| share * z).collect() };
        let weighted = along_nkr.par_chunks(rank).zip(share_nk.par_iter()).flat_map_iter(of_class);
        self.design.collect(weighted.collect())
    }
}

/// What the directions do to ln |S| and S⁻¹, by Woodbury's identity with M = I + Uᵀ diag(1/s) U.
struct LowRank {
    /// u².
    squares: Vec<f64>,
    /// Σ_k ln |M_k|.
    log_determinant: f64,
    /// The diagonal of S⁻¹, `[k, D]`.
    inverse_diagonal: Vec<f64>,
    /// S⁻¹ u, `[k, r, D]`.
    inverse_directions: Vec<f64>,
}

impl LowRank {
    fn of(sizes: Sizes, diagonal: &[f64], directions: &[f64]) -> Self {
        let Sizes { classes, width, rank } = sizes;
        let mut inverse_diagonal: Vec<f64> = diagonal.iter().map(|s| s.recip()).collect();
        let mut inverse_directions = Vec::with_capacity(directions.len());
        let mut log_determinant = 0.0;
        for k in (0..classes).filter(|_| rank > 0) {
            let own = &mut inverse_diagonal[k * width..(k + 1) * width];
            let u_rd = &directions[k * rank * width..(k + 1) * rank * width];
            let u = Matrix::from_column_slice(width, rank, u_rd);
            let mut scaled = u.clone();
            for mut column in scaled.column_iter_mut() {
                column.iter_mut().zip(&*own).for_each(|(value, inverse)| *value *= inverse);
            }
            let inner = Matrix::identity(rank, rank) + u.tr_mul(&scaled);
            let factor = inner.cholesky().expect("the identity and squares are positive definite");
            log_determinant += 2.0 * factor.l().diagonal().iter().map(|x| x.ln()).sum::<f64>();
            let solved = factor.solve(&scaled.transpose()).transpose();
            for (i, own) in own.iter_mut().enumerate() {
                *own -= scaled.row(i).dot(&solved.row(i));
            }
            inverse_directions.extend(solved.iter());
        }
        let squares = directions.iter().map(|u| u * u).collect();
        Self { squares, log_determinant, inverse_diagonal, inverse_directions }
    }
}
