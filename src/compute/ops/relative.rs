//! Scores of attention that know how far apart two tokens are.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::compute::RelativeRows;

/// What attention has beside the products of queries and keys.
#[derive(Clone, Debug)]
pub enum Relative {
    /// A number for each row and head, `[r, h]`, added after the scale: Raffel et al., "Exploring the
    /// limits of transfer learning" (2020), section 2.1.
    Bias { table_rh: Tensor, rows: Arc<RelativeRows> },
}

impl Relative {
    /// The scores of one sequence, `[h, s, t]`, from queries and keys, `[h, s, k]` each.
    pub(super) fn scores(&self, q_hsk: &Tensor, k_htk: &Tensor) -> Result<Tensor> {
        let (heads, length, head_width) = q_hsk.dims3()?;
        match self {
            Self::Bias { table_rh, rows } => {
                let content_hst = q_hsk.matmul(&k_htk.t()?)?;
                let scale = 1.0 / (head_width as f64).sqrt();
                let pairs = (0..length).flat_map(|s| (0..length).map(move |t| rows.row(s, t)));
                let rows = Tensor::from_iter(pairs, q_hsk.device())?;
                let bias_sth = table_rh.index_select(&rows, 0)?;
                let bias_hst = bias_sth.reshape((length, length, heads))?.permute((2, 0, 1))?;
                (content_hst * scale)? + bias_hst
            }
        }
    }
}
