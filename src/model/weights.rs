//! `model.safetensors` as transformers writes it, to and from our stacked parameters.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use candle_core::{Device, Tensor};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::parameters::fresh_values;
use super::{EncoderConfig, ModelError, Parameters, Part, Specification, specifications};
use crate::compute::Noise;

/// Weights that were read, and what was not in the file.
#[derive(Debug)]
pub struct Loaded {
    /// All parameters, on the device asked for.
    pub parameters: Parameters,
    /// Tensors of transformers, by name, that the file lacks and the seed filled: only of the head.
    pub missing: Vec<String>,
}

/// Reads `model.safetensors` in `folder`. Tensor names may carry the architecture's prefix or not,
/// and layer norms may be called `gamma` and `beta` as older files do; what no parameter asks for,
/// such as the buffer `position_ids`, is left alone. `device` is where the tensors go.
pub fn load(
    folder: &Path,
    config: &EncoderConfig,
    noise: &Noise,
    device: &Device,
) -> Result<Loaded, ModelError> {
    let path = folder.join("model.safetensors");
    if !path.exists() {
        return Err(ModelError::Missing {
            folder: folder.to_owned(),
            file: "model.safetensors",
            hint: "weights are read from safetensors only, never from pickles",
        });
    }
    load_file(&path, config, noise, device)
}

/// The same for a file of any name.
pub fn load_file(
    path: &Path,
    config: &EncoderConfig,
    noise: &Noise,
    device: &Device,
) -> Result<Loaded, ModelError> {
    let failed = |source| ModelError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    #[expect(unsafe_code, reason = "a map of the weights instead of a second copy of them")]
    // SAFETY: our own writers replace such a file by rename and never change it in place.
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    let tensors = SafeTensors::deserialize(&map).map_err(|error| ModelError::Corrupt {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let source = Source { path, tensors: &tensors };
    let mut missing = Vec::new();
    let mut parameters = BTreeMap::new();
    for (index, specification) in specifications(config).iter().enumerate() {
        let values = match source.values(specification)? {
            Some(values) => values,
            None => {
                missing.extend(specification.parts.iter().map(|part| part.name.clone()));
                fresh_values(specification, config.initializer_range, noise, index)
            }
        };
        let tensor = Tensor::from_vec(values, specification.shape.as_slice(), device)?;
        parameters.insert(specification.name.clone(), tensor);
    }
    Ok(Loaded { parameters: Parameters::from_map(parameters), missing })
}

struct Source<'a> {
    path: &'a Path,
    tensors: &'a SafeTensors<'a>,
}

impl Source<'_> {
    /// The stacked values of a parameter; `None` if it belongs to the head and the file lacks it or
    /// has it for other classes.
    fn values(&self, specification: &Specification) -> Result<Option<Vec<f32>>, ModelError> {
        let mut values = Vec::new();
        for part in &specification.parts {
            let Some(view) = self.find(&part.name) else {
                if specification.head {
                    return Ok(None);
                }
                let name = part.name.clone();
                return Err(ModelError::NoTensor { path: self.path.to_owned(), name });
            };
            if view.shape() != part.shape {
                if specification.name.starts_with("classifier.") {
                    return Ok(None);
                }
                return Err(ModelError::Shape {
                    path: self.path.to_owned(),
                    name: part.name.clone(),
                    found: view.shape().to_vec(),
                    expected: part.shape.clone(),
                });
            }
            self.append(&mut values, &view, part)?;
        }
        Ok(Some(values))
    }

    fn find(&self, name: &str) -> Option<TensorView<'_>> {
        let bare = name.strip_prefix("bert.").or_else(|| name.strip_prefix("roberta."));
        // A plain RoBERTa encoder carries a pooler of its own that its classifier does not use.
        [Some(name), bare].into_iter().flatten().find_map(|name| {
            let old = name
                .strip_suffix("LayerNorm.weight")
                .map(|stem| format!("{stem}LayerNorm.gamma"))
                .or_else(|| {
                    name.strip_suffix("LayerNorm.bias").map(|stem| format!("{stem}LayerNorm.beta"))
                });
            let old = old.and_then(|old| self.tensors.tensor(&old).ok());
            self.tensors.tensor(name).ok().or(old)
        })
    }

    fn append(
        &self,
        values: &mut Vec<f32>,
        view: &TensorView<'_>,
        part: &Part,
    ) -> Result<(), ModelError> {
        let start = values.len();
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => values.extend(numbers(data, f32::from_le_bytes)),
            Dtype::F16 => {
                values.extend(numbers(data, |two| half::f16::from_le_bytes(two).to_f32()));
            }
            Dtype::BF16 => {
                values.extend(numbers(data, |two| half::bf16::from_le_bytes(two).to_f32()));
            }
            Dtype::F64 => values.extend(numbers(data, |eight| f64::from_le_bytes(eight) as f32)),
            other => {
                return Err(ModelError::Type {
                    path: self.path.to_owned(),
                    name: part.name.clone(),
                    found: format!("{other:?}"),
                });
            }
        }
        if values[start..].iter().any(|value| !value.is_finite()) {
            let name = part.name.clone();
            return Err(ModelError::NotFinite { path: self.path.to_owned(), name });
        }
        Ok(())
    }
}

fn numbers<const N: usize>(
    data: &[u8],
    read: impl Fn([u8; N]) -> f32,
) -> impl Iterator<Item = f32> {
    data.chunks_exact(N).map(move |bytes| read(bytes.try_into().expect("a chunk has N bytes")))
}

/// The bytes of `model.safetensors` for a classifier: f32, names as transformers writes them, one
/// metadata entry, `format`.
pub fn save(config: &EncoderConfig, parameters: &Parameters) -> Result<Vec<u8>, ModelError> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for specification in specifications(config) {
        let tensor = parameters.get(&specification.name).to_device(&Device::Cpu)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let mut rest = values.as_slice();
        for part in specification.parts {
            let (own, after) = rest.split_at(part.shape.iter().product());
            rest = after;
            let bytes = own.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((part.name, part.shape, bytes));
        }
    }
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
                .expect("the bytes were made from the shape");
            (name.as_str(), view)
        })
        .collect();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid"))
}

/// The bytes of the `model.safetensors` in a folder, every tensor as it stands there but for the last
/// linear layer, which is taken from these parameters in f32; without parameters the file itself.
pub fn with_last_layer(
    folder: &Path,
    config: &EncoderConfig,
    parameters: Option<&Parameters>,
) -> Result<Vec<u8>, ModelError> {
    let path = folder.join("model.safetensors");
    let bytes =
        std::fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
    let Some(parameters) = parameters else { return Ok(bytes) };
    let mut last = BTreeMap::new();
    for specification in specifications(config) {
        if !specification.name.starts_with("classifier.") {
            continue;
        }
        let values = parameters.get(&specification.name).flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        // The last layer is not stacked: one parameter, one tensor.
        let part = specification.parts.into_iter().next().expect("a parameter has a tensor");
        last.insert(part.name, (part.shape, bytes));
    }
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| ModelError::Corrupt { path, message: error.to_string() })?;
    let views = tensors.iter().map(|(name, view)| match last.get(name) {
        Some((shape, bytes)) => {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("the bytes were made from the shape"))
        }
        None => (name, view),
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid"))
}

/// A tensor shaped like one of our parameters, seen under the names of transformers: query, key and
/// value apart, γ and β apart.
pub fn transformers_view<'a>(
    specification: &'a Specification,
    tensor: &Tensor,
) -> Result<Vec<(Cow<'a, str>, Tensor)>, candle_core::Error> {
    let flat = tensor.flatten_all()?;
    let mut start = 0;
    let parts = specification.parts.iter().map(|part| {
        let count: usize = part.shape.iter().product();
        let own = flat.narrow(0, start, count)?.reshape(part.shape.as_slice())?;
        start += count;
        Ok((Cow::Borrowed(part.name.as_str()), own))
    });
    parts.collect()
}
