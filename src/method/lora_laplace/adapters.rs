//! Low-rank adapters of the weights of the top layers, and their posterior.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::curvature::Factors;
use crate::compute::{Noise, Purpose};
use crate::model::{Parameters, is_above};
use crate::posterior::algebra::{Eigen, Matrix};
use crate::posterior::{DRAWS_SEED, Deviation, Fixed};

/// How a weight W `[o, i]` may move. What varies is a matrix V `[w, r]` around 0, on the side of W that is as wide
/// as the encoder: its curvature has no larger factor than that.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub side: Side,
    /// `w` and `r`.
    pub shape: [usize; 2],
    /// ‖θ*‖², of the part of W that the adapter can move.
    pub norm: f64,
}

#[derive(Clone, Debug)]
pub enum Side {
    /// W + V A: A `[r, i]` are the right singular vectors of W with the largest singular values.
    Down(Matrix),
    /// W + B Vᵀ: B `[o, r]` are the left ones.
    Up(Matrix),
    /// W + V: of the last layer, which has a row for each class.
    Whole,
}

impl Adapter {
    /// For every weight of the layers from `lowest` on and of what comes behind them.
    pub fn all(
        parameters: &Parameters,
        used: impl Fn(&str) -> bool,
        lowest: usize,
        rank: usize,
    ) -> Result<BTreeMap<String, Self>> {
        let weights = parameters
            .iter()
            .filter(|(name, _)| is_above(name, lowest) && name.ends_with(".weight") && used(name));
        let adapter = |(name, tensor): (&String, &Tensor)| {
            let (rows, columns) = tensor.dims2()?;
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let values = values.into_iter().map(f64::from);
            let weight = Matrix::from_row_iterator(rows, columns, values);
            let own = match name.as_str() {
                "classifier.weight" => {
                    let norm = weight.norm_squared();
                    Self { side: Side::Whole, shape: [rows, columns], norm }
                }
                _ => Self::of(&weight, rank.min(rows).min(columns)),
            };
            Ok((name.clone(), own))
        };
        weights.map(adapter).collect()
    }

    /// Along the largest singular values of a weight.
    pub fn of(weight: &Matrix, rank: usize) -> Self {
        let tall = weight.nrows() > weight.ncols();
        // Singular vectors of the smaller side.
        let eigen = match tall {
            true => Eigen::of(weight.transpose() * weight),
            false => Eigen::of(weight * weight.transpose()),
        };
        let mut order: Vec<usize> = (0..eigen.values.len()).collect();
        order.sort_by(|&a, &b| eigen.values[b].total_cmp(&eigen.values[a]));
        order.truncate(rank);
        let norm = order.iter().map(|&place| eigen.values[place]).sum();
        let near = eigen.vectors.select_columns(&order);
        // Those of the other side, of length one.
        let mut far = if tall { weight * near } else { weight.transpose() * near };
        for mut column in far.column_iter_mut() {
            let length = column.norm();
            if length > 0.0 {
                column /= length;
            }
        }
        match tall {
            true => Self { side: Side::Up(far), shape: [weight.ncols(), rank], norm },
            false => {
                Self { side: Side::Down(far.transpose()), shape: [weight.nrows(), rank], norm }
            }
        }
    }

    /// The gradient of V, `[w, r]`, from that of W, `[o, i]` row by row.
    pub fn gradient(&self, gradient_oi: &[f32]) -> Matrix {
        let lines = |columns: usize| {
            let values = gradient_oi.iter().map(|&value| f64::from(value));
            Matrix::from_row_iterator(gradient_oi.len() / columns, columns, values)
        };
        match &self.side {
            Side::Down(a_ri) => lines(a_ri.ncols()) * a_ri.transpose(),
            Side::Up(b_or) => lines(self.shape[0]).tr_mul(b_or),
            Side::Whole => lines(self.shape[1]),
        }
    }
}

/// The Gaussian over V of one adapter, in the basis of its factors.
#[derive(Clone, Debug)]
pub struct Gaussian {
    wide: Eigen,
    narrow: Eigen,
    trace: f64,
    /// δ, by the evidence.
    pub prior_precision: f64,
    /// γ, the number of parameters that the rows determine.
    pub effective_parameters: f64,
}

/// No prior is narrower or wider.
const BOUNDS: [f64; 2] = [1e-6, 1e12];
/// Of MacKay's fixed point.
const ROUNDS: usize = 1000;

impl Gaussian {
    /// With the prior precision δ that the evidence of a linear model has: MacKay's fixed point δ = γ / ‖θ*‖².
    pub fn new(adapter: &Adapter, factors: Factors) -> Self {
        let trace = factors.wide.trace();
        let (wide, narrow) = (Eigen::of(factors.wide), Eigen::of(factors.narrow));
        let mut own = Self { wide, narrow, trace, prior_precision: 1.0, effective_parameters: 0.0 };
        let count: usize = adapter.shape.iter().product();
        own.prior_precision = (count as f64 / adapter.norm.max(1e-30)).clamp(BOUNDS[0], BOUNDS[1]);
        for _ in 0..ROUNDS {
            let before = own.prior_precision;
            own.effective_parameters =
                own.curvatures().map(|curvature| curvature / (curvature + before)).sum();
            let next = own.effective_parameters / adapter.norm.max(1e-30);
            own.prior_precision = next.clamp(BOUNDS[0], BOUNDS[1]);
            if (own.prior_precision / before).ln().abs() < 1e-3 {
                break;
            }
        }
        own
    }

    /// Eigenvalues of the curvature, `[w, r]`.
    fn curvatures(&self) -> impl Iterator<Item = f64> {
        let trace = self.trace.max(f64::MIN_POSITIVE);
        let narrow = &self.narrow.values;
        self.wide
            .values
            .iter()
            .flat_map(move |wide| narrow.iter().map(move |one| wide * one / trace))
    }

    /// The covariance of vec(V), `[w r, w r]`, V row by row, with the prior precision δ times `factor`.
    #[cfg(test)]
    pub fn covariance(&self, factor: f64) -> Matrix {
        let basis = self.wide.vectors.kronecker(&self.narrow.vectors);
        let prior = factor * self.prior_precision;
        let variance = self.curvatures().map(|curvature| (curvature + prior).recip());
        let variance = nalgebra::DVector::from_iterator(basis.ncols(), variance);
        &basis * Matrix::from_diagonal(&variance) * basis.transpose()
    }

    /// A sample of V, `[w, r]`.
    pub fn sample(&self, factor: f64, mut normal: impl FnMut() -> f64) -> Matrix {
        let prior = factor * self.prior_precision;
        let values = self.curvatures().map(|curvature| normal() / (curvature + prior).sqrt());
        let (wide, narrow) = (&self.wide.vectors, &self.narrow.vectors);
        let inside = Matrix::from_row_iterator(wide.ncols(), narrow.ncols(), values);
        wide * inside * narrow.transpose()
    }
}

/// Samples of every adapter; the same normal numbers whatever the factor.
pub fn draw(
    adapters: &BTreeMap<String, Adapter>,
    gaussians: &BTreeMap<String, Gaussian>,
    factor: f64,
    samples: usize,
) -> BTreeMap<String, Deviation> {
    let noise = Noise::new(DRAWS_SEED);
    let one = |(place, (name, adapter)): (u32, (&String, &Adapter))| {
        let mut drawn: Vec<f32> = Vec::new();
        for sample in 0..samples {
            let mut stream = noise.stream(Purpose::Weights, sample as u64, place);
            let v_wr = gaussians[name].sample(factor, || stream.normal());
            // Column by column is row by row of the transposed.
            let v_wr = if matches!(adapter.side, Side::Up(_)) { v_wr } else { v_wr.transpose() };
            drawn.extend(v_wr.iter().map(|&value| value as f32));
        }
        let rows = |matrix: &Matrix| matrix.transpose().iter().map(|&value| value as f32).collect();
        let fixed = match &adapter.side {
            Side::Down(a_ri) => Fixed::Down(rows(a_ri)),
            Side::Up(b_or) => Fixed::Up(rows(b_or)),
            Side::Whole => Fixed::Neither,
        };
        (name.clone(), Deviation::Product { fixed, drawn })
    };
    (0..).zip(adapters).map(one).collect()
}
