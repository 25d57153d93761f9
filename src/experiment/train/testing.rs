//! What a model is worth on the test part.

use super::prepare::Prepared;
use super::{ExperimentError, Progress};
use crate::artifact::Artifact;
use crate::data::{Dataset, Example, Parts};
use crate::evaluate::{
    Answers, BaselineReport, EvalRows, EvaluateError, Evaluation, Hygiene, Rival, answer,
};
use crate::predict::Predictor;

/// The answers to the test part, the report on them, and what a linear classifier makes of the same rows.
pub(super) fn test(
    model: &Artifact,
    prepared: &Prepared,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Evaluation, ExperimentError> {
    let predictor = Predictor::new(model.clone())?;
    let Prepared { experiment, dataset, parts, .. } = prepared;
    let examples: Vec<&Example> = parts.test.examples(dataset).collect();
    let outside = dataset.outside("test", &parts.test.split);
    let rows = EvalRows {
        dataset,
        split: &parts.test.split,
        inside: &examples,
        places: &parts.test.rows,
        outside: &outside.texts,
        seen: &parts.seen_in_test,
    };
    let mut work = |done, total| show(Progress::Work { what: "testing", done, total });
    let answers = Answers {
        split: dataset.origin_of("test").to_owned(),
        renamed: experiment.data.label_map.clone(),
        ..answer(&predictor, &rows, &mut work)?
    };
    let seen = model.manifest.lineage_known.then_some(parts.seen_in_test.len());
    let hygiene = Hygiene::new(&examples, seen, &model.manifest);
    let tested = Evaluation::new(answers, Some(hygiene)).map_err(EvaluateError::from)?;
    let baseline = match experiment.train.baseline {
        true => baseline(dataset, parts, &tested.answers, show)?,
        false => None,
    };
    Ok(Evaluation { baseline, ..tested })
}

/// The linear classifier that a result is set beside, on the same training and test rows.
fn baseline(
    dataset: &Dataset,
    parts: &Parts,
    answers: &Answers,
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<BaselineReport>, ExperimentError> {
    show(Progress::Note("fitting a linear baseline on the same rows for comparison".to_owned()));
    let train: Vec<&Example> = parts.train.examples(dataset).collect();
    let test: Vec<&Example> = parts.test.examples(dataset).collect();
    let rival = Rival::new(dataset, &train, &test, answers)?;
    let beside = rival.beside(answers).map_err(EvaluateError::from)?;
    if let Some(warning) = beside.as_ref().and_then(BaselineReport::warning) {
        show(Progress::Warning(warning));
    }
    Ok(beside)
}
