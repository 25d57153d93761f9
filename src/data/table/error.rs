//! What can be wrong with a table.

use std::io;

use parquet::errors::ParquetError;

use super::columns::SAMPLE_ROWS;
use super::meant::Meant;

/// Why a table could not be read, understood or written. `path` is the file as the caller named
/// it, or the name given to a stream; `line` is the 1-based line where the record begins.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file name does not say what the file holds.
    #[error("`{path}` has {found}; use `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.ndjson`{hint}")]
    UnknownFormat {
        path: String,
        /// Its extension, in words.
        found: String,
        /// What may have been meant; may be empty.
        hint: &'static str,
    },
    /// The name of an output promises a packed file.
    #[error(
        "`{path}` would not be compressed, because tables are written uncompressed; name it \
         `{plain}`"
    )]
    PackedOutput {
        path: String,
        /// A name that is possible.
        plain: String,
    },
    /// Parquet has its directory at the end, so it cannot be read from a stream.
    #[error("`{path}` is a stream, but Parquet can only be read from a file")]
    NotAFile { path: String },
    /// A pipe or a device, which may never end.
    #[error(
        "`{path}` is {found}, not a regular file; write it to a file first, or pipe it to the \
         command's standard input"
    )]
    NotRegular { path: String, found: &'static str },
    /// The file holds something else than its name says.
    #[error("`{path}` is {found}")]
    OtherFormat {
        path: String,
        /// What it is, and what to do.
        found: &'static str,
    },
    /// A text file in an encoding that nobody named.
    #[error(
        "`{path}` is not UTF-8 but {found}; set `data.encoding` (`--encoding`) to `{found}`, or \
         save the file as UTF-8"
    )]
    Encoding { path: String, found: String },
    /// A quote that closes nothing, or is never closed.
    #[error(
        "`{path}` line {line}: {what}; write a quote inside a quoted field as `\"\"`, or set \
         `data.quoting` to `none` if quotes have no special meaning in this file"
    )]
    Quote {
        path: String,
        /// Where the record begins.
        line: u64,
        what: &'static str,
    },
    /// A quoted field with rows in it.
    #[error(
        "`{path}` line {line}: the quoted field that begins here has {lines} lines, which look like \
         rows of the table; correct the quote that is one too many or too few, or set \
         `data.quoting` to `none` (`--quoting none`) if quotes have no special meaning in this \
         file, or to `double` if the lines are one text"
    )]
    Swallowed {
        path: String,
        /// Where the record begins.
        line: u64,
        /// Lines in the field.
        lines: usize,
    },
    /// What is said of the file cannot be.
    #[error("{0}")]
    Reading(String),
    #[error("file `{path}` not found")]
    NotThere { path: String },
    /// The file could not be opened or read.
    #[error("cannot read `{path}`")]
    Read {
        path: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("`{path}` is empty; {expected}")]
    Empty {
        path: String,
        /// What it should begin with.
        expected: &'static str,
    },
    /// A header of one column that contains another delimiter.
    #[error(
        "`{path}` has only one column, `{column}`, and this format separates fields by \
         {delimiter}; set `data.delimiter` to a different one, or `data.header` to `no` if this is \
         a row"
    )]
    Delimiter {
        path: String,
        column: String,
        /// The delimiter of the format, in words.
        delimiter: &'static str,
    },
    /// The first line is a title or a comment.
    #[error(
        "`{path}` line {line} (`{text}`) does not contain the column names: {why}; remove titles, \
         comments and other lines before the names"
    )]
    NotTheNames {
        path: String,
        /// The first line that is not empty.
        line: u64,
        /// What it says, or its beginning.
        text: String,
        /// How that is known.
        why: String,
    },
    /// The names of the columns are one fewer than the fields of the rows.
    #[error(
        "`{path}` line {line} has {width} fields and the lines behind it have {}: if the rows begin with row names, \
         as R writes them, write a name for them before the others (`row{}…`); if they end with {}, remove it \
         there or write one at the end of line {line}; if it is a title, remove it",
        width + 1,
        visible(*delimiter),
        if *delimiter == '\t' { "a tab".to_owned() } else { format!("`{delimiter}`") }
    )]
    OneNameLess {
        path: String,
        /// The first line that is not empty.
        line: u64,
        width: usize,
        /// What stands between them.
        delimiter: char,
    },
    /// Lines that are no table.
    #[error(
        "`{path}` line {line} and many other lines have a different number of fields than the \
         first line, which has no well-known column names; if each line is one text in which \
         `{delimiter}` separates nothing, set `data.delimiter` (`--delimiter`) to a character that \
         does not occur; if the first line does contain the column names, set `data.header` \
         (`--header`) to `yes`"
    )]
    Ragged {
        path: String,
        /// The first such line.
        line: u64,
        /// What was taken for the delimiter.
        delimiter: char,
    },
    /// A record has more or fewer fields than the header.
    #[error(
        "`{path}` line {line} has {found} fields, but the first line has {expected}{}",
        match meant {
            Some(Meant::Header) => format!("; {}", Meant::Header),
            Some(meant) => format!(" ({meant}){QUOTES}"),
            None => QUOTES.to_owned(),
        }
    )]
    FieldCount {
        path: String,
        /// Where the record begins.
        line: u64,
        /// Columns in the header.
        expected: usize,
        /// Fields in the record.
        found: usize,
        /// How they may be as many as in the header.
        meant: Option<Meant>,
    },
    /// The place of a word in a sentence that is none.
    #[error(
        "`{path}` {} {line}: `start` and `end` of the word are no places in `{sentence}`; get an \
         undamaged copy of the data set",
        super::unit(path)
    )]
    Word { path: String, line: u64, sentence: &'static str },
    /// Bytes that are not UTF-8.
    #[error(
        "`{path}` line {line}, {place}: not UTF-8; decoded as windows-1252 it reads \
         `{reads}`; if that looks right, set `data.encoding` (`--encoding`) to `windows-1252`; \
         otherwise set it to the file's actual encoding, or save the file as UTF-8"
    )]
    NotUtf8 {
        path: String,
        /// Where the record begins.
        line: u64,
        /// The column or byte.
        place: String,
        /// What it is in another encoding.
        reads: String,
    },
    /// A run of NUL, where a part of the file is lost.
    #[error(
        "`{path}` line {line}: {count} NUL bytes in a row, as a damaged disk or a broken copy leaves \
         them; rows may be lost there; get an undamaged copy of the file; if nothing is lost, remove \
         the bytes (`tr -d '\\0'`)"
    )]
    Nul {
        path: String,
        /// Where the record begins.
        line: u64,
        /// The length of the longest run.
        count: usize,
    },
    #[error(
        "`{path}` line {line}, character {column}: {what}; each line must be one complete JSON \
         object"
    )]
    Json {
        path: String,
        line: u64,
        /// The position in the line, in bytes from 1.
        column: usize,
        /// What the parser said.
        what: String,
    },
    /// A line of JSON that is not an object.
    #[error(
        "`{path}` line {line}: expected a JSON object such as `{{\"text\": …}}`, found {found}; \
         write one object per line, and remove comments and other lines"
    )]
    NotAnObject { path: String, line: u64, found: String },
    /// A file that is no Parquet file, is cut short or damaged, or uses what we cannot read.
    #[error("`{path}` cannot be read as Parquet{place}: {hint}")]
    Parquet {
        path: String,
        /// The row, in words; empty for the file as a whole.
        place: String,
        hint: &'static str,
        /// What the decoder said.
        #[source]
        source: ParquetError,
    },
    /// Files that are read as one have different columns.
    #[error(
        "`{path}` has different columns than `{first}`; all files of a split must have the same \
         columns"
    )]
    OtherColumns {
        path: String,
        /// The first file of the split.
        first: String,
    },
    /// A file that was joined from others whose columns stand in another order.
    #[error(
        "{place} has the column names in another order ({names}): the rows after it would be read \
         in the wrong columns; write them to a file of their own, or bring the columns into one \
         order"
    )]
    OtherOrder {
        /// File and line.
        place: String,
        names: String,
    },
    /// A column that was asked for by name is not there.
    #[error("column `{name}` (`{key}`) not found{suggestion} available columns: {columns}")]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The configuration key that asked.
        key: &'static str,
        /// `, did you mean …`, or empty.
        suggestion: String,
        columns: String,
    },
    /// A name that is needed once occurs more than once.
    #[error(
        "several columns are called `{name}`, so it is unclear which one you mean; give each a \
         different name in the file's header line"
    )]
    RepeatedColumn { name: String },
    /// The labels are answers of a model.
    #[error(
        "the column `{label}` contains predictions of `bayes predict`, as the columns `{first}` \
         and `{last}` show; set `data.label_column` (`--label-column`) to {truth}, or to `{label}` \
         to use the predictions as labels"
    )]
    Answers {
        label: String,
        /// One column that only answers have.
        first: &'static str,
        last: &'static str,
        /// Where the true labels are, in words.
        truth: String,
    },
    /// One column was asked for in two roles.
    #[error("the column `{name}` cannot be both `{first}` and `{second}`")]
    SameColumn { name: String, first: &'static str, second: &'static str },
    /// No column looks like what is needed.
    #[error("cannot tell which column holds the {role}; set `{key}` to one of {columns}")]
    NoColumn {
        /// `text` or `label`.
        role: &'static str,
        /// The configuration key that settles it.
        key: &'static str,
        columns: String,
    },
    /// A table of one column, where a text and a label are needed.
    #[error(
        "the table has only one column, `{name}`, but a text and a label are needed; for text \
         files, set `data.delimiter` (`--delimiter`) if the fields are not separated by a comma, a \
         tab, `;` or `|`; for JSON Lines, at least one of the first {rows} objects must contain \
         the label key",
        rows = SAMPLE_ROWS
    )]
    OneColumn {
        /// Its name, or the beginning of it.
        name: String,
    },
    /// Several columns could be meant.
    #[error("several columns could be the {role}; set `{key}` to one of {candidates}")]
    AmbiguousColumn {
        /// `text` or `label`.
        role: &'static str,
        /// The configuration key that settles it.
        key: &'static str,
        /// The columns that could be meant.
        candidates: String,
    },
    /// Every field is in single quotes.
    #[error(
        "every field of `{path}` is in single quotes, which `bayes` reads as letters of the text; write the file \
         with double quotes, or set `data.quoting` (`--quoting`) to `none` to keep them"
    )]
    SingleQuotes { path: String },
    /// A table without column names whose columns seem to be in another order than those of the table before it.
    #[error(
        "the {role} was in `{usual}` of a table without column names; this table has none either, and its {role} seems \
         to be in `{seems}`; say which it is with `{key}`"
    )]
    OtherNumber {
        /// `text` or `label`.
        role: &'static str,
        /// The configuration key that settles it.
        key: &'static str,
        /// The column of that number.
        usual: String,
        /// What the content says.
        seems: String,
    },
    /// Pairs where single texts are read.
    #[error(
        "`{first}` and `{second}` form a pair, but the model classifies single texts; give only \
         the text column with `data.text_column` (`--text-column`)"
    )]
    PairOfColumns {
        /// The column of the first text.
        first: String,
        /// That of the second.
        second: String,
    },
    /// The file could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file that was to appear.
        path: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The Parquet encoder failed.
    #[error("cannot write `{path}` as Parquet")]
    WriteParquet {
        /// The file that was to appear.
        path: String,
        /// What the encoder said.
        #[source]
        source: ParquetError,
    },
    /// A row to be written has not one value for each column.
    #[error("a row for `{path}` has {found} values, but the table has {expected} columns")]
    RowLength {
        /// The file that was to appear.
        path: String,
        /// Columns of the table.
        expected: usize,
        /// Values in the row.
        found: usize,
    },
    /// A value to be written does not fit its column.
    #[error("the column `{column}` of `{path}` needs {expected}, found {found}")]
    Kind {
        /// The file that was to appear.
        path: String,
        column: String,
        /// What the column takes.
        expected: &'static str,
        found: &'static str,
    },
}

/// How a field holds what would end it.
const QUOTES: &str = "; put fields that contain the delimiter, a line break or a quote in `\"`, and write `\"\"` \
                      for a quote inside";

impl TableError {
    /// Whether one row is bad and those behind it can be read.
    pub fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::FieldCount { .. }
                | Self::NotUtf8 { .. }
                | Self::Nul { .. }
                | Self::Quote { .. }
                | Self::Swallowed { .. }
                | Self::Json { .. }
                | Self::NotAnObject { .. }
        )
    }

    /// The line of a bad row.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::FieldCount { line, .. }
            | Self::NotUtf8 { line, .. }
            | Self::Nul { line, .. }
            | Self::Quote { line, .. }
            | Self::Swallowed { line, .. }
            | Self::Json { line, .. }
            | Self::NotAnObject { line, .. } => Some(*line),
            _ => None,
        }
    }
}

/// `a`, `b`, `c`: the names as a message shows them; after the twentieth, how many more there are.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let rest = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// A delimiter as a person would type it.
fn visible(delimiter: char) -> String {
    if delimiter == '\t' { "\\t".to_owned() } else { delimiter.to_string() }
}
