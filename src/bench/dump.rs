//! The measured rows as a file, for tools that are compared with this one.

use std::path::Path;

use candle_core::Result;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::Subject;
use crate::compute::Packed;
use crate::data::TokenSet;

/// Rows a batch; batch-mates do not move a prediction.
const BATCH: usize = 8;

/// A safetensors file with the rows in the order in which they are measured: `ids` (u32, all tokens
/// one after another), `offsets` (i64, one more than rows), `labels` (i64), and `logits` (f32,
/// `[n, c]`, before the temperature); with `train`, `train_ids`, `train_offsets` and `train_labels`
/// too. Segments are not in it.
pub fn dump(subject: &Subject<'_>, train: bool) -> Result<Vec<u8>> {
    let mut tensors = rows("", subject.rows);
    let mut logits = Vec::new();
    let all: Vec<usize> = (0..subject.rows.len()).collect();
    for chunk in all.chunks(BATCH) {
        let batch = Packed::new(chunk.iter().map(|&row| subject.rows.sequence(row)));
        for (logit_c, _) in subject.predictor.predict_batch(&batch)? {
            logits.extend(logit_c.mean().iter().flat_map(|&logit| (logit as f32).to_le_bytes()));
        }
    }
    let shape = vec![subject.rows.len(), subject.predictor.labels().len()];
    tensors.push(("logits".to_owned(), Dtype::F32, shape, logits));
    if train {
        tensors.extend(rows("train_", subject.train));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("the bytes were made for the shape"))
    });
    Ok(safetensors::serialize(views, None).expect("names and shapes are valid"))
}

/// Whether a file is one of these.
pub fn is_dump(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let found = SafeTensors::deserialize(&bytes);
    found.is_ok_and(|file| {
        ["ids", "offsets", "labels", "logits"].iter().all(|one| file.tensor(one).is_ok())
    })
}

fn rows(prefix: &str, rows: &TokenSet) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let mut ids: Vec<u32> = Vec::new();
    let mut offsets = vec![0i64];
    for row in 0..rows.len() {
        ids.extend(rows.sequence(row).ids);
        offsets.push(ids.len() as i64);
    }
    let labels = rows.labels().iter().map(|&label| i64::from(label));
    let id_bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let offset_bytes = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let label_bytes = labels.flat_map(i64::to_le_bytes).collect();
    let name = |name: &str| format!("{prefix}{name}");
    vec![
        (name("ids"), Dtype::U32, vec![ids.len()], id_bytes),
        (name("offsets"), Dtype::I64, vec![offsets.len()], offset_bytes),
        (name("labels"), Dtype::I64, vec![rows.len()], label_bytes),
    ]
}
