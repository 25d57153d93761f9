//! The bytes of `model.safetensors`, whose weights have the numbers of a precision.
//!
//! Of eight bits `NAME.weight` is `[n, k]` of I8, and `NAME.weight.step`, `[n]` of F32, is what each row is multiplied
//! with.

use std::collections::{BTreeMap, HashMap};

use candle_core::Device;
use half::bf16;
use safetensors::tensor::{Dtype, TensorView};

use super::layout::Part;
use super::weight_files::{TensorInfo, WeightFiles};
use super::{EncoderConfig, ModelError, Parameters, specifications};
use crate::compute::Precision;
use crate::compute::rounding;

/// Where the steps of a weight of eight bits stand.
pub(super) fn steps_of(name: &str) -> String {
    format!("{name}.step")
}

/// A tensor of the file: name, numbers, shape, bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// The bytes of `model.safetensors` for a classifier: f32, names as transformers writes them, one
/// metadata entry, `format`.
pub fn save(config: &EncoderConfig, parameters: &Parameters) -> Result<Vec<u8>, ModelError> {
    save_at(Precision::F32, config, parameters)
}

/// The same, but what a precision rounds has its numbers.
pub fn save_at(
    precision: Precision,
    config: &EncoderConfig,
    parameters: &Parameters,
) -> Result<Vec<u8>, ModelError> {
    let mut tensors = Vec::new();
    for specification in specifications(config) {
        let own = if specification.is_rounded() { precision } else { Precision::F32 };
        let tensor = parameters.get(&specification.name).to_device(&Device::Cpu)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let mut rest = values.as_slice();
        for part in specification.parts {
            let (values, after) = rest.split_at(part.shape.iter().product());
            rest = after;
            tensors.extend(stored(own, part, values));
        }
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("the bytes were made from the shape"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid"))
}

/// One tensor, or with eight bits two.
fn stored(precision: Precision, part: Part, values: &[f32]) -> Vec<Stored> {
    let Part { name, shape } = part;
    let f32_bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    match precision {
        Precision::F32 => vec![(name, Dtype::F32, shape, f32_bytes(values))],
        Precision::Bf16 => {
            let bytes = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes());
            vec![(name, Dtype::BF16, shape, bytes.collect())]
        }
        Precision::Int8 => {
            let [outputs, inputs] = *shape else { unreachable!("what is rounded has two axes") };
            let rows = || values.chunks_exact(inputs);
            let steps: Vec<f32> = rows().map(rounding::step).collect();
            let of_row = |(row, &step): (&[f32], &f32)| {
                let bytes = row.iter().map(|&w| rounding::steps(w, step).cast_unsigned());
                bytes.collect::<Vec<u8>>()
            };
            let bytes = rows().zip(&steps).flat_map(of_row).collect();
            let steps = (steps_of(&name), Dtype::F32, vec![outputs], f32_bytes(&steps));
            vec![(name, Dtype::I8, shape, bytes), steps]
        }
    }
}

/// Where the steps of each weight of eight bits stand.
///
/// # Errors
/// A tensor of integers has no steps of this form.
pub(super) fn steps(
    files: &WeightFiles,
    found: &[Option<Vec<String>>],
) -> Result<BTreeMap<String, String>, ModelError> {
    let mut all = BTreeMap::new();
    for name in found.iter().flatten().flatten() {
        let Some(info) = files.info(name).filter(|info| info.dtype == Dtype::I8) else { continue };
        let (steps, rows) = (steps_of(name), info.shape.first());
        let fits = |one: &&TensorInfo| one.dtype == Dtype::F32 && rows == one.shape.first();
        if files.info(&steps).filter(fits).is_none_or(|one| one.shape.len() != 1) {
            let (path, found) = (files.path(name).to_owned(), format!("{:?}", Dtype::I8));
            return Err(ModelError::Type { path, name: name.clone(), found });
        }
        all.insert(name.clone(), steps);
    }
    Ok(all)
}

/// Multiplies each row with its step.
pub(super) fn multiply_rows(weight: &mut [f32], steps: &[f32]) {
    let inner = weight.len() / steps.len().max(1);
    for (row, step) in weight.chunks_exact_mut(inner.max(1)).zip(steps) {
        row.iter_mut().for_each(|w| *w *= step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Backend, Noise};
    use crate::model::{Sizes, load_file};

    #[test]
    fn a_file_of_each_precision_holds_the_rounded_weights_and_nothing_else() {
        let sizes = Sizes {
            num_hidden_layers: 2,
            hidden_size: 12,
            num_attention_heads: 2,
            intermediate_size: 20,
        };
        let mut config = EncoderConfig::from_scratch(sizes, 50, 30).unwrap();
        config.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        let parameters = Parameters::fresh(&config, &Noise::new(1), &Backend::Cpu).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        for precision in Precision::ALL {
            let bytes = save_at(precision, &config, &parameters).unwrap();
            std::fs::write(&path, &bytes).unwrap();
            let loaded = load_file(&path, &config, &Noise::new(9), &Backend::Cpu).unwrap();
            assert!(loaded.missing.is_empty() && loaded.unused.is_empty(), "{:?}", loaded.unused);
            let rounded = parameters.rounded(&config, precision).unwrap();
            let values =
                |one: &candle_core::Tensor| one.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (name, tensor) in rounded.iter() {
                assert_eq!(
                    values(tensor),
                    values(loaded.parameters.get(name)),
                    "{name}, {precision}"
                );
            }
            // What is rounded is stored as it is.
            assert_eq!(bytes, save_at(precision, &config, &rounded).unwrap());
        }
    }
}
