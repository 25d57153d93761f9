//! Texts without labels, of a file that is read as those of a data set are.

use std::path::Path;

use super::table::{self, ColumnNames, Row, SAMPLE_ROWS, TableError, Value};
use super::{DataConfig, DataError, Example, Remark, is_blank};
use crate::numbers::grouped;

/// The label of a text that has none.
const NO_LABEL: u32 = u32::MAX;

/// The texts of a file in any format of tables, and what to say of it. A label column is passed over. `usual` are
/// the columns of the data set that they belong to, taken where the file has them.
///
/// # Errors
/// The file cannot be read, has no column of texts, or has single texts where the data set has pairs or the other
/// way round.
pub fn unlabelled(
    path: &Path,
    config: &DataConfig,
    usual: &ColumnNames,
) -> Result<(Vec<Example>, Vec<Remark>), DataError> {
    let mut table = table::open_as(path, &config.reading())?;
    let sample: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
    let none = ColumnNames::default();
    let columns = table::detect_usual(&table.columns, &sample, &none, usual, false)?;
    if columns.pair.is_none() && !usual.pair.is_empty() {
        return Err(DataError::NoSecondText { path: path.to_owned(), column: usual.pair.clone() });
    }
    let header = table.columns.clone();
    let (mut examples, mut blank) = (Vec::new(), 0usize);
    let rows = sample.into_iter().map(Ok::<Row, TableError>).chain(table);
    for row in rows {
        let row = row?;
        let cell = |column: usize| {
            let text = row.values.get(column).and_then(Value::as_text);
            text.filter(|text| !is_blank(text)).map(|text| text.into_owned())
        };
        let text = cell(columns.text);
        if text.as_ref() == Some(&header[columns.text]) {
            continue;
        }
        match (text, columns.pair.map(cell)) {
            (Some(text), None) => examples.push(Example { text, pair: None, label: NO_LABEL }),
            (Some(text), Some(Some(second))) => {
                examples.push(Example { text, pair: Some(second), label: NO_LABEL });
            }
            _ => blank += 1,
        }
    }
    let said = (blank > 0).then(|| {
        let path = path.display();
        Remark::Note(format!("rows of `{path}` that are empty and skipped: {}", grouped(blank)))
    });
    Ok((examples, said.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_without_their_labels_and_pairs_stay_pairs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let single = ColumnNames { text: "text".to_owned(), ..ColumnNames::default() };
        let read =
            |path: &Path, usual: &ColumnNames| unlabelled(path, &DataConfig::default(), usual);
        let path = write("a.csv", "text,label\none day,x\n,y\ntext,label\ntwo days,\n");
        let (found, said) = read(&path, &single).unwrap();
        let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["one day", "two days"]);
        assert!(matches!(&said[..], [Remark::Note(text)] if text.ends_with(": 1")));
        let path = write("b.jsonl", "{\"text\": \"one day\"}\n{\"text\": \"two days\"}\n");
        assert_eq!(read(&path, &single).unwrap().0, found);
        let pair = ColumnNames { pair: "reply".to_owned(), ..single };
        let message = read(&path, &pair).unwrap_err().to_string();
        assert!(message.contains("`reply`"), "{message}");
        let path = write("c.csv", "text,reply\none day,yes it is\ntwo days,no they are\n");
        assert_eq!(read(&path, &pair).unwrap().0[1].pair.as_deref(), Some("no they are"));
    }
}
