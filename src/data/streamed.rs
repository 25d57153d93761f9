//! Training rows that are not held in memory: `data.streaming`.
//!
//! As many rows as a window has are drawn once, with a seed of their own, as a sample of the whole: from it
//! come the parts for validation, calibration and test, and the training rows that the posterior looks at. The
//! loop reads the stream itself, and passes over every text that a held-out part has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::encode;
use super::classes::Fate;
use super::given::Given;
use super::read::Wanted;
use super::split::text_key;
use super::split_column::SplitColumn;
use super::stream::{Place, RowStream, StreamConfig, windows};
use super::stream_sample::{Counts, Drawn, by_chance, distance, sum};
use super::table::{self, ColumnNames, Columns, Format, Row, RowGroups, SAMPLE_ROWS};
use super::take::{Raw, Take};
use super::{DataConfig, DataError, Example, Preprocessing, Remark, TextTokenizer, TokenSet};
use crate::compute::Noise;
use crate::store::sha256;

/// The seed of the sample: it belongs to the data set, and not to the run.
const SAMPLE_SEED: u64 = 0;

/// From this share of rows with another label on, beyond that of chance, a window is said to be mixed badly.
const UNMIXED: f64 = 0.25;
/// So large a share of all rows may be in such windows. The last windows of an epoch have few groups.
const MOST_UNMIXED: f64 = 0.2;

/// The rows of a split as a stream, with what is known of all of them.
pub struct StreamSource {
    groups: Arc<RowGroups>,
    files: Vec<PathBuf>,
    header: Vec<String>,
    columns: Columns,
    /// Names of integers that the files carry, and those that are used: none if others are given.
    own_names: Vec<String>,
    names: Vec<String>,
    /// Rows by label as it is written.
    written: Counts,
    /// The same for each row group, hashed.
    labels: String,
    /// Whether some window of the stream has far other shares of the labels than the whole has.
    unmixed: bool,
    /// What to say of a column that says which rows are for testing.
    split_column: Option<Remark>,
    /// What the labels mean; nothing until that is known.
    fates: HashMap<String, Fate>,
    classes: usize,
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("files", &self.files).finish_non_exhaustive()
    }
}

impl StreamSource {
    /// Reads the directories of the files, the column of the labels, and the sample.
    pub(super) fn open(
        files: &[PathBuf],
        config: &DataConfig,
        given: &Given,
    ) -> Result<(Self, Vec<Raw>), DataError> {
        for path in files {
            // An address may end in a query.
            let text = path.to_string_lossy();
            let name = if table::is_url(&text) { text.split('?').next() } else { None };
            if !matches!(Format::of(name.map_or(path, Path::new)), Ok(Format::Parquet)) {
                return Err(DataError::NotStreamed { path: path.clone() });
            }
        }
        let places: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
        let groups = Arc::new(RowGroups::open(&places)?);
        let rows: usize = groups.sizes().iter().sum();
        let noise = Noise::new(SAMPLE_SEED);
        let whole = StreamConfig { shards: 1, rank: 0, ..config.stream() };
        let mut stream = RowStream::new(Arc::clone(&groups), whole, noise, Place::default());
        let shown = (0..rows.min(SAMPLE_ROWS)).map(|_| stream.next_row());
        let shown: Vec<Row> = shown.collect::<Result<_, _>>()?;
        drop(stream);
        let header = groups.columns();
        let columns = table::detect(&header, &shown, &config.column_names(), true)?;
        let label = columns.label.expect("a label column was required");
        if let Some(verdict) = columns.verdict {
            let (path, column) = (files[0].clone(), header[verdict].clone());
            return Err(DataError::StreamedVerdicts { path, column });
        }
        let mut splits = SplitColumn::search(&header, &columns);
        shown.iter().for_each(|row| splits.see(row));
        let lists = groups.class_names(label);
        if let Some(other) = lists.iter().position(|list| *list != lists[0]) {
            let [path, first] = [&files[other], &files[0]].map(Clone::clone);
            return Err(DataError::StreamedNames { path, first });
        }
        let own_names = lists.into_iter().next().unwrap_or_default();
        let names = if given.is_empty() { own_names.clone() } else { Vec::new() };
        let mut source = Self {
            groups,
            files: files.to_owned(),
            header,
            columns,
            names,
            own_names,
            written: Counts::new(),
            labels: String::new(),
            unmixed: false,
            split_column: splits.warning(&files[0]),
            fates: HashMap::new(),
            classes: 0,
        };
        let groups = &source.groups;
        let mut counts = vec![Counts::new(); groups.sizes().len()];
        for (group, counts) in counts.iter_mut().enumerate() {
            for (line, value) in groups.column(group, label)? {
                let (take, line) = source.take(line);
                *counts.entry(take.class(&value, line)?).or_default() += 1;
            }
        }
        let drawn = Drawn { counts: &counts, rows: rows.min(config.shuffle_window), noise };
        let class = |row: &Row| source.take(row.line).0.class(&row.values[label], row.line).ok();
        let sample = drawn.draw(|group| Ok(groups.fetch(group)?), class)?;
        let unmixed =
            Self::rows_unmixed(&windows(&groups.sizes(), whole.window, &noise, 0), &counts);
        source.unmixed = unmixed as f64 > MOST_UNMIXED * rows as f64;
        source.written = sum(&counts);
        source.labels = sha256(format!("{counts:?}").as_bytes());
        let sample = sample.into_iter().map(|row| source.raw(row)).collect::<Result<_, _>>()?;
        Ok((source, sample))
    }

    /// Rows in windows that have far other shares of the labels than all rows have.
    fn rows_unmixed(windows: &[Vec<usize>], counts: &[Counts]) -> u64 {
        let all = sum(counts);
        let of_window = |window: &Vec<usize>| sum(window.iter().map(|&group| &counts[group]));
        let far = |own: &Counts| distance(own, &all) > UNMIXED + by_chance(own, &all);
        windows.iter().map(of_window).filter(far).flat_map(|own| own.into_values()).sum()
    }

    /// What to say of a column that says which rows are for testing.
    pub(super) fn split_column(&self) -> Option<&Remark> {
        self.split_column.as_ref()
    }

    /// What was taken for text and label, to be shown.
    pub(super) fn described(&self) -> String {
        self.columns.describe(&self.header)
    }

    /// The names of these columns.
    pub(super) fn columns(&self) -> ColumnNames {
        self.columns.names(&self.header)
    }

    /// The names of all columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Names of integers that the files carry, unless others are given.
    pub(super) fn class_names(&self) -> &[String] {
        &self.names
    }

    /// Names of integers that the files carry.
    pub(super) fn own_names(&self) -> &[String] {
        &self.own_names
    }

    /// SHA-256 over the rows, the labels of all and the rest as [`RowGroups::content`] knows it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn content(&self) -> Result<String, DataError> {
        let files = self.groups.content()?;
        Ok(sha256(format!("{files}\n{}\n", self.labels).as_bytes()))
    }

    /// Whether batches may be of few classes: the files are sorted, and a window sees too little of them.
    pub fn is_unmixed(&self) -> bool {
        self.unmixed
    }

    /// Rows by label as it is written.
    pub(super) fn written(&self) -> &BTreeMap<String, u64> {
        &self.written
    }

    /// With what the labels mean.
    pub(super) fn with_classes(self, classes: &[String], fates: &HashMap<String, Fate>) -> Self {
        Self { classes: classes.len(), fates: fates.clone(), ..self }
    }

    /// Rows of each class.
    pub fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes];
        for (written, count) in &self.written {
            if let Some(class) = self.class(written) {
                counts[class as usize] += count;
            }
        }
        counts
    }

    /// Rows in all classes.
    pub fn rows(&self) -> u64 {
        self.counts().iter().sum()
    }

    fn class(&self, written: &str) -> Option<u32> {
        match self.fates.get(written)? {
            Fate::Class(class) => Some(*class),
            Fate::OutOfScope => None,
        }
    }

    fn raw(&self, row: Row) -> Result<Raw, DataError> {
        let (take, line) = self.take(row.line);
        take.raw(&Row { line, ..row })
    }

    /// How a row is taken, by its line in all files together, and its line in its own.
    fn take(&self, line: u64) -> (Take<'_>, u64) {
        let (file, line) = self.groups.place(line);
        let (path, columns) = (self.files[file].as_path(), self.columns);
        let file = file as u32;
        let (header, names, wanted) = (&self.header, &self.names, Wanted::Labelled);
        (Take { path, header, columns, names, file, wanted }, line)
    }
}

/// The stream as the training loop reads it.
#[derive(Clone, Debug)]
pub struct StreamedRows {
    source: Arc<StreamSource>,
    config: StreamConfig,
    /// Texts of the parts that are held out.
    held_out: Arc<HashSet<u64>>,
    /// Rows of the files among them.
    held_out_rows: usize,
    tokenizer: TextTokenizer,
    cut: Preprocessing,
    noise: Noise,
}

impl StreamedRows {
    /// All rows but those with a text of `held_out`; of these, `held_out_rows` are rows of the stream.
    pub fn new(
        source: Arc<StreamSource>,
        data: &DataConfig,
        held_out: &[&Example],
        held_out_rows: usize,
        tokenizer: TextTokenizer,
        noise: Noise,
    ) -> Self {
        Self {
            source,
            config: data.stream(),
            held_out: Arc::new(held_out.iter().map(|example| example.key()).collect()),
            held_out_rows,
            tokenizer,
            cut: Preprocessing::new(data.max_length, data.truncation),
            noise,
        }
    }

    /// The same rows in the order of another seed.
    pub fn with_noise(self, noise: Noise) -> Self {
        Self { noise, ..self }
    }

    /// Rows of an epoch for this shard, to within those that repeat a held-out text.
    pub fn rows(&self) -> usize {
        (self.not_held_out() as usize).div_ceil(self.config.shards).max(1)
    }

    /// Rows of the stream that are not held out. Those that repeat a held-out text are among them, and are not
    /// trained on either: how many they are is known when all texts have been read.
    pub fn not_held_out(&self) -> u64 {
        self.source.rows().saturating_sub(self.held_out_rows as u64)
    }

    /// Rows of each class in the whole data.
    pub fn counts(&self) -> Vec<u64> {
        self.source.counts()
    }

    /// The stream from a place on.
    pub fn begin(&self, place: Place) -> TokenStream {
        let groups = Arc::clone(&self.source.groups);
        let rows = RowStream::new(groups, self.config, self.noise, place);
        TokenStream { of: self.clone(), rows }
    }
}

/// An endless stream of tokenised training rows.
pub struct TokenStream {
    of: StreamedRows,
    rows: RowStream,
}

impl TokenStream {
    /// Where it stands: a stream that begins there goes on with the same rows.
    pub fn place(&self) -> Place {
        self.rows.place()
    }

    /// The next rows.
    ///
    /// # Errors
    /// The file cannot be read any more, a cell is empty, a text cannot be tokenised, or an epoch has no
    /// row that may be trained on.
    pub fn next(&mut self, rows: usize) -> Result<TokenSet, DataError> {
        let source = Arc::clone(&self.of.source);
        let (mut lines, mut examples) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut passed = 0;
        while examples.len() < rows {
            let row = self.rows.next_row()?;
            let line = row.line;
            let Raw { text, pair, label, .. } = source.raw(row)?;
            let held_out = self.of.held_out.contains(&text_key(&text, pair.as_deref()));
            match source.class(&label).filter(|_| !held_out) {
                Some(label) => {
                    lines.push(line);
                    examples.push(Example { text, pair, label });
                    passed = 0;
                }
                None => passed += 1,
            }
            if passed > self.rows.rows() {
                let name = source.files[0].display().to_string();
                return Err(DataError::NoTrain { name, hint: String::new() });
            }
        }
        let encoded = encode(&self.of.tokenizer, &examples, &self.of.cut)?;
        let labels = examples.iter().map(|example| example.label).collect();
        Ok(TokenSet::in_memory(lines.into_iter().zip(encoded).collect(), labels))
    }
}
