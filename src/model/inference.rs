//! Features and logits of many rows, without gradients.

use candle_core::{Device, Result, Tensor};

use super::{HiddenStates, Networks, Sampling, Trunk};
use crate::compute::ops::row_linear;
use crate::compute::{Packed, Sequence, fetch};

/// Tokens a batch: large enough for the products to be efficient, small enough that a batch of the
/// quick start stays within a few megabytes an activation.
pub const TOKEN_BUDGET: usize = 2048;

/// The same on a device: enough for products that fill it, and a few hundred megabytes an activation at most.
pub(super) const DEVICE_TOKEN_BUDGET: usize = 1 << 14;

/// What the encoder makes of many rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrunkRows {
    /// The feature φ, `[n, d]`.
    pub feature_nd: Vec<f32>,
    /// The means of what enters each of the last layers, side by side: `[n, e]`.
    pub input_ne: Vec<f32>,
    /// What enters the last layer in each pass, `[n, samples, d]`, or the logits of each network or each copy of
    /// the top layers, `[n, m, c]`; nothing where no passes were asked for.
    pub sample_nsd: Vec<f32>,
    /// The means of what leaves the last layer of the encoder before it was fine-tuned, `[n, d]`; nothing
    /// where there is none.
    pub reference_nd: Vec<f32>,
}

/// What is asked of the encoder besides the feature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The means of what enters so many of the last layers of the first network.
    pub inputs: usize,
    pub sampling: Option<Sampling>,
}

impl TrunkRows {
    /// For each row the means of these hidden states of an encoder of so many layers, in ascending order,
    /// then the feature φ: `[n, e]`. They are among those that were asked for.
    pub fn with_states(&self, states: HiddenStates, layers: usize, rows: usize) -> Vec<f32> {
        let Self { feature_nd, input_ne, .. } = self;
        let (width, wide) = (feature_nd.len() / rows.max(1), input_ne.len() / rows.max(1));
        let first = layers - wide / width.max(1);
        let mut all = Vec::with_capacity(rows * width * (states.len() + 1));
        for row in 0..rows {
            let input_e = &input_ne[row * wide..][..wide];
            for number in states.numbers() {
                all.extend_from_slice(&input_e[(number - first) * width..][..width]);
            }
            all.extend_from_slice(&feature_nd[row * width..][..width]);
        }
        all
    }
}

/// What the encoder makes of each row, in the order of the rows.
///
/// `lengths` are the rows' tokens and `sequence` gives a row; rows of like length share a batch.
/// `progress` is told the rows that are done.
pub fn features(
    networks: &Networks,
    lengths: &[u32],
    sequence: &dyn Fn(usize) -> Sequence,
    wanted: &Wanted,
    progress: &mut dyn FnMut(usize),
) -> Result<TrunkRows> {
    let Wanted { inputs, sampling } = *wanted;
    let inputs = networks.inputs(inputs);
    let first = networks.first();
    let width = networks.feature_width();
    let wide = width * inputs.min(first.config().num_hidden_layers);
    let drawn = sampling.map_or(0, |sampling| networks.width(sampling));
    let mut all = TrunkRows {
        feature_nd: vec![0.0; lengths.len() * width],
        input_ne: vec![0.0; lengths.len() * wide],
        sample_nsd: vec![0.0; lengths.len() * drawn],
        reference_nd: vec![0.0; if networks.has_reference() { lengths.len() * width } else { 0 }],
    };
    let mut done = 0;
    for rows in batches(lengths, networks.token_budget()) {
        let batch = Packed::new(rows.iter().map(|&row| sequence(row as usize)));
        let trunk = networks.trunk(&batch, inputs, sampling)?;
        let samples = match sampling {
            Some(sampling) => networks.sampled_while(&batch, &trunk, sampling, &|| true)?,
            None => None,
        };
        let Trunk { feature_bd, input_be, .. } = trunk;
        let sample_bsd = samples.map_or(Ok(Vec::new()), |samples| fetch::<f32>(&samples))?;
        let feature_bd = fetch::<f32>(&feature_bd)?;
        let reference_bd = networks.reference_means(&batch)?;
        for (place, &row) in rows.iter().enumerate() {
            let copy = |from: &[f32], to: &mut [f32], width: usize| {
                let to = &mut to[row as usize * width..][..width];
                to.copy_from_slice(&from[place * width..][..width]);
            };
            copy(&feature_bd, &mut all.feature_nd, width);
            copy(&input_be, &mut all.input_ne, wide);
            copy(&sample_bsd, &mut all.sample_nsd, drawn);
            if networks.has_reference() {
                copy(&reference_bd, &mut all.reference_nd, width);
            }
        }
        done += rows.len();
        progress(done);
    }
    Ok(all)
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

/// Batches for inference: longest rows first (so that the first batch shows whether the memory
/// suffices), as many as fit into `token_budget` tokens, and at least one.
fn batches(lengths: &[u32], token_budget: usize) -> Vec<Vec<u32>> {
    let rows = u32::try_from(lengths.len()).expect("a data set has fewer than 2^32 rows");
    let mut rows: Vec<u32> = (0..rows).collect();
    rows.sort_by_key(|&row| std::cmp::Reverse(lengths[row as usize]));

    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut tokens = 0;
    for row in rows {
        let length = lengths[row as usize] as usize;
        match batches.last_mut() {
            Some(batch) if tokens + length <= token_budget => {
                batch.push(row);
                tokens += length;
            }
            _ => {
                batches.push(vec![row]);
                tokens = length;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn batches_keep_to_the_budget() {
        let mut stream = Noise::new(9).stream(Purpose::Generate, 0, 0);
        let lengths: Vec<u32> = (0..300).map(|_| 5 + stream.below(500)).collect();
        let found = batches(&lengths, 1000);
        let mut rows = found.concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..300).collect::<Vec<_>>());
        let tokens = |batch: &Vec<u32>| batch.iter().map(|&row| lengths[row as usize]).sum::<u32>();
        assert!(found.iter().all(|batch| tokens(batch) <= 1000));
        let order: Vec<u32> = found.concat().iter().map(|&row| lengths[row as usize]).collect();
        assert!(order.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_row_beyond_the_budget_stands_alone() {
        assert_eq!(batches(&[3, 9, 2, 1], 4), [vec![1], vec![0], vec![2, 3]]);
        assert!(batches(&[], 4).is_empty());
    }
}
