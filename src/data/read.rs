//! The rows of a data set's files, with their labels as they are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Occurring, Place};
use super::given::Given;
use super::joined::Joined;
use super::known::Form;
use super::mixed::LabelsOfFiles;
use super::remark::Remark;
use super::split_column::SplitColumn;
use super::table::{
    self, ACCEPTED, ColumnNames, Columns, Held, LaterHeader, Names, Row, SAMPLE_ROWS, Table,
    TableError,
};
use super::take::{Raw, Take};
use super::{DataConfig, DataError, Located, StreamSource};

/// What is read of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Text and label, without which a row is refused.
    #[default]
    Labelled,
    /// The text, and the label where there is one; it is empty where there is none.
    Texts,
}

/// What was read.
#[derive(Default)]
pub(super) struct Content {
    pub(super) raw: BTreeMap<String, Vec<Raw>>,
    pub(super) files: Vec<String>,
    /// The column of the labels in each of them.
    label_columns: Vec<String>,
    pub(super) columns: ColumnNames,
    /// All columns of the first file.
    pub(super) header: Vec<String>,
    /// What was taken for text and label, for people.
    pub(super) described: String,
    /// How the files are written, for people.
    pub(super) written: String,
    /// The names that the files give to integers.
    pub(super) class_names: Vec<String>,
    pub(super) stream: Option<StreamSource>,
    pub(super) remarks: Vec<Remark>,
    /// Rows that a person did not accept.
    not_accepted: u64,
    /// Splits with a file that gave no row, and that file.
    empty: BTreeMap<String, PathBuf>,
    held: Held,
    wanted: Wanted,
    /// How columns become texts and labels.
    form: Form,
}

impl Content {
    /// Reads all files; the training rows first, since the others follow their columns. The integers in the
    /// files may have names elsewhere.
    pub(super) fn read(
        located: &Located,
        config: &DataConfig,
        given: &Given,
        wanted: Wanted,
    ) -> Result<Self, DataError> {
        let form = located.known.map_or(Form::Plain, |known| known.form);
        let mut content = Self { wanted, form, ..Self::default() };
        let (first, others): (Vec<_>, Vec<_>) =
            located.splits.iter().partition(|(split, _)| *split == "train");
        for (split, files) in first.into_iter().chain(others) {
            if config.streaming && split == "train" {
                let (source, sample) = StreamSource::open(files, config, given)?;
                content.remarks.extend(given.check(&files[0], source.own_names())?);
                content.remarks.extend(source.split_column().cloned());
                content.described = source.described();
                content.columns = source.columns();
                content.header = source.header().to_vec();
                content.files.extend(files.iter().map(|file| file.display().to_string()));
                content.label_columns.resize(content.files.len(), content.columns.label.clone());
                content.class_names = source.class_names().to_vec();
                content.raw.insert(split.clone(), sample);
                content.stream = Some(source);
                continue;
            }
            for file in files {
                content.read_file(split, file, config, given)?;
            }
        }
        content.name_empty();
        Ok(content)
    }

    /// Says which splits are not there for want of rows. Without training rows there is an error.
    fn name_empty(&mut self) {
        for (split, path) in std::mem::take(&mut self.empty) {
            if split != "train" && !self.raw.contains_key(&split) {
                self.remarks.push(Remark::Warning(format!(
                    "`{}` contains no rows, so there is no `{split}` split; rows of the training \
                     split are used instead",
                    path.display()
                )));
            }
        }
    }

    /// Makes the split that published figures are of the test split, where no other has labels; says which it was.
    pub(super) fn report_on(&mut self, split: &'static str) -> Option<&'static str> {
        if self.raw.contains_key("test") {
            return None;
        }
        let rows = self.raw.remove(split)?;
        self.raw.insert("test".to_owned(), rows);
        Some(split)
    }

    /// Labels as they are written, in all splits.
    pub(super) fn occurring(&self) -> Occurring {
        let mut occurring = Occurring::new();
        for (split, rows) in &self.raw {
            for row in rows {
                if let Some(known) = occurring.get_mut(&row.label) {
                    *known.rows.entry(split.clone()).or_default() += 1;
                    continue;
                }
                let one = occurring.entry(row.label.clone()).or_default();
                let (file, line) = row.place;
                let path = self.files[file as usize].clone();
                let column = self.label_columns[file as usize].clone();
                one.first = Place { path, line, column };
                one.rows.insert(split.clone(), 1);
            }
        }
        for (label, rows) in self.stream.iter().flat_map(StreamSource::written) {
            // Of all rows, not of the sample.
            occurring.entry(label.clone()).or_default().rows.insert("train".to_owned(), *rows);
        }
        occurring
    }

    /// Labels as they are written, by file.
    pub(super) fn labels_of_files(&self) -> LabelsOfFiles<'_> {
        let mut found = LabelsOfFiles::new();
        for row in self.raw.values().flatten() {
            let (file, _) = row.place;
            found.entry(&self.files[file as usize]).or_default().insert(&row.label);
        }
        found
    }

    /// The same by split.
    pub(super) fn labels_of_splits(&self) -> LabelsOfFiles<'_> {
        let mut found = LabelsOfFiles::new();
        for (split, rows) in &self.raw {
            found.insert(split, rows.iter().map(|row| row.label.as_str()).collect());
        }
        found
    }

    fn read_file(
        &mut self,
        split: &str,
        path: &Path,
        config: &DataConfig,
        given: &Given,
    ) -> Result<(), DataError> {
        let first = self.files.is_empty();
        let mut reading = config.reading();
        let known = [&self.columns.text, &self.columns.pair, &self.columns.label];
        reading.names.extend(known.into_iter().filter(|name| !name.is_empty()).cloned());
        let mut table =
            self.form.read(table::open_as(path, &reading)?, &path.display().to_string());
        let sample: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
        let Some(columns) = self.find(&table, &sample, config, first)? else {
            // Rows to train on are not lost for it.
            if split == "train" {
                return Err(DataError::NoLabels { path: path.to_owned() });
            }
            let why = match table.names() {
                Names::Numbered => {
                    "has no line with the column names, which the first file has (write the same line at its top)"
                }
                _ => "has no label column",
            };
            self.passed_over(split, path, why);
            return Ok(());
        };
        if !first {
            self.compare(path, &columns, &table.columns)?;
        }
        if first {
            self.described = columns.describe(&table.columns);
            self.columns = columns.names(&table.columns);
            self.header.clone_from(&table.columns);
            self.written.clone_from(&table.described);
        }
        let own = columns.label.map_or(&[][..], |label| table.class_names(label)).to_vec();
        self.remarks.extend(given.check(path, &own)?);
        let names = if given.is_empty() { own } else { Vec::new() };
        if self.class_names.is_empty() {
            self.class_names.clone_from(&names);
        }
        let mut splits = SplitColumn::search(&table.columns, &columns);
        let file = self.files.len() as u32;
        self.files.push(path.display().to_string());
        let label = columns.label.map_or(String::new(), |label| table.columns[label].clone());
        self.label_columns.push(label);
        let header = table.columns.clone();
        let wanted = self.wanted;
        let take = Take { path, header: &header, columns, names: &names, file, wanted };
        let rows = self.raw.entry(split.to_owned()).or_default();
        let mut joined =
            Joined::new(path, &header, LaterHeader::new(&header, &columns), table.names_in_lines());
        let (before, mut unlabelled) = (rows.len(), None);
        let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
        for row in sample.into_iter().map(Ok).chain(table.by_ref()) {
            let row = row?;
            if let Some(note) = joined.repeats(&row, rows.len()) {
                self.remarks.push(note);
                continue;
            }
            if let Some(verdict) = take.refused(&row) {
                *verdicts.entry(verdict).or_default() += 1;
                continue;
            }
            splits.see(&row);
            match take.raw(&row) {
                Ok(raw) if unlabelled.is_none() => {
                    self.held
                        .count(raw.bytes())
                        .map_err(|message| DataError::TooMuch { path: path.to_owned(), message })?;
                    rows.push(raw);
                }
                // A file without any label is one to be predicted.
                Err(error) if !first && rows.len() == before && take.label(&row).is_none() => {
                    unlabelled.get_or_insert(error);
                }
                Ok(_) => return Err(unlabelled.expect("it was looked at")),
                Err(error) => return Err(error),
            }
        }
        self.remarks.extend(joined.settle(rows, before)?);
        if rows.is_empty() {
            self.raw.remove(split);
            if unlabelled.is_none() {
                self.empty.insert(split.to_owned(), path.to_owned());
            }
        }
        self.remarks.extend(splits.warning(path));
        if unlabelled.is_some() {
            self.passed_over(split, path, "has no labels");
        }
        self.remarks.extend(table.lost().into_iter().map(Remark::Warning));
        if !verdicts.is_empty() {
            self.not_accepted += verdicts.values().sum::<u64>();
            let counted = verdicts.iter().map(|(verdict, rows)| match verdict.as_str() {
                "" => format!("{rows} without an answer"),
                verdict => format!("{rows} `{verdict}`"),
            });
            self.remarks.push(Remark::Warning(format!(
                "`{}`: the column `answer` says what a person decided; only rows with `{ACCEPTED}` \
                 are used; skipped: {}",
                path.display(),
                counted.collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(())
    }

    /// An error of these rows, with what was passed over. Labels of the splits in `hidden` are all `-1`.
    pub(super) fn explained(&self, error: DataError, hidden: &[String]) -> DataError {
        match error {
            DataError::OneClass { name, found, .. } if !hidden.is_empty() && found.is_empty() => {
                DataError::NoLabel { name, label: "-1".to_owned() }
            }
            DataError::OneClass { name, found, hint } if self.not_accepted > 0 => {
                let hint = format!(
                    "{hint}; {} rows were skipped because their `answer` is not `{ACCEPTED}`; to learn \
                     the answers themselves, name that column with `data.label_column`",
                    self.not_accepted
                );
                DataError::OneClass { name, found, hint }
            }
            error => error,
        }
    }

    /// The columns of a file: those of the first one where it has them. `None` for a later file that has no
    /// label.
    fn find(
        &self,
        table: &Table,
        sample: &[Row],
        config: &DataConfig,
        first: bool,
    ) -> Result<Option<Columns>, TableError> {
        let wanted = config.column_names();
        if first {
            // Those of a data set that is known; else those of what a model was made from.
            let own = self.form.columns();
            let usual = if own.text.is_empty() { &config.usual_columns } else { &own };
            let labelled = self.wanted == Wanted::Labelled;
            return table::detect_usual(&table.columns, sample, &wanted, usual, labelled).map(Some);
        }
        let found = self.find_later(table, sample, &wanted)?;
        if let (Some(label), true) = (found.and_then(|found| found.label), wanted.label.is_empty())
        {
            table::refuse_answers(&table.columns, label)?;
        }
        let Some(single) = found.filter(|_| wanted.text.is_empty()) else { return Ok(found) };
        // As pairs they are refused beside single texts.
        let pair = table::pair_beside(&table.columns, sample, &single)?;
        let pair = pair.map(|[text, pair]| Columns { text, pair: Some(pair), ..single });
        Ok(pair.or(found))
    }

    fn find_later(
        &self,
        table: &Table,
        sample: &[Row],
        wanted: &ColumnNames,
    ) -> Result<Option<Columns>, TableError> {
        let labelled = self.wanted == Wanted::Labelled;
        let same = table::detect(&table.columns, sample, &self.columns, labelled);
        let has = |name: &str| table.columns.iter().any(|column| column == name);
        match same {
            Ok(columns) => {
                table::check_numbers(&table.columns, sample, wanted, &columns, labelled)?;
                Ok(Some(columns))
            }
            Err(error) if has(&self.columns.text) && has(&self.columns.label) => Err(error),
            Err(error) => {
                let there = |name: &String| if has(name) { name.clone() } else { String::new() };
                let wanted = ColumnNames { label: there(&wanted.label), ..wanted.clone() };
                let other = table::detect(&table.columns, sample, &wanted, false);
                match other {
                    Ok(columns) if self.wanted == Wanted::Texts => Ok(Some(columns)),
                    Ok(columns) => Ok(columns.label.map(|_| columns)),
                    Err(_) => Err(error),
                }
            }
        }
    }

    /// Says where a later file has other columns than the first one; both have pairs, or neither.
    fn compare(
        &mut self,
        path: &Path,
        found: &Columns,
        header: &[String],
    ) -> Result<(), DataError> {
        let names = found.names(header);
        if names == self.columns {
            return Ok(());
        }
        let (described, first) = (found.describe(header), self.described.clone());
        if names.pair.is_empty() != self.columns.pair.is_empty() {
            return Err(DataError::Pairs { path: path.to_owned(), found: described, first });
        }
        self.remarks.push(Remark::Warning(format!(
            "`{}` is read as {described}, but the first file as {first}; if that is wrong, rename \
             its columns as in the first file",
            path.display()
        )));
        Ok(())
    }

    fn passed_over(&mut self, split: &str, path: &Path, why: &str) {
        self.remarks.push(Remark::Warning(format!(
            "`{}` {why}, so it is not a `{split}` split and is skipped (`bayes predict --input` \
             can classify it)",
            path.display()
        )));
    }
}
