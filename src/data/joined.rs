//! Headers in the middle of a file that was joined from several, once all its rows are known.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::remark::some;
use super::table::{Later, LaterHeader, Row, TableError, Value, few};
use super::take::Raw;
use super::{DataError, Remark};

/// Headers that are named one by one.
const SHOWN: usize = 5;

/// What is met among the rows of one file.
pub(super) struct Joined<'a> {
    path: &'a Path,
    header: &'a [String],
    known: LaterHeader,
    /// Whether the names stand in a line of the file, and not in the format.
    in_lines: bool,
    doubtful: Vec<Doubtful>,
}

/// A row that may be the header of another table.
struct Doubtful {
    what: Later,
    line: u64,
    /// Its place among the rows that were taken.
    place: usize,
    /// Whether the name of a column stands in the place of the text.
    of_text: bool,
    names: Vec<String>,
}

impl<'a> Joined<'a> {
    pub(super) fn new(
        path: &'a Path,
        header: &'a [String],
        known: LaterHeader,
        in_lines: bool,
    ) -> Self {
        Self { path, header, known, in_lines, doubtful: Vec::new() }
    }

    /// Whether a row is the header once more. `place` is that of the row, if it is taken.
    pub(super) fn repeats(&mut self, row: &Row, place: usize) -> Option<Remark> {
        let what = self.known.find(row)?;
        // Of other formats only the same names can come from a file that was joined before.
        if what != Later::Same && !self.in_lines {
            return None;
        }
        if what == Later::Same {
            let (path, line) = (self.path.display(), row.line);
            return Some(Remark::Note(format!(
                "`{path}` line {line} repeats the header and is skipped"
            )));
        }
        let names = row.values.iter().map(Value::written).map(|name| name.trim().to_owned());
        let (line, of_text) = (row.line, self.known.has_name_for_text(row));
        self.doubtful.push(Doubtful { what, line, place, of_text, names: names.collect() });
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
        let doubtful: HashSet<u64> = self.doubtful.iter().map(|one| one.line).collect();
        let own = &rows[first..];
        let certain = own.iter().filter(|row| !doubtful.contains(&row.place.1));
        let labels: HashSet<&str> = certain.map(|row| row.label.trim()).collect();
        let label = |one: &Doubtful| {
            let taken = own.get(one.place - first).filter(|row| row.place.1 == one.line);
            taken.map_or("", |row| row.label.trim())
        };
        // Where the label is called as the column of the labels is, rows of short texts look like headers.
        let mut texts: HashMap<&str, HashSet<&[String]>> = HashMap::new();
        for one in self.doubtful.iter().filter(|one| !one.of_text) {
            texts.entry(label(one)).or_default().insert(&one.names);
        }
        let is_header = |one: &&Doubtful| {
            let label = label(one);
            let alone = texts.get(label).is_none_or(|texts| texts.len() == 1);
            label.is_empty() || alone && !labels.contains(label)
        };
        let headers: Vec<&Doubtful> = self.doubtful.iter().filter(is_header).collect();
        // Files are joined from few: so many are rows of short texts.
        if headers.len() > few(own.len()) {
            return Ok(Vec::new());
        }
        if let Some(moved) = headers.iter().find(|one| one.what == Later::Moved) {
            let names = some(moved.names.iter().map(String::as_str));
            let place = format!("`{}` line {}", self.path.display(), moved.line);
            return Err(TableError::OtherOrder { place, names }.into());
        }
        let remarks = headers.iter().take(SHOWN).map(|one| {
            Remark::Warning(format!(
                "`{}` line {} looks like a header with other names ({}) and is skipped; the rows after it are read \
                 with the columns {}; if that is wrong, write them to a file of their own",
                self.path.display(),
                one.line,
                some(one.names.iter().map(String::as_str)),
                some(self.header.iter().map(String::as_str)),
            ))
        });
        let mut remarks: Vec<Remark> = remarks.collect();
        if let Some(more) = headers.len().checked_sub(SHOWN).filter(|&more| more > 0) {
            remarks.push(Remark::Warning(format!(
                "{more} other lines of `{}` look like headers and are skipped",
                self.path.display()
            )));
        }
        let lines: HashSet<u64> = headers.iter().map(|one| one.line).collect();
        let mut place = 0;
        rows.retain(|row| {
            place += 1;
            place <= first || !lines.contains(&row.place.1)
        });
        Ok(remarks)
    }
}
