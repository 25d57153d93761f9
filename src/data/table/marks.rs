//! Byte order marks at the beginnings of lines, as files have them that were joined from others.

use std::io::{self, Read};

use super::made::{Made, Source};

/// U+FEFF in UTF-8.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes that are looked at together.
const CHUNK: usize = 1 << 16;

/// UTF-8 without the marks that begin its lines. Elsewhere U+FEFF is a character of a text.
pub(super) struct WithoutMarks<R> {
    inner: R,
    input: Vec<u8>,
    /// Whether the next byte begins a line.
    begins: bool,
    /// Bytes of a mark that were seen and are in no output.
    held: usize,
}

impl<R: Read> WithoutMarks<R> {
    /// A reader of it.
    pub(super) fn reader(inner: R) -> Made<Self> {
        Made::new(Self { inner, input: vec![0; CHUNK], begins: true, held: 0 })
    }
}

impl<R: Read> Source for WithoutMarks<R> {
    fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        let count = self.inner.read(&mut self.input)?;
        for &byte in &self.input[..count] {
            if self.begins && byte == MARK[self.held] {
                self.held = (self.held + 1) % MARK.len();
                continue;
            }
            // The beginning of a mark that is none.
            output.extend_from_slice(&MARK[..self.held]);
            self.held = 0;
            output.push(byte);
            self.begins = matches!(byte, b'\n' | b'\r');
        }
        if count == 0 {
            output.extend_from_slice(&MARK[..self.held]);
            self.held = 0;
        }
        Ok(count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(self.1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn a_mark_goes_where_it_begins_a_line_however_it_arrives() {
        for (bytes, expected) in [
            (
                "\u{feff}a\n\u{feff}b\r\n\u{feff}c\r\u{feff}d\n".as_bytes(),
                "a\nb\r\nc\rd\n".as_bytes(),
            ),
            ("\u{feff}\u{feff}a\n\u{feff}".as_bytes(), b"a\n"),
            ("a\u{feff}b\n \u{feff}c".as_bytes(), "a\u{feff}b\n \u{feff}c".as_bytes()),
            ("\u{ff01}a\n\u{fefe}b".as_bytes(), "\u{ff01}a\n\u{fefe}b".as_bytes()),
            (b"\xef\xef\xbb\xbf", b"\xef\xef\xbb\xbf"),
            (b"a\n\xef\xbb", b"a\n\xef\xbb"),
            (b"", b""),
        ] {
            for size in [1, 2, 3, 100] {
                let mut read = Vec::new();
                WithoutMarks::reader(Pieces(bytes, size)).read_to_end(&mut read).unwrap();
                assert_eq!(read, expected, "{size}");
            }
        }
    }
}
