//! From a model folder to a predictor.

use std::path::{Path, PathBuf};

use super::{Predictor, SharedTrunk, shared};
use crate::artifact::{self, Artifact, ArtifactError, ZeroShotLabels};
use crate::compute::{Backend, Precision};
use crate::model::ModelError;
use crate::store::sha256;

/// What a model folder is loaded as.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    /// A classifier of these labels, where some are named.
    pub labels: Option<ZeroShotLabels>,
    /// Of the products in its layers, which this CPU has instructions for; the fastest that is known to keep the
    /// model's promises where none is named.
    pub precision: Option<Precision>,
}

/// What a person should know of a model at a precision.
fn tell(folder: &Path, artifact: &Artifact, precision: Precision) {
    if !artifact.manifest.is_calibrated()
        && let Some(finished) = finished_beside(folder)
    {
        tracing::warn!(
            "`{}` has the weights of a run before anything was calibrated; the model that the run made is `{}`",
            folder.display(),
            finished.display()
        );
    }
    let (folder, own) = (folder.display(), artifact.manifest.precision);
    if precision == own {
        return;
    }
    if !artifact.manifest.is_calibrated() {
        tracing::warn!(
            "`{folder}` answers in {precision}; what that changes was not checked, and nothing of it is calibrated"
        );
        return;
    }
    let Some(certificate) = artifact.manifest.certificates.get(&precision) else {
        let advice = match (own.check(), own) {
            (Err(why), _) => format!(" ({why})"),
            (Ok(()), Precision::F32) if artifact.manifest.why_unchecked().is_none() => {
                "; `bayes quantize` fits them anew, and checks that they hold".to_owned()
            }
            (Ok(()), Precision::F32) if artifact.manifest.recalibrated.is_none() => {
                format!(
                    "; `calibration.precisions=[\"{precision}\"]` in training fits them anew, and checks them"
                )
            }
            (Ok(()), _) => String::new(),
        };
        tracing::warn!(
            "`{folder}`: temperature, sets, thresholds and novelty were fitted in {own}, and the model answers in \
             {precision}{advice}"
        );
        return;
    };
    let verdict = certificate.verdict();
    if !verdict.granted {
        tracing::warn!(
            "`{folder}` was refused a certificate for {precision}: {}",
            verdict.reasons.join("; ")
        );
    }
}

/// The model of the run whose best weights so far a folder holds, once the run has ended.
fn finished_beside(best: &Path) -> Option<PathBuf> {
    let model = best.with_file_name("model");
    let is_best = best.file_name().is_some_and(|name| name == "best_model");
    (is_best && model.join("bayes/manifest.json").is_file()).then_some(model)
}

impl Predictor {
    /// From what a model folder holds.
    pub fn new(artifact: Artifact) -> candle_core::Result<Self> {
        Self::at(Precision::F32, artifact)
    }

    /// The same, whose layers multiply at a precision that this CPU has instructions for.
    pub fn at(precision: Precision, artifact: Artifact) -> candle_core::Result<Self> {
        let artifact = artifact.at(precision)?;
        let networks = artifact.networks_at(precision)?;
        let posterior = artifact.posterior.of_predictions();
        let usual = artifact.calibration.usual();
        let files = &artifact.manifest.files;
        let mut hashes: Vec<u8> = files.values().flat_map(|hash| hash.bytes()).collect();
        hashes.extend(artifact.manifest.beside_files().bytes());
        if precision != Precision::F32 {
            hashes.extend(precision.to_string().bytes());
        }
        let version = format!("sha256:{}", &sha256(&hashes)[..16]);
        Ok(Self { artifact, networks, precision, posterior, usual, version, share: None })
    }

    /// Loads a model folder.
    pub fn load(folder: &Path, device: &Backend) -> Result<Self, ArtifactError> {
        Self::load_as(folder, device, &Loading::default())
    }

    /// The same, as it is asked for.
    ///
    /// # Errors
    /// The folder cannot be loaded, or the model cannot have those labels.
    pub fn load_as(
        folder: &Path,
        device: &Backend,
        loading: &Loading,
    ) -> Result<Self, ArtifactError> {
        let artifact = artifact::load(folder, device)?;
        let artifact = match &loading.labels {
            Some(labels) => artifact.zero_shot(labels)?,
            None => artifact,
        };
        Ok(Self::of(folder, artifact, loading.precision).map_err(ModelError::from)?)
    }

    /// From what the model folder holds, at the precision that was asked for, or the one that is best for it. Says
    /// what a person should know of that.
    pub fn of(
        folder: &Path,
        artifact: Artifact,
        asked: Option<Precision>,
    ) -> candle_core::Result<Self> {
        let precision = asked.unwrap_or_else(|| artifact.fastest());
        tell(folder, &artifact, precision);
        Self::at(precision, artifact)
    }

    /// The same, which looks for what the encoder makes of texts among what other models left there. The networks
    /// of an ensemble and copies of the top layers are its own.
    pub fn sharing(self, trunk: SharedTrunk) -> candle_core::Result<Self> {
        if self.always_sampled() {
            return Ok(self);
        }
        let share = Some(shared::Share::new(trunk, &self.artifact, self.precision)?);
        Ok(Self { share, ..self })
    }
}
