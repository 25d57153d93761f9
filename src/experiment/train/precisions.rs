//! The model that is kept, at other precisions.

use super::calibration::Calibrated;
use super::candidate::{Candidate, Heads, Shop};
use super::certificate::{ApartRows, certify};
use super::prepare::Sets;
use super::reader::Reader;
use super::{ExperimentError, Progress};
use crate::artifact::Artifact;
use crate::compute::Precision;

impl Shop<'_> {
    /// The candidate with a certificate for each precision of `calibration.precisions`.
    pub(super) fn certified(
        &self,
        candidate: Candidate,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let precisions = &self.settings.calibration.precisions;
        if precisions.is_empty() {
            return Ok(candidate);
        }
        let (model, noise) = (&candidate.artifact, &self.prepared.noise);
        let Sets { train, validation, temperature, conformal } = self.sets;
        let validation = validation.len();
        let rows = ApartRows { train, temperature, conformal, validation };
        let of_rows;
        let seen = match &candidate.crossed {
            Some((_, seen)) => seen,
            None => {
                of_rows = rows.seen(model, &self.settings, noise, show)?;
                &of_rows
            }
        };
        let mut artifact = model.clone();
        for &precision in precisions {
            let own = match &candidate.crossed {
                Some((heads, _)) => self.crossed_at(precision, model, heads, show)?,
                None => rows.calibrated(model, precision, &self.settings, noise, show)?,
            };
            artifact = certify(artifact, seen, (precision, own), show)?;
        }
        Ok(Candidate { artifact, ..candidate })
    }

    /// A model whose rows calibrate it fold by fold, at another precision: the heads are those of f32.
    fn crossed_at(
        &self,
        precision: Precision,
        model: &Artifact,
        heads: &Heads,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Calibrated, ExperimentError> {
        let model = model.clone().at(precision)?;
        let reader = Reader::new(self, model.networks_at(precision)?);
        let features = reader.encode(&self.sets.train, self.reads(), "certifying", show)?;
        let Heads { folds, of_folds } = heads;
        let mut logits = Vec::new();
        for (head, fold) in of_folds.iter().zip(folds) {
            logits.extend(head.logits(features.some(&fold.judged).read())?);
        }
        let fitted = (model.posterior.clone(), model.manifest.fit.clone());
        self.crossed(&reader, model, (&features, folds), (fitted, logits), &mut |_| {})
    }
}
