//! `model.safetensors` as transformers writes it, to and from our stacked parameters.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::layout::layer_prefix;
use super::parameters::fresh_values;
use super::weights_file::{Content, WeightsFile};
use super::{EncoderConfig, ModelError, Parameters, Specification, specifications};
use crate::compute::{Noise, memory_left};

/// Weights that were read, and what was not in the file.
#[derive(Debug)]
pub struct Loaded {
    /// All parameters, on the device asked for.
    pub parameters: Parameters,
    /// Tensors of transformers, by name, that the file lacks and the seed filled: only of the head.
    pub missing: Vec<String>,
    /// The outputs of a last layer that the file has for another number of classes.
    pub other_head: Option<usize>,
    /// SHA-256 of the file, over the bytes that the parameters were made of.
    pub sha256: String,
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
        return Err(without_weights(folder));
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
    let file = WeightsFile::open(path)?;
    let specifications = specifications(config);
    check_size(path, file.length(), &specifications)?;
    let mut other_head = None;
    let found: Vec<Option<Vec<String>>> = specifications
        .iter()
        .map(|specification| find(path, &file, config, specification, &mut other_head))
        .collect::<Result<_, _>>()?;
    let layers = config.num_hidden_layers;
    if has_layer(&file, config, &specifications) {
        let message = format!(
            "`num_hidden_layers` is {layers}, but the weights have more layers; the two do not \
             belong together"
        );
        return Err(ModelError::Config { path: path.with_file_name("config.json"), message });
    }
    let wanted: HashSet<String> = found.iter().flatten().flatten().cloned().collect();
    let Content { mut values, sha256 } = file.read(&wanted)?;
    let mut missing = Vec::new();
    let mut parameters = BTreeMap::new();
    for (index, (specification, names)) in specifications.iter().zip(found).enumerate() {
        let stacked = match names {
            Some(names) => {
                let mut parts = names.iter().filter_map(|name| values.remove(name));
                let mut stacked = parts.next().unwrap_or_default();
                parts.for_each(|part| stacked.extend(part));
                stacked
            }
            None => {
                missing.extend(specification.parts.iter().map(|part| part.name.clone()));
                fresh_values(specification, config.initializer_range, noise, index)
            }
        };
        let tensor = Tensor::from_vec(stacked, specification.shape.as_slice(), device)?;
        parameters.insert(specification.name.clone(), tensor);
    }
    Ok(Loaded { parameters: Parameters::from_map(parameters), missing, other_head, sha256 })
}

/// What a folder has instead of `model.safetensors`.
fn without_weights(folder: &Path) -> ModelError {
    let has = |name: &str| folder.join(name).exists();
    let hint = if has("model.safetensors.index.json") {
        "its weights are in several files; load and save the model with transformers and a larger \
         `max_shard_size`, so that they are in one file"
    } else if has("pytorch_model.bin") || has("pytorch_model.bin.index.json") {
        "it has `pytorch_model.bin`, a pickle, which can run any code when it is read; load and \
         save the model with transformers, which writes `model.safetensors`"
    } else if has("tf_model.h5") || has("flax_model.msgpack") {
        "its weights are in TensorFlow or Flax format; load and save the model with transformers, \
         which writes `model.safetensors`"
    } else {
        "weights are read only from safetensors, never from pickles"
    };
    ModelError::Missing { folder: folder.to_owned(), file: "model.safetensors", hint }
}

/// Refuses a file that holds far more than the config asks for, and parameters that do not fit into
/// memory: before any of it is read.
fn check_size(path: &Path, length: u64, all: &[Specification]) -> Result<(), ModelError> {
    let scalars: u64 = all.iter().map(|one| one.shape.iter().product::<usize>() as u64).sum();
    // Twice in f64, as a head that is tied to the embeddings may be; and small things.
    let most = 2 * 8 * scalars + (64 << 20);
    if length > most {
        return Err(ModelError::TooLarge { path: path.to_owned(), bytes: length, most });
    }
    let needed = 4 * scalars;
    match memory_left() {
        Some(left) if needed > left => {
            Err(ModelError::Memory { path: path.to_owned(), needed, left })
        }
        _ => Ok(()),
    }
}

/// The names in the file of the tensors that a parameter is stacked of; `None` if it belongs to the head
/// and the file lacks it or has it for other classes.
fn find(
    path: &Path,
    file: &WeightsFile,
    config: &EncoderConfig,
    specification: &Specification,
    other_head: &mut Option<usize>,
) -> Result<Option<Vec<String>>, ModelError> {
    let mut names = Vec::new();
    for part in &specification.parts {
        let Some((name, info)) = spellings(config, &part.name)
            .into_iter()
            .find_map(|name| file.info(&name).map(|info| (name, info)))
        else {
            if specification.head {
                return Ok(None);
            }
            return Err(ModelError::NoTensor { path: path.to_owned(), name: part.name.clone() });
        };
        if info.shape != part.shape {
            if specification.name.starts_with("classifier.") {
                *other_head = info.shape.first().copied();
                return Ok(None);
            }
            return Err(ModelError::Shape {
                path: path.to_owned(),
                name: part.name.clone(),
                found: info.shape.clone(),
                expected: part.shape.clone(),
            });
        }
        names.push(name);
    }
    Ok(Some(names))
}

/// Whether there are weights of a layer behind those that the config has.
fn has_layer(file: &WeightsFile, config: &EncoderConfig, all: &[Specification]) -> bool {
    let count = config.layer_weights();
    let (last, next) = (layer_prefix(config, count - 1), layer_prefix(config, count));
    let inside =
        all.iter().flat_map(|one| &one.parts).filter_map(|one| one.name.strip_prefix(&last));
    let next = inside.map(|name| format!("{next}{name}"));
    next.flat_map(|name| spellings(config, &name)).any(|name| file.info(&name).is_some())
}

/// The names that a tensor may have, the usual one first. A plain RoBERTa encoder carries a pooler of its
/// own that its classifier does not use.
fn spellings(config: &EncoderConfig, name: &str) -> Vec<String> {
    let inside = name.strip_prefix(config.architecture.tensors.prefix);
    let bare = inside.and_then(|name| name.strip_prefix('.'));
    let both = |name: &str| {
        let old =
            name.strip_suffix("LayerNorm.weight").map(|stem| format!("{stem}LayerNorm.gamma"));
        let old = old.or_else(|| {
            name.strip_suffix("LayerNorm.bias").map(|stem| format!("{stem}LayerNorm.beta"))
        });
        std::iter::once(name.to_owned()).chain(old).collect::<Vec<_>>()
    };
    std::iter::once(name).chain(bare).flat_map(both).collect()
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
