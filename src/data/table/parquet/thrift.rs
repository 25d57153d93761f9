//! As much of Thrift's compact protocol as it takes to look at a structure before the `parquet` crate
//! builds anything from it: its numbers are a stranger's, and the crate takes memory by them.

use std::io::{self, Read};

/// How deep structures may lie in one another; those of Parquet reach a depth of ten.
const DEEPEST: u32 = 64;

/// Kinds of values.
pub(super) const I32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Bytes that are looked at one after another.
pub(super) struct Compact<R> {
    reader: R,
    read: u64,
    most: u64,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<R: Read> Compact<R> {
    /// Over at most so many bytes.
    pub(super) fn new(reader: R, most: u64) -> Self {
        Self { reader, read: 0, most }
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.read = self.read.saturating_add(bytes);
        if self.read > self.most { Err(damaged("it is longer than its place")) } else { Ok(()) }
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.count(1)?;
        let mut one = [0];
        self.reader.read_exact(&mut one)?;
        Ok(one[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number is longer than ten bytes"))
    }

    /// A whole number with a sign.
    pub(super) fn integer(&mut self) -> io::Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The kind and the number of the next field of a structure, `None` at its end; `last` is the number
    /// of the one before.
    pub(super) fn field(&mut self, last: &mut i64) -> io::Result<Option<(u8, i64)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = match head >> 4 {
            0 => self.integer()?,
            delta => last.saturating_add(i64::from(delta)),
        };
        Ok(Some((head & 0xf, *last)))
    }

    /// The kind of the items of a list, and how many there are: each takes a byte or more.
    pub(super) fn list(&mut self) -> io::Result<(u8, u64)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        if size > self.most - self.read {
            return Err(damaged("a list is longer than the remaining bytes"));
        }
        Ok((head & 0xf, size))
    }

    /// Passes over a value of a kind.
    pub(super) fn skip(&mut self, kind: u8) -> io::Result<()> {
        self.skip_inside(kind, 0)
    }

    fn skip_inside(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(damaged("structures are nested too deeply"));
        }
        match kind {
            // Truth values of fields stand in their heads.
            1 | 2 => Ok(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let (kind, size) = self.list()?;
                for _ in 0..size {
                    match kind {
                        1 | 2 => self.pass(1)?,
                        kind => self.skip_inside(kind, depth + 1)?,
                    }
                }
                Ok(())
            }
            11 => {
                let size = self.varint()?;
                if size > self.most - self.read {
                    return Err(damaged("a map is longer than the remaining bytes"));
                }
                let kinds = if size > 0 { self.byte()? } else { 0 };
                for _ in 0..size {
                    for kind in [kinds >> 4, kinds & 0xf] {
                        match kind {
                            1 | 2 => self.pass(1)?,
                            kind => self.skip_inside(kind, depth + 1)?,
                        }
                    }
                }
                Ok(())
            }
            STRUCT => {
                let mut last = 0;
                while let Some((kind, _)) = self.field(&mut last)? {
                    self.skip_inside(kind, depth + 1)?;
                }
                Ok(())
            }
            13 => self.pass(16),
            _ => Err(damaged("a value has an unknown type")),
        }
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        self.count(bytes)?;
        let passed = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink())?;
        if passed == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_every_kind_are_passed_over() {
        // A structure: true, a byte, -1, a double, a text, a list of two, a map of one, an empty structure.
        let bytes = [
            0x11, 0x13, 7, 0x15, 1, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x18, 2, b'a', b'b', 0x19, 0x25,
            2, 4, 0x1b, 1, 0x88, 1, b'k', 1, b'v', 0x1c, 0, 0,
        ];
        let mut compact = Compact::new(&bytes[..], bytes.len() as u64);
        compact.skip(STRUCT).unwrap();
        assert_eq!(compact.read(), bytes.len() as u64);
        let mut short = Compact::new(&bytes[..], bytes.len() as u64 - 1);
        assert!(short.skip(STRUCT).is_err());
    }

    #[test]
    fn sizes_beyond_the_bytes_and_endless_nesting_are_refused() {
        let claims = [0xf5, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(Compact::new(&claims[..], 6).list().is_err());
        let map = Compact::new(&claims[1..], 5).skip(11).unwrap_err();
        assert!(map.to_string().contains("a map is longer"), "{map}");
        let nested = vec![0x1c; 100_000];
        let refused = Compact::new(&nested[..], 100_000).skip(STRUCT).unwrap_err();
        assert!(refused.to_string().contains("too deep"), "{refused}");
        let long = [0x80; 11];
        assert!(Compact::new(&long[..], 11).integer().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_on(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut compact = Compact::new(&bytes[..], bytes.len() as u64);
            let _ = compact.skip(STRUCT);
        }
    }
}
