//! A model at other precisions than the one that it was trained at: weights that are rounded, and what was fitted to
//! them, `bayes/PRECISION/posterior.safetensors` and `bayes/PRECISION/calibration.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::File;
use super::posterior_file::{posterior_file, read_posterior};
use super::{Artifact, ArtifactError, Certificate, FittedAt, Manifest};
use crate::calibrate::Calibration;
use crate::compute::Precision;
use crate::model::{EncoderConfig, Networks, Parameters};

/// The files of one precision.
fn files(precision: Precision) -> [String; 2] {
    ["posterior", "calibration"].map(|name| format!("bayes/{precision}/{name}.safetensors"))
}

/// Every file of this kind that a folder can have.
pub(super) fn possible() -> impl Iterator<Item = String> {
    Precision::ALL.into_iter().flat_map(files)
}

impl Artifact {
    /// The model as it answers at a precision: its weights are rounded, and what was fitted at the precision takes the
    /// place of what was fitted at its own, where there is such a fit.
    pub fn at(self, precision: Precision) -> candle_core::Result<Self> {
        let artifact = self.rounded(precision)?;
        Ok(match artifact.fitted_at.get(&precision).cloned() {
            Some(FittedAt { posterior, calibration, drift }) => {
                Self { posterior, calibration, drift, ..artifact }
            }
            None => artifact,
        })
    }

    fn rounded(self, precision: Precision) -> candle_core::Result<Self> {
        if precision == self.manifest.precision {
            return Ok(self);
        }
        let rounded = |one: &Parameters| one.rounded(&self.encoder, precision);
        let reference = self.reference.as_ref().map(rounded).transpose()?;
        let members = self.members.iter().map(rounded).collect::<candle_core::Result<_>>()?;
        Ok(Self { parameters: rounded(&self.parameters)?, members, reference, ..self })
    }

    /// The model whose weights are stored at a precision, with what was fitted at it.
    ///
    /// # Errors
    /// The weights cannot be read from their device.
    pub fn stored_at(self, precision: Precision) -> candle_core::Result<Self> {
        let artifact = self.at(precision)?;
        let mut manifest = artifact.manifest;
        manifest.certificates.retain(|&own, _| own == precision);
        if let Some(Certificate { fit, .. }) = manifest.certificates.get(&precision) {
            manifest.fit = fit.clone();
        }
        Ok(Self {
            fitted_at: Default::default(),
            manifest: Manifest { precision, test: None, ..manifest },
            ..artifact
        })
    }

    /// Its networks, packed at a precision that this CPU has instructions for; on another device as they are.
    pub fn networks_at(&self, precision: Precision) -> candle_core::Result<Networks> {
        let Self { encoder, parameters, members, reference, .. } = self;
        let networks = Networks::packed_at(precision, encoder, parameters, members)?;
        let networks = networks.with_reference(reference.as_ref())?;
        let networks = self.posterior.drawn(networks, parameters)?;
        Ok(networks.with_entailment(self.entailment()))
    }

    /// The fastest precision that this CPU has instructions for and that is known to keep the model's promises: that
    /// of the stored weights, or one with a certificate that was granted; else f32.
    pub fn fastest(&self) -> Precision {
        let manifest = &self.manifest;
        let on_cpu = self.parameters.backend().is_cpu();
        let granted = |own: &Precision| {
            let fitted = self.fitted_at.contains_key(own);
            let granted = |one: &Certificate| one.verdict().granted;
            fitted && manifest.certificates.get(own).is_some_and(granted)
        };
        let stored = |own: &Precision| *own == manifest.precision;
        let known =
            |own: &Precision| on_cpu && own.check().is_ok() && (stored(own) || granted(own));
        Precision::ALL.into_iter().rev().find(known).unwrap_or_default()
    }

    /// The files of other precisions, and their content.
    pub(super) fn fitted_files(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        let evidence = self.manifest.fit.evidence;
        self.fitted_at.iter().flat_map(
            move |(&precision, FittedAt { posterior, calibration, .. })| {
                let prior = evidence.map(|evidence| evidence.prior_precision);
                let bytes = [posterior_file(posterior, prior), calibration.to_bytes()];
                files(precision).into_iter().zip(bytes)
            },
        )
    }

    /// Their names.
    pub(super) fn fitted_names(&self) -> impl Iterator<Item = String> {
        self.fitted_at.keys().copied().flat_map(files)
    }
}

/// What was fitted at each precision that the manifest lists the files of. `read` gives a file whose hash is that of
/// the manifest; `last` has the layer whose mean the posterior is around, and `read_by` is what reads a text.
pub(super) fn read_fitted(
    folder: &Path,
    manifest: &Manifest,
    (last, read_by): (&Parameters, &EncoderConfig),
    read: &dyn Fn(&str) -> Result<File, ArtifactError>,
) -> Result<BTreeMap<Precision, FittedAt>, ArtifactError> {
    let listed = |name: &String| manifest.files.contains_key(name);
    let mut all = BTreeMap::new();
    for precision in Precision::ALL {
        let names = files(precision);
        match names.iter().filter(|name| listed(name)).count() {
            0 => continue,
            2 if precision != manifest.precision => {}
            _ => {
                let message =
                    format!("it lists one file of {precision} alone, or its own precision twice");
                let path = folder.join("bayes").join("manifest.json");
                return Err(ArtifactError::Nonsense { path, message });
            }
        }
        let [posterior, calibration] = [read(&names[0])?, read(&names[1])?];
        let posterior = read_posterior(&posterior, last, manifest.task, manifest.fit.link)?;
        let calibration =
            Calibration::from_bytes(&calibration.bytes, read_by).map_err(|message| {
                ArtifactError::Posterior { path: calibration.path.clone(), message }
            })?;
        all.insert(precision, FittedAt { posterior, calibration, drift: None });
    }
    Ok(all)
}
