//! Weights as transformers writes them, in any form, to our stacked parameters.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use candle_core::Tensor;
use safetensors::tensor::{Dtype, TensorView};

use super::adapter::{Delta, Place};
use super::layout::borders;
use super::parameters::fresh_values;
use super::save::{multiply_rows, save, steps};
use super::unread_tensors::{check_names, told};
use super::weight_files::{Values, WeightFiles};
use super::{EncoderConfig, ModelError, Parameters, Specification, specifications, zeros};
use crate::compute::{Backend, Noise, memory_left};

/// Weights that were read, and what was not in the file.
#[derive(Debug)]
pub struct Loaded {
    /// All parameters, on the device asked for.
    pub parameters: Parameters,
    /// Tensors of transformers, by name, that the file lacks and the seed filled: only of the head.
    pub missing: Vec<String>,
    /// The outputs of a last layer that the file has for another number of classes.
    pub other_head: Option<usize>,
    /// SHA-256 of each file, over the bytes that the parameters were made of.
    pub sha256: BTreeMap<String, String>,
    /// Tensors that nothing asked for, and that are none of those which many files have beside a classifier.
    pub unused: Vec<String>,
    /// Where the weights come from, if not from safetensors alone.
    pub origin: Option<String>,
    /// What looks damaged in them.
    damage: Option<String>,
}

impl Loaded {
    /// Whether it is what one file with this SHA-256 holds.
    pub fn is_of(&self, sha256: &str) -> bool {
        self.sha256.len() == 1 && self.sha256.values().all(|own| own == sha256)
    }
}

/// Where the weights in a folder come from, if not from safetensors alone: what a manifest says of them.
///
/// # Errors
/// They cannot be read.
pub fn origin(folder: &Path) -> Result<Option<String>, ModelError> {
    Ok(WeightFiles::of_folder(folder)?.origin)
}

/// Reads the weights in `folder`: one safetensors file or several, one pickle or several, with an adapter laid
/// over them where there is one. Tensor names may carry the architecture's prefix or not, and layer norms may be
/// called `gamma` and `beta` as older files do; what no parameter asks for, such as the buffer `position_ids`, is
/// left alone. `backend` is where the network computes.
pub fn load(
    folder: &Path,
    config: &EncoderConfig,
    noise: &Noise,
    backend: &Backend,
) -> Result<Loaded, ModelError> {
    let files = WeightFiles::of_folder(folder)?;
    let lacking = lacking(&files, config)?;
    let tell = |remark: &String| tracing::warn!("`{}`: {remark}", folder.display());
    files.remarks.iter().for_each(tell);
    let loaded = load_files(&files, config, noise, backend)?;
    lacking.iter().for_each(tell);
    if let Some(damage) = &loaded.damage {
        tracing::warn!("`{}`: {damage}", files.path("").display());
    }
    Ok(loaded)
}

/// The same for one safetensors file of any name.
pub fn load_file(
    path: &Path,
    config: &EncoderConfig,
    noise: &Noise,
    backend: &Backend,
) -> Result<Loaded, ModelError> {
    load_files(&WeightFiles::of_file(path)?, config, noise, backend)
}

fn load_files(
    file: &WeightFiles,
    config: &EncoderConfig,
    noise: &Noise,
    backend: &Backend,
) -> Result<Loaded, ModelError> {
    let path = file.path("");
    let specifications = specifications(config);
    check_size(path, file.length(), &specifications)?;
    check_names(file)?;
    let mut other_head = None;
    let found: Vec<Option<Vec<String>>> = specifications
        .iter()
        .map(|specification| find(path, file, config, specification, &mut other_head))
        .collect::<Result<_, _>>()?;
    if has_layer(file, config, &specifications) {
        let (key, layers) =
            (config.architecture.key("num_hidden_layers"), config.num_hidden_layers);
        let stated = match config.design.shared {
            Some(_) => "`num_hidden_groups` or `inner_group_num` is too small".to_owned(),
            None => format!("`{key}` is {layers}"),
        };
        let message =
            format!("{stated}, but the weights have more layers; the two do not belong together");
        return Err(ModelError::Config { path: path.with_file_name("config.json"), message });
    }
    let mut wanted: HashSet<String> = found.iter().flatten().flatten().cloned().collect();
    let steps = steps(file, &found)?;
    wanted.extend(steps.values().cloned());
    let deltas = deltas(file, config, &specifications, &found)?;
    wanted.extend(deltas.values().flat_map(|delta| [delta.a.clone(), delta.b.clone()]));
    // A head for other classes is left out, of an adapter too.
    let left_out = specifications.iter().zip(&found).filter(|(_, names)| names.is_none());
    let left_out = left_out.flat_map(|(one, _)| &one.parts);
    let left_out = left_out.flat_map(|part| spellings(config, &part.name)).collect();
    file.check_adapter(&wanted, &left_out)?;
    let Values { mut values, sha256 } = file.read(&wanted)?;
    for (name, step) in &steps {
        let step = values.remove(step).unwrap_or_default();
        values.entry(name.clone()).and_modify(|weight| multiply_rows(weight, &step));
    }
    let parts = specifications
        .iter()
        .zip(&found)
        .flat_map(|(specification, names)| specification.parts.iter().zip(names.iter().flatten()));
    let tensors = parts.filter_map(|(part, name)| Some((part, values.get(name)?.as_slice())));
    let damage = zeros::remark(tensors);
    for (name, delta) in &deltas {
        let factors = [&delta.a, &delta.b].map(|factor| values.remove(factor).unwrap_or_default());
        if let Some(weight) = values.get_mut(name) {
            delta.add(weight, &factors[0], &factors[1]);
            if weight.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite { path: path.to_owned(), name: name.clone() });
            }
        }
    }
    let unused = told(file.names().filter(|&name| !wanted.contains(name)));
    let origin = file.origin.clone();
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
        let tensor = Tensor::from_vec(stacked, specification.shape.as_slice(), backend.device())?;
        parameters.insert(specification.name.clone(), tensor);
    }
    let parameters = Parameters::from_map(parameters, backend);
    Ok(Loaded { parameters, missing, other_head, sha256, unused, origin, damage })
}

/// What an adapter should change and does not.
fn lacking(files: &WeightFiles, config: &EncoderConfig) -> Result<Option<String>, ModelError> {
    let specifications = specifications(config);
    let places = specifications.iter().flat_map(|one| {
        one.parts.iter().map(|part| {
            let spellings = spellings(config, &part.name);
            Place { spellings, axes: part.shape.len(), head: one.head }
        })
    });
    files.lacking(places)
}

/// What an adapter adds to which of the tensors that were found.
fn deltas(
    file: &WeightFiles,
    config: &EncoderConfig,
    specifications: &[Specification],
    found: &[Option<Vec<String>>],
) -> Result<BTreeMap<String, Delta>, ModelError> {
    let mut deltas = BTreeMap::new();
    for (specification, names) in specifications.iter().zip(found) {
        for (part, name) in specification.parts.iter().zip(names.iter().flatten()) {
            if let Some(delta) = file.delta(&spellings(config, &part.name), &part.shape)? {
                deltas.insert(name.clone(), delta);
            }
        }
    }
    Ok(deltas)
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
    file: &WeightFiles,
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
            let name = part.name.clone();
            return Err(ModelError::NoTensor { path: path.to_owned(), name });
        };
        if info.shape != part.shape {
            if specification.name.starts_with("classifier.") {
                *other_head = info.shape.first().copied();
                return Ok(None);
            }
            return Err(ModelError::Shape {
                path: file.path(&name).to_owned(),
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
fn has_layer(file: &WeightFiles, config: &EncoderConfig, all: &[Specification]) -> bool {
    borders(config).into_iter().any(|[own, behind]| {
        let parts = all.iter().flat_map(|one| &one.parts);
        let inside = parts.filter_map(|part| part.name.strip_prefix(&own));
        let names = inside.map(|name| format!("{behind}{name}"));
        names.flat_map(|name| spellings(config, &name)).any(|name| file.info(&name).is_some())
    })
}

/// The names that a tensor may have, the usual one first. A plain RoBERTa encoder carries a pooler of its
/// own that its classifier does not use.
fn spellings(config: &EncoderConfig, name: &str) -> Vec<String> {
    let inside = name.strip_prefix(config.architecture.tensors.prefix);
    let bare = inside.and_then(|name| name.strip_prefix('.'));
    let both = |name: &str| {
        let old = name.strip_suffix(".weight").map(|stem| format!("{stem}.gamma"));
        let old = old.or_else(|| name.strip_suffix(".bias").map(|stem| format!("{stem}.beta")));
        std::iter::once(name.to_owned()).chain(old).collect::<Vec<_>>()
    };
    std::iter::once(name).chain(bare).flat_map(both).collect()
}

/// The bytes of a `model.safetensors` with the weights of a folder, whatever their form: every tensor
/// as it stands there but for the last linear layer, which is taken from these parameters in f32; without parameters one
/// safetensors file itself. What an adapter is merged into is in f32.
pub fn with_last_layer(
    folder: &Path,
    config: &EncoderConfig,
    parameters: Option<&Parameters>,
) -> Result<Vec<u8>, ModelError> {
    let files = WeightFiles::of_folder(folder)?;
    if files.has_adapter() {
        let merged = load_files(&files, config, &Noise::new(0), &Backend::Cpu)?.parameters;
        let merged = match parameters {
            Some(own) => {
                let [cd, c] = ["classifier.weight", "classifier.bias"].map(|name| own.get(name));
                merged.with_last_layer(cd, c)?
            }
            None => merged,
        };
        return save(config, &merged);
    }
    if files.is_plain() && parameters.is_none() {
        let path = files.path("").to_owned();
        return std::fs::read(&path).map_err(|source| ModelError::Read { path, source });
    }
    let mut tensors = BTreeMap::new();
    // A pickle may have more, and the same numbers under several names.
    let all = match files.is_pickled() {
        true => {
            let all = specifications(config);
            let found = all.iter().map(|one| find(files.path(""), &files, config, one, &mut None));
            found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().flatten().collect()
        }
        false => files.names().map(str::to_owned).collect(),
    };
    files.each(&all, &mut |name, info, bytes| {
        tensors.insert(name.to_owned(), (info.dtype, info.shape.clone(), bytes.to_vec()));
        Ok(())
    })?;
    for specification in specifications(config) {
        let Some(parameters) = parameters else { break };
        if !specification.name.starts_with("classifier.") {
            continue;
        }
        let values = parameters.get(&specification.name).flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        // The last layer is not stacked: one parameter, one tensor.
        let part = specification.parts.into_iter().next().expect("a parameter has a tensor");
        if let Some(own) = tensors.get_mut(&part.name) {
            *own = (Dtype::F32, part.shape, bytes);
        }
    }
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("the bytes are those of the shape"))
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
