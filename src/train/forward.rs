//! Features and logits of many rows, without gradients.

use candle_core::{Device, Result, Tensor};

use crate::compute::ops::row_linear;
use crate::compute::{Packed, Sequence};
use crate::data::inference_batches;
use crate::model::Classifier;

/// Tokens a batch: large enough for the products to be efficient, small enough that a batch of the
/// quick start stays within a few megabytes an activation.
pub const TOKEN_BUDGET: usize = 2048;

/// The feature φ of each row, `[n, d]` in the order of the rows, as one vector.
///
/// `lengths` are the rows' tokens and `sequence` gives a row; rows of like length share a batch.
/// `progress` is told the rows that are done.
pub fn features(
    classifier: &Classifier,
    lengths: &[u32],
    sequence: &dyn Fn(usize) -> Sequence,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f32>> {
    let width = classifier.config().hidden_size;
    let mut feature_nd = vec![0.0; lengths.len() * width];
    let mut done = 0;
    for rows in inference_batches(lengths, TOKEN_BUDGET) {
        let batch = Packed::new(rows.iter().map(|&row| sequence(row as usize)));
        let feature_bd = classifier.features(&batch)?.flatten_all()?.to_vec1::<f32>()?;
        for (&row, feature_d) in rows.iter().zip(feature_bd.chunks_exact(width)) {
            let start = row as usize * width;
            feature_nd[start..start + width].copy_from_slice(feature_d);
        }
        done += rows.len();
        progress(done);
    }
    Ok(feature_nd)
}

/// Logits `[n, c]` of features `[n, d]` under a last layer of weight `[c, d]` and bias `[c]`.
pub fn last_layer(feature_nd: &[f32], weight_cd: &Tensor, bias_c: &Tensor) -> Result<Vec<f64>> {
    let (_, width) = weight_cd.dims2()?;
    let rows = feature_nd.len() / width;
    let feature_nd = Tensor::from_slice(feature_nd, (rows, width), &Device::Cpu)?;
    let weight_cd = weight_cd.to_device(&Device::Cpu)?;
    let logits = row_linear(&feature_nd, &weight_cd, &bias_c.to_device(&Device::Cpu)?)?;
    Ok(logits.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}
