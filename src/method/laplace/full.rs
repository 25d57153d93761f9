//! The whole curvature of few classes, over the weights of the contrasts: `[(k - 1) D, (k - 1) D]`.

use candle_core::Result;

use super::evidence::Round;
use super::softmax::{Mode, Softmax, curvature};
use crate::posterior::algebra::{InverseRoot, Matrix, contrasts};

/// The factor of Σ c_n Λ_n ⊗ φ̃_n φ̃_nᵀ + prior · I at a mode; a weight stands at (contrast · D + i).
pub fn precision(head: &Softmax<'_>, mode: &Mode, prior: f64) -> Result<InverseRoot> {
    InverseRoot::of(&curvature_matrix(head, mode, prior)?)
}

pub fn curvature_matrix(head: &Softmax<'_>, mode: &Mode, prior: f64) -> Result<Matrix> {
    let (basis, width) = (contrasts(head.classes), head.design.width());
    let size = (head.classes - 1) * width;
    let mut whole = Matrix::identity(size, size) * prior;
    for a in 0..head.classes - 1 {
        for b in 0..=a {
            let part = head.design.gram(&curvature(head, mode, &basis, a, b))?;
            let mut place = whole.view_mut((a * width, b * width), (width, width));
            place += &part;
            if a != b {
                let mut mirrored = whole.view_mut((b * width, a * width), (width, width));
                mirrored += &part;
            }
        }
    }
    Ok(whole)
}

/// What the evidence says; `objective` is Σ c_n −ln p + (prior / 2) ‖W‖².
pub fn round(precision: &InverseRoot, objective: f64, squared_norm: f64, prior: f64) -> Round {
    let parameters = precision.root.nrows() as f64;
    Round {
        effective_parameters: parameters - prior * precision.trace_of_inverse(),
        squared_norm,
        evidence: -objective + 0.5 * parameters * prior.ln() - 0.5 * precision.log_determinant,
    }
}
