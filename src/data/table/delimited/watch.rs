//! The walk over the bytes of a table, beside the csv crate that reads them.

use std::collections::VecDeque;
use std::io::{self, Read};

use crate::data::table::scan::{Dialect, Record, Scanner};

/// The longest record, in bytes.
const LONGEST_RECORD: u64 = 64 << 20;

/// Passes bytes on and remembers what the walk says of the records, until they are asked for.
pub(super) struct Watch {
    inner: Box<dyn Read + Send>,
    scanner: Scanner,
    records: VecDeque<Record>,
    /// Lines before the first one that is passed on.
    skipped: u64,
}

impl Watch {
    pub(super) fn new(inner: Box<dyn Read + Send>, dialect: Dialect, skipped: u64) -> Watch {
        Watch { inner, scanner: Scanner::new(dialect), records: VecDeque::new(), skipped }
    }

    /// What was said of the next record.
    pub(super) fn next(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        Some(Record { line: record.line + self.skipped, ..record })
    }
}

impl Read for Watch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for &byte in &buffer[..count] {
            self.records.extend(self.scanner.byte(byte));
        }
        if count == 0 {
            self.records.extend(self.scanner.finish());
        }
        if self.scanner.pending() > LONGEST_RECORD {
            let line = self.scanner.line() + self.skipped;
            let limit = LONGEST_RECORD >> 20;
            let what = format!("line {line}: a record of more than {limit} MiB, the maximum");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(count)
    }
}
