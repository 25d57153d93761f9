//! Where texts come from: a list, lines, or a table with other columns.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::StreamError;
use super::lines::Lines;
use super::row::TextRow;
use super::rows::TableRows;
use crate::data::table::{self, Format, Kind, Table};
use crate::data::{DataConfig, Overrides, Remark};
use crate::predict::{Pairs, Predictor};

/// Texts, which are read as they are asked for.
pub struct Input<'a> {
    source: Source<'a>,
    pub(super) place: String,
    pub(super) path: Option<PathBuf>,
    /// Whether there are second texts.
    pub(super) paired: bool,
    /// The names of the other columns, and what they hold.
    pub(super) rest: Vec<(String, Kind)>,
    described: String,
    written: String,
}

enum Source<'a> {
    Texts(Box<dyn Iterator<Item = String> + 'a>, u64),
    Lines { lines: Lines<BufReader<Box<dyn Read + Send>>>, name: String, number: u64 },
    Table(Box<TableRows>),
}

impl<'a> Input<'a> {
    /// Texts that are there already.
    ///
    /// # Errors
    /// The model classifies pairs.
    pub fn texts(
        texts: impl IntoIterator<Item = String> + 'a,
        predictor: &Predictor,
    ) -> Result<Self, StreamError> {
        refuse_pairs(predictor)?;
        Ok(Self::plain(Source::Texts(Box::new(texts.into_iter()), 0), "text".to_owned()))
    }

    /// One text a line; lines without content, such as the last one, are no texts. `name` stands for the reader in
    /// messages. Of what is said of tables only the encoding has a meaning here.
    ///
    /// # Errors
    /// The model classifies pairs, or what is read is no text.
    pub fn lines(
        reader: Box<dyn Read + Send>,
        name: &str,
        predictor: &Predictor,
        said: &Overrides,
    ) -> Result<Self, StreamError> {
        refuse_pairs(predictor)?;
        let text = table::lines(reader, name, &config(predictor, said)?.reading())?;
        let lines = Lines::new(BufReader::new(text));
        let source = Source::Lines { lines, name: name.to_owned(), number: 0 };
        Ok(Self::plain(source, format!("{name} line")))
    }

    /// The rows of a file, in the format that its name says. Columns are those that the model was made from, unless
    /// others are `said`.
    ///
    /// # Errors
    /// The file cannot be read, has no column of texts, or has pairs for a model of single texts or the other way
    /// round.
    pub fn file(path: &Path, predictor: &Predictor, said: &Overrides) -> Result<Self, StreamError> {
        let config = config(predictor, said)?;
        let table = table::open_as(path, &config.reading())?;
        let place = format!("`{}` {}", path.display(), table::unit(path));
        let input = Self::of_table(table, &config, predictor.pairs(), place)?;
        Ok(Self { path: Some(path.to_owned()), ..input })
    }

    /// The same of a stream; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`file`](Self::file), and Parquet is no stream.
    pub fn table(
        reader: Box<dyn Read + Send>,
        format: Format,
        name: &str,
        predictor: &Predictor,
        said: &Overrides,
    ) -> Result<Self, StreamError> {
        let config = config(predictor, said)?;
        let table = Table::from_reader(reader, format, name, &config.reading())?;
        Self::of_table(table, &config, predictor.pairs(), format!("{name} line"))
    }

    /// Which columns were taken for what, and what is doubtful about it; empty for texts without a table.
    pub fn described(&self) -> &str {
        &self.described
    }

    /// How the file of the table is written; empty where that was no question.
    pub fn written(&self) -> &str {
        &self.written
    }

    fn plain(source: Source<'a>, place: String) -> Self {
        let (path, rest) = (None, Vec::new());
        let (described, written) = (String::new(), String::new());
        Self { source, place, path, paired: false, rest, described, written }
    }

    fn of_table(
        table: Table,
        config: &DataConfig,
        pairs: Pairs,
        place: String,
    ) -> Result<Self, StreamError> {
        let written = table.described.clone();
        let rows = TableRows::new(table, config, pairs)?;
        Ok(Self {
            place,
            path: None,
            paired: rows.paired(),
            rest: rows.rest(),
            described: rows.describe(),
            written,
            source: Source::Table(Box::new(rows)),
        })
    }

    /// The next text. `show` is told of lines that are none.
    pub(super) fn next(
        &mut self,
        show: &mut dyn FnMut(Remark),
    ) -> Result<Option<TextRow>, StreamError> {
        match &mut self.source {
            Source::Texts(texts, number) => {
                *number += 1;
                Ok(texts.next().map(|text| TextRow::of_line(text, *number)))
            }
            Source::Lines { lines, name, number } => loop {
                let Some(bytes) = lines.next() else { return Ok(None) };
                let bytes =
                    bytes.map_err(|source| StreamError::Read { name: name.clone(), source })?;
                *number += 1;
                match table::utf8(&bytes, name, *number) {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) if *number == 1 && table::are_names(text) => {
                        show(Remark::Warning(format!(
                            "{} 1 (`{text}`) looks like the column names of a table, but is classified as a text; if \
                             this is a table, add `--format csv` or `--format tsv`",
                            self.place
                        )));
                        return Ok(Some(TextRow::of_line(text.to_owned(), 1)));
                    }
                    Ok(text) => return Ok(Some(TextRow::of_line(text.to_owned(), *number))),
                    Err(error) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        let (pair, rest, fault) = (None, Vec::new(), Some(error.to_string()));
                        return Ok(Some(TextRow { text, pair, line: *number, rest, fault }));
                    }
                }
            },
            Source::Table(rows) => rows.next(&self.place, show),
        }
    }
}

fn refuse_pairs(predictor: &Predictor) -> Result<(), StreamError> {
    match predictor.pairs() {
        Pairs::Always => Err(StreamError::NoPair),
        Pairs::Never | Pairs::NoSegment { .. } | Pairs::Either => Ok(()),
    }
}

/// How a table is read: with the columns that the model was made from, unless others are named.
fn config(predictor: &Predictor, said: &Overrides) -> Result<DataConfig, StreamError> {
    let data = predictor.artifact().manifest.data.as_ref();
    let mut config = data.map(|data| data.like("stdin")).unwrap_or_default();
    said.apply(&mut config).map_err(StreamError::Overrides)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compute::Backend;

    #[test]
    fn a_file_that_changes_while_it_is_read_is_told_of() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
        let predictor = Predictor::load(&folder, &Backend::Cpu).unwrap();
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("texts.csv");
        for changes in [false, true] {
            std::fs::write(&path, "text\none\ntwo\n").unwrap();
            let mut input = Input::file(&path, &predictor, &Overrides::default()).unwrap();
            let mut told = Vec::new();
            let mut show = |remark| told.push(remark);
            assert!(input.next(&mut show).unwrap().is_some());
            if changes {
                let mut file = std::fs::File::options().append(true).open(&path).unwrap();
                file.write_all(b"three\n").unwrap();
            }
            while input.next(&mut show).unwrap().is_some() {}
            assert!(input.next(&mut show).unwrap().is_none());
            let changed = |one: &&Remark| matches!(one, Remark::Warning(text) if text.contains("changed while"));
            assert_eq!(told.iter().filter(changed).count(), usize::from(changes));
        }
    }
}
