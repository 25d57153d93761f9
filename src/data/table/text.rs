//! From the bytes of a text file to UTF-8: unpacked, decoded, without byte order marks.

use std::io::{self, Cursor, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

use super::error::TableError;
use super::foreign;
use super::gzip::Members;
use super::made::{Made, Source};
use super::marks::WithoutMarks;
use super::reading::Reading;

/// How much is looked at to tell what a file is.
const LOOK: u64 = 1 << 12;

/// A text that is read as UTF-8.
pub(super) struct Utf8 {
    pub reader: Box<dyn Read + Send>,
    /// What was done to the bytes, for people.
    pub done: Vec<String>,
}

/// Looks at the first bytes. `name` stands for the file in messages.
pub(super) fn open(
    reader: Box<dyn Read + Send>,
    reading: &Reading,
    name: &str,
) -> Result<Utf8, TableError> {
    let failed = |source| TableError::Read { path: name.to_owned(), source };
    let (mut head, mut reader) = peek(reader).map_err(failed)?;
    let mut done = Vec::new();
    if head.starts_with(b"\x1f\x8b") {
        (head, reader) = peek(Box::new(Members::new(reader))).map_err(failed)?;
        done.push("decompressed with gzip".to_owned());
    }
    if let Some(found) = foreign::of_bytes(&head) {
        return Err(TableError::OtherFormat { path: name.to_owned(), found });
    }
    let marked = Encoding::for_bom(&head);
    let asked = reading.encoding();
    let encoding = match (marked, asked) {
        // `utf-16` names both orders of the bytes, and the mark says which.
        (Some((marked, _)), Some(asked)) if marked == asked || both_utf16(marked, asked) => {
            Some(marked)
        }
        (Some((marked, _)), asked) if marked == encoding_rs::UTF_8 => {
            done.extend(asked.map(|asked| {
                format!("read as UTF-8, as its byte order mark says, not as {}", asked.name())
            }));
            None
        }
        (Some((marked, _)), _) => return Err(not_utf8(name, marked)),
        (None, Some(asked)) => Some(asked),
        (None, None) => match without_mark(&head) {
            Some(found) => return Err(not_utf8(name, found)),
            None => None,
        },
    };
    if let Some((_, length)) = marked {
        reader.read_exact(&mut vec![0; length]).map_err(failed)?;
    }
    if let Some(encoding) = encoding {
        done.push(format!("decoded from {}", encoding.name()));
        reader = Box::new(Decoded::reader(reader, encoding));
    }
    Ok(Utf8 { reader: Box::new(WithoutMarks::reader(reader)), done })
}

fn both_utf16(one: &'static Encoding, other: &'static Encoding) -> bool {
    [one, other].iter().all(|&encoding| encoding == UTF_16LE || encoding == UTF_16BE)
}

type Reader = Box<dyn Read + Send>;

/// The first bytes, and all of them to be read.
pub(super) fn peek(mut reader: Reader) -> io::Result<(Vec<u8>, Reader)> {
    let mut head = Vec::new();
    reader.by_ref().take(LOOK).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(reader);
    Ok((head, Box::new(whole)))
}

/// UTF-16 without its mark has zeros, which no text in UTF-8 has.
fn without_mark(head: &[u8]) -> Option<&'static Encoding> {
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    let half = head.len() / 2;
    match (zeros(0), zeros(1)) {
        (0, high) if high > 0 && 2 * high > half => Some(UTF_16LE),
        (high, 0) if high > 0 && 2 * high > half => Some(UTF_16BE),
        _ => None,
    }
}

fn not_utf8(name: &str, found: &'static Encoding) -> TableError {
    TableError::Encoding { path: name.to_owned(), found: found.name().to_lowercase() }
}

/// Refuses a run of NUL in a record: the rest of a row and those behind it may have stood there. A single one may be
/// a character of the text.
pub(super) fn refuse_nul(bytes: &[u8], name: &str, line: u64) -> Result<(), TableError> {
    if !bytes.contains(&0) {
        return Ok(());
    }
    let count = bytes.split(|&byte| byte != 0).map(<[u8]>::len).max().unwrap_or(0);
    match count {
        0 | 1 => Ok(()),
        _ => Err(TableError::Nul { path: name.to_owned(), line, count }),
    }
}

/// What a line that is not UTF-8 reads like in the encoding of Western Windows, for a message.
pub(super) fn guess(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let place = std::str::from_utf8(bytes).err().map_or(0, |error| error.valid_up_to());
    let start = place.saturating_sub(SHOWN / 2);
    let shown = &bytes[start..(place + SHOWN).min(bytes.len())];
    // What looks like the mark of another encoding is no such thing here.
    let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(shown);
    text.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

/// What another encoding says, in UTF-8.
struct Decoded {
    inner: Reader,
    decoder: Decoder,
    input: Vec<u8>,
}

impl Decoded {
    fn reader(inner: Reader, encoding: &'static Encoding) -> Made<Self> {
        let decoder = encoding.new_decoder_without_bom_handling();
        Made::new(Self { inner, decoder, input: Vec::new() })
    }
}

impl Source for Decoded {
    fn fill(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        let before = self.input.len();
        self.inner.by_ref().take(1 << 16).read_to_end(&mut self.input)?;
        let last = self.input.len() == before;
        let room = self.decoder.max_utf8_buffer_length(self.input.len()).unwrap_or(1 << 18);
        output.resize(room, 0);
        let (result, read, written, replaced) =
            self.decoder.decode_to_utf8(&self.input, output, last);
        if replaced {
            let what = format!(
                "bytes that are not valid {}; set `data.encoding` (`--encoding`) to the encoding \
                 of the file",
                self.decoder.encoding().name()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.input.drain(..read);
        output.truncate(written);
        Ok(last && result == CoderResult::InputEmpty)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8], encoding: &str) -> Result<String, String> {
        let reading = Reading { encoding: encoding.to_owned(), ..Reading::default() };
        let opened = open(Box::new(Cursor::new(bytes.to_vec())), &reading, "a.csv");
        let mut text = String::new();
        let mut reader = opened.map_err(|error| error.to_string())?.reader;
        reader.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn utf16(text: &str, little: bool) -> Vec<u8> {
        let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf8_comes_with_and_without_a_mark_and_packed() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all("\u{feff}größer".as_bytes()).unwrap();
        for bytes in ["größer".as_bytes(), "\u{feff}größer".as_bytes(), &packer.finish().unwrap()]
        {
            assert_eq!(read(bytes, "").unwrap(), "größer");
        }
    }

    #[test]
    fn a_mark_of_utf8_is_followed_and_told_where_another_encoding_is_named() {
        let done = |encoding: &str| {
            let reading = Reading { encoding: encoding.to_owned(), ..Reading::default() };
            let bytes = "\u{feff}größer".as_bytes().to_vec();
            open(Box::new(Cursor::new(bytes)), &reading, "a.csv").unwrap().done
        };
        for (encoding, expected) in
            [("windows-1252", true), ("utf-16", true), ("utf-8", false), ("", false)]
        {
            let told = done(encoding).iter().any(|said| said.contains("byte order mark says"));
            assert_eq!(told, expected, "{encoding}");
            assert_eq!(read("\u{feff}größer".as_bytes(), encoding).unwrap(), "größer");
        }
    }

    #[test]
    fn another_encoding_is_read_where_it_is_named() {
        // What looks like the mark of UTF-16 is two letters in the middle of a file.
        assert_eq!(guess(b"\xff\xfe bad"), "ÿþ bad");
        assert_eq!(guess(b"\xfe\xff bad"), "þÿ bad");
        assert_eq!(read(b"caf\xe9 \x80 5", "windows-1252").unwrap(), "café € 5");
        assert_eq!(read(b"caf\xe9", "latin1").unwrap(), "café");
        for little in [true, false] {
            let label = if little { "utf-16le" } else { "utf-16be" };
            let text = "größer, 大".repeat(20_000);
            assert_eq!(read(&utf16(&text, little), label).unwrap(), text);
            assert_eq!(read(&utf16(&format!("\u{feff}{text}"), little), label).unwrap(), text);
        }
        assert!(read(b"\xff\x00\xd8", "utf-16le").unwrap_err().contains("data.encoding"));
    }

    #[test]
    fn utf16_is_found_out_and_refused_with_the_key() {
        for text in ["\u{feff}text,label", "text,label\nplain,1\n"] {
            for little in [true, false] {
                let message = read(&utf16(text, little), "").unwrap_err();
                let expected = if little { "utf-16le" } else { "utf-16be" };
                assert!(
                    message.contains(expected) && message.contains("data.encoding"),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn utf32_is_refused_by_its_name_with_and_without_a_mark() {
        for text in ["\u{feff}text,label\n", "text,label\ngrößer 🎬,1\n", "大事な,1\n"] {
            for little in [true, false] {
                let bytes = |c: char| {
                    if little { u32::from(c).to_le_bytes() } else { u32::from(c).to_be_bytes() }
                };
                let bytes: Vec<u8> = text.chars().flat_map(bytes).collect();
                let message = read(&bytes, "").unwrap_err();
                assert!(message.contains("UTF-32") && message.contains("UTF-8"), "{message}");
            }
        }
    }
}
