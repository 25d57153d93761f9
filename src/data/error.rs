//! Why a data set cannot be used.

use std::path::PathBuf;

use super::{CacheError, TokenizerError, VocabularyError, split, table};
use crate::hub::HubError;

/// What can be wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The name is no data set.
    #[error("there is no data set, file or folder `{name}`;{suggestion} known names are `{known}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// ` did you mean …?`, or empty.
        suggestion: String,
        /// All known names.
        known: String,
    },
    /// A known data set that is not on this machine.
    #[error("data set `{name}` is not on this machine: fetch it with `bayes dataset fetch {name}`")]
    NotHere {
        /// Known name.
        name: &'static str,
        /// Its id on the Hub.
        hub_id: &'static str,
    },
    /// A known data set that is not on this machine, and does not come either.
    #[error(
        "data set `{name}` is not on this machine, and `{hub_id}` cannot be fetched from the Hub; you may \
         also put it into `BAYES_DATA_DIR` as `{name}/train.parquet` (or .csv, .tsv, .jsonl) with columns \
         `text` and `label`"
    )]
    NotFetched {
        /// Known name.
        name: &'static str,
        /// Its id on the Hub.
        hub_id: &'static str,
        /// Why not.
        source: Box<HubError>,
    },
    /// A Hub id of which nothing is in the cache.
    #[error(
        "data set `{id}` is neither a folder nor in the Hub's cache: `bayes dataset fetch {id}`"
    )]
    NotCached {
        /// The id.
        id: String,
    },
    /// The same, and it does not come either.
    #[error("there is no file or folder `{id}`, and no data set of that name comes from the Hub")]
    NotObtained {
        /// The id.
        id: String,
        /// Why not.
        source: Box<HubError>,
    },
    /// A name that the Hub cannot know.
    #[error("`{name}` is neither a known data set of the Hub nor an id such as `owner/name`")]
    NotOnHub {
        /// The name.
        name: String,
    },
    /// A repository without tables.
    #[error(
        "data set `{id}` has no `train` or `test` file that `bayes` reads (.parquet, .csv, .tsv or \
         .jsonl), and the Hub made none of it"
    )]
    NoTables {
        /// The id.
        id: String,
    },
    /// A repository with several data sets in it.
    #[error(
        "data set `{id}` has splits in several folders: choose one with \
         `bayes dataset fetch {id} --folder …` (`{folders}`)"
    )]
    ManyFolders {
        /// The id.
        id: String,
        /// The folders.
        folders: String,
    },
    /// The Hub.
    #[error(transparent)]
    Hub(#[from] Box<HubError>),
    /// A file whose rows can only be read in their order.
    #[error(
        "`{path}` is not Parquet, so its rows cannot be mixed without reading all: leave out `--shuffle`"
    )]
    NotMixed {
        /// The file.
        path: PathBuf,
    },
    /// A stream of a file whose rows stand in no groups.
    #[error(
        "`{path}` is not Parquet, so it cannot be streamed: leave out `data.streaming`, or write it as \
         Parquet"
    )]
    NotStreamed {
        /// The file.
        path: PathBuf,
    },
    /// A stream of rows of which a person accepted some.
    #[error(
        "`{path}`: the column `{column}` says which rows a person accepted, and a stream takes all: leave out \
         `data.streaming`, or write the accepted rows to a file of their own"
    )]
    StreamedVerdicts {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// An address of data that are to be held in memory.
    #[error(
        "`{url}` is an address: it can be streamed with `--set data.streaming=true`, or downloaded first"
    )]
    Address {
        /// The address.
        url: String,
    },
    /// More than is held in memory.
    #[error(
        "`{path}`: {message}; a Parquet file can be streamed with `--set data.streaming=true`, else take a \
         part of it"
    )]
    TooMuch {
        /// The file.
        path: PathBuf,
        /// The limit.
        message: String,
    },
    /// A folder without files that look like splits.
    #[error(
        "`{path}` has neither a `train` nor a `test` file (.parquet, .csv, .tsv or .jsonl, and text files \
         packed by gzip){hint}"
    )]
    NoSplits {
        /// The folder.
        path: PathBuf,
        /// What it has instead and what to do, or empty.
        hint: String,
    },
    /// A folder or a small file cannot be read.
    #[error("cannot read `{path}`")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The list of class names is damaged.
    #[error("`{path}` must be a JSON list of class names")]
    LabelsFile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A row without text or label.
    #[error("`{path}` line {line}: column `{column}` is empty; fill it in or remove the row")]
    EmptyCell {
        /// The file.
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// A row whose text is bytes of another encoding.
    #[error(
        "`{path}` line {line}: column `{column}` has bytes that are not UTF-8: write it as texts, in pandas for \
         example by `table[\"{column}\"].str.decode(\"latin-1\")`, or whatever its encoding is"
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// Row of the file, from 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// A row whose text has parts.
    #[error(
        "`{path}` line {line}: column `{column}` holds {found}, and one text is needed: write the text itself, \
         or name another column with `data.text_column`"
    )]
    NestedText {
        /// The file.
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        /// The column.
        column: String,
        /// `an object` or `a list`.
        found: &'static str,
    },
    /// A row whose label has parts that are no labels.
    #[error(
        "`{path}` line {line}: the label `{label}` in column `{column}` is an object, or a list with another in \
         it, and a word or a number is needed: write the label itself, or name another column with \
         `data.label_column`"
    )]
    NestedLabel {
        /// The file.
        path: String,
        /// The line of the first such row.
        line: u64,
        /// The column of the labels.
        column: String,
        /// The label as it is written, or its beginning.
        label: String,
    },
    /// A file of training rows without labels, beside others that have them.
    #[error(
        "`{path}` is one of several files of training rows and has no column of labels: if its first line is a \
         row, give it the line of names that the others have; if it is no part of them, move it away"
    )]
    NoLabels {
        /// The file.
        path: PathBuf,
    },
    /// Pairs in one file and single texts in another.
    #[error(
        "`{path}` is read as {found}, and the first file as {first}: either all files have pairs or none; give \
         its columns the names that they have there, or name them with `data.text_column` and \
         `data.text_pair_column`"
    )]
    Pairs {
        /// The later file.
        path: PathBuf,
        /// Its columns.
        found: String,
        /// Those of the first file.
        first: String,
    },
    /// A row with several labels, or none, where one is needed.
    #[error(
        "`{path}` line {line}: the label `{label}` in column `{column}` is a list of {count}, and `bayes` gives \
         a text one label: name another column with `data.label_column`, or write one label in each row"
    )]
    SeveralLabels {
        /// The file.
        path: String,
        /// The line of the first such row.
        line: u64,
        /// The column of the labels.
        column: String,
        /// The label as it is written.
        label: String,
        /// The labels in it.
        count: usize,
    },
    /// An integer label beyond the list of names.
    #[error(
        "`{path}` line {line}: the label `{label}` in column `{column}` is beyond the {names} class names, \
         which count from 0{}: mend the names (`labels.json`, or the `ClassLabel` in the file's own metadata) or the labels",
        if *from_one { " while the labels count from 1" } else { "" }
    )]
    BeyondNames {
        /// The file.
        path: String,
        /// The line of the first such row.
        line: u64,
        /// The column of the labels.
        column: String,
        /// The label as it is written.
        label: String,
        /// How many names there are.
        names: usize,
        /// Whether the labels are 1 to that number.
        from_one: bool,
    },
    /// Two classes of one name.
    #[error(
        "the class names of `{dataset}` have `{label}` twice: give each class a name of its own"
    )]
    NameTwice {
        /// The data set.
        dataset: String,
        /// The name.
        label: String,
    },
    /// A class without a name.
    #[error(
        "the class names of `{dataset}` have an empty one, that of class {class} (from 0): give each class a name \
         of its own"
    )]
    EmptyName {
        /// The data set.
        dataset: String,
        /// Its number.
        class: usize,
    },
    /// A label that is renamed to nothing.
    #[error(
        "`data.label_map` gives `{label}` an empty name: name a class; to keep its rows out of all classes, leave \
         it out of the map and set `data.ood_label` to it"
    )]
    MappedToNothing {
        /// The label.
        label: String,
    },
    /// Measures, not classes.
    #[error(
        "the labels of `{name}` are numbers with fractions, {classes} different ones in {rows} rows \
         ({examples}): they are no classes; divide them into ranges first, or name another column with \
         `data.label_column`"
    )]
    Continuous {
        /// The data set.
        name: String,
        /// Different labels.
        classes: usize,
        /// Training rows.
        rows: u64,
        /// Some of them.
        examples: String,
    },
    /// Nearly every row has a label of its own.
    #[error(
        "`{name}` has {classes} different labels in {rows} rows ({examples}): nothing can be learned from \
         classes of one row; name another column with `data.label_column`, or put labels together with \
         `data.label_map`"
    )]
    ManyClasses {
        /// The data set.
        name: String,
        /// Different labels.
        classes: usize,
        /// Training rows.
        rows: u64,
        /// Some of them.
        examples: String,
    },
    /// A name with a meaning of its own that a file or folder has too.
    #[error(
        "`{name}` is the name of a data set of its own and of a {what} here: for the {what} write `./{name}`; \
         for the data set {id}run the command in another folder"
    )]
    BothNameAndPath {
        /// The name.
        name: String,
        /// `folder` or `file`.
        what: &'static str,
        /// ``write `ID`, or ``, where there is another name for it.
        id: String,
    },
    /// A path that leads nowhere.
    #[error("there is no file or folder `{name}`{hint}")]
    NoFile {
        /// The path.
        name: String,
        /// `, did you mean …?`, or another hint, or empty.
        hint: String,
    },
    /// One split from two sources.
    #[error(
        "`{first}` and `{second}` both hold the split `{split}`, and their rows would count twice: keep one \
         of them in this folder, or name one file"
    )]
    SplitTwice {
        /// The split.
        split: String,
        /// One source.
        first: String,
        /// The other.
        second: String,
    },
    /// A part of a split is not there.
    #[error(
        "`{path}` lacks parts of the split `{split}`: the names of its files say that there are more of them"
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The split.
        split: String,
    },
    /// The out-of-scope label does not occur.
    #[error("`data.ood_label` is `{name}`, which is no label of `{dataset}`")]
    NoOodLabel {
        /// The label asked for.
        name: String,
        /// The data set.
        dataset: String,
    },
    /// There is nothing to tell apart.
    #[error("`{name}` has labels {found:?}: at least two classes are needed{hint}")]
    OneClass {
        /// The data set.
        name: String,
        /// The classes found.
        found: Vec<String>,
        /// Where others may be, or empty.
        hint: String,
    },
    /// There is nothing to train on.
    #[error("`{name}` has no training rows")]
    NoTrain {
        /// The data set.
        name: String,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] table::TableError),
    /// Rows cannot be divided.
    #[error(transparent)]
    Split(#[from] split::SplitError),
    /// The token cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// No vocabulary could be made.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl From<HubError> for DataError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}
