//! The model that is kept, at other precisions.

use super::calibration::Calibrated;
use super::candidate::{Candidate, Heads, Shop};
use super::certificate::{ApartRows, certify};
use super::crossed;
use super::head::HeadFit;
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
        let noise = &self.prepared.noise;
        let mut artifact = candidate.artifact.clone();
        let Sets { train, validation, temperature, conformal } = self.sets;
        let validation = validation.len();
        let rows = ApartRows { train, temperature, conformal, validation };
        let own_rows = match &candidate.crossed {
            None if !precisions.is_empty() => {
                Some(rows.seen(&artifact, &self.settings, noise, show)?)
            }
            _ => None,
        };
        for &precision in precisions {
            let model = &candidate.artifact;
            artifact = match (&candidate.crossed, &own_rows) {
                (Some((heads, seen)), _) => {
                    let own = self.crossed_at(precision, model, heads, show)?;
                    certify(artifact, seen, (precision, own), show)?
                }
                (None, Some(seen)) => {
                    let own = rows.calibrated(model, precision, &self.settings, noise, show)?;
                    certify(artifact, seen, (precision, own), show)?
                }
                (None, None) => artifact,
            };
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
        let judged: Vec<usize> =
            folds.iter().flat_map(|fold| fold.judged.iter().copied()).collect();
        let mut places = judged.clone();
        places.sort_unstable();
        let part = &self.prepared.parts.train;
        let cuts = reader.cuts(part, &self.sets.train, &places, show)?;
        let fitted = (model.posterior.clone(), model.manifest.fit.clone());
        let head = HeadFit { fitted, judged, logits, of_folds: Vec::new(), prior: f64::NAN };
        let rows = (&features, &cuts);
        let noise = &self.prepared.noise;
        crossed::calibrate(&self.settings, model, rows, folds, head, noise, &mut |_| {})
    }
}
