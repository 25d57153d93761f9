//! Two models on the same rows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Answers;
use super::report::stream;
use crate::compute::{Noise, Purpose};
use crate::metrics::{HEADLINE, Interval, MetricsError, RESAMPLES, Scored, differences};

/// Differences in all headline metrics.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub baseline: String,
    /// What it is subtracted from.
    pub model: String,
    /// `model` − `baseline` by metric, with 95 % intervals over resamples that both share; null
    /// where a metric is not defined.
    pub difference: BTreeMap<&'static str, Option<Interval>>,
}

/// Compares every model with the first, if all have answered the same labelled rows.
///
/// # Errors
/// The numbers of one of them are no probabilities.
pub fn compare(all: &[&Answers]) -> Result<Vec<Comparison>, MetricsError> {
    let Some((baseline, others)) = all.split_first() else { return Ok(Vec::new()) };
    let inside = baseline.inside();
    let scored = Scored::new(&inside.probability_nc, baseline.labels.len(), &inside.labels)?;
    let compare = |model: &Answers| {
        let other = model.inside();
        let scored_other = Scored::new(&other.probability_nc, model.labels.len(), &other.labels)?;
        let noise = Noise::new(baseline.seed);
        let mut stream = noise.stream(Purpose::Bootstrap, 0, stream::COMPARISON);
        let found = differences(&scored, &scored_other, RESAMPLES, &mut || stream.uniform());
        Ok(Comparison {
            baseline: baseline.model.clone(),
            model: model.model.clone(),
            difference: HEADLINE.iter().map(|metric| metric.key).zip(found).collect(),
        })
    };
    let rows: Vec<usize> = inside.rows.iter().map(|one| one.row).collect();
    let same = |model: &&&Answers| {
        (&model.dataset, &model.split) == (&baseline.dataset, &baseline.split)
            && model.inside().rows.iter().map(|one| one.row).eq(rows.iter().copied())
    };
    others.iter().filter(same).map(|model| compare(model)).collect()
}
