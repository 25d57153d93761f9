//! What a run says of its parts before it begins.

use super::lessons::Lessons;
use super::plan::{out_of_scope, several_networks};
use super::prepare::Prepared;
use super::schedule::{long_warmup, overruled_epochs};
use super::{Experiment, Progress};
use crate::calibrate::FOLDS;
use crate::data::{Part, StreamSource, repeated_calibration, repeated_validation, untrained};
use crate::numbers::grouped;
use crate::train::Recipe;

/// The data, and what was decided by them; `written` is what the user asked for.
pub(super) fn describe(
    written: &Experiment,
    prepared: &Prepared,
    show: &mut dyn FnMut(Progress<'_>),
) {
    let Prepared { experiment, dataset, parts, crossing, lineage, used, start, .. } = prepared;
    let named = parts.named().into_iter().filter(|(_, part)| !part.rows.is_empty());
    let rows = |(name, part): (&str, &Part)| format!("{name} {}", part.rows.len());
    let sizes: Vec<String> = named.map(rows).collect();
    show(Progress::Note(format!("rows: {}", sizes.join(", "))));
    let outside = out_of_scope(dataset);
    if !outside.is_empty() {
        let rows = outside.iter().map(|(split, rows)| format!("{} in `{split}`", grouped(rows)));
        let rows: Vec<String> = rows.collect();
        show(Progress::Note(format!(
            "out-of-scope rows: {}; not used for training or calibration",
            rows.join(", ")
        )));
    }
    if let Some(note) = dataset.outside("test", &parts.test.split).note {
        show(Progress::Note(note));
    }
    let limit = experiment.data.train_limit;
    let of_parts = [
        untrained(dataset, parts, limit),
        repeated_validation(dataset, parts),
        repeated_calibration(dataset, parts),
    ];
    let seen = lineage.remarks(dataset, parts);
    let taught = prepared.lessons.as_ref().map_or_else(Vec::new, Lessons::told);
    for remark in of_parts.iter().flatten().chain(&seen).chain(&taught) {
        show(Progress::from(remark));
    }
    for remark in &start.remarks() {
        show(Progress::from(remark));
    }
    if let Some(warning) = used.warning(written) {
        show(Progress::Warning(warning));
    }
    if let Some(note) = overruled_epochs(written, &experiment.train, prepared.tuned_rows()) {
        show(Progress::Note(note));
    }
    if let Some(warning) = long_warmup(&experiment.train, prepared.tuned_rows()) {
        show(Progress::Warning(warning));
    }
    if written.train.recipe == Recipe::Auto && experiment.train.recipe == Recipe::Full {
        show(Progress::Note(
            "an encoder from scratch has learned nothing that a last layer could be fitted on, so \
             training starts at once"
                .to_owned(),
        ));
    }
    if crossing.is_some() {
        show(Progress::Note(format!(
            "cross-fitting: the last layer is trained on all {} rows; the rows are divided into \
             {FOLDS} folds, and each row is scored by a fit that did not see its fold",
            grouped(parts.train.rows.len())
        )));
    }
    if experiment.data.train_limit > 0 {
        show(Progress::Note(
            match crossing {
                Some(_) => {
                    "the training rows are a sample (`data.train_limit`) with the same class \
                     proportions"
                }
                None => {
                    "the training rows are a sample (`data.train_limit`), balanced across classes \
                     where possible"
                }
            }
            .to_owned(),
        ));
    }
    if written.data.max_length == 0 {
        show(Progress::Note(format!(
            "texts are truncated to {} tokens, which covers 99 % of the training texts",
            experiment.data.max_length
        )));
    }
    if experiment.data.test_limit > 0 {
        show(Progress::Note(
            "the test rows are a sample (`data.test_limit`) with the same class proportions; \
             `bayes eval` uses all"
                .to_owned(),
        ));
    }
    if let Some(note) = several_networks(experiment) {
        show(Progress::Note(note));
    }
    if let Some(remark) = &lineage.of_test(parts) {
        show(Progress::from(remark));
    }
    if let Some(source) = &dataset.stream {
        describe_stream(source, experiment, show);
    }
}

/// What was not foreseen of a model that is kept.
pub(super) fn describe_kept(prepared: &Prepared, kept: Recipe, show: &mut dyn FnMut(Progress<'_>)) {
    let Prepared { experiment, dataset, .. } = prepared;
    if let Some(source) = &dataset.stream
        && kept == Recipe::Head
        && experiment.train.recipe != Recipe::Head
    {
        show(Progress::Warning(of_sample(source)));
    }
}

/// What becomes of a stream where the last layer alone is fitted.
fn of_sample(source: &StreamSource) -> String {
    format!(
        "only the last layer is fitted, on a sample of the {} rows; the other rows are not used; raise \
         `data.shuffle_window` for a larger sample, or set `train.recipe` to `full` to train on all rows",
        grouped(source.rows())
    )
}

/// What is streamed, and how it divides.
fn describe_stream(
    source: &StreamSource,
    experiment: &Experiment,
    show: &mut dyn FnMut(Progress<'_>),
) {
    let data = &experiment.data;
    let (rows, window, shards) = (source.rows(), data.shuffle_window, data.num_shards as u64);
    show(Progress::Note(format!(
        "streaming {} rows, shuffled {} at a time; the splits above are a sample of them, and the \
         posterior is fitted on the training rows of that sample",
        grouped(rows),
        grouped(window)
    )));
    if source.is_unmixed() {
        show(Progress::Warning(format!(
            "the files are sorted: of the row groups that a window takes together, some have far other shares \
             of the classes than the whole, so that batches are not mixed; raise `data.shuffle_window` \
             ({window}) as far as the memory goes, or write the rows in a mixed order"
        )));
    }
    if experiment.train.recipe == Recipe::Head {
        show(Progress::Warning(of_sample(source)));
    }
    if !rows.is_multiple_of(shards) {
        show(Progress::Warning(format!(
            "{rows} rows are not divisible by `data.num_shards` = {shards}: some shards have one \
             more row than others in an epoch"
        )));
    }
}
