//! What a method costs where it predicts.

use std::path::Path;
use std::time::Instant;

use super::{ExperimentError, Figures};
use crate::artifact;
use crate::compute::Backend;
use crate::data::{Dataset, Example};
use crate::evaluate::EvaluateError;
use crate::evaluate::models::{Chosen, data_config};
use crate::predict::Predictor;
use crate::store::StoreError;

/// Texts that are timed, one by one.
const TIMED: usize = 32;
/// Texts before the first that counts.
const WARM_UP: usize = 4;

/// Milliseconds a text, the median over test texts that are predicted alone, and bytes of the files that
/// predictions follow from; those that say how a model was made have times in them, and other lengths.
pub(super) fn cost(model: &Path, device: &Backend) -> Result<Figures, ExperimentError> {
    let predictor = Predictor::new(artifact::load(model, device)?)?;
    let manifest = &predictor.artifact().manifest;
    let config = data_config(None, manifest);
    let config = config.ok_or_else(|| ExperimentError::NoData(model.to_owned()))?;
    // The evaluation has told of it.
    let dataset = Dataset::open(&config)?.quietly();
    let Chosen { split, rows } = Chosen::of(&dataset, &config, "test", manifest)?;
    let all = dataset.rows(&split);
    let every = (rows.len() / (TIMED + WARM_UP)).max(1);
    let mut times = Vec::new();
    for (place, &row) in rows.iter().step_by(every).take(TIMED + WARM_UP).enumerate() {
        let Example { text, pair, .. } = &all[row];
        let began = Instant::now();
        let predicted = predictor.predict(&[(text, pair.as_deref())], &mut |_| ());
        predicted.map_err(EvaluateError::from)?;
        if place >= WARM_UP {
            times.push(1e3 * began.elapsed().as_secs_f64());
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied();
    let mut bytes = 0;
    for file in manifest.files.keys() {
        let path = model.join(file);
        let found = path.metadata();
        bytes += found.map_err(|source| StoreError { doing: "read", path, source })?.len();
    }
    Ok([("ms_a_text".to_owned(), median), ("bytes".to_owned(), Some(bytes as f64))]
        .into_iter()
        .collect())
}
