//! What a recipe can come to: a model with its posterior and calibration, and how good it is on rows
//! that it has not seen.

use super::base::Base;
use super::calibration::{Calibrated, FitSettings, HeldOut, SeenRows};
use super::crossed;
use super::features::Reads;
use super::head::{HeadFit, HeadRows};
use super::judged::Judged;
use super::posterior::Making;
use super::prepare::{Crossing, Prepared, Sets};
use super::reader::Reader;
use super::refit;
use super::runs::Network;
use super::{ExperimentError, Features, Progress};
use crate::artifact::{Artifact, Manifest};
use crate::calibrate::{CalibrationSummary, Fold, folds};
use crate::compute::Backend;
use crate::data::split::RowKey;
use crate::method::laplace::Head;
use crate::method::{FitRecord, TeacherRecord, tensors};
use crate::model::{Classifier, Networks, Parameters};
use crate::posterior::{LogitDistribution, Posterior, Predictive};
use crate::train::{Gathered, Recipe};

/// A finished model that may be kept.
pub(super) struct Candidate {
    pub(super) artifact: Artifact,
    pub(super) calibration: CalibrationSummary,
    /// What it says of rows that it has not seen.
    pub(super) judged: Judged,
    /// Where every row trains the last layer.
    pub(super) crossed: Option<(Heads, SeenRows)>,
}

/// The last layers that have not seen a fold.
pub(super) struct Heads {
    pub(super) folds: Vec<Fold>,
    /// One for each fold.
    pub(super) of_folds: Vec<Posterior>,
}

impl Candidate {
    /// Its rows trained the last layer alone.
    fn on_frozen_encoder(self) -> Self {
        let manifest = Manifest { encoder_trained: false, ..self.artifact.manifest };
        Self { artifact: Artifact { manifest, ..self.artifact }, ..self }
    }
}

/// All that candidates are made from.
pub(super) struct Shop<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) sets: &'a Sets,
    pub(super) base: &'a Base,
    /// Who taught the networks.
    pub(super) teacher: Option<TeacherRecord>,
    /// Where every row trains the last layer.
    pub(super) crossing: Option<Crossing>,
    pub(super) settings: FitSettings<'a>,
    /// What a row of each class counts where the last layer is fitted, `[k]`.
    pub(super) class_weights: Vec<f64>,
}

/// A head on the encoder as it was, and where fine-tuning begins.
pub(super) struct Frozen {
    pub(super) candidate: Candidate,
    /// With a last layer that has not seen the rows that choose among fine-tuned weights.
    pub(super) start: Parameters,
    /// With held-out rows that are as hard for this head as all rows are.
    pub(super) crossing: Option<Crossing>,
}

impl Shop<'_> {
    /// The encoder as it is, and a last layer fitted to convergence.
    pub(super) fn frozen(
        &self,
        parameters: &Parameters,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Frozen, ExperimentError> {
        let encoder = &self.base.encoder;
        let reader = Reader::cached(self, Classifier::packed(encoder, parameters)?.into())?;
        let (candidate, start, crossing) = match &self.crossing {
            Some(crossing) => {
                let features =
                    reader.features(&self.prepared.parts.train, &self.sets.train, show)?;
                let keys = crossing.keys.as_slice();
                let folds = self.divide(keys)?;
                let all: Vec<usize> = (0..features.len()).collect();
                let head = self.head_rows(&features, &folds, &all);
                let head = head.fit(self.settings.posterior)?;
                let prior = head.prior;
                let model = self.base.with(parameters);
                let candidate = self.cross(&reader, model, &features, &folds, head, show)?;
                let (start, crossing) = match self.prepared.experiment.train.recipe {
                    Recipe::Head => (parameters.clone(), crossing.clone()),
                    // Fine-tuning is chosen by rows that its first last layer has not seen either.
                    Recipe::Auto | Recipe::Full => {
                        let crossing =
                            crossing.equally_hard(&candidate.judged, &self.prepared.noise);
                        let rows = self.head_rows(&features, &[], &crossing.trained);
                        let (cd, c) = tensors(&rows.weights(prior)?, encoder.labels.len())?;
                        (parameters.with_last_layer(&cd, &c)?, crossing)
                    }
                };
                (candidate, start, Some(crossing))
            }
            None => {
                let candidate = self.apart(&reader, parameters, show)?;
                let start = candidate.artifact.parameters.clone();
                (candidate, start, None)
            }
        };
        Ok(Frozen { candidate: candidate.on_frozen_encoder(), start, crossing })
    }

    /// Weights that were trained, with a last layer that is fitted anew as the method says.
    pub(super) fn tuned(
        &self,
        networks: &[Network],
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let (first, others) = networks.split_first().expect("one network is trained at least");
        let parameters = &first.outcome.parameters;
        let others: Vec<Parameters> =
            others.iter().map(|one| one.outcome.parameters.clone()).collect();
        let reference = self.reference()?;
        let networks = Networks::packed(&self.base.encoder, parameters, &others)?;
        let reader = Reader::new(self, networks.with_reference(reference.as_ref())?);
        let Some(crossing) = &self.crossing else {
            let model = match others.as_slice() {
                [] => self.base.with(parameters),
                others => self.base.with(parameters).with_members(others),
            };
            let model = Artifact { reference, ..model };
            let gathered = first.outcome.gathered();
            return self.refitted(&reader, model, gathered, show);
        };
        let features = reader.features(&self.prepared.parts.train, &self.sets.train, show)?;
        let held_out: Vec<RowKey> =
            crossing.held_out.iter().map(|&place| crossing.keys[place]).collect();
        let place = |row: usize| crossing.held_out[row];
        let widened = self.divide(&held_out)?.into_iter().map(|fold| {
            let others = fold.train.into_iter().map(place).chain(crossing.trained.iter().copied());
            let mut train: Vec<usize> = others.collect();
            train.sort_unstable();
            Fold { train, judged: fold.judged.into_iter().map(place).collect() }
        });
        let folds: Vec<Fold> = widened.collect();
        let all: Vec<usize> = (0..features.len()).collect();
        let head = self.head_rows(&features, &folds, &all);
        let head = head.fit(self.settings.posterior)?;
        let model = Artifact { reference, ..self.base.with(parameters) };
        self.cross(&reader, model, &features, &folds, head, show)
    }

    /// The encoder before fine-tuning, where novelty is to look at it.
    fn reference(&self) -> Result<Option<Parameters>, ExperimentError> {
        let Prepared { start, noise, .. } = self.prepared;
        if !self.settings.calibration.novelty_reference {
            return Ok(None);
        }
        Ok(Some(start.parameters(noise, &Backend::Cpu)?.0))
    }

    fn divide(&self, keys: &[RowKey]) -> Result<Vec<Fold>, ExperimentError> {
        folds(keys, &self.prepared.noise).ok_or(ExperimentError::FewForFolds { rows: keys.len() })
    }

    fn head_rows<'r>(
        &'r self,
        features: &'r Features,
        folds: &'r [Fold],
        kept: &'r [usize],
    ) -> HeadRows<'r> {
        HeadRows {
            task: self.base.encoder.task,
            features,
            classes: self.base.encoder.labels.len(),
            class_weights: &self.class_weights,
            folds,
            kept,
            width: self.base.encoder.hidden_size,
            dropout: self.base.encoder.classifier_dropout,
        }
    }

    /// A model whose rows calibrate it fold by fold.
    fn cross(
        &self,
        reader: &Reader<'_>,
        model: Artifact,
        features: &Features,
        folds: &[Fold],
        head: HeadFit,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let HeadFit { fitted, judged: rows, logits, of_folds, .. } = head;
        let Calibrated { artifact, summary: calibration, seen } =
            self.crossed(reader, model, (features, folds), (fitted, logits), show)?;
        let labels = &seen.features.labels;
        let judged = Judged::new(artifact.encoder.task, &rows, labels, &seen.predictive);
        let heads = Heads { folds: folds.to_vec(), of_folds };
        Ok(Candidate { artifact, calibration, judged, crossed: Some((heads, seen)) })
    }

    /// The same, given what heads that have not seen them say of the judged rows, fold by fold.
    pub(super) fn crossed(
        &self,
        reader: &Reader<'_>,
        model: Artifact,
        (features, folds): (&Features, &[Fold]),
        head: ((Posterior, FitRecord), Vec<LogitDistribution>),
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Calibrated, ExperimentError> {
        let mut places: Vec<usize> =
            folds.iter().flat_map(|fold| fold.judged.iter().copied()).collect();
        places.sort_unstable();
        let Prepared { parts, noise, .. } = self.prepared;
        let cuts = reader.cuts(&parts.train, &self.sets.train, &places, show)?;
        crossed::calibrate(&self.settings, model, (features, &cuts), folds, head, noise, show)
    }

    /// A last layer whose prior is chosen by the validation part; the other parts calibrate it.
    fn apart(
        &self,
        reader: &Reader<'_>,
        parameters: &Parameters,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let Prepared { parts, .. } = self.prepared;
        let train = reader.features(&parts.train, &self.sets.train, show)?;
        let validation = reader.features(&parts.validation, &self.sets.validation, show)?;
        let kept: Vec<usize> = (0..train.len()).collect();
        let mut both = train.clone();
        both.join(validation.clone());
        let judged = self.fresh().into_iter().map(|place| train.len() + place).collect();
        let fold = Fold { train: kept.clone(), judged };
        let folds = [fold];
        let head = self.head_rows(&both, &folds, &kept);
        let head = head.fit(self.settings.posterior)?;
        let model = self.base.with(parameters);
        self.held_out(reader, model, &train, &validation, head.fitted, show)
    }

    /// Trained weights; the posterior is fitted to them as its method says.
    fn refitted(
        &self,
        reader: &Reader<'_>,
        model: Artifact,
        gathered: Option<&Gathered>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let experiment = &self.prepared.experiment;
        let parts = &self.prepared.parts;
        // Only some methods look at the training rows once more.
        let again = experiment.posterior.reads_training_rows()
            || experiment.calibration.novelty.is_distance();
        let train = match again {
            true => reader.encode(&self.sets.train, self.reads().once(), "encoding", show)?,
            false => Features::default(),
        };
        let compared = self.prepared.experiment.train.recipe != Recipe::Full;
        let config = self.settings.posterior;
        let class_weights = &self.class_weights;
        let tokens = config.approach().needs().network_rows;
        let tokens = tokens.then_some([&self.sets.train, &self.sets.temperature]);
        let making = Making { config, head: Head::Refit, class_weights, gathered, tokens };
        let fitted = making.run(&self.base.encoder, &model.parameters, &train)?;
        let reader = &reader.drawn(&fitted.0, &model.parameters)?;
        let refits = config.reads_training_rows();
        let validation = match compared || refits {
            true => reader.features(&parts.validation, &self.sets.validation, show)?,
            false => Features::default(),
        };
        let fitted = match refits {
            true => {
                let fresh = validation.some(&self.fresh());
                let trained = &model.parameters;
                refit::checked(
                    fitted,
                    &making,
                    (&self.base.encoder, trained, &train),
                    &fresh,
                    show,
                )?
            }
            false => fitted,
        };
        let validation = if compared { validation } else { Features::default() };
        let fitted = (fitted.0, FitRecord { teacher: self.teacher.clone(), ..fitted.1 });
        self.held_out(reader, model, &train, &validation, fitted, show)
    }

    fn held_out(
        &self,
        reader: &Reader<'_>,
        model: Artifact,
        train: &Features,
        validation: &Features,
        fitted: (Posterior, FitRecord),
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Candidate, ExperimentError> {
        let reads = self.reads();
        let Sets { train: all, validation: chosen_by, temperature, conformal } = self.sets;
        let part = &self.prepared.parts.temperature;
        let places: Vec<usize> = (0..temperature.len()).collect();
        let held_out = HeldOut::new(
            reader.encode(temperature, reads, "calibrating", show)?,
            reader.encode(conformal, reads, "calibrating", show)?,
            reader.cuts(part, temperature, &places, show)?,
            all.len() + chosen_by.len(),
        );
        let noise = &self.prepared.noise;
        let Calibrated { artifact, summary: calibration, .. } =
            self.settings.fit(model, train, &held_out, fitted, noise, show)?;
        let mut judged = Judged::default();
        if validation.len() > 0 {
            let rows = self.fresh();
            let validation = validation.some(&rows);
            let posterior = &artifact.posterior;
            let logits = posterior.logits(validation.read())?;
            let predictive: Vec<Predictive> =
                logits.iter().map(|one| posterior.predictive(one)).collect();
            let task = artifact.encoder.task;
            judged = Judged::new(task, &rows, &validation.labels, &predictive);
        }
        Ok(Candidate { artifact, calibration, judged, crossed: None })
    }

    /// Places in the validation part that the training part does not repeat.
    fn fresh(&self) -> Vec<usize> {
        let parts = &self.prepared.parts;
        let seen = |place: &usize| parts.seen_in_validation.binary_search(place).is_ok();
        (0..parts.validation.rows.len()).filter(|place| !seen(place)).collect()
    }

    /// How the posterior reads texts.
    pub(super) fn reads(&self) -> Reads {
        Reads::planned(self.settings.posterior)
    }
}
