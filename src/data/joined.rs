//! Headers in the middle of a file that was joined from several, once all its rows are known.

use std::collections::HashSet;
use std::path::Path;

use super::remark::some;
use super::table::{Later, LaterHeader, Row, TableError, Value};
use super::take::Raw;
use super::{DataError, Remark};

/// What is met among the rows of one file.
pub(super) struct Joined<'a> {
    path: &'a Path,
    header: &'a [String],
    known: LaterHeader,
    doubtful: Vec<Doubtful>,
}

/// A row that may be the header of another table.
struct Doubtful {
    what: Later,
    line: u64,
    /// Its place among the rows that were taken.
    place: usize,
    names: Vec<String>,
}

impl<'a> Joined<'a> {
    pub(super) fn new(path: &'a Path, header: &'a [String], known: LaterHeader) -> Self {
        Self { path, header, known, doubtful: Vec::new() }
    }

    /// Whether a row is the header once more. `place` is that of the row, if it is taken.
    pub(super) fn repeats(&mut self, row: &Row, place: usize) -> Option<Remark> {
        let what = self.known.find(row)?;
        if what == Later::Same {
            let (path, line) = (self.path.display(), row.line);
            return Some(Remark::Note(format!(
                "`{path}` line {line} repeats the header and is skipped"
            )));
        }
        let names = row.values.iter().map(Value::written).map(|name| name.trim().to_owned());
        self.doubtful.push(Doubtful { what, line: row.line, place, names: names.collect() });
        None
    }

    /// Takes the headers out of the rows of the file, which begin at `first`. What has the label of another row is
    /// a row.
    ///
    /// # Errors
    /// `OtherOrder` for one whose names stand in other places.
    pub(super) fn settle(
        self,
        rows: &mut Vec<Raw>,
        first: usize,
    ) -> Result<Vec<Remark>, DataError> {
        if self.doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let at = |line: u64| self.doubtful.iter().any(|one| one.line == line);
        let own = &rows[first..];
        let labels: HashSet<&str> =
            own.iter().filter(|row| !at(row.place.1)).map(|row| row.label.trim()).collect();
        let is_header = |one: &&Doubtful| {
            let taken = own.get(one.place - first).filter(|row| row.place.1 == one.line);
            taken.is_none_or(|row| row.label.is_empty() || !labels.contains(row.label.trim()))
        };
        let headers: Vec<&Doubtful> = self.doubtful.iter().filter(is_header).collect();
        if let Some(moved) = headers.iter().find(|one| one.what == Later::Moved) {
            let names = some(moved.names.iter().map(String::as_str));
            let place = format!("`{}` line {}", self.path.display(), moved.line);
            return Err(TableError::OtherOrder { place, names }.into());
        }
        let remarks = headers.iter().map(|one| {
            Remark::Warning(format!(
                "`{}` line {} looks like a header with other names ({}) and is skipped; the rows after it are read \
                 with the columns {}; if that is wrong, write them to a file of their own",
                self.path.display(),
                one.line,
                some(one.names.iter().map(String::as_str)),
                some(self.header.iter().map(String::as_str)),
            ))
        });
        let remarks = remarks.collect();
        let lines: HashSet<u64> = headers.iter().map(|one| one.line).collect();
        let mut place = 0;
        rows.retain(|row| {
            place += 1;
            place <= first || !lines.contains(&row.place.1)
        });
        Ok(remarks)
    }
}
