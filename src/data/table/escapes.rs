//! Backslashes of tables that have `\"` for a quote.
//!
//! Programs that write `\"` differ in all else: Spark leaves another backslash as it is, so that `"C:\new"` is a path,
//! and Python's csv module writes `\"` in fields without quotes as well. A reader of escapes drops every backslash in
//! quotes and none outside. Here `\"` is a quote and `\\` a backslash wherever they stand, and any other backslash
//! stays; the text is given to the reader so that it says this.

use std::io::{self, Read};

use super::made::{Made, Source};

/// Bytes that are looked at together.
const CHUNK: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field.
    Start,
    Bare,
    /// In a field that got its quotes here, since it begins with one that is written `\"`.
    Wrapped,
    Quoted,
    /// Behind a quote in quotes: the end of the field, or the first half of two.
    Closed,
}

/// The walk.
struct Walk {
    delimiter: u8,
    state: State,
    /// Whether a backslash was seen whose meaning the next byte tells; it is in no output yet.
    behind: bool,
}

impl Walk {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::Start, behind: false }
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.behind) {
            if matches!(byte, b'"' | b'\\') {
                self.escaped(byte, output);
                return;
            }
            self.backslash(output);
        }
        if byte == b'\\' {
            self.behind = true;
            return;
        }
        let ends = byte == self.delimiter || matches!(byte, b'\n' | b'\r');
        self.state = match (self.state, byte) {
            (State::Start | State::Closed, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) => State::Quoted,
            (State::Wrapped, _) if ends => {
                output.push(b'"');
                State::Start
            }
            (State::Wrapped, b'"') => {
                output.push(b'\\');
                State::Wrapped
            }
            (State::Wrapped, _) => State::Wrapped,
            (_, _) if ends => State::Start,
            (_, _) => State::Bare,
        };
        output.push(byte);
    }

    /// `\"` or `\\`, by its second byte.
    fn escaped(&mut self, byte: u8, output: &mut Vec<u8>) {
        if self.state == State::Start && byte == b'"' {
            output.push(b'"');
            self.state = State::Wrapped;
        } else if self.state == State::Start {
            self.state = State::Bare;
        }
        if self.in_quotes() {
            output.push(b'\\');
        }
        output.push(byte);
    }

    fn in_quotes(&self) -> bool {
        matches!(self.state, State::Wrapped | State::Quoted)
    }

    /// A backslash that is one.
    fn backslash(&mut self, output: &mut Vec<u8>) {
        if self.state == State::Start {
            self.state = State::Bare;
        }
        if self.in_quotes() {
            output.push(b'\\');
        }
        output.push(b'\\');
    }

    fn end(&mut self, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.behind) {
            self.backslash(output);
        }
        if self.state == State::Wrapped {
            self.state = State::Start;
            output.push(b'"');
        }
    }
}

/// A table whose backslashes a reader of escapes in quotes takes for what they mean.
pub(super) struct Escapes<R> {
    inner: R,
    input: Vec<u8>,
    walk: Walk,
}

impl<R: Read> Escapes<R> {
    pub(super) fn reader(inner: R, delimiter: u8) -> Made<Self> {
        Made::new(Self { inner, input: vec![0; CHUNK], walk: Walk::new(delimiter) })
    }
}

impl<R: Read> Source for Escapes<R> {
    fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        let count = self.inner.read(&mut self.input)?;
        self.input[..count].iter().for_each(|&byte| self.walk.byte(byte, output));
        if count == 0 {
            self.walk.end(output);
        }
        Ok(count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of one record, as they are read in the end.
    fn fields(text: &str) -> Vec<String> {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).escape(Some(b'\\')).flexible(true);
        let mut reader = builder.from_reader(Escapes::reader(text.as_bytes(), b','));
        reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_quote_and_a_backslash_can_be_escaped_and_nothing_else_is_lost() {
        for (text, expected) in [
            // As Spark writes it.
            (
                r#""a \"b\" in C:\temp\new","C:\1",x"#,
                &[r#"a "b" in C:\temp\new"#, r"C:\1", "x"][..],
            ),
            (r#""\\server\share\\",x"#, &[r"\server\share\", "x"]),
            ("\"a\\\nb\",x", &["a\\\nb", "x"]),
            // As Python's csv module writes it without doubled quotes.
            (r#"\"a\",He said \"no\",\\"#, &[r#""a""#, r#"He said "no""#, r"\"]),
            (r#"\"a\" b \"\",x"#, &[r#""a" b """#, "x"]),
            (r#"\"a"b,x"#, &[r#""a"b"#, "x"]),
            (r"C:\new,\n,\", &[r"C:\new", r"\n", r"\"]),
            // Doubled quotes beside it.
            (r#""a ""b"" \"c\"",x"#, &[r#"a "b" "c""#, "x"]),
        ] {
            assert_eq!(fields(text), expected, "{text}");
        }
    }

    #[test]
    fn a_table_without_backslashes_stays_byte_for_byte() {
        let text = "text,label\r\n\"a, \"\"b\"\"\nc\",x\n , \"y\"\n";
        let mut read = Vec::new();
        Escapes::reader(text.as_bytes(), b',').read_to_end(&mut read).unwrap();
        assert_eq!(read, text.as_bytes());
    }
}
