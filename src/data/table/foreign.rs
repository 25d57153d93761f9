//! What a file is that holds something else than its name says. A phrase each: what it is, and what to do.

use super::marks::MARK;

/// Lines that are looked at to tell objects from a text that begins like one.
const LINES: usize = 3;

/// What the first bytes say, whatever text was expected.
pub(super) fn of_bytes(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file; name it `.parquet`"),
        [b'P', b'K', 3, 4, ..] => {
            Some("a zip archive, as workbooks are; save the sheet as `.csv`, or unpack it")
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("compressed with zstd; decompress it first"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, ..] => {
            Some("compressed with bzip2; decompress it first")
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("compressed with xz; decompress it first"),
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => {
            Some("an old workbook or document, such as `.xls`; save the sheet as `.csv`")
        }
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("a PDF, but a table of texts is needed"),
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(UTF_32),
        head if is_utf32(head) => Some(UTF_32),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some("an Arrow file; save it as `.parquet`"),
        head => of_words(head.strip_prefix(MARK).unwrap_or(head).trim_ascii_start()),
    }
}

const UTF_32: &str = "a UTF-32 text, which is not supported; save it as UTF-8";

/// UTF-32 without its mark: of four bytes one or two are zero in every character, at the same end.
fn is_utf32(head: &[u8]) -> bool {
    let all = |test: fn(&[u8]) -> bool| head.len() >= 8 && head.chunks_exact(4).all(test);
    all(|unit| matches!(unit, [_, _, 0..=16, 0] if unit[..3] != [0; 3]))
        || all(|unit| matches!(unit, [0, 0..=16, _, _] if unit[1..] != [0; 3]))
}

/// What begins with words of its own.
fn of_words(text: &[u8]) -> Option<&'static str> {
    let begins = |words: &str| {
        text.get(..words.len()).is_some_and(|head| head.eq_ignore_ascii_case(words.as_bytes()))
    };
    let html = ["<!doctype html", "<html>", "<html "].into_iter().any(begins);
    let others = [
        (
            "version https://git-lfs",
            "a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`",
        ),
        ("<?xml", "an XML document; save its texts as `.csv` or `.jsonl`"),
        ("{\\rtf", "an RTF document; save its texts as `.csv` or `.jsonl`"),
        ("SQLite format 3\0", "an SQLite database; save the table as `.csv` or `.jsonl`"),
    ];
    if html {
        return Some(
            "an HTML page, as servers send instead of a file; download the file itself, or save \
             the texts as `.csv` or `.jsonl`",
        );
    }
    others.into_iter().find(|(words, _)| begins(words)).map(|(_, what)| what)
}

/// What a text is that should be delimited, or lines, and is JSON. A single cell or text may well be
/// JSON: lines that go on behind an object, or that are no objects, are none.
pub(super) fn json(text: &[u8]) -> Option<&'static str> {
    let text = text.trim_ascii_start();
    let array = text.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    if array.is_some_and(opens_object) {
        return Some(
            "a JSON array; write one object per line and name the file `.jsonl`, or use `--format \
             jsonl` for standard input",
        );
    }
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    let first = lines.peek().map_or(&b""[..], |line| line.trim_ascii());
    if first == b"{" && opens_object(text) {
        return Some(
            "a JSON object over several lines; write one object per line and name the file \
             `.jsonl`, or use `--format jsonl` for standard input",
        );
    }
    let mut lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).take(LINES);
    let is_object =
        |line: &[u8]| opens_object(line) && (line.ends_with(b"}") || line.ends_with(b"},"));
    let objects = !first.is_empty() && lines.all(is_object);
    objects.then_some(
        "JSON with one object per line; name it `.jsonl`, or use `--format jsonl` for standard \
         input",
    )
}

/// Whether a text begins with `{"`, with or without white space.
fn opens_object(text: &[u8]) -> bool {
    let inside = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| inside.starts_with(b"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_said() {
        for (bytes, what) in [
            (&b"PAR1\x00\x00"[..], "`.parquet`"),
            (b"PK\x03\x04\x14\x00", "sheet"),
            (b"\x28\xb5\x2f\xfd\x00", "zstd"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "`.csv`"),
            (b"%PDF-1.7", "PDF"),
            (b"<!DOCTYPE html>\n<html>", "HTML"),
            (b"\xef\xbb\xbf\r\n <!doctype HTML PUBLIC \"x\">", "HTML"),
            (b"<HTML lang=en>", "HTML"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "`git lfs pull`"),
            (b"<?xml version=\"1.0\"?>", "XML"),
            (b"{\\rtf1\\ansi", "RTF"),
            (b"SQLite format 3\0\x10", "SQLite"),
        ] {
            assert!(of_bytes(bytes).unwrap_or_default().contains(what), "{what}");
        }
        for text in ["text,label\n", "<b>bold</b>,1\n", "<htmlx>,1", "version,text\n", "", "{a},1"]
        {
            assert_eq!(of_bytes(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn json_is_told_from_texts_that_begin_like_it() {
        for (text, what) in [
            ("{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "one object per line"),
            ("\r\n { \"text\":\"a\" }\r\n\r\n{\"text\":\"b\"}", "one object per line"),
            ("{\"text\":\"a\"},\n{\"text\":\"b\"},\n", "one object per line"),
            ("{\"text\":\"a\"}", "one object per line"),
            ("[{\"text\":\"a\"},{\"text\":\"b\"}]", "array"),
            ("[\n  {\n    \"text\": \"a\"\n  }\n]\n", "array"),
            ("{\n  \"cells\": [\n  ]\n}\n", "over several lines"),
        ] {
            assert!(json(text.as_bytes()).unwrap_or_default().contains(what), "{text}");
        }
        for text in [
            "",
            "\n\n",
            "text,label\n{\"a\":1},x\n",
            "{\"a\":1}\tpos\n{\"b\":2}\tneg\n",
            "{\"a\"}\nthe router is broken\n",
            "{name}, my router is broken\n",
            "[{name}] my router\n",
            "{\n",
            "[1] a note\n",
            "\"{\"\"a\"\":1}\",x\n",
        ] {
            assert_eq!(json(text.as_bytes()), None, "{text}");
        }
    }
}
