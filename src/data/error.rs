//! Why a data set cannot be used.

use std::path::PathBuf;

use super::{CacheError, TokenizerError, VocabularyError, split, table};
use crate::hub::HubError;

/// What can be wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Single texts beside pairs.
    #[error(
        "`{path}` has no column `{column}`, but the data set has pairs of texts; add the second \
         text of each row"
    )]
    NoSecondText { path: PathBuf, column: String },
    /// The name is no data set.
    #[error(
        "no data set, file or folder named `{name}`;{suggestion} built-in data sets: `{known}`"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// ` did you mean …?`, or empty.
        suggestion: String,
        known: String,
    },
    /// A known data set that is not on this machine.
    #[error(
        "data set `{name}` is not on this machine; download it with `bayes dataset fetch {name}`"
    )]
    NotHere {
        name: &'static str,
        /// Its id on the Hub.
        hub_id: &'static str,
    },
    /// A known data set that is not on this machine, and does not come either.
    #[error(
        "data set `{name}` is not on this machine, and `{hub_id}` could not be downloaded from the \
         Hub; you can also save its splits in the folder `{name}` of `BAYES_DATA_DIR` (`train.parquet`, `test.csv`, also \
         .tsv and .jsonl) with the columns {columns}"
    )]
    NotFetched {
        name: &'static str,
        /// Its id on the Hub.
        hub_id: &'static str,
        /// Those that it has there.
        columns: String,
        source: Box<HubError>,
    },
    /// A Hub id of which nothing is in the cache.
    #[error(
        "data set `{id}` is neither a folder nor in the Hub cache; download it with `bayes dataset \
         fetch {id}`"
    )]
    NotCached { id: String },
    /// The same, and it does not come either.
    #[error(
        "file or folder `{id}` not found, and no data set with that name could be loaded from the \
         Hub"
    )]
    NotObtained { id: String, source: Box<HubError> },
    /// Too few rows that the weights have not seen are left to choose, calibrate and test by.
    #[error(
        "the starting model was trained on {} of the {rows} training texts of `{name}`, and the other {new} are too \
         few for calibration and testing; add texts that it has not seen, or choose a different starting model",
        rows - new
    )]
    Seen { name: String, rows: usize, new: usize },
    /// What is said of files, of a data set that has none.
    #[error(
        "`{name}` is built in and not read from a file, so `data.{key}` would have no effect; remove it"
    )]
    BuiltIn { name: String, key: String },
    /// A name that the Hub cannot know.
    #[error(
        "`{name}` is neither a built-in Hub data set nor a Hub id; give an id such as `owner/name`"
    )]
    NotOnHub { name: String },
    /// A repository without tables.
    #[error(
        "data set `{id}` has no `train` or `test` file that `bayes` reads (.parquet, .csv, .tsv or \
         .jsonl), and the Hub has not converted it to Parquet"
    )]
    NoTables { id: String },
    /// A repository with several data sets in it.
    #[error(
        "data set `{id}` has splits in several folders; choose one with `bayes dataset fetch {id} \
         --folder …` (`{folders}`), and give the folder that it prints instead of `{id}`"
    )]
    ManyFolders { id: String, folders: String },
    /// The same, and they are in the cache.
    #[error(
        "several folders of `{id}` with splits are in the Hub cache; give one of them instead of \
         `{id}`: `{folders}`"
    )]
    ManyCached { id: String, folders: String },
    /// Files lack in the cache, and do not come either.
    #[error(
        "only some of the files of `{id}` are in the Hub cache (`{folder}`: the file names show \
         that there are more), and the others could not be downloaded"
    )]
    CachedInPart { id: String, folder: PathBuf, source: Box<HubError> },
    #[error(transparent)]
    Hub(#[from] Box<HubError>),
    /// A file whose rows can only be read in their order.
    #[error(
        "`{path}` is not a Parquet file, so its rows cannot be shuffled without reading the whole \
         file; remove `--shuffle`"
    )]
    NotMixed { path: PathBuf },
    /// A stream of a file whose rows stand in no groups.
    #[error(
        "`{path}` is not a Parquet file, so it cannot be streamed; remove `data.streaming`, or \
         save it as Parquet"
    )]
    NotStreamed { path: PathBuf },
    /// A stream of texts that are made of several columns, or by `bayes`.
    #[error(
        "the texts of `{name}` are made as they are read, so they cannot be streamed; remove `data.streaming`"
    )]
    MadeNotStreamed { name: &'static str },
    /// A stream of rows of which a person accepted some.
    #[error(
        "`{path}`: the column `{column}` says which rows a person accepted, but streaming uses all \
         rows; remove `data.streaming`, or save the accepted rows in a separate file"
    )]
    StreamedVerdicts { path: PathBuf, column: String },
    /// An address of data that are to be held in memory.
    #[error(
        "`{url}` is a URL; train on it as a stream with `bayes train --set data.streaming=true`, or download it first"
    )]
    Address { url: String },
    /// More than is held in memory.
    #[error(
        "`{path}`: {message}; train on a Parquet file as a stream with `bayes train --set data.streaming=true`, or use a \
         part of the file"
    )]
    TooMuch { path: PathBuf, message: String },
    /// A folder without files that look like splits.
    #[error(
        "folder `{path}` contains no `train` or `test` file (.parquet, .csv, .tsv or .jsonl; text \
         files may be gzipped){hint}"
    )]
    NoSplits {
        path: PathBuf,
        /// What it has instead and what to do, or empty.
        hint: String,
    },
    /// A folder or a small file cannot be read.
    #[error("cannot read `{path}`")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        source: std::io::Error,
    },
    /// The list of class names is damaged.
    #[error("`{path}` must be a JSON list of class names")]
    LabelsFile {
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A row without text or label.
    #[error(
        "`{path}` {} {line}: column `{column}` is empty; fill it in or remove the row",
        table::unit(path)
    )]
    EmptyCell {
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        column: String,
    },
    /// A row whose text is bytes of another encoding.
    #[error(
        "`{path}` {} {line}: column `{column}` has bytes that are not UTF-8: write it as texts, in pandas for \
         example by `table[\"{column}\"].str.decode(\"latin-1\")`, or whatever its encoding is",
        table::unit(path)
    )]
    NotText {
        path: PathBuf,
        /// Row of the file, from 1.
        line: u64,
        column: String,
    },
    /// A row whose text has parts.
    #[error(
        "`{path}` {} {line}: column `{column}` contains {found}, but a text is needed; write the \
         text itself, or choose another column with `data.text_column`",
        table::unit(path)
    )]
    NestedText {
        path: PathBuf,
        /// Line, or row of a Parquet file, from 1.
        line: u64,
        column: String,
        /// `an object` or `a list`.
        found: &'static str,
    },
    /// A row whose label has parts that are no labels.
    #[error(
        "`{path}` {} {line}: the label `{label}` in column `{column}` is an object or a nested \
         list, but a word or a number is needed; write the label itself, or choose another column \
         with `data.label_column`",
        table::unit(path)
    )]
    NestedLabel {
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
        "`{path}` is one of several training files but has no label column; if its first line is a \
         row, add the header line that the other files have; if it is not training data, move it \
         elsewhere"
    )]
    NoLabels { path: PathBuf },
    /// Pairs in one file and single texts in another.
    #[error(
        "`{path}` is read as {found}, but the first file as {first}; either all files must have \
         pairs or none; rename its columns as in the first file, or set `data.text_column` and \
         `data.text_pair_column`"
    )]
    Pairs {
        path: PathBuf,
        found: String,
        /// Those of the first file.
        first: String,
    },
    /// A row with several labels, or none, where one is needed.
    #[error(
        "`{path}` {} {line}: the label `{label}` in column `{column}` is a list of {count}, but \
         `bayes` gives each text one label; choose another column with `data.label_column`, or \
         write one label in each row",
        table::unit(path)
    )]
    SeveralLabels {
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
        "`{path}` {} {line}: the label `{label}` in column `{column}` is beyond the {names} \
         class names, which count from 0{}; correct the names (`labels.json`, or the `ClassLabel` \
         in the file's own metadata) or the labels",
        table::unit(path),
        if *from_one { ", while the labels count from 1" } else { "" }
    )]
    BeyondNames {
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
    /// Names beside a file that contradict those in it.
    #[error(
        "{said}; remove `{file}` to use the names of the table; if those are wrong, also set \
         `data.label_map` to the right ones, such as `{{ {map} }}`",
        file = file.display()
    )]
    OtherNames {
        /// What each calls them, as a clause.
        said: String,
        /// `labels.json`.
        file: PathBuf,
        /// How the first would become the others.
        map: String,
    },
    /// Names of a known data set that contradict those in its file here.
    #[error(
        "{said}; this is another copy of it: give its folder as a path to use the names of the table, or put a \
         `labels.json` beside the table that says which are right"
    )]
    OtherKnown {
        /// What each calls them, as a clause.
        said: String,
    },
    /// A stream of files whose integers mean different classes.
    #[error(
        "`{path}` has other class names in its metadata than `{first}`, so their numbers cannot be \
         streamed together; write both with the same names"
    )]
    StreamedNames { path: PathBuf, first: PathBuf },
    /// Some rows or files with words for their classes, others with numbers or truth values.
    #[error(
        "{said}; if they are the same classes, say which one is which with `data.label_map`, such as `--label-map \
         {map}`; if they are classes of their own, map one to itself (`--label-map {own}={own}`)"
    )]
    WordsAndNumbers {
        /// Which file or rows have which, as a clause.
        said: String,
        /// Numbers or truth values in their order with words in theirs: which belong together is not known.
        map: String,
        /// One of the numbers.
        own: String,
    },
    /// Whole numbers that one split counts from another number than the training rows do.
    #[error(
        "the labels of the split `{split}` are {found}, but those of the training rows {train}: they seem to be \
         counted from another number; write the same number for the same class in both; if they are meant as they \
         are, map one to itself (`--label-map {own}={own}`)"
    )]
    Counting {
        split: String,
        /// The numbers.
        found: String,
        train: String,
        /// One that the training rows do not have.
        own: i64,
    },
    /// A list of class names without any.
    #[error(
        "`{path}` is an empty list; write the class names in the order of their numbers, such as \
         `[\"negative\", \"positive\"]`, or remove the file"
    )]
    NoNames { path: PathBuf },
    /// Two classes of one name.
    #[error(
        "the class names of `{dataset}` contain `{label}` twice; give each class a different name"
    )]
    NameTwice { dataset: String, label: String },
    /// A class without a name.
    #[error(
        "class {class} of `{dataset}` (counting from 0) has an empty name; give each class its own name"
    )]
    EmptyName { dataset: String, class: usize },
    /// A label that is renamed to nothing.
    #[error(
        "`data.label_map` renames `{label}` to an empty name; give the name of a class, or, to keep its rows out of \
         all classes, remove it from the map and set `data.ood_label = \"{label}\"`"
    )]
    MappedToNothing { label: String },
    #[error(
        "the labels of `{name}` are numbers with fractions, {classes} different ones in {rows} \
         rows ({examples}), which are not classes; divide them into ranges first, or choose \
         another column with `data.label_column`"
    )]
    Continuous { name: String, classes: usize, rows: u64, examples: String },
    /// Nearly every row has a label of its own.
    #[error(
        "`{name}` has {classes} different labels in {rows} rows ({examples}); a model cannot learn \
         classes that have only one row each; choose another column with `data.label_column`, or \
         merge labels with `data.label_map`"
    )]
    ManyClasses { name: String, classes: usize, rows: u64, examples: String },
    /// A name with a meaning of its own that a file or folder has too.
    #[error(
        "`{name}` is both the name of a data set and of a {what} here; for the {what}, write \
         `./{name}`; for the data set, {id}run the command in another folder"
    )]
    BothNameAndPath {
        name: String,
        /// `folder` or `file`.
        what: &'static str,
        /// ``write `ID`, or ``, where there is another name for it.
        id: String,
    },
    /// A path that leads nowhere.
    #[error("file or folder `{name}` not found{hint}")]
    NoFile {
        name: String,
        /// `, did you mean …?`, or another hint, or empty.
        hint: String,
    },
    /// One split from two sources.
    #[error(
        "`{first}` and `{second}` both contain the split `{split}`, so their rows would count \
         twice; keep only one of them in this folder, or give one file"
    )]
    SplitTwice { split: String, first: String, second: String },
    /// A part of a split is not there.
    #[error(
        "`{path}` has only some of the files of the split `{split}`: the file names show that \
         there are more"
    )]
    Incomplete { path: PathBuf, split: String },
    /// The out-of-scope label does not occur.
    #[error("`data.ood_label` is `{name}`, which is not a label of `{dataset}`")]
    NoOodLabel {
        /// The label asked for.
        name: String,
        dataset: String,
    },
    /// There is nothing to tell apart.
    #[error("`{name}` has {}{hint}", labels_found(found))]
    OneClass {
        name: String,
        found: Vec<String>,
        /// Which label does not count, where others may be, or empty.
        hint: String,
    },
    /// All labels say that there is none.
    #[error(
        "no row of `{name}` seems to have a label: `{label}` means that it is missing; fill in the \
         labels of at least two classes, or choose another column with `data.label_column`"
    )]
    NoLabel {
        name: String,
        /// What is written instead.
        label: String,
    },
    /// The only label is none of a model's.
    #[error(
        "`{name}` has only the label `{label}`, which the model does not have (its labels are \
         {model}); if it is one of them, rename it with `data.label_map` (`--label-map \
         {label}=…`)"
    )]
    NotOfModel {
        name: String,
        label: String,
        /// The model's labels.
        model: String,
    },
    /// There is nothing to train on.
    #[error("`{name}` has no training rows{hint}")]
    NoTrain { name: String, hint: String },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] table::TableError),
    /// Rows cannot be divided.
    #[error(transparent)]
    Split(#[from] split::SplitError),
    /// The token cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
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

/// The labels of a data set with too few of them, and how many it takes.
fn labels_found(found: &[String]) -> String {
    match found {
        [] => "no rows with a label; add rows of at least two classes".to_owned(),
        [one] => format!("only one label, `{one}`; you need at least two"),
        several => format!("only the labels {several:?}; you need more"),
    }
}

impl DataError {
    /// Refuses keys that say how files are read, of a data set that has none.
    pub(super) fn check_built_in(name: &str, keys: &[&str]) -> Result<(), Self> {
        match keys {
            [] => Ok(()),
            [key, ..] => Err(Self::BuiltIn { name: name.to_owned(), key: (*key).to_owned() }),
        }
    }
}
