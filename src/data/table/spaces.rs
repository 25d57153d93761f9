//! White space before a quote that opens a field: `a, "b, c"`, as people and some programs write it. A reader
//! of RFC 4180 takes such quotes for letters, and the delimiter between them for one.

use std::io::{self, Read};

use super::made::{Made, Source};
use super::reading::Quoting;
use super::scan::Dialect;

/// Bytes that are looked at together.
const CHUNK: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field that is no white space.
    Start,
    Bare,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Behind a quote in quotes.
    Closed,
}

/// The walk.
struct Walk {
    dialect: Dialect,
    state: State,
    /// White space that begins the field and is in no output.
    held: Vec<u8>,
}

impl Walk {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::Start, held: Vec::new() }
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        let delimiter = self.dialect.delimiter;
        if self.state == State::Start && matches!(byte, b' ' | b'\t') && byte != delimiter {
            self.held.push(byte);
            return;
        }
        if self.state == State::Start && byte == b'"' {
            self.held.clear();
        }
        output.append(&mut self.held);
        output.push(byte);
        let ends = byte == delimiter || matches!(byte, b'\n' | b'\r');
        let escapes = self.dialect.quoting == Quoting::Backslash && byte == b'\\';
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) if escapes => State::Escaped,
            (State::Quoted | State::Escaped, _) => State::Quoted,
            (State::Start | State::Closed, b'"') => State::Quoted,
            (_, _) if ends => State::Start,
            (State::Closed, _) => State::Closed,
            (_, _) => State::Bare,
        };
    }
}

/// The text without such white space; `None` where there is none.
pub(super) fn without(text: &[u8], dialect: Dialect) -> Option<Vec<u8>> {
    let may = text.windows(2).any(|pair| matches!(pair, [b' ' | b'\t', b'"']));
    if !may || dialect.quoting == Quoting::None {
        return None;
    }
    let (mut walk, mut output) = (Walk::new(dialect), Vec::with_capacity(text.len()));
    text.iter().for_each(|&byte| walk.byte(byte, &mut output));
    output.append(&mut walk.held);
    (output.len() < text.len()).then_some(output)
}

/// The same for a text that is read.
pub(super) struct WithoutSpaces<R> {
    inner: R,
    input: Vec<u8>,
    walk: Walk,
}

impl<R: Read> WithoutSpaces<R> {
    pub(super) fn reader(inner: R, dialect: Dialect) -> Made<Self> {
        Made::new(Self { inner, input: vec![0; CHUNK], walk: Walk::new(dialect) })
    }
}

impl<R: Read> Source for WithoutSpaces<R> {
    fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        let count = self.inner.read(&mut self.input)?;
        self.input[..count].iter().for_each(|&byte| self.walk.byte(byte, output));
        if count == 0 {
            output.append(&mut self.walk.held);
        }
        Ok(count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_before_an_opening_quote_goes() {
        for (text, expected) in [
            ("a, \"b, c\"\n", Some("a,\"b, c\"\n")),
            (" \"a\",\t \"b\"", Some("\"a\",\"b\"")),
            ("\"a\"\"\n, \"\"b\", \"c\"\r\n", Some("\"a\"\"\n, \"\"b\",\"c\"\r\n")),
            ("a, b, \"c\"", Some("a, b,\"c\"")),
            ("she said \"no\", twice", None),
            ("\"a, \"\"b\"\"\",c", None),
            ("a, b", None),
            ("", None),
        ] {
            let dialect = Dialect { delimiter: b',', quoting: Quoting::Double };
            let found = without(text.as_bytes(), dialect);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text}");
            let mut read = Vec::new();
            WithoutSpaces::reader(text.as_bytes(), dialect).read_to_end(&mut read).unwrap();
            assert_eq!(read, expected.unwrap_or(text).as_bytes(), "{text}");
        }
        let tabs = Dialect { delimiter: b'\t', quoting: Quoting::Double };
        assert_eq!(without(b"a\t \"b\"", tabs).unwrap(), b"a\t\"b\"");
        assert_eq!(without(b"a\t\"b\"", tabs), None);
        assert_eq!(without(b"a, \"b\"", Dialect { quoting: Quoting::None, ..tabs }), None);
    }
}
