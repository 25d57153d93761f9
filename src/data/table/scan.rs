//! Records and fields of delimited text, byte by byte, and what is wrong with its quotes.
//!
//! The csv crate reads a quote that closes nothing as if nothing had happened, and a quote that opens by
//! mistake swallows rows until the next one. This walk says where that is. It is used to find out how a
//! file is quoted, and again beside the csv crate while the file is read.

use super::reading::Quoting;

/// How fields are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    /// Never `Auto`.
    pub quoting: Quoting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field.
    Start,
    Bare,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Behind a quote in quotes: the end of the field, or the first half of two.
    Closed,
    /// Behind white space that stands behind a closing quote.
    After,
    /// Behind a quote that closes nothing: the rest is read as the csv crate does.
    Broken,
}

/// One record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The line where it begins, from 1.
    pub line: u64,
    /// Lines that it spans.
    pub lines: u64,
    pub fields: usize,
    /// Fields that begin with a quote, and those of them that end with one.
    pub quoted: usize,
    pub wrapped: usize,
    /// Whether something other than a delimiter stands behind a closing quote.
    pub broken: bool,
    /// Whether its last quote is still open where the text ends.
    pub open: bool,
    pub bytes: u64,
}

/// The walk.
#[derive(Debug)]
pub(super) struct Scanner {
    dialect: Dialect,
    state: State,
    record: Record,
    /// Whether the record has any byte.
    begun: bool,
    line: u64,
    previous: u8,
    /// The first byte of the field, and the last one that is no white space.
    edges: Option<(u8, u8)>,
}

impl Scanner {
    pub(super) fn new(dialect: Dialect) -> Self {
        let record = Record::default();
        let state = State::Start;
        Self { dialect, state, record, begun: false, line: 1, previous: b'\n', edges: None }
    }

    /// Takes one byte; gives the record that ended before or with it.
    pub(super) fn byte(&mut self, byte: u8) -> Option<Record> {
        let breaks = matches!(byte, b'\n' | b'\r');
        let half = byte == b'\n' && self.previous == b'\r';
        self.previous = byte;
        if half {
            // The second half of a line break that has been counted.
            return None;
        }
        if !self.begun && !breaks {
            self.begun = true;
            self.record = Record { line: self.line, lines: 1, fields: 1, ..Record::default() };
        }
        self.record.bytes += 1;
        let inside = matches!(self.state, State::Quoted | State::Escaped);
        let mut ended = None;
        if breaks {
            self.line += 1;
            if self.begun {
                if inside {
                    self.record.lines += 1;
                    self.state = State::Quoted;
                } else {
                    ended = Some(self.end());
                }
            }
            return ended;
        }
        if byte == self.dialect.delimiter && !inside {
            self.end_field();
            self.record.fields += 1;
            self.state = State::Start;
            return None;
        }
        self.step(byte);
        None
    }

    fn step(&mut self, byte: u8) {
        let quotes = self.dialect.quoting != Quoting::None;
        if !byte.is_ascii_whitespace() || self.edges.is_none() {
            let first = self.edges.map_or(byte, |(first, _)| first);
            self.edges = Some((first, byte));
        }
        self.state = match (self.state, byte) {
            (State::Start, b'"') if quotes => State::Quoted,
            (State::Start | State::Bare, _) => State::Bare,
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, b'\\') if self.dialect.quoting == Quoting::Backslash => State::Escaped,
            (State::Quoted | State::Escaped, _) => State::Quoted,
            (State::Closed, b'"') => State::Quoted,
            (State::Closed | State::After, byte) if byte.is_ascii_whitespace() => State::After,
            (State::Closed | State::After | State::Broken, _) => {
                self.record.broken = true;
                State::Broken
            }
        };
    }

    fn end_field(&mut self) {
        if let Some((b'"', last)) = self.edges {
            self.record.quoted += 1;
            self.record.wrapped += usize::from(last == b'"');
        }
        self.edges = None;
    }

    fn end(&mut self) -> Record {
        self.end_field();
        self.begun = false;
        self.state = State::Start;
        std::mem::take(&mut self.record)
    }

    /// The record that the text ends with, if it ends without a line break.
    pub(super) fn finish(&mut self) -> Option<Record> {
        if !self.begun {
            return None;
        }
        self.record.open = matches!(self.state, State::Quoted | State::Escaped);
        Some(self.end())
    }

    /// The line that the walk has come to, or where its record begins.
    pub(super) fn line(&self) -> u64 {
        if self.begun { self.record.line } else { self.line }
    }

    /// Bytes of the record that has not ended.
    pub(super) fn pending(&self) -> u64 {
        if self.begun { self.record.bytes } else { 0 }
    }
}

/// All records of a text; the last one is left out where the text may go on.
pub(super) fn records(text: &[u8], dialect: Dialect, whole: bool) -> Vec<Record> {
    let mut scanner = Scanner::new(dialect);
    let mut records: Vec<Record> = text.iter().filter_map(|&byte| scanner.byte(byte)).collect();
    if whole {
        records.extend(scanner.finish());
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, quoting: Quoting) -> Vec<Record> {
        records(text.as_bytes(), Dialect { delimiter: b',', quoting }, true)
    }

    #[test]
    fn records_are_those_of_the_csv_crate() {
        let text = "a,b\r\n\r\n\"x\ny, \"\"z\"\"\",1\rlast,\"2\" ";
        let found = scan(text, Quoting::Double);
        let lines: Vec<u64> = found.iter().map(|record| record.line).collect();
        assert_eq!(lines, [1, 3, 5]);
        assert!(found.iter().all(|record| record.fields == 2 && !record.broken && !record.open));
        assert_eq!((found[1].lines, found[1].quoted, found[1].wrapped), (2, 1, 1));
    }

    #[test]
    fn a_quote_that_closes_nothing_and_one_that_is_never_closed_are_seen() {
        let found = scan("a,b\n\"x\" y,1\n\"z,2\n", Quoting::Double);
        assert_eq!((found[1].broken, found[1].wrapped, found[2].open), (true, 0, true));
        assert!(scan("a,\"x \\\"y\\\" z\"\n", Quoting::Double)[0].broken);
        assert!(!scan("a,\"x \\\"y\\\" z\"\n", Quoting::Backslash)[0].broken);
        let lines = scan("\"x,1\ny\",2\n", Quoting::Double);
        assert_eq!((lines.len(), lines[0].lines), (1, 2));
        assert_eq!(scan("\"x,1\ny\",2\n", Quoting::None).len(), 2);
    }
}
