//! Tables that are refused for their first rows: what is read there would be lost, or taken for something else.

use super::DelimitedRows;
use crate::data::table::Row;
use crate::data::table::error::{TableError, listed};
use crate::data::table::header::{is_number, names_later};
use crate::data::table::meant::Meant;
use crate::data::table::reading::{Header, Reading};

impl DelimitedRows {
    /// Refuses a table whose fields are in quotes that nobody reads as such: they would stay in texts and labels.
    pub(super) fn refuse_single_quotes(&self, rows: &[Vec<String>]) -> Result<(), TableError> {
        let is_quoted =
            |cell: &&String| cell.len() > 1 && cell.starts_with('\'') && cell.ends_with('\'');
        let words = || rows.iter().flatten().filter(|cell| !cell.is_empty() && !is_number(cell));
        match self.columns.len() > 1
            && words().next().is_some()
            && words().all(|cell| is_quoted(&cell))
        {
            true => Err(TableError::SingleQuotes { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Refuses a file that was joined from another with more or fewer columns.
    pub(super) fn refuse_other_width(&mut self) -> Result<(), TableError> {
        const ROWS: usize = 2;
        let header = |row: &Result<Row, TableError>| {
            matches!(row, Err(TableError::FieldCount { meant: Some(Meant::Header), .. }))
        };
        // Behind a title or a comment the names are those of the table.
        let place = self.looked_at.iter().position(header).filter(|&place| {
            self.looked_at.range(..place).filter(|row| row.is_ok()).count() >= ROWS
        });
        match place.and_then(|place| self.looked_at.remove(place)) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Refuses a title or a comment before the names.
    pub(super) fn refuse_title(
        &self,
        line: u64,
        cells: &[Vec<String>],
        reading: &Reading,
    ) -> Result<(), TableError> {
        let wider = |row: &Result<Row, TableError>| match row {
            Err(TableError::FieldCount { expected, found, .. }) => {
                (found > expected).then_some(*found)
            }
            _ => None,
        };
        let rows = self.looked_at.len();
        let fields: Vec<usize> = self.looked_at.iter().filter_map(wider).collect();
        let width = self.columns.len();
        let why = match fields[..] {
            // All but those that are titles too.
            [.., last]
                if 10 * fields.len() >= 8 * rows || width == 1 && 2 * fields.len() > rows =>
            {
                let plural = if width == 1 { "" } else { "s" };
                format!("it has {width} field{plural}, but the lines after it have {last}")
            }
            _ if reading.header == Header::No => return Ok(()),
            _ => match names_later(&self.columns, cells, &reading.names) {
                None => return Ok(()),
                Some(place) => {
                    let row = self.looked_at.iter().filter_map(|row| row.as_ref().ok()).nth(place);
                    let names = cells[place].iter().map(String::as_str);
                    let line = row.map_or(0, |row| row.line);
                    format!("they seem to be in line {line} ({})", listed(names))
                }
            },
        };
        if let Some(error) = self.meant_otherwise() {
            return Err(error);
        }
        if let [.., last] = fields[..]
            && width > 1
            && last == width + 1
        {
            let (path, delimiter) = (self.path.clone(), char::from(self.dialect.delimiter));
            return Err(TableError::OneNameLess { path, line, width, delimiter });
        }
        let text: String = self.columns.join(" ").chars().take(40).collect();
        Err(TableError::NotTheNames {
            path: self.path.clone(),
            line,
            text: text.trim().to_owned(),
            why,
        })
    }

    /// The first row with too many fields, where most of those seem to hold delimiters in another way.
    fn meant_otherwise(&self) -> Option<TableError> {
        let wide = |row: &Result<Row, TableError>| match row {
            Err(TableError::FieldCount { line, expected, found, meant, .. }) => {
                (found > expected).then_some((*line, *expected, *found, *meant))
            }
            _ => None,
        };
        let rows: Vec<_> = self.looked_at.iter().filter_map(wide).collect();
        let otherwise = rows.iter().filter(|(.., meant)| meant.is_some());
        let &(line, expected, found, meant) = otherwise.clone().next()?;
        let path = self.path.clone();
        let most = 2 * otherwise.count() > rows.len();
        most.then_some(TableError::FieldCount { path, line, expected, found, meant })
    }

    /// Refuses lines with commas in them that are no table, whose first one would be lost.
    pub(super) fn refuse_prose(&self) -> Result<(), TableError> {
        const FEW: usize = 5;
        let counts = |error: &&TableError| matches!(error, TableError::FieldCount { .. });
        let errors = self.looked_at.iter().filter_map(|row| row.as_ref().err());
        let mut ragged = errors.filter(counts).filter_map(TableError::line);
        let first = ragged.next();
        let Some(line) = first.filter(|_| FEW * (ragged.count() + 1) >= self.looked_at.len())
        else {
            return Ok(());
        };
        let delimiter = char::from(self.dialect.delimiter);
        Err(TableError::Ragged { path: self.path.clone(), line, delimiter })
    }
}
