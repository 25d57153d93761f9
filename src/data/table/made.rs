//! Bytes that are made from others while they are read.

use std::io::{self, Read};

/// Where they come from.
pub(super) trait Source {
    /// Puts the next ones into `output`, which is empty; true if there are no more. None may come before
    /// the end too.
    fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool>;
}

/// A reader of them.
pub(super) struct Made<S> {
    source: S,
    output: Vec<u8>,
    /// How much of the output has been read.
    place: usize,
    finished: bool,
}

impl<S: Source> Made<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, output: Vec::new(), place: 0, finished: false }
    }
}

impl<S: Source> Read for Made<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.place == self.output.len() && !self.finished {
            self.output.clear();
            self.place = 0;
            // What an error left half made is no output.
            self.finished =
                self.source.fill(&mut self.output).inspect_err(|_| self.output.clear())?;
        }
        let rest = &self.output[self.place..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.place += count;
        Ok(count)
    }
}
