//! The lines of a text, whichever line break it has.

use std::io::{self, BufRead};

/// Lines that end in LF, CRLF or CR alone, without their ends. The last one may have none.
pub(super) struct Lines<R> {
    reader: R,
    /// Whether the last line ended in CR: a LF behind it ends no other.
    half: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, half: false }
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let bytes = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            if std::mem::take(&mut self.half) && bytes[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            self.half = end.is_some_and(|end| bytes[end] == b'\r');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_line_ends_in_any_of_the_three_breaks() {
        for (text, expected) in [
            ("a\nb\n", &["a", "b"][..]),
            ("a\rb\r", &["a", "b"]),
            ("a\r\nb\r\n", &["a", "b"]),
            ("a\r\nb\rc\nd", &["a", "b", "c", "d"]),
            ("\n\r\r\n\na", &["", "", "", "", "a"]),
            ("", &[]),
        ] {
            for room in [1, 2, 3, 64] {
                let reader = BufReader::with_capacity(room, text.as_bytes());
                let lines: Vec<_> = Lines::new(reader)
                    .map(|line| String::from_utf8(line.unwrap()).unwrap())
                    .collect();
                assert_eq!(lines, expected, "{text:?} {room}");
            }
        }
    }
}
