//! The first rows of a data set, without reading the rest.

use std::sync::Arc;

use super::dataset::TRAINING_ROWS;
use super::stream::{Place, RowStream, StreamConfig};
use super::table::{self, Format, Row, RowGroups, Value, is_url};
use super::{DataError, obtain, reviews};
use crate::compute::{Noise, Purpose};

/// Some rows, with the names of their columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The first rows of the training split, or of the file that an address names; with a seed the first
/// rows in a mixed order. Of a Parquet file only the row groups that are needed are read, from disk
/// or over HTTP.
///
/// # Errors
/// There is no such data set, it cannot be read, or it should be mixed and is not Parquet.
pub fn head(name: &str, rows: usize, shuffle: Option<u64>) -> Result<Head, DataError> {
    if is_url(name) {
        return of_parquet(name, rows, shuffle);
    }
    let located = obtain(name)?;
    let split = located.splits.get("train").or_else(|| located.splits.values().next());
    let Some(file) = split.and_then(|files| files.first()) else {
        return Ok(generated(rows, shuffle));
    };
    if Format::of(file)? == Format::Parquet {
        return of_parquet(&file.to_string_lossy(), rows, shuffle);
    }
    if shuffle.is_some() {
        return Err(DataError::NotMixed { path: file.clone() });
    }
    let table = table::open(file)?;
    Ok(Head { columns: table.columns.clone(), rows: table.take(rows).collect::<Result<_, _>>()? })
}

fn of_parquet(place: &str, rows: usize, shuffle: Option<u64>) -> Result<Head, DataError> {
    let groups = RowGroups::open(&[place])?;
    let (columns, sizes) = (groups.columns(), groups.sizes());
    let rows = rows.min(sizes.iter().sum());
    let mut found = Vec::with_capacity(rows);
    match shuffle {
        Some(seed) => {
            let config = StreamConfig { window: rows, ..StreamConfig::default() };
            let noise = Noise::new(seed);
            let mut stream = RowStream::new(Arc::new(groups), config, noise, Place::default());
            while found.len() < rows {
                found.push(stream.next_row()?);
            }
        }
        None => {
            for group in 0..sizes.len() {
                if found.len() < rows {
                    found.extend(groups.fetch(group)?);
                }
            }
            found.truncate(rows);
        }
    }
    Ok(Head { columns, rows: found })
}

/// Training rows of the generated reviews.
fn generated(rows: usize, shuffle: Option<u64>) -> Head {
    let noise = Noise::new(reviews::SEED);
    let mut order: Vec<u32> = (0..TRAINING_ROWS).collect();
    if let Some(seed) = shuffle {
        Noise::new(seed).stream(Purpose::Stream, 0, 0).shuffle(&mut order);
    }
    let row = |index: u32| {
        let review = reviews::review(&noise, 0, index);
        let label = reviews::LABELS[review.label as usize].to_owned();
        Row {
            line: u64::from(index) + 1,
            values: vec![Value::Text(review.text), Value::Text(label)],
        }
    };
    let columns = ["text", "label"].map(str::to_owned).to_vec();
    Head { columns, rows: order.into_iter().take(rows).map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_rows_are_those_of_the_data_set_in_any_order() {
        let all = generated(usize::MAX, None).rows;
        assert_eq!(all.len(), TRAINING_ROWS as usize);
        let mixed = generated(20, Some(3)).rows;
        assert!(mixed.iter().all(|row| all[row.line as usize - 1] == *row));
        assert_ne!(mixed, all[..20]);
    }
}
