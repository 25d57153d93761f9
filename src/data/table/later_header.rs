//! Rows that are the header of another table, as files have that were joined from several.
//!
//! Such a row may have all names of the first header, some, or none; a name may stand in another place. A row of
//! the table may look like it by chance, so what is decided here is decided again by whoever sees all rows.

use std::borrow::Cow;

use super::column_names::{is_known_name, is_label_name, is_text_name};
use super::header::{is_name_like, repeat_themselves, repeats, spelling, words};
use super::{Columns, Row, Value};

/// What a row is that has names of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// The header once more.
    Same,
    /// Names stand in other places: what follows would be read in the wrong columns.
    Moved,
    /// Some have another name, in their own place.
    Renamed,
}

/// The header of a table, to know another one by.
pub struct LaterHeader {
    header: Vec<String>,
    /// The names as they are compared.
    names: Vec<String>,
    /// The columns of text, pair and label.
    roles: Vec<usize>,
    text: usize,
    label: Option<usize>,
}

impl LaterHeader {
    /// `header` are the names of the columns.
    pub fn new(header: &[String], columns: &Columns) -> Self {
        let Columns { text, pair, label, .. } = *columns;
        let roles = [Some(text), pair, label].into_iter().flatten().collect();
        let names = header.iter().map(|name| spelling(name)).collect();
        Self { header: header.to_vec(), names, roles, text, label }
    }

    /// Whether a row has names of columns instead of values: those of this header, in any spelling, or well-known
    /// ones. One that is not [`Later::Same`] may still be a row, if its label is also that of others.
    pub fn find(&self, row: &Row) -> Option<Later> {
        let cells: Vec<Cow<'_, str>> = row.values.iter().map(Value::written).collect();
        if cells.len() != self.header.len() {
            return None;
        }
        let of_roles: Vec<&str> = self.roles.iter().map(|&role| cells[role].as_ref()).collect();
        let own: Vec<&str> = self.roles.iter().map(|&role| self.header[role].as_str()).collect();
        // Of columns that nobody reads the names tell a header too.
        let others = own.len() < self.header.len();
        if repeats(&of_roles, &own) || others && repeats(&cells, &self.header) {
            return Some(Later::Same);
        }
        let may_be = self.header.len() > 1 && of_roles.iter().all(|cell| is_name_like(cell));
        if !may_be || !cells.iter().all(|cell| is_name_like(cell)) {
            return None;
        }
        let cells: Vec<String> = cells.iter().map(|cell| spelling(cell)).collect();
        let given = |cell: &String| self.names.contains(cell);
        let named = |cell: &String| given(cell) || is_known_name(cell);
        let hits = cells.iter().filter(|cell| named(cell)).count();
        let mut of_roles = self.roles.iter().map(|&role| &cells[role]);
        // Short texts and labels may be well-known names by chance, but no label is called as labels are.
        let labels = |cell: &String| is_label_name(cell);
        let of_labels = self.label.is_none() || of_roles.clone().any(labels);
        let known = hits > 1 && of_roles.clone().all(named) && of_labels;
        if !known && !of_roles.any(given) {
            return None;
        }
        // Without a label nobody can look whether other rows have it.
        if self.label.is_none() && (hits < 2 || 2 * hits <= cells.len()) {
            return None;
        }
        Some(if self.moved(&cells) { Later::Moved } else { Later::Renamed })
    }

    /// Whether the name of a column stands in the place of the text.
    pub fn has_name_for_text(&self, row: &Row) -> bool {
        let cell = row.values.get(self.text).map_or(Cow::Borrowed(""), Value::written);
        let cell = if is_name_like(&cell) { spelling(&cell) } else { String::new() };
        self.names.contains(&cell) || is_known_name(&cell)
    }

    /// Whether a name of text, pair or label stands in another column than here, or another name in theirs.
    fn moved(&self, cells: &[String]) -> bool {
        let elsewhere = |role: usize, is: &dyn Fn(usize, &String) -> bool| {
            cells.iter().enumerate().any(|(column, cell)| column != role && is(column, cell))
        };
        let own = |&role: &usize| elsewhere(role, &|_, cell| *cell == self.names[role]);
        // A column called `text` beside one of another name in its place.
        let known = |role: usize, is: fn(&str) -> bool| {
            let there = cells[role] == self.names[role] || is(&cells[role]);
            !there && elsewhere(role, &|column, cell| is(cell) && *cell != self.names[column])
        };
        let of_another =
            |&role: &usize| cells[role] != self.names[role] && self.names.contains(&cells[role]);
        self.roles.iter().any(own)
            || self.roles.iter().any(of_another)
            || known(self.text, is_text_name)
            || self.label.is_some_and(|label| known(label, is_label_name))
    }
}

/// Which rows seem to be the header of another table, if the `first` one is a header: they tell nothing of whether
/// it is. There are few of them, or they are none.
pub(super) fn seem_joined(first: &[String], rows: &[Vec<String>]) -> Vec<bool> {
    let exact: Vec<bool> = rows.iter().map(|row| repeats(row, first)).collect();
    if first.len() < 2 || !first.iter().all(|cell| is_name_like(cell)) {
        return exact;
    }
    let names: Vec<String> = first.iter().map(|name| spelling(name)).collect();
    let seems = |row: &Vec<String>| {
        if row.len() != names.len() || !row.iter().all(|cell| is_name_like(cell)) {
            return false;
        }
        let cells: Vec<String> = row.iter().map(|cell| spelling(cell)).collect();
        let given = |cell: &String| names.contains(cell);
        let is_name = |(column, cell): (usize, &String)| {
            given(cell) || is_known_name(cell) || stands_out(cell, column, rows)
        };
        cells.iter().any(given) && cells.iter().enumerate().all(is_name)
    };
    let joined: Vec<bool> = rows.iter().map(seems).collect();
    let count = joined.iter().filter(|&&joined| joined).count();
    if count > few(rows.len()) {
        return exact;
    }
    joined.iter().zip(exact).map(|(joined, exact)| *joined || exact).collect()
}

/// Whether the first line has the name of a text and that of a label, and hardly any row has both there.
pub(super) fn has_both_names(first: &[String], rows: &[Vec<String>]) -> bool {
    let find = |is: fn(&str) -> bool| first.iter().position(|cell| is(&spelling(cell)));
    let (Some(text), Some(label)) = (find(is_text_name), find(is_label_name)) else { return false };
    let both = |row: &&Vec<String>| {
        [text, label].iter().all(|&at| row.get(at).is_some_and(|cell| *cell == first[at]))
    };
    rows.iter().filter(both).count() <= few(rows.len())
}

/// Tables that are joined into one of so many rows, at most.
pub fn few(rows: usize) -> usize {
    (rows / 20).max(2).min((rows / 4).max(1))
}

/// Whether a cell is unlike the others of its column: of fewer words than nearly all, or the only one of its kind
/// where the others repeat themselves.
fn stands_out(cell: &str, column: usize, rows: &[Vec<String>]) -> bool {
    let own = words(&cell.replace('_', " "));
    let values = || rows.iter().filter_map(|row| row.get(column)).map(|value| value.trim());
    let like = values().filter(|value| words(value) <= own).count();
    if like <= few(rows.len()) {
        return true;
    }
    let same = |value: &&str| spelling(value) == cell;
    let others = values().filter(|value| !same(value));
    values().filter(same).count() <= few(rows.len()) && repeat_themselves(others)
}

/// Whether a line of plain text has names of columns that are well known, and nothing else.
pub fn are_names(line: &str) -> bool {
    let cells: Vec<String> = line.split([',', '\t', ';', '|']).map(spelling).collect();
    cells.iter().all(|cell| is_known_name(cell)) && (cells.len() > 1 || is_text_name(&cells[0]))
}

/// Whether a record of too many or too few fields is a header: all its cells are names.
pub(super) fn is_of_another_width(fields: &[String], header: &[String]) -> bool {
    let names: Vec<String> = header.iter().map(|name| spelling(name)).collect();
    let filled = fields.iter().filter(|cell| !cell.trim().is_empty());
    let cells: Vec<String> = filled.clone().map(|cell| spelling(cell)).collect();
    let hits = cells.iter().filter(|cell| names.contains(cell) || is_known_name(cell)).count();
    hits >= 2 && 2 * hits > cells.len() && filled.clone().all(|cell| is_name_like(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(line: &str) -> Vec<String> {
        line.split(',').map(str::to_owned).collect()
    }

    fn later(header: &str, roles: [usize; 2], row: &str) -> Option<Later> {
        let values = cells(row).into_iter().map(Value::Text).collect();
        let columns = Columns { text: roles[0], pair: None, label: Some(roles[1]), verdict: None };
        LaterHeader::new(&cells(header), &columns).find(&Row { line: 9, values })
    }

    #[test]
    fn a_header_of_another_table_is_told_by_its_names_and_their_places() {
        use Later::{Moved, Renamed, Same};
        for (header, roles, row, expected) in [
            ("text,label", [0, 1], "Text, LABEL ", Some(Same)),
            ("text,label,channel", [0, 1], "text,label,kanal", Some(Same)),
            ("ticket,department", [0, 1], "text,department", Some(Renamed)),
            ("ticket,department", [0, 1], "phrase,Department", Some(Renamed)),
            ("ticket,department", [0, 1], "ticket,outcome", Some(Renamed)),
            ("ticket,department", [0, 1], "message,intent", Some(Renamed)),
            ("id,text,label", [1, 2], "id,text,tag", Some(Renamed)),
            ("text,label", [0, 1], "label,text", Some(Moved)),
            ("ticket,department", [0, 1], "department,ticket", Some(Moved)),
            ("ticket,department", [0, 1], "department,phrase", Some(Moved)),
            ("ticket,department", [0, 1], "intent,message", Some(Moved)),
            ("text,label,channel", [0, 1], "text,channel,label", Some(Moved)),
            ("text,label,channel", [0, 1], "text,kanal,label", Some(Moved)),
            ("text,label,channel", [0, 1], "source,text,label", Some(Moved)),
            ("ticket,department,channel", [0, 1], "ticket,channel,label", Some(Moved)),
            ("id,ticket,department", [1, 2], "ticket,id,department", Some(Moved)),
            ("id,ticket,department", [1, 2], "body,id,department", Some(Moved)),
            ("text,label,channel", [0, 1], "text,channel,kind", Some(Moved)),
            // Rows.
            ("text,label", [0, 1], "text of a letter with many words,label", None),
            ("text,label", [0, 1], "phrase,outcome", None),
            ("text,spam", [0, 1], "spam,1", None),
            ("text,label", [0, 1], "title,billing", None),
            ("text,label", [0, 1], ",label", None),
        ] {
            assert_eq!(later(header, roles, row), expected, "{header} / {row}");
        }
    }

    #[test]
    fn the_first_line_is_weighed_without_other_headers() {
        let row = |i: usize| vec![format!("letter {i} about it"), ["x", "y"][i % 2].to_owned()];
        let rows: Vec<Vec<String>> = (0..40).map(row).collect();
        let with = |line: &str| [rows.clone(), vec![cells(line)]].concat();
        for (first, line) in [
            ("ticket,department", "text,department"),
            ("ticket,department", "phrase,department"),
            ("ticket,department", "department,ticket"),
            ("ticket,department", "Ticket ,DEPARTMENT"),
        ] {
            let seem = seem_joined(&cells(first), &with(line));
            assert_eq!(seem.iter().filter(|&&seems| seems).count(), 1, "{first} / {line}");
            assert!(seem[40]);
        }
        // Rows of a table without names.
        for (first, line) in
            [("letter 90 about it,x", "short,x"), ("a b c d e,y", "so what is it,y")]
        {
            assert!(!seem_joined(&cells(first), &with(line))[..40].contains(&true), "{line}");
        }
        let words: Vec<Vec<String>> = (0..40).map(|i| cells(["anna,f", "tom,m"][i % 2])).collect();
        assert!(!seem_joined(&cells("mary,f"), &words).contains(&true));
    }

    #[test]
    fn a_line_of_names_is_seen() {
        for line in ["text", "Text,Label", "id;\"message\"", "review_text\tsentiment"] {
            assert!(are_names(line), "{line}");
        }
        for line in ["hello", "date", "text me, please", "", ",", "a text", "text,phrase"] {
            assert!(!are_names(line), "{line}");
        }
    }

    #[test]
    fn a_header_of_another_width_is_seen() {
        let is = |row: &str| is_of_another_width(&cells(row), &cells("ticket,label"));
        assert!(is("id,text,label") && is("ticket,label,channel") && is("Ticket,note,LABEL,"));
        assert!(!is("my ticket, and more,label") && !is("1,text,x") && !is("text"));
    }
}
