//! The model that a student learns from: which one it is, and what it says of texts.
//!
//! What it says is kept in `teachers/KEY.safetensors` beside the token cache, `logits`, f32 `[n, m c]`, with their
//! SHA-256 as `sha256`, u8 `[32]`, in a file for each few hundred texts: a run that was killed while it asked goes on
//! from there, and no text is asked twice. The key is a hash of the teacher, the texts and the version of the tool.

use safetensors::tensor::Dtype;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::prepare::unkept;
use super::{ExperimentError, Progress};
use crate::artifact::{Manifest, manifest_of};
use crate::compute::{Backend, Precision};
use crate::data::split::content_hash;
use crate::data::table::ColumnNames;
use crate::data::{self, Dataset, Example, some};
use crate::method::TeacherRecord;
use crate::model;
use crate::posterior::{LogitDistribution, Scaling};
use crate::predict::{Loading, PredictError, Predictor, Text};
use crate::store::{self, TensorFile, Tensors, sha256};

/// Texts of a file.
const TEXTS: usize = 512;

/// A model folder that can be asked.
#[derive(Clone, Debug)]
pub(super) struct Teacher {
    folder: PathBuf,
    pub(super) manifest: Manifest,
    /// The place that each class of the data has among its own, `[c]`.
    places: Vec<usize>,
}

/// What it says of some texts.
pub(super) struct Said {
    /// Behind its temperature, `[n, m, c]`.
    pub(super) logit_nmc: Vec<f32>,
    /// `m`.
    pub(super) passes: usize,
    pub(super) record: TeacherRecord,
}

fn refuse(message: String) -> ExperimentError {
    ExperimentError::Config { place: "`train.teacher`".to_owned(), message }
}

impl Teacher {
    /// The one of a folder or a Hub id, for the classes of a data set.
    pub(super) fn find(name: &str, dataset: &Dataset) -> Result<Self, ExperimentError> {
        let folder = model::obtain(name)?;
        let Some(manifest) = manifest_of(&folder)? else {
            return Err(refuse(format!(
                "`{name}` is no model that `bayes` made; give the folder of one, such as \
                 `checkpoints/NAME/model`"
            )));
        };
        let places = places(&manifest.labels, &dataset.labels).map_err(|why| {
            refuse(format!("the classes of `{name}` are not those of the data: {why}"))
        })?;
        Ok(Self { folder, manifest, places })
    }

    /// What to say where it was trained on other columns, which the data have too.
    pub(super) fn other_columns(&self, dataset: &Dataset) -> Option<String> {
        // It is not asked about labels.
        let trained = self.manifest.data.as_ref()?.column_names();
        let trained = ColumnNames { label: String::new(), ..trained };
        let [there, here] = dataset.other_columns(&trained)?;
        Some(format!(
            "the teacher `{}` was trained with the columns {there}, which `{}` has too, but it is asked about {here}; \
             if that is wrong, set `data.text_column`",
            self.manifest.name, dataset.name
        ))
    }

    pub(super) fn content(&self) -> String {
        self.manifest.content()
    }

    /// Asks it, or the files of an earlier run. `None` if it was stopped.
    pub(super) fn ask(
        &self,
        examples: &[Example],
        (device, stop): (&Backend, &AtomicBool),
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Said>, ExperimentError> {
        // The same on every CPU.
        let loading = Loading { precision: Some(Precision::F32), ..Loading::default() };
        let predictor = Predictor::load_as(&self.folder, device, &loading)?;
        let posterior = &predictor.artifact().posterior;
        let Some(passes) = posterior.passes() else {
            return Err(refuse(format!(
                "`{}` (method `{}`) answers in one pass, so there is nothing to distil; give an \
                 ensemble, or an `mc_dropout` model with `posterior.num_samples`",
                self.manifest.name,
                self.manifest.fit.method.name()
            )));
        };
        predictor
            .pairs()
            .check(examples.iter().map(|one| one.pair.is_some()))
            .map_err(|error| refuse(error.to_string()))?;
        let scaling = &posterior.scaling;
        let (passes, total) = (passes.count(), examples.len());
        let mut logit_nmc = Vec::with_capacity(total * passes * self.places.len());
        for (number, texts) in examples.chunks(TEXTS).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let done = number * TEXTS;
            show(Progress::Work { what: "asking the teacher", done, total });
            let width = passes * self.places.len();
            let path = self.path(texts);
            let said = match read(&path, texts.len() * width) {
                Some(said) => {
                    store::mark_used(&path);
                    said
                }
                None => {
                    let said = asked(&predictor, texts)?;
                    keep(&path, &said, width, show);
                    said
                }
            };
            logit_nmc.extend(self.of_classes(&said, scaling));
        }
        show(Progress::Work { what: "asking the teacher", done: total, total });
        let record = TeacherRecord {
            name: self.manifest.name.clone(),
            method: self.manifest.fit.method,
            passes,
            sha256: self.content(),
        };
        Ok(Some(Said { logit_nmc, passes, record }))
    }

    fn path(&self, texts: &[Example]) -> PathBuf {
        let version = env!("CARGO_PKG_VERSION");
        let key = format!("bayes {version}\nfile 1\n{}\n{}", self.content(), content_hash(texts));
        let folder = data::cache_folder().with_file_name("teachers");
        folder.join(format!("{}.safetensors", sha256(key.as_bytes())))
    }

    /// Logits behind the temperature, in the order of the data's classes.
    fn of_classes(&self, said: &[f32], scaling: &Scaling) -> Vec<f32> {
        let line = |logit_c: &[f32]| {
            let logit_c: Vec<f64> = logit_c.iter().map(|&logit| f64::from(logit)).collect();
            let scaled_c = scaling.divided(&logit_c);
            self.places.iter().map(|&place| scaled_c[place] as f32).collect::<Vec<f32>>()
        };
        said.chunks_exact(self.places.len()).flat_map(line).collect()
    }
}

/// The place of each of our classes among theirs. The error says what is different.
fn places(theirs: &[String], ours: &[String]) -> Result<Vec<usize>, String> {
    let without = |of: &[String], known: &[String]| -> Vec<String> {
        of.iter().filter(|name| !known.contains(name)).cloned().collect()
    };
    let shown = |names: &[String]| some(names.iter().map(String::as_str));
    match (without(ours, theirs).as_slice(), without(theirs, ours).as_slice()) {
        ([], []) => {
            let place = |name: &String| theirs.iter().position(|own| own == name);
            Ok(ours.iter().filter_map(place).collect())
        }
        (missing, []) => Err(format!("it does not know {}", shown(missing))),
        ([], more) => Err(format!("it also knows {}, of which the data have no rows", shown(more))),
        (missing, more) => {
            Err(format!("it knows {} and does not know {}", shown(more), shown(missing)))
        }
    }
}

/// The logits of each pass before the temperature, `[n, m, c]`.
fn asked(predictor: &Predictor, examples: &[Example]) -> Result<Vec<f32>, ExperimentError> {
    let texts: Vec<Text<'_>> =
        examples.iter().map(|one| (one.text.as_str(), one.pair.as_deref())).collect();
    let failed = |error: PredictError| refuse(error.to_string());
    let predictions = predictor.predict(&texts, &mut |_| {}).map_err(failed)?;
    let of_row = |one: crate::predict::Prediction| match one.logits {
        LogitDistribution::Samples { logit_mc, .. } => logit_mc,
        other => other.mean().into_owned(),
    };
    Ok(predictions.into_iter().flat_map(of_row).map(|logit| logit as f32).collect())
}

const LOGITS: &str = "logits";
const HASH: &str = "sha256";

/// So many numbers of a file; `None` where it is not there, or damaged.
fn read(path: &Path, count: usize) -> Option<Vec<f32>> {
    let bytes = std::fs::read(path).ok()?;
    let file = TensorFile::parse(&bytes).ok()?;
    let (_, values) = file.values::<4>(LOGITS, Dtype::F32).ok()?;
    let (_, hash) = file.values::<1>(HASH, Dtype::U8).ok()?;
    let fits = values.len() == count
        && hash.concat() == store::sha256_of_parts([values.concat().as_slice()]);
    fits.then(|| values.into_iter().map(f32::from_le_bytes).collect())
}

/// Keeps them for the next time; it says so where that is not possible.
fn keep(path: &Path, logits: &[f32], width: usize, show: &mut dyn FnMut(Progress<'_>)) {
    let mut tensors = Tensors::default();
    tensors.put_f32(LOGITS, &[logits.len() / width, width], logits);
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let hash = store::sha256_of_parts([bytes.as_slice()]);
    tensors.put(HASH, Dtype::U8, &[hash.len()], hash.to_vec());
    let folder = path.parent().unwrap_or(Path::new(""));
    let made = std::fs::create_dir_all(folder).map_err(|source| store::StoreError {
        doing: "create",
        path: folder.to_owned(),
        source,
    });
    store::forget_unused(folder);
    if let Err(error) = made.and_then(|()| store::write_atomically(path, &tensors.to_bytes())) {
        show(Progress::Warning(unkept(&error.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_may_stand_in_another_order_and_others_are_named() {
        let names = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let of = |theirs: &str, ours: &str| places(&names(theirs), &names(ours));
        assert_eq!(of("c a b", "a b c").unwrap(), [1, 2, 0]);
        assert_eq!(of("a b", "a b c").unwrap_err(), "it does not know `c`");
        assert!(of("a b c", "a b").unwrap_err().starts_with("it also knows `c`"));
        assert_eq!(of("a x", "a b").unwrap_err(), "it knows `x` and does not know `b`");
    }

    #[test]
    fn what_is_kept_is_read_again_and_a_damaged_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teachers/one.safetensors");
        let logits = [0.5f32, -1.25, 3.0, f32::MIN_POSITIVE, -0.0, 7.5];
        let mut said = Vec::new();
        keep(&path, &logits, 3, &mut |progress| said.push(format!("{progress:?}")));
        assert!(said.is_empty(), "{said:?}");
        let bits = |found: Vec<f32>| found.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(read(&path, 6).unwrap()), bits(logits.to_vec()));
        assert_eq!(read(&path, 5), None);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path, 6), None);
    }
}
