//! The model that is served: loaded, warmed and measured before it answers anybody.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Instant, SystemTime};

use super::feedback::ModelMark;
use super::request::{Abstain, Options};
use crate::artifact::{Artifact, ArtifactError};
use crate::compute::Backend;
use crate::data::{Encoded, guarded, some};
use crate::model::{DropoutPasses, Sampling};
use crate::posterior::TopLayers;
use crate::predict::{Loading, PredictError, Predictor, TrunkHash};

/// Texts in the batch that warms a model and measures it.
const WARM_TEXTS: usize = 8;

/// Words in each of them.
const WARM_WORDS: usize = 32;

/// A model in service.
pub struct Loaded {
    pub predictor: Predictor,
    /// Cost a second, as measured while it warmed.
    pub rate: f64,
    /// When its folder was written.
    pub written: SystemTime,
    /// What the names of its predictions say of it.
    pub mark: ModelMark,
    /// What tells whether another model of the server has the same encoder.
    pub trunk: Option<TrunkHash>,
}

/// What is served, and how it is loaded.
#[derive(Clone, Debug)]
pub struct Place {
    /// What requests call it, where that is not what the folder says.
    pub name: Option<String>,
    pub folder: PathBuf,
    pub device: Backend,
    /// Thresholds of the server, which it must be able to keep.
    pub abstain: Abstain,
    pub loading: Loading,
    /// Whether the server has others: then an encoder that is the same as that of another is in memory once.
    pub has_others: bool,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder is not a whole model.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the model cannot predict: {0}")]
    Predict(#[from] PredictError),

    /// A panic, which is an error of ours that a damaged folder may bring about.
    #[error(
        "loading `{folder}` makes the program fail ({said}); run `bayes train` again, and report \
         this, because a damaged folder should be refused with a reason"
    )]
    Panic { folder: PathBuf, said: String },
    /// What is to replace the model in service is no model of ours any more.
    #[error(
        "`{0}` has no `bayes/manifest.json`, which the model in service has: without its posterior and calibration \
         it would predict other probabilities; copy the whole folder, or start the server anew to serve it as it is"
    )]
    Incomplete(PathBuf),
    /// One of several.
    #[error("the model of `{folder}`: {source}")]
    Of {
        folder: PathBuf,
        /// What is wrong with it.
        source: Box<LoadError>,
    },
    /// Two models of a server have one name.
    #[error(
        "two models are called `{0}`; name them apart: --model one=FOLDER --model other=FOLDER"
    )]
    SameName(String),
    /// A threshold of the server that no answer of the model can be held against.
    #[error("--abstain-{flag} {0}; remove the flag", flag = .0.field.replace('_', "-"))]
    Threshold(Unkept),
}

/// A threshold that no answer of a model can be held against.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("cannot be enforced: this model reports no {what} because {reason}")]
pub struct Unkept {
    /// Its name in [`Abstain`].
    pub field: &'static str,
    what: &'static str,
    reason: &'static str,
}

impl Place {
    /// A model that a test serves alone.
    #[cfg(test)]
    pub fn alone(folder: &Path) -> Self {
        let (abstain, loading) = (Abstain::default(), Loading::default());
        let folder = folder.to_owned();
        Self { name: None, folder, device: Backend::Cpu, abstain, loading, has_others: false }
    }
}

impl Loaded {
    /// Loads a folder, lets it predict a few texts, and times that. Thresholds of the server that the
    /// model cannot keep are refused: who set one relies on it. `others` are those that are in memory already.
    pub fn load(place: &Place, others: &[Arc<Self>]) -> Result<Self, LoadError> {
        let Place { folder, device, loading, has_others, .. } = place;
        let named = |error| match has_others {
            true => LoadError::Of { folder: folder.clone(), source: Box::new(error) },
            false => error,
        };
        let loaded = unbroken(folder, || {
            let mut predictor = Predictor::load_as(folder, device, loading)?;
            let mut trunk = None;
            if *has_others {
                trunk = predictor.trunk_hash().map_err(PredictError::from)?;
            }
            let same = |other: &&Arc<Self>| trunk.is_some() && other.trunk == trunk;
            if let Some(other) = others.iter().find(same) {
                predictor = predictor.on_trunk_of(&other.predictor);
            }
            Self::warmed(predictor, trunk, place)
        });
        loaded.map_err(named)
    }

    fn warmed(
        predictor: Predictor,
        trunk: Option<TrunkHash>,
        place: &Place,
    ) -> Result<Self, LoadError> {
        let written = written(&place.folder);
        if let Some(&first) = unkept(predictor.artifact(), &place.abstain).first() {
            return Err(LoadError::Threshold(first));
        }
        if let Some(own) = other_coverage(predictor.artifact()) {
            let asked = Options::default().coverage.unwrap_or_default();
            tracing::warn!(
                model = predictor.artifact().manifest.name,
                "this model's prediction sets have coverage {own:.3} by itself (`bayes predict`), and a request that \
                 names no `coverage` gets {asked:.3}; name it in the requests"
            );
        }
        let text = "an ordinary word ".repeat(WARM_WORDS / 3);
        let texts = vec![(text.as_str(), None); WARM_TEXTS];
        let mut rate = 0.0;
        // The first call takes memory and starts threads.
        for _ in 0..2 {
            let began = Instant::now();
            let answers = predictor.predict(&texts, &mut |_| ())?;
            let usual = predictor.passes(None, 0);
            let cost = |tokens| cost(&predictor, tokens as u32, usual);
            let cost: u64 = answers.iter().map(|answer| cost(answer.num_tokens)).sum();
            rate = cost as f64 / began.elapsed().as_secs_f64().max(1e-6);
        }
        read_longest(&predictor)?;
        let name = place.name.as_ref().unwrap_or(&predictor.artifact().manifest.name);
        let mark = ModelMark::of(&predictor, name);
        Ok(Self { predictor, rate, written, mark, trunk })
    }

    /// What a text costs, in tokens of one pass.
    pub fn cost(&self, length: u32, sampling: Option<Sampling>) -> u64 {
        cost(&self.predictor, length, sampling)
    }
}

/// When the file was written that every model folder has.
fn written(folder: &Path) -> SystemTime {
    let written = std::fs::metadata(folder.join("config.json")).and_then(|file| file.modified());
    written.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The coverage of the model's own sets, where that of requests that name none is another.
fn other_coverage(artifact: &Artifact) -> Option<f64> {
    let own = artifact.calibration.own_coverage();
    own.zip(Options::default().coverage)
        .and_then(|(own, asked)| ((own - asked).abs() > 1e-9).then_some(own))
}

/// What is new in labels, gone from them, or in another place.
fn other_labels(before: &[String], now: &[String]) -> Option<String> {
    let without = |all: &[String], others: &[String]| -> Vec<String> {
        all.iter().filter(|label| !others.contains(label)).cloned().collect()
    };
    let (new, gone) = (without(now, before), without(before, now));
    let listed = |what: &str, labels: &[String]| {
        (!labels.is_empty()).then(|| format!("{what} {}", some(labels.iter().map(String::as_str))))
    };
    let told: Vec<String> =
        [listed("new", &new), listed("gone", &gone)].into_iter().flatten().collect();
    match told.is_empty() {
        false => Some(told.join(", ")),
        true => (before != now).then(|| "the same in another order".to_owned()),
    }
}

/// Loads, and makes an error of a panic.
fn unbroken<T>(folder: &Path, load: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    let gave_up = |said| Err(LoadError::Panic { folder: folder.to_owned(), said });
    guarded(load).unwrap_or_else(gave_up)
}

/// Reads the longest text that is allowed: whoever sends one must not be the first to find out what is
/// wrong with it.
fn read_longest(predictor: &Predictor) -> Result<(), LoadError> {
    let longest = predictor.artifact().manifest.preprocessing.max_length;
    let text = "a ".repeat(longest);
    let encoded = predictor.encode(&[(&text, None)])?;
    let encoded: Vec<&Encoded> = encoded.iter().collect();
    predictor.read(&encoded, None, &|| true).map_err(PredictError::from)?;
    Ok(())
}

/// The thresholds that no answer of the model can be held against.
pub fn unkept(artifact: &Artifact, abstain: &Abstain) -> Vec<Unkept> {
    let no_epistemic = artifact.posterior.own_doubt().reason();
    let no_novelty =
        artifact.calibration.novelty.is_none().then_some("it was not calibrated for them");
    let Abstain { min_confidence: _, max_epistemic, ood_p } = abstain;
    [
        ("max_epistemic", max_epistemic, "epistemic uncertainty", no_epistemic),
        ("ood_p", ood_p, "novelty p-values", no_novelty),
    ]
    .into_iter()
    .filter(|(_, limit, ..)| limit.is_some())
    .filter_map(|(field, _, what, reason)| reason.map(|reason| Unkept { field, what, reason }))
    .collect()
}

/// Tokens times passes; layers that all passes share count once.
fn cost(predictor: &Predictor, length: u32, sampling: Option<Sampling>) -> u64 {
    let layers = predictor.artifact().encoder.num_hidden_layers.max(1);
    let passes = match sampling {
        None => 1.0,
        Some(Sampling::Members) => predictor.forward_passes() as f64,
        // One without dropout besides.
        Some(Sampling::Dropout(DropoutPasses { samples, layers: sampled, .. })) => {
            let sampled = if sampled == 0 { layers } else { sampled.min(layers) };
            let share = sampled as f64 / layers as f64;
            2.0 - share + share * samples as f64
        }
        // One with the weights at their mean besides, whose lower layers they share.
        Some(Sampling::TopLayers) => {
            predictor.artifact().posterior.top_layers().map_or(1.0, TopLayers::cost)
        }
    };
    (f64::from(length) * passes).ceil() as u64
}

/// The place where a model in service stands, so that another can take it.
pub struct Model {
    place: Place,
    current: RwLock<Arc<Loaded>>,
}

impl Model {
    /// Loads the first one; `others` are those that the server has already.
    pub fn load(place: Place, others: &[Arc<Loaded>]) -> Result<Self, LoadError> {
        let first = Loaded::load(&place, others)?;
        // It stays what it was called at first.
        let own = || first.predictor.artifact().manifest.name.clone();
        let name = place.name.clone().unwrap_or_else(own);
        let place = Place { name: Some(name), ..place };
        Ok(Self { place, current: RwLock::new(Arc::new(first)) })
    }

    /// What requests call it.
    pub fn name(&self) -> &str {
        self.place.name.as_deref().unwrap_or_default()
    }

    /// The model in service.
    pub fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn device(&self) -> &'static str {
        self.place.device.kind()
    }

    /// Loads the folder again, and says whether that is another model; if that fails, the old one stays.
    pub fn reload(&self, others: &[Arc<Loaded>]) -> Result<bool, LoadError> {
        let new = Arc::new(Loaded::load(&self.place, others)?);
        let is_saved = |model: &Loaded| model.predictor.artifact().manifest.is_saved();
        if is_saved(&self.current()) && !is_saved(&new) {
            return Err(LoadError::Incomplete(self.place.folder.clone()));
        }
        let labels = |model: &Loaded| model.predictor.labels().to_vec();
        if let Some(other) = other_labels(&labels(&self.current()), &labels(&new)) {
            tracing::warn!(
                model = self.name(),
                "the new model has other labels: {other}; clients that know the old ones are not told"
            );
        }
        let current = self.current();
        // The reference of drift changes no prediction.
        let reference = |model: &Loaded| model.predictor.artifact().drift.clone();
        let is_another = new.mark != current.mark || reference(&new) != reference(&current);
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new;
        Ok(is_another)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_change_are_named() {
        let labels = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let told = |before: &str, now: &str| other_labels(&labels(before), &labels(now));
        assert_eq!(told("a b", "a b"), None);
        assert_eq!(told("a b", "a c").unwrap(), "new `c`, gone `b`");
        assert_eq!(told("a b", "a b c").unwrap(), "new `c`");
        assert_eq!(told("a b", "b a").unwrap(), "the same in another order");
    }

    #[test]
    fn a_panic_while_a_model_is_loaded_is_a_sentence() {
        let outcome = unbroken::<()>(Path::new("models/a"), || panic!("index 3 of 2"));
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains("`models/a`") && message.contains("index 3 of 2"), "{message}");
        assert!(unbroken(Path::new("a"), || Ok(7)).is_ok_and(|loaded| loaded == 7));
    }
}
