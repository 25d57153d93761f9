//! A gzip file: one member or several, one after another.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

type Reader = Box<dyn Read + Send>;

/// The content of all members. Zeros after the last one, which fill up a block of a tape or a disk, are nothing.
pub(super) struct Members {
    /// `None` behind the end.
    decoder: Option<GzDecoder<BufReader<Reader>>>,
    /// Whether a member is complete.
    complete: bool,
}

impl Members {
    pub(super) fn new(reader: Reader) -> Self {
        Self { decoder: Some(GzDecoder::new(BufReader::new(reader))), complete: false }
    }

    /// Whether another member begins.
    fn next(&mut self, mut rest: BufReader<Reader>) -> io::Result<bool> {
        let mut filled = false;
        loop {
            let bytes = rest.fill_buf()?;
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            match bytes {
                [] => return Ok(false),
                [0, ..] => filled = true,
                [0x1f, ..] if !filled => {
                    self.decoder = Some(GzDecoder::new(rest));
                    return Ok(true);
                }
                _ => return Err(other_bytes()),
            }
            rest.consume(zeros);
        }
    }
}

/// What a decoder says of bytes that have no header.
const HEADLESS: [io::ErrorKind; 2] = [io::ErrorKind::InvalidInput, io::ErrorKind::UnexpectedEof];

fn other_bytes() -> io::Error {
    let what = "the compressed data are complete, but other bytes follow; remove them, or write \
                the file again with `gzip`";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let count = match decoder.read(buffer) {
                // What begins like a member may be none.
                Err(error)
                    if self.complete
                        && decoder.header().is_none()
                        && HEADLESS.contains(&error.kind()) =>
                {
                    return Err(other_bytes());
                }
                read => read?,
            };
            if count > 0 {
                return Ok(count);
            }
            self.complete = true;
            let finished = self.decoder.take().map(GzDecoder::into_inner);
            if !finished.map_or(Ok(false), |rest| self.next(rest))? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> Result<String, String> {
        let mut text = String::new();
        // As a pipe gives them, a few at a time.
        let pieces = BufReader::with_capacity(7, Cursor::new(bytes));
        let read = Members::new(Box::new(pieces)).read_to_string(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn members_are_one_text_and_zeros_after_them_are_none() {
        let two = [packed("one\n"), packed(""), packed("two\n")].concat();
        assert_eq!(read(two.clone()).unwrap(), "one\ntwo\n");
        for zeros in [1, 100, 20_000] {
            assert_eq!(read([two.clone(), vec![0; zeros]].concat()).unwrap(), "one\ntwo\n");
        }
    }

    #[test]
    fn bytes_after_a_complete_member_are_named_and_a_truncated_one_is_not_confused_with_them() {
        for more in [&b"\n"[..], b"text,label\n", b"\x1f", b"\x1fx", b"\0\0text", b"\0\x1f\x8b\x08"]
        {
            let error = read([&packed("one\n"), more].concat()).unwrap_err();
            assert!(error.contains("complete, but other bytes follow"), "{more:?} {error}");
        }
        let whole = packed("one\n");
        let truncated = &whole[..whole.len() - 3];
        for bytes in [&whole[..5], truncated, &[&whole[..], truncated].concat()] {
            let error = read(bytes.to_vec()).unwrap_err();
            assert!(!error.contains("complete"), "{error}");
        }
        let mut damaged = whole.clone();
        let sum = damaged.len() - 6;
        damaged[sum] ^= 1;
        for bytes in [damaged.clone(), [whole, damaged].concat()] {
            assert!(!read(bytes).unwrap_err().contains("complete"));
        }
    }
}
