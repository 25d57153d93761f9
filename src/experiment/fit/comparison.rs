//! The methods of a fit, each on the same features.

use std::time::Instant;

use super::calibration::{Calibrated, FitSettings, HeldOut};
use super::certificate::{ApartRows, certify};
use super::encoder::Encoder;
use super::features::{Reads, check_distinct};
use super::posterior::{Making, weights_of_classes};
use super::rows::{Rows, refits};
use super::{Experiment, ExperimentError, Features, FitJob, FitScore, Progress};
use crate::artifact::{Artifact, Manifest};
use crate::calibrate::CalibrationSummary;
use crate::compute::{Noise, Purpose};
use crate::data::Example;
use crate::evaluate::{EvaluateError, Origin, WithoutSeen};
use crate::metrics::{self, FLOOR_RESAMPLES, RESAMPLES, Scored, Summary};
use crate::posterior::{LogitDistribution, Posterior, Predictive};
use crate::task::Task;
use crate::train::class_counts;

/// What every method is fitted to.
pub(super) struct Comparison<'a> {
    job: &'a FitJob,
    source: &'a Artifact,
    rows: &'a Rows,
    noise: Noise,
    encoder: Encoder<'a>,
    train: Features,
    /// The held-out rows in one pass.
    held_out: HeldOut,
    /// What a row of each class counts, `[k]`.
    class_weights: Vec<f64>,
}

/// A model that was fitted.
pub(super) struct FittedModel {
    pub(super) model: Artifact,
    pub(super) calibration: CalibrationSummary,
    pub(super) score: FitScore,
}

impl<'a> Comparison<'a> {
    /// Encodes the rows that every method looks at.
    pub(super) fn new(
        job: &'a FitJob,
        source: &'a Artifact,
        rows: &'a Rows,
        chosen: &[Experiment],
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let reference = chosen.iter().any(|one| one.calibration.novelty_reference);
        let mut encoder = Encoder::new(&job.model, source, rows, reference)?;
        let train = encoder.features(&rows.parts.train, Reads::default(), show)?;
        check_distinct(train.lines())?;
        let (own, classes) = (source.manifest.fit.class_weights, source.manifest.labels.len());
        if !own.is_none() && refits(job, chosen) {
            show(Progress::Note(
                "rows count as the class weights say that the model was trained with".to_owned(),
            ));
        }
        let class_weights = weights_of_classes(own, &class_counts(&train.labels, classes));
        let cuts = chosen.iter().any(|one| one.calibration.cuts());
        let held_out = encoder.held_out(Reads::default(), cuts, show)?;
        let noise = Noise::new(source.manifest.seed);
        Ok(Self { job, source, rows, noise, encoder, train, held_out, class_weights })
    }

    /// Rows whose features had to be computed.
    pub(super) fn encoded(&self) -> usize {
        self.encoder.encoded
    }

    /// The classifier as it was.
    pub(super) fn before(
        &mut self,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<FitScore, ExperimentError> {
        let posterior = &self.source.posterior;
        let part = &self.rows.parts.test;
        self.encoder.draw(posterior, &self.source.parameters)?;
        let test = self.encoder.features(part, Reads::of(posterior), show)?;
        let (config, dataset) = (&self.rows.config, &self.rows.dataset);
        let rows: Vec<&Example> = part.examples(dataset).collect();
        // Its own last layer was trained on rows that are new to one that is fitted anew.
        let origin = Origin::of(&self.source.manifest, Some((config, dataset)));
        let seen = match origin.and_then(|origin| origin.seen(&rows)) {
            Ok(seen) => seen,
            Err(why) => {
                show(Progress::Note(format!(
                    "it is unknown which of the test rows the model has seen, so `before` may be \
                     too good: {why}"
                )));
                Vec::new()
            }
        };
        let (test, without_seen) = scored(posterior, &test, &seen, &self.noise)?;
        let name = "before".to_owned();
        Ok(FitScore { name, test, without_seen, fitted: None, seconds: 0.0 })
    }

    /// The classifier with a method.
    pub(super) fn fit(
        &mut self,
        chosen: &Experiment,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<FittedModel, ExperimentError> {
        let (job, source) = (self.job, self.source);
        let config = &chosen.posterior;
        let reads = Reads::planned(config);
        // Those that the methods share are read in one pass, and no hidden states beside the feature.
        let (cuts, rows) = (chosen.calibration.cuts(), self.rows);
        let parts = &rows.parts;
        let own_train = match reads.states.is_empty() {
            true => None,
            false => Some(self.encoder.features(&parts.train, reads.once(), show)?),
        };
        let train = own_train.as_ref().unwrap_or(&self.train);
        let settings = FitSettings {
            posterior: config,
            calibration: &chosen.calibration,
            class_weights: source.manifest.fit.class_weights,
        };
        let class_weights = &self.class_weights;
        let tokens = match config.approach().needs().network_rows {
            true => Some([
                self.encoder.token_set(&parts.train, show)?,
                self.encoder.token_set(&parts.temperature, show)?,
            ]),
            false => None,
        };
        let tokens = tokens.as_ref().map(|[train, held_out]| [train, held_out]);
        let making = Making { config, head: job.head, class_weights, gathered: None, tokens };
        let began = Instant::now();
        let (encoder, parameters) = source.last_layer_view()?;
        let posterior = making.run(&encoder, &parameters, train)?;
        let seconds = began.elapsed().as_secs_f64();
        self.encoder.draw(&posterior.0, &source.parameters)?;
        let own_held_out = match reads == Reads::default() {
            true => None,
            false => Some(self.encoder.held_out(reads, cuts, show)?),
        };
        let held_out = own_held_out.as_ref().unwrap_or(&self.held_out);
        let test = self.encoder.features(&parts.test, reads, show)?;
        let began = Instant::now();
        let Calibrated { artifact: mut model, summary: calibration, seen: judged } =
            settings.fit(source.clone(), train, held_out, posterior, &self.noise, show)?;
        let seconds = seconds + began.elapsed().as_secs_f64();
        for &precision in &chosen.calibration.precisions {
            let rows = ApartRows {
                train: &self.encoder.token_set(&parts.train, show)?,
                temperature: &self.encoder.token_set(&parts.temperature, show)?,
                conformal: &self.encoder.token_set(&parts.conformal, show)?,
                validation: parts.validation.rows.len(),
            };
            let own = rows.calibrated(&model, precision, &settings, &self.noise, show)?;
            model = certify(model, &judged, (precision, own), show)?;
        }
        let seen = &self.rows.parts.seen_in_test;
        let (test, without_seen) = scored(&model.posterior, &test, seen, &self.noise)?;
        let score = FitScore {
            name: config.name().name().to_owned(),
            test: test.clone(),
            without_seen,
            fitted: Some(model.manifest.fit.clone()),
            seconds,
        };
        let manifest = Manifest {
            calibration: Some(chosen.calibration.clone()),
            test: Some(test),
            ..model.manifest
        };
        Ok(FittedModel { model: Artifact { manifest, ..model }, calibration, score })
    }
}

/// The metrics of a posterior on features, and the scores without rows that were seen.
fn scored(
    posterior: &Posterior,
    rows: &Features,
    seen: &[usize],
    noise: &Noise,
) -> Result<(Summary, Option<WithoutSeen>), ExperimentError> {
    let Task::SingleLabel = posterior.link.task;
    let logits = posterior.logits(rows.read())?;
    let predictive = |one: &LogitDistribution| -> Predictive { posterior.predictive(one) };
    let probability_nc: Vec<f64> =
        logits.iter().flat_map(|one| predictive(one).probability_c).collect();
    let classes = probability_nc.len() / rows.labels.len().max(1);
    let scored =
        Scored::new(&probability_nc, classes, &rows.labels).map_err(EvaluateError::from)?;
    let mut stream = noise.stream(Purpose::Bootstrap, 0, 0);
    let summary = metrics::summarise(&scored, RESAMPLES, FLOOR_RESAMPLES, &mut || stream.uniform());
    let without_seen = WithoutSeen::of(seen, &probability_nc, &rows.labels);
    Ok((summary, without_seen.map_err(EvaluateError::from)?))
}
