//! One covariance for the weights of every class, and none between them: C = ‖R φ̃‖² I.

use candle_core::Tensor;

use super::triangle::{Root, squares, triangle_times};
use super::{Form, sizes, unscale_columns, with_bias};
use crate::posterior::logits::LogitCovariance;
use crate::store::{TensorFile, Tensors};

/// R, `[D, D]`, with RᵀR the covariance of the weights of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    pub root: Root,
    /// `c`.
    pub classes: usize,
}

const ROOT: &str = "common.root";

impl Form for Common {
    fn directions(&self) -> usize {
        if self.classes == 2 { 0 } else { self.classes }
    }

    fn at(&self, feature_d: &[f32]) -> LogitCovariance {
        let mut moved = vec![0.0; self.root.size];
        triangle_times(&self.root.values, &with_bias(feature_d), &mut moved);
        let variance = squares(&moved);
        match self.classes {
            2 => LogitCovariance::Difference(2.0 * variance),
            classes => LogitCovariance::Diagonal(vec![variance; classes]),
        }
    }

    fn unscale(&mut self, scale_d: &[f64]) {
        unscale_columns(&mut self.root.values, scale_d);
    }

    fn put(&self, tensors: &mut Tensors) {
        self.root.put(ROOT, tensors);
    }

    fn read(file: &TensorFile<'_>, weight_cd: &Tensor) -> Result<Option<Self>, String> {
        let (classes, width) = sizes(weight_cd)?;
        Ok(Root::read(file, ROOT, width)?.map(|root| Self { root, classes }))
    }
}
