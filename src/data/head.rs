//! The first rows of a data set, without reading the rest.

use std::path::PathBuf;
use std::sync::Arc;

use super::dataset::TRAINING_ROWS;
use super::stream::{Place, RowStream, StreamConfig};
use super::table::{self, Format, Reading, Row, RowGroups, TableError, Value, is_url};
use super::{DataError, obtain, reviews};
use crate::compute::{Noise, Purpose};

/// Row groups of a file on this machine that mixed rows come from. Those of a remote one are fetched over the
/// network: as few as a stream mixes.
const MIXED_GROUPS: usize = 16;

/// Some rows, with the names of their columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// How the first file is written, to be shown; empty where that is no question.
    pub written: String,
    /// The split that the rows are of, and the others; none where there is only one.
    pub splits: Option<(String, Vec<String>)>,
}

/// The first rows of the training split, or of the file that an address names; with a seed the first
/// rows in an order that mixes several row groups. Of a Parquet file only the row groups that are needed
/// are read, from disk or over HTTP.
///
/// # Errors
/// There is no such data set, it cannot be read, or it should be mixed and is not Parquet.
pub fn head(
    name: &str,
    rows: usize,
    shuffle: Option<u64>,
    reading: &Reading,
) -> Result<Head, DataError> {
    let check = |format, name: &str| {
        reading
            .check_for(format, name)
            .map_err(|message| DataError::from(TableError::Reading(message)))
    };
    if is_url(name) {
        check(Format::Parquet, &format!("`{name}`"))?;
        return of_parquet(&[name], rows, shuffle);
    }
    let located = obtain(name)?;
    let split = located.splits.get_key_value("train").or_else(|| located.splits.iter().next());
    let Some((split, files)) = split.filter(|(_, files)| !files.is_empty()) else {
        DataError::check_built_in(name, &reading.keys())?;
        return Ok(generated(rows, shuffle));
    };
    check(Format::of(&files[0])?, &format!("`{}`", files[0].display()))?;
    let found = match (Format::of(&files[0])?, shuffle) {
        (Format::Parquet, _) => {
            let places: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
            of_parquet(&places, rows, shuffle)?
        }
        (_, Some(_)) => return Err(DataError::NotMixed { path: files[0].clone() }),
        (_, None) => of_text(files, rows, reading)?,
    };
    let others: Vec<String> =
        located.splits.keys().filter(|name| *name != split).cloned().collect();
    let splits = (!others.is_empty()).then(|| (split.clone(), others));
    Ok(Head { splits, ..found })
}

/// Rows of one file after another, as far as they are wanted.
fn of_text(files: &[PathBuf], rows: usize, reading: &Reading) -> Result<Head, DataError> {
    let mut head =
        Head { columns: Vec::new(), rows: Vec::new(), written: String::new(), splits: None };
    for (number, file) in files.iter().enumerate() {
        if number > 0 && head.rows.len() >= rows {
            break;
        }
        let table = table::open_as(file, reading)?;
        if number == 0 {
            head.columns.clone_from(&table.columns);
            head.written.clone_from(&table.described);
        } else if head.columns != table.columns {
            let [path, first] = [file, &files[0]].map(|file| file.display().to_string());
            return Err(TableError::OtherColumns { path, first }.into());
        }
        for row in table.take(rows - head.rows.len()) {
            head.rows.push(row?);
        }
    }
    Ok(head)
}

fn of_parquet<P: AsRef<str>>(
    places: &[P],
    rows: usize,
    shuffle: Option<u64>,
) -> Result<Head, DataError> {
    let groups = RowGroups::open(places)?;
    let (columns, sizes) = (groups.columns(), groups.sizes());
    let rows = rows.min(sizes.iter().sum());
    let mut found = Vec::with_capacity(rows);
    match shuffle {
        Some(seed) => {
            let mean = sizes.iter().sum::<usize>().div_ceil(sizes.len().max(1));
            let remote = places.iter().any(|place| is_url(place.as_ref()));
            let least = if remote { 0 } else { MIXED_GROUPS * mean };
            let config = StreamConfig { window: rows.max(least), ..StreamConfig::default() };
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
    Ok(Head { columns, rows: found, written: String::new(), splits: None })
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
    let rows = order.into_iter().take(rows).map(row).collect();
    Head { columns, rows, written: String::new(), splits: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_from_all_files_of_a_split_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: &str| {
            std::fs::write(folder.path().join(name), format!("text,label\n{rows}")).unwrap();
        };
        let texts = |rows: usize| -> Vec<String> {
            let found =
                head(folder.path().to_str().unwrap(), rows, None, &Reading::default()).unwrap();
            found.rows.iter().map(|row| row.values[0].written().into_owned()).collect()
        };
        write("train-00000-of-00003.csv", "a,x\nb,y\n");
        write("train-00001-of-00003.csv", "c,x\n");
        write("train-00002-of-00003.csv", "d,x\ne,y\n");
        assert_eq!(texts(4), ["a", "b", "c", "d"]);
        assert_eq!(texts(2), ["a", "b"]);
        assert_eq!(texts(99).len(), 5);
        std::fs::write(folder.path().join("train-00001-of-00003.csv"), "label,text\nx,c\n")
            .unwrap();
        assert_eq!(texts(2).len(), 2);
        let error =
            head(folder.path().to_str().unwrap(), 3, None, &Reading::default()).unwrap_err();
        assert!(matches!(error, DataError::Table(TableError::OtherColumns { .. })), "{error}");
        for (number, rows) in [(0, ["a", "b"]), (1, ["c", "d"])] {
            let path = folder.path().join(format!("p/train-0000{number}-of-00002.parquet"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut out = table::Writer::create(&path, &[("text", table::Kind::Text)]).unwrap();
            rows.iter().for_each(|row| out.write(&[Value::Text((*row).to_owned())]).unwrap());
            out.finish().unwrap();
        }
        let folder = folder.path().join("p");
        for shuffle in [None, Some(1)] {
            let mut rows =
                head(folder.to_str().unwrap(), 4, shuffle, &Reading::default()).unwrap().rows;
            rows.sort_by_key(|row| row.line);
            let texts: Vec<_> = rows.iter().map(|row| row.values[0].written()).collect();
            assert_eq!(texts, ["a", "b", "c", "d"]);
        }
    }

    #[test]
    fn generated_rows_are_those_of_the_data_set_in_any_order() {
        let all = generated(usize::MAX, None).rows;
        assert_eq!(all.len(), TRAINING_ROWS as usize);
        let mixed = generated(20, Some(3)).rows;
        assert!(mixed.iter().all(|row| all[row.line as usize - 1] == *row));
        assert_ne!(mixed, all[..20]);
    }
}
