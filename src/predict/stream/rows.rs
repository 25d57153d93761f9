//! The rows of a table as texts, with the other columns.

use std::vec::IntoIter;

use super::error::StreamError;
use super::row::TextRow;
use crate::data::table::{
    self, Columns, Kind, Later, LaterHeader, Row, SAMPLE_ROWS, Table, TableError, Value,
};
use crate::data::{DataConfig, Remark};
use crate::predict::{PairError, Pairs};

/// Lines that repeat the names of the columns, and are told of one by one.
const SHOWN_REPEATS: usize = 5;

/// A table whose columns are told apart.
pub(super) struct TableRows {
    /// The first rows, which were looked at for that.
    first: IntoIter<Result<Row, TableError>>,
    table: Table,
    columns: Columns,
    others: Vec<usize>,
    header: LaterHeader,
    repeats: usize,
    /// Whether it was said what of the table is in no column.
    told: bool,
}

impl TableRows {
    pub(super) fn new(
        mut table: Table,
        config: &DataConfig,
        pairs: Pairs,
    ) -> Result<Self, StreamError> {
        // Bad rows too, in their places; what ends the table is an error at once.
        let mut looked_at = Vec::new();
        for row in table.by_ref().take(SAMPLE_ROWS) {
            match row {
                Err(error) if !error.is_of_a_row() => return Err(error.into()),
                row => looked_at.push(row),
            }
        }
        let sample: Vec<Row> =
            looked_at.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
        let (wanted, usual) = (config.column_names(), &config.usual_columns);
        let columns = table::detect_usual(&table.columns, &sample, &wanted, usual, false)?;
        let Columns { text, pair, .. } = columns;
        if pair.is_none() && !usual.pair.is_empty() {
            let (text, pair) = (usual.text.clone(), usual.pair.clone());
            return Err(StreamError::NoPairColumn { text, pair });
        }
        if let Some(pair) = pair {
            pairs.check([true]).map_err(|error| match error {
                PairError::NoSegment { .. } => StreamError::Pairs(error),
                _ => {
                    let name = |column: usize| table.columns[column].clone();
                    StreamError::Pair { text: name(text), pair: name(pair) }
                }
            })?;
        }
        let others =
            (0..table.columns.len()).filter(|&column| column != text && Some(column) != pair);
        let (others, first) = (others.collect(), looked_at.into_iter());
        let header = LaterHeader::new(&table.columns, &Columns { label: None, ..columns });
        Ok(Self { first, table, columns, others, header, repeats: 0, told: false })
    }

    pub(super) fn paired(&self) -> bool {
        self.columns.pair.is_some()
    }

    /// The names of the other columns, and what they hold.
    pub(super) fn rest(&self) -> Vec<(String, Kind)> {
        let rest = self.others.iter();
        rest.map(|&column| (self.table.columns[column].clone(), self.table.kind(column))).collect()
    }

    /// Which columns were taken for what, and what is doubtful about it.
    pub(super) fn describe(&self) -> String {
        let described = Columns { label: None, ..self.columns };
        let described = described.describe(&self.table.columns);
        match self.table.names().doubt() {
            Some(doubt) => format!("{described}; {doubt}"),
            None => described,
        }
    }

    /// The next text. `show` is told of lines that are none, and what they are called is `place` and a number.
    pub(super) fn next(
        &mut self,
        place: &str,
        show: &mut dyn FnMut(Remark),
    ) -> Result<Option<TextRow>, StreamError> {
        loop {
            let Some(row) = self.first.next().or_else(|| self.table.next()) else {
                if !std::mem::replace(&mut self.told, true) {
                    self.table.lost().into_iter().for_each(|lost| show(Remark::Warning(lost)));
                }
                return Ok(None);
            };
            match row.as_ref().ok().filter(|row| self.table.repeats_names(row)) {
                None => {
                    if let Ok(row) = &row {
                        self.look_for_header(row, place, show)?;
                    }
                    return self.text(row).map(Some);
                }
                Some(row) => {
                    let line = row.line;
                    self.tell_repeated(place, line, show);
                }
            }
        }
    }

    /// Refuses a header whose names stand in other columns, and tells of one with other names: it may be a row.
    fn look_for_header(
        &self,
        row: &Row,
        place: &str,
        show: &mut dyn FnMut(Remark),
    ) -> Result<(), StreamError> {
        let found = self.header.find(row).filter(|found| *found != Later::Same);
        let found = found.filter(|_| self.table.names_in_lines());
        let Some(found) = found else { return Ok(()) };
        let names: Vec<String> =
            row.values.iter().map(|value| format!("`{}`", value.written().trim())).collect();
        let (place, names) = (format!("{place} {}", row.line), names.join(", "));
        if found == Later::Moved {
            return Err(TableError::OtherOrder { place, names }.into());
        }
        show(Remark::Warning(format!(
            "{place} looks like a header with other names ({names}); it is read as a row, and the rows after it \
             with the columns of the first header"
        )));
        Ok(())
    }

    fn text(&self, row: Result<Row, TableError>) -> Result<TextRow, StreamError> {
        let Columns { text, pair, .. } = self.columns;
        match row {
            Ok(row) => Ok(TextRow::of_table(row, text, pair, &self.others)),
            Err(error) if error.is_of_a_row() => {
                let rest = vec![Value::Null; self.others.len()];
                let line = error.line().unwrap_or(0);
                let (text, pair) = (String::new(), pair.map(|_| String::new()));
                Ok(TextRow { text, pair, line, rest, fault: Some(error.to_string()) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says that a line is no row; of many lines only the first ones.
    fn tell_repeated(&mut self, place: &str, line: u64, show: &mut dyn FnMut(Remark)) {
        self.repeats += 1;
        let more = if self.repeats == SHOWN_REPEATS { ", and others may too" } else { "" };
        if self.repeats <= SHOWN_REPEATS {
            show(Remark::Note(format!(
                "{place} {line} repeats the column names and is skipped{more}"
            )));
        }
    }
}
