//! A table whose rows are made of those of another.

use std::collections::VecDeque;

use super::{Row, Table, TableError};

/// The rows that a row becomes.
pub(super) type Make = dyn FnMut(&Row) -> Result<Vec<Row>, TableError> + Send;

/// Rows that are made as they are asked for.
pub(super) struct ReshapedRows {
    pub(super) source: Table,
    make: Box<Make>,
    ready: VecDeque<Row>,
}

impl ReshapedRows {
    pub(super) fn new(source: Table, make: Box<Make>) -> Self {
        Self { source, make, ready: VecDeque::new() }
    }

    /// The next row, `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        while self.ready.is_empty() {
            let Some(row) = self.source.next().transpose()? else { return Ok(None) };
            self.ready.extend((self.make)(&row)?);
        }
        Ok(self.ready.pop_front())
    }
}
