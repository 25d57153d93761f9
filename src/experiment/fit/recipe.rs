//! The recipe, stage by stage: model, settings, rows, features, methods, the model folder.

use std::path::Path;

use super::comparison::{Comparison, FittedModel};
use super::rows::Rows;
use super::settings::{moves_head, settings};
use super::target::Target;
use super::unused::of_fit;
use super::{Experiment, ExperimentError, FitJob, FitReport, Progress, kept};
use crate::artifact::{self, Artifact, Fitted};
use crate::compute::{Backend, Precision};
use crate::method::Method;
use crate::model;

/// Encodes, fits, compares and writes.
pub fn fit(
    job: &FitJob,
    device: &Backend,
    checkpoints: &Path,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<FitReport, ExperimentError> {
    let source = artifact::load(&job.model, device)?;
    let source = match &job.labels {
        Some(labels) => source.zero_shot(labels)?,
        None => source,
    };
    let job = &FitJob { methods: methods(job, &source), ..job.clone() };
    let chosen = settings(job, &source)?;
    for one in &chosen {
        // Before the texts are encoded.
        one.posterior.check_encoder(&source.encoder).map_err(ExperimentError::Encoder)?;
        let refuse = |message| ExperimentError::Config { place: "`--set`".to_owned(), message };
        one.calibration.check_cpu(device.is_cpu()).map_err(refuse)?;
    }
    let keys = job.settings.iter().filter_map(|setting| setting.split('=').next());
    let keys: Vec<&str> = keys.map(str::trim).collect();
    if let Some(warning) = of_fit(&chosen, &keys, source.manifest.labels.len()) {
        show(Progress::Warning(warning));
    }
    let written = chosen.first().ok_or(ExperimentError::NoMethod)?;
    let fitted = &written.calibration.precisions;
    if let Some(warning) = kept::lost_precisions(&source.manifest, fitted, checked_again) {
        show(Progress::Warning(warning));
    }
    let method = written.posterior.name();
    let (from, output) = ((job.model.as_path(), &source), job.output.as_deref());
    let target = Target::of(from, method.name(), output, checkpoints, show)?;
    let rows = Rows::open(job, &source, &chosen, show)?;
    let mut comparison = Comparison::new(job, &source, &rows, &chosen, show)?;
    let mut scores = vec![comparison.before(show)?];
    let mut first = None;
    for chosen in &chosen {
        let FittedModel { model, calibration, score } = comparison.fit(chosen, show)?;
        scores.push(score);
        first.get_or_insert((model, calibration));
    }
    let (model, calibration) = first.ok_or(ExperimentError::NoMethod)?;
    let moved = last_layer(&model)? != last_layer(&source)?;
    let model = rows.describe(model, job, changed(written, moved));
    target.write_record()?;
    let target = target.model;
    let parameters = moved.then_some(&model.parameters);
    // Its encoder stays as the file of the source has it.
    let weights = model::with_last_layer(&job.model, &model.encoder, parameters)?;
    let data = (source.manifest.data.as_ref(), &rows.config);
    let config = kept::config_of_fit(&job.model, data, show);
    artifact::save_with_weights(&model, &weights, config, &target)?;
    let (dataset, parts) = (&rows.dataset, &rows.parts);
    Ok(FitReport {
        source: job.model.clone(),
        model: target,
        pooling: model.encoder.pooling,
        zero_shot: model.manifest.zero_shot.is_some(),
        dataset: dataset.name.clone(),
        generated: dataset.generated,
        pairs: parts.test.examples(dataset).any(|example| example.pair.is_some()),
        rows: parts.named().into_iter().map(|(name, part)| (name, part.rows.len())).collect(),
        encoded: comparison.encoded(),
        calibration,
        scores,
        tested_at: model.manifest.tested_at(),
    })
}

/// How precisions are kept.
fn checked_again(lost: &[Precision]) -> String {
    let names: Vec<String> = lost.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "; to fit and check it again, add `--set 'calibration.precisions=[{}]'`",
        names.join(", ")
    )
}

/// Those that were named; without one the usual one, or for labels that a user named the only one.
fn methods(job: &FitJob, source: &Artifact) -> Vec<Method> {
    match (job.methods.is_empty(), &source.manifest.zero_shot) {
        (false, _) => job.methods.clone(),
        (true, None) => vec![Method::default()],
        (true, Some(_)) => vec![Method::Map],
    }
}

/// What the rows changed. A layer of a method's own takes the place of the last one.
fn changed(chosen: &Experiment, moved: bool) -> Fitted {
    let posterior = &chosen.posterior;
    if moved || posterior.has_own_layer() {
        Fitted::LastLayer
    } else if moves_head(chosen) || posterior.approach().needs().network_rows {
        Fitted::Posterior
    } else {
        Fitted::Calibration
    }
}

/// Weight and bias of the last layer.
fn last_layer(artifact: &Artifact) -> Result<[Vec<f32>; 2], ExperimentError> {
    let values = |name: &str| artifact.parameters.get(name).flatten_all()?.to_vec1();
    Ok([values("classifier.weight")?, values("classifier.bias")?])
}
