//! Methods against the exact posterior of the last layer, which is sampled.

use std::path::Path;
use std::time::Instant;

use super::encoder::Encoder;
use super::features::{Reads, check_distinct};
use super::posterior::weights_of_classes;
use super::rows::Rows;
use super::settings::settings;
use super::{Experiment, ExperimentError, FitJob, Progress};
use crate::artifact::{self, Artifact};
use crate::bench::{Distance, Reference};
use crate::compute::{Backend, Noise};
use crate::data::Overrides;
use crate::method::laplace::{FeatureRows, Head, Laplace, Prior, Problem, Tolerance};
use crate::method::reference::nuts::Lengths;
use crate::method::reference::{self, Exact, ExactPredictive};
use crate::method::{FitInput, LastLayer, Method, PosteriorConfig, tensors};
use crate::numbers::grouped;
use crate::posterior::{OwnDoubt, Posterior, Predictive};
use crate::train::class_counts;

/// What to compare, and how long to sample.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceJob<'a> {
    /// A model folder.
    pub model: &'a Path,
    /// A data set with labels; `None` for the one that the model was trained on.
    pub dataset: Option<&'a str>,
    /// How its tables are read.
    pub overrides: &'a Overrides,
    /// At most so many training and so many test rows; 0 for all.
    pub limit: usize,
    pub chains: usize,
    /// Draws of each chain, after as many as half of them for its step.
    pub draws: usize,
}

/// Samples the posterior of the last layer, and measures how far each method is from it. Every method that
/// needs the features alone is fitted, to the same rows.
pub fn compare_with_exact(
    job: &ReferenceJob<'_>,
    device: &Backend,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Reference, ExperimentError> {
    let source = artifact::load(job.model, device)?;
    let fit = FitJob {
        model: job.model.to_owned(),
        dataset: job.dataset.map(str::to_owned),
        overrides: job.overrides.clone(),
        labels: None,
        methods: Method::ALL.iter().copied().filter(of_features).collect(),
        settings: Vec::new(),
        limit: job.limit,
        head: Head::Refit,
        output: None,
    };
    let chosen = settings(&fit, &source)?;
    let rows = Rows::open(&fit, &source, &chosen, show)?;
    let mut encoder = Encoder::new(job.model, &source, &rows, false)?;
    let train = encoder.features(&rows.parts.train, Reads::default(), show)?;
    check_distinct(train.lines())?;
    let test = encoder.features(&rows.parts.test, Reads::default(), show)?;
    let classes = source.manifest.labels.len();
    let counts = class_counts(&train.labels, classes);
    let class_weights = weights_of_classes(source.manifest.fit.class_weights, &counts);
    let features = FeatureRows {
        task: source.encoder.task,
        feature_nd: &train.feature_nd,
        labels: &train.labels,
        classes,
        class_weights: &class_weights,
    };
    let width = source.encoder.hidden_size;
    let problem = Problem::new(features, width)?;
    let (start_kd, prior) = (vec![0.0; classes * (width + 1)], Prior::Evidence(1.0));
    let laplace = problem.fit(&start_kd, Head::Refit, prior, Tolerance::EXACT)?;
    let prior = laplace.evidence.prior_precision;
    let began = Instant::now();
    let exact = draw(job, &problem, &laplace, &Noise::new(source.manifest.seed), show)?;
    let seconds = began.elapsed().as_secs_f64();
    let found = exact.predict(&test.feature_nd, width)?;
    let of = OfMethods { source: &source, features, laplace, exact: &found };
    Ok(Reference {
        sampler: "nuts",
        dataset: rows.dataset.name.clone(),
        training_rows: train.labels.len(),
        rows: test.labels.len(),
        weights: (classes - 1) * (width + 1),
        prior_precision: prior,
        chains: job.chains,
        draws: exact.draws(),
        divergences: exact.divergences,
        r_hat: found.r_hat,
        standard_error: found.standard_error,
        epistemic: mean(&found.epistemic_n),
        seconds,
        distances: of.distances(&chosen, &test.feature_nd, show)?,
    })
}

/// Whether a method looks at nothing but the features of the training rows.
fn of_features(method: &Method) -> bool {
    let needs = PosteriorConfig::from(*method).approach().needs();
    needs.passes.is_none() && !needs.shapes_training()
}

fn draw(
    job: &ReferenceJob<'_>,
    problem: &Problem<'_>,
    laplace: &Laplace,
    noise: &Noise,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Exact, ExperimentError> {
    let lengths = Lengths { warmup: (job.draws / 2).max(1), draws: job.draws };
    let total = job.chains * (lengths.warmup + lengths.draws);
    show(Progress::Note(format!(
        "sampling the posterior of the last layer: {} draws of {} chains",
        grouped(job.chains * job.draws),
        job.chains
    )));
    let mut done = 0;
    let mut progress = || {
        done += 1;
        show(Progress::Work { what: "sampling", done, total });
    };
    let (mode_kd, prior) = (&laplace.mean_kd, laplace.evidence.prior_precision);
    let how = (job.chains, lengths);
    Ok(reference::sample(problem, mode_kd, prior, how, noise, &mut progress)?)
}

/// What methods make of the same rows under the same prior.
struct OfMethods<'a> {
    source: &'a Artifact,
    features: FeatureRows<'a>,
    laplace: Laplace,
    exact: &'a ExactPredictive,
}

impl OfMethods<'_> {
    fn distances(
        &self,
        chosen: &[Experiment],
        test_nd: &[f32],
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<Distance>, ExperimentError> {
        let (weight_cd, bias_c) = tensors(&self.laplace.mean_kd, self.features.classes)?;
        let mut distances = Vec::new();
        for one in chosen {
            let config = &one.posterior;
            let began = Instant::now();
            let dropout = self.source.encoder.classifier_dropout;
            let mut input = FitInput {
                last: LastLayer { weight_cd: &weight_cd, bias_c: &bias_c, dropout },
                rows: self.features,
                head: Head::Refit,
                link: config.link,
                converged: Some(self.laplace.clone()),
                gathered: None,
                network: None,
            };
            let (posterior, _) = match config.approach().run(&mut input) {
                Ok(found) => found,
                Err(error) => {
                    show(Progress::Note(format!("not compared: {error}")));
                    continue;
                }
            };
            let seconds = began.elapsed().as_secs_f64();
            distances.push(self.distance(config.name().name(), &posterior, test_nd, seconds)?);
        }
        Ok(distances)
    }

    fn distance(
        &self,
        name: &'static str,
        posterior: &Posterior,
        test_nd: &[f32],
        seconds: f64,
    ) -> Result<Distance, ExperimentError> {
        let logits = posterior.logits(test_nd)?;
        let found: Vec<Predictive> = logits.iter().map(|one| posterior.predictive(one)).collect();
        let found_nk: Vec<f64> =
            found.iter().flat_map(|one| one.probability_c.iter().copied()).collect();
        let known = posterior.own_doubt() == OwnDoubt::Known;
        let parts: Vec<f64> = found.iter().filter_map(|one| one.epistemic).collect();
        let epistemic = known.then(|| mean(&parts));
        let exact_nk = &self.exact.probability_nk;
        let own = (epistemic, seconds);
        Ok(Distance::between(name, exact_nk, &found_nk, self.features.classes, own))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
