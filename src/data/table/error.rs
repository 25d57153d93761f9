//! What can be wrong with a table.

use std::io;

use parquet::errors::ParquetError;

use super::columns::SAMPLE_ROWS;

/// Why a table could not be read, understood or written. `path` is the file as the caller named
/// it, or the name given to a stream; `line` is the 1-based line where the record begins.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file name does not say what the file holds.
    #[error(
        "`{path}` has {found}: expected `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.ndjson`{hint}"
    )]
    UnknownFormat {
        /// The file.
        path: String,
        /// Its extension, in words.
        found: String,
        /// What may have been meant; may be empty.
        hint: &'static str,
    },
    /// The name of an output promises a packed file.
    #[error("`{path}` would not be packed, since tables are written plain: name it `{plain}`")]
    PackedOutput {
        /// The file.
        path: String,
        /// A name that is possible.
        plain: String,
    },
    /// Parquet has its directory at the end, so it cannot be read from a stream.
    #[error("`{path}` is a stream, and Parquet can only be read from a file")]
    NotAFile {
        /// The stream.
        path: String,
    },
    /// A pipe or a device, which may never end.
    #[error(
        "`{path}` is {found} and no regular file: write it to a file first, or give it to the command's \
         standard input"
    )]
    NotRegular {
        /// The place.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// The file holds something else than its name says.
    #[error("`{path}` is {found}")]
    OtherFormat {
        /// The file.
        path: String,
        /// What it is, and what to do.
        found: &'static str,
    },
    /// A text file in an encoding that nobody named.
    #[error(
        "`{path}` is not UTF-8 but {found}: set `data.encoding` (`--encoding`) to `{found}`, or save the file again as \
         UTF-8"
    )]
    Encoding {
        /// The file.
        path: String,
        /// The encoding's label.
        found: String,
    },
    /// A quote that closes nothing, or is never closed.
    #[error(
        "`{path}` line {line}: {what}; a quote inside a quoted field is written `\"\"`; where quotes mean \
         nothing in this file, set `data.quoting` to `none`"
    )]
    Quote {
        /// The file.
        path: String,
        /// Where the record begins.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// What is said of the file cannot be.
    #[error("{0}")]
    Reading(String),
    /// The file could not be opened or read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("`{path}` is empty: {expected}")]
    Empty {
        /// The file.
        path: String,
        /// What it should begin with.
        expected: &'static str,
    },
    /// A header of one column that contains another delimiter.
    #[error(
        "`{path}` has the single column `{column}`: the fields of this format are separated by \
         {delimiter}; set `data.delimiter` to another, or `data.header` to `no` if this is a row"
    )]
    Delimiter {
        /// The file.
        path: String,
        /// The only column.
        column: String,
        /// The delimiter of the format, in words.
        delimiter: &'static str,
    },
    /// The first line is a title or a comment.
    #[error(
        "`{path}` line {line} (`{text}`) does not have the names of the columns: {why}; remove titles, comments \
         and other lines before the names"
    )]
    NotTheNames {
        /// The file.
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
        /// The file.
        path: String,
        /// The first line that is not empty.
        line: u64,
        /// Its fields.
        width: usize,
        /// What stands between them.
        delimiter: char,
    },
    /// Lines that are no table.
    #[error(
        "`{path}` line {line} has another number of fields than the first line, as many lines have, and the \
         first line has no well-known names: if each line is one text, its `{delimiter}` separates nothing, \
         so set `data.delimiter` (`--delimiter`) to a character that is in none of them; if the first line \
         does have names, set `data.header` (`--header`) to `yes`"
    )]
    Ragged {
        /// The file.
        path: String,
        /// The first such line.
        line: u64,
        /// What was taken for the delimiter.
        delimiter: char,
    },
    /// A record has more or fewer fields than the header.
    #[error(
        "`{path}` line {line} has {found} fields, the first line has {expected}: a field that contains \
         the delimiter, a line break or a quote stands in `\"`, with `\"\"` for a quote inside"
    )]
    FieldCount {
        /// The file.
        path: String,
        /// Where the record begins.
        line: u64,
        /// Columns in the header.
        expected: usize,
        /// Fields in the record.
        found: usize,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "`{path}` line {line}, {place}: not UTF-8; as windows-1252 it reads `{reads}`: if that is right, \
         set `data.encoding` (`--encoding`) to `windows-1252`, else to the encoding of the file, or save it \
         again as UTF-8"
    )]
    NotUtf8 {
        /// The file.
        path: String,
        /// Where the record begins.
        line: u64,
        /// The column or byte.
        place: String,
        /// What it is in another encoding.
        reads: String,
    },
    /// Broken JSON.
    #[error("`{path}` line {line}, character {column}: {what}; one whole JSON object a line")]
    Json {
        /// The file.
        path: String,
        /// The line.
        line: u64,
        /// The position in the line, in bytes from 1.
        column: usize,
        /// What the parser said.
        what: String,
    },
    /// A line of JSON that is not an object.
    #[error(
        "`{path}` line {line}: expected a JSON object such as `{{\"text\": …}}`, found {found}; write one \
         object a line, and remove comments and other lines"
    )]
    NotAnObject {
        /// The file.
        path: String,
        /// The line.
        line: u64,
        /// What stands there.
        found: String,
    },
    /// A file that is no Parquet file, is cut short or damaged, or uses what we cannot read.
    #[error("`{path}` cannot be read as Parquet{place}: {hint}")]
    Parquet {
        /// The file.
        path: String,
        /// The row, in words; empty for the file as a whole.
        place: String,
        /// What to do.
        hint: &'static str,
        /// What the decoder said.
        #[source]
        source: ParquetError,
    },
    /// Files that are read as one have different columns.
    #[error("`{path}` has other columns than `{first}`: files of one split must have the same")]
    OtherColumns {
        /// The file.
        path: String,
        /// The first file of the split.
        first: String,
    },
    /// A column that was asked for by name is not there.
    #[error("there is no column `{name}` (`{key}`){suggestion}; the columns are {columns}")]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The configuration key that asked.
        key: &'static str,
        /// `, did you mean …`, or empty.
        suggestion: String,
        /// All columns.
        columns: String,
    },
    /// A name that is needed once occurs more than once.
    #[error(
        "several columns are called `{name}`, and it is not known which is meant: give each another name in \
         the file's line of names"
    )]
    RepeatedColumn {
        /// The name.
        name: String,
    },
    /// The labels are answers of a model.
    #[error(
        "the column `{label}` has answers of `bayes predict`, as `{first}` and `{last}` beside it show: set \
         `data.label_column` (`--label-column`) to {truth}, or to `{label}` to take the answers for labels"
    )]
    Answers {
        /// The column.
        label: String,
        /// One column that only answers have.
        first: &'static str,
        /// Another one.
        last: &'static str,
        /// Where the true labels are, in words.
        truth: String,
    },
    /// One column was asked for in two roles.
    #[error("the column `{name}` cannot be both `{first}` and `{second}`")]
    SameColumn {
        /// The column.
        name: String,
        /// One key.
        first: &'static str,
        /// The other key.
        second: &'static str,
    },
    /// No column looks like what is needed.
    #[error("no column looks like the {role}: set `{key}` to one of {columns}")]
    NoColumn {
        /// `text` or `label`.
        role: &'static str,
        /// The configuration key that settles it.
        key: &'static str,
        /// All columns.
        columns: String,
    },
    /// A table of one column, where a text and a label are needed.
    #[error(
        "the table has one column, `{name}`, and a text and a label are needed: in a text file, set \
         `data.delimiter` (`--delimiter`) if something else than a comma, a tab, `;` or `|` stands between \
         them; in JSON Lines, one of the first {rows} objects must have the key of the label",
        rows = SAMPLE_ROWS
    )]
    OneColumn {
        /// Its name, or the beginning of it.
        name: String,
    },
    /// Several columns could be meant.
    #[error("several columns could be the {role}: set `{key}` to one of {candidates}")]
    AmbiguousColumn {
        /// `text` or `label`.
        role: &'static str,
        /// The configuration key that settles it.
        key: &'static str,
        /// The columns that could be meant.
        candidates: String,
    },
    /// Pairs where single texts are read.
    #[error(
        "`{first}` and `{second}` are the columns of a pair, and the model reads single texts: name the column \
         of the text alone with `data.text_column` (`--text-column`)"
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
    #[error("a row for `{path}` has {found} values, the table has {expected} columns")]
    RowLength {
        /// The file that was to appear.
        path: String,
        /// Columns of the table.
        expected: usize,
        /// Values in the row.
        found: usize,
    },
    /// A value to be written does not fit its column.
    #[error("the column `{column}` of `{path}` takes {expected}, found {found}")]
    Kind {
        /// The file that was to appear.
        path: String,
        /// The column.
        column: String,
        /// What the column takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
}

impl TableError {
    /// Whether one row is bad and those behind it can be read.
    pub fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::FieldCount { .. }
                | Self::NotUtf8 { .. }
                | Self::Quote { .. }
                | Self::Json { .. }
                | Self::NotAnObject { .. }
        )
    }

    /// The line of a bad row.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::FieldCount { line, .. }
            | Self::NotUtf8 { line, .. }
            | Self::Quote { line, .. }
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
