//! How a text table is written, as far as a person says so; the rest is found out.

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use super::Format;

const ENCODING: &str = "encoding";

/// How a field may hold delimiters, line breaks and quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quoting {
    /// Detected from the rows.
    #[default]
    Auto,
    /// In `"`, with `""` for a quote inside, as in spreadsheets and RFC 4180.
    Double,
    /// In `"`, with `\"` for a quote and `\\` for a backslash, also outside quotes. Another backslash
    /// stays.
    Backslash,
    /// Not at all: a quote is an ordinary character.
    None,
}

/// Whether the first line has the names of the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// Detected by comparison with the rows.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It is a row; the columns are named `column_1`, `column_2`, ….
    No,
}

/// What is said of a text table; the default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The encoding's label in the Encoding Standard, such as `windows-1252`; UTF-8 when empty.
    pub encoding: String,
    /// One character, or `tab`; found out when empty.
    pub delimiter: String,
    /// How fields are quoted.
    pub quoting: Quoting,
    /// Whether there is a header.
    pub header: Header,
    /// Names that a header may have besides those that are well known.
    pub names: Vec<String>,
}

impl Reading {
    /// How this crate writes a table: nothing is left to be found out.
    pub fn written(delimiter: char) -> Self {
        let delimiter = delimiter.to_string();
        Self { delimiter, quoting: Quoting::Double, header: Header::Yes, ..Self::default() }
    }

    /// The first key that cannot be, as a message that begins with it.
    pub fn check(&self) -> Result<(), String> {
        self.delimiter_byte()?;
        if self.encoding.is_empty() || Encoding::for_label(self.encoding.as_bytes()).is_some() {
            return Ok(());
        }
        Err(format!(
            "`data.encoding` is `{}`, which is not a known encoding; use a name from the Encoding \
             Standard, such as utf-8, utf-16le, windows-1252, windows-1251, shift_jis, gbk or \
             euc-kr",
            self.encoding
        ))
    }

    /// The keys that are set, that of the encoding last.
    pub fn keys(&self) -> Vec<&'static str> {
        let keys = [
            ("delimiter", !self.delimiter.is_empty()),
            ("quoting", self.quoting != Quoting::Auto),
            ("header", self.header != Header::Auto),
            (ENCODING, !self.encoding.is_empty()),
        ];
        keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
    }

    /// The first key that says nothing of a file in this format, as a message; `name` is the file's.
    pub fn check_for(&self, format: Format, name: &str) -> Result<(), String> {
        let refuse = |key: &str, of: &str, is: &str| {
            Err(format!("`data.{key}` (`--{key}`) applies to {of}, but {name} is {is}; remove it"))
        };
        match (format, self.keys().first().copied()) {
            (Format::Parquet, Some(ENCODING)) => refuse(ENCODING, "text files", "Parquet"),
            (Format::Parquet, Some(key)) => refuse(key, "CSV and TSV", "Parquet"),
            (Format::JsonLines, Some(key)) if key != ENCODING => {
                refuse(key, "CSV and TSV", "JSONL")
            }
            _ => Ok(()),
        }
    }

    /// The delimiter that was asked for.
    pub(super) fn delimiter_byte(&self) -> Result<Option<u8>, String> {
        match self.delimiter.as_bytes() {
            [] => Ok(None),
            b"tab" | b"\\t" => Ok(Some(b'\t')),
            [byte]
                if byte.is_ascii()
                    && !byte.is_ascii_alphanumeric()
                    && !b"\"\r\n".contains(byte) =>
            {
                Ok(Some(*byte))
            }
            _ => Err(format!(
                "`data.delimiter` is `{}`, which is not a valid delimiter; use one character such \
                 as `,` `;` `|`, or `tab`",
                self.delimiter
            )),
        }
    }

    /// The encoding that was asked for; `None` for UTF-8.
    pub(super) fn encoding(&self) -> Option<&'static Encoding> {
        let found = Encoding::for_label(self.encoding.as_bytes());
        found.filter(|&found| found != encoding_rs::UTF_8)
    }
}
