//! The probabilities that labels were judged by, as a table: other tools can start from them.

use std::path::Path;

use super::{Judged, Rows};
use crate::calibrate::fit_temperature;
use crate::data::Dataset;
use crate::data::table::{self, Kind, TableError, Value, Writer, distinct_names};

/// The columns before those of the classes.
const FIRST: [(&str, Kind); 4] =
    [("split", Kind::Text), ("file", Kind::Text), ("row", Kind::Integer), ("given", Kind::Text)];

/// Writes p(class | text) of each row that was judged, by a classifier that has not seen it: its softmax at the
/// temperature that suits the labels as they are.
///
/// # Errors
/// The file cannot be written.
pub fn write_probabilities(
    path: &Path,
    dataset: &Dataset,
    judged: &Judged,
) -> Result<(), TableError> {
    let taken = FIRST.map(|(name, _)| name);
    let names = distinct_names(&taken, dataset.labels.iter());
    let classes = names.iter().map(|name| (name.as_str(), Kind::Float));
    let columns: Vec<(&str, Kind)> = FIRST.into_iter().chain(classes).collect();
    let mut writer = Writer::create(path, &columns)?;
    let rows = Rows::new(dataset);
    let labels: Vec<u32> = judged.rows.iter().map(|&row| rows.example(row).label).collect();
    let temperature = fit_temperature(&judged.logit_nc, &labels).map_or(1.0, |fit| fit.temperature);
    for (&row, logit_c) in judged.rows.iter().zip(judged.logit_nc.chunks_exact(names.len().max(1)))
    {
        let place = rows.place(row);
        let most = logit_c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logit_c.iter().map(|z| ((z - most) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut values = vec![
            Value::Text(place.split),
            Value::Text(place.file),
            Value::Integer(i64::try_from(place.line).unwrap_or(i64::MAX)),
            Value::Text(dataset.labels[rows.example(row).label as usize].clone()),
        ];
        values.extend(weights.into_iter().map(|weight| Value::Float(weight / total)));
        writer.write(&values)?;
    }
    writer.finish()
}

/// Whether a file is such a table.
pub fn is_probabilities(path: &Path) -> bool {
    let own = FIRST.iter().map(|(name, _)| *name);
    table::open(path).is_ok_and(|table| {
        own.eq(table.columns.iter().map(String::as_str).take(FIRST.len()))
            && table.columns.len() > FIRST.len()
    })
}
