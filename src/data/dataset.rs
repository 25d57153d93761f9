//! A data set: the rows of each split, or a sample of them, with one set of classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::classes::{self, Classes, Fate};
use super::clean;
use super::given::Given;
use super::read::{Content, Wanted};
use super::split::text_key;
use super::table::{self, ColumnNames};
use super::take::Raw;
use super::{
    CrossFit, DataConfig, DataError, Example, Located, Remark, StreamSource, Untold, labels, mixed,
    obtain, one_text, reviews,
};
use crate::compute::Noise;
use crate::task::Task;

/// Rows of the generated set.
const GENERATED_SPLITS: [(&str, u64, u32); 3] =
    [("train", 0, TRAINING_ROWS), ("validation", 1, 2000), ("test", 2, 2000)];

/// Rows of the first of them.
pub(super) const TRAINING_ROWS: u32 = 10_000;

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub split: String,
    /// Empty where texts are generated.
    pub file: String,
    /// In the file, counted from 1; of a Parquet file the row.
    pub line: u64,
}

impl fmt::Display for Place {
    /// The name of the file, or of the split where there is none, and the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Path::new(&self.file).file_name();
        let name = name.map_or(self.split.as_str().into(), |name| name.to_string_lossy());
        write!(f, "{name} {}", self.line)
    }
}

/// A data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name to show.
    pub name: String,
    /// What a model of it is for.
    pub task: Task,
    /// Class names, by label.
    pub labels: Vec<String>,
    /// The labels in its files, before `data.label_map`: as they are written, and as they are read.
    pub file_labels: BTreeSet<String>,
    pub splits: BTreeMap<String, Vec<Example>>,
    /// Its files.
    pub files: Vec<String>,
    /// Where the rows of each split stand: file, by its place in `files`, and line. None where texts are generated.
    pub places: BTreeMap<String, Vec<(u32, u64)>>,
    /// Texts of rows whose label is `data.ood_label`, by split.
    pub out_of_scope: BTreeMap<String, Vec<Example>>,
    /// What was taken for text and label, to be shown; empty where there was no choice.
    pub columns: String,
    /// The names of these columns.
    pub column_names: ColumnNames,
    /// The names of all columns of the first file; none where the texts are generated.
    pub header: Vec<String>,
    /// How the files are written, to be shown; empty where that was no question.
    pub written: String,
    /// Whether the texts are generated, so that p(label | text) is known.
    pub generated: bool,
    /// Terms of use, where they are known.
    pub terms: Option<&'static str>,
    /// Splits that were left out because their labels are hidden.
    pub hidden: Vec<String>,
    /// The split whose rows are the test split, where that is another one: published figures are given of it.
    pub reported: Option<&'static str>,
    /// What else a person should know.
    pub remarks: Vec<Remark>,
    /// With `data.streaming`, all training rows; `splits` has a sample of them.
    pub stream: Option<Arc<StreamSource>>,
}

impl Dataset {
    /// Opens the data set that `[data]` names, whole.
    pub fn open(config: &DataConfig) -> Result<Untold, DataError> {
        if table::is_url(&config.dataset) && !config.streaming {
            return Err(DataError::Address { url: config.dataset.clone() });
        }
        let located = obtain(&config.dataset)?;
        let dataset = match located.known {
            Some(known)
                if config.streaming && (known.hub_id.is_empty() || known.form.makes_columns()) =>
            {
                Err(DataError::MadeNotStreamed { name: known.name })
            }
            Some(known) if known.hub_id.is_empty() => {
                config.check_built_in(&config.dataset)?;
                Ok(Self::generated())
            }
            _ => Self::read(&located, config),
        }?;
        let joined = config.cross_fit == CrossFit::Always;
        Ok(Untold(if joined { dataset.joined() } else { dataset }))
    }

    /// With the rows of the validation split behind those of the training split, where there are any.
    fn joined(mut self) -> Self {
        let Some(rows) = self.splits.remove("validation").filter(|rows| !rows.is_empty()) else {
            return self;
        };
        self.remarks.push(Remark::Note(format!(
            "the {} rows of the validation split are used for training and calibration, like those \
             of the training split (`data.cross_fit` is always)",
            rows.len()
        )));
        self.splits.entry("train".to_owned()).or_default().extend(rows);
        let places = self.places.remove("validation").unwrap_or_default();
        self.places.entry("train".to_owned()).or_default().extend(places);
        if let Some(outside) = self.out_of_scope.remove("validation") {
            self.out_of_scope.entry("train".to_owned()).or_default().extend(outside);
        }
        self
    }

    /// The generated reviews. Their seed is fixed: they are a data set and not a draw of the run.
    fn generated() -> Self {
        let noise = Noise::new(reviews::SEED);
        let row = |split, row| {
            let review = reviews::review(&noise, split, row);
            Example { text: review.text, pair: None, label: review.label }
        };
        let splits = GENERATED_SPLITS.map(|(name, split, rows)| {
            (name.to_owned(), (0..rows).map(|i| row(split, i)).collect())
        });
        Self {
            name: "reviews".to_owned(),
            task: Task::SingleLabel,
            labels: reviews::LABELS.map(str::to_owned).to_vec(),
            file_labels: BTreeSet::new(),
            splits: BTreeMap::from(splits),
            files: Vec::new(),
            places: BTreeMap::new(),
            out_of_scope: BTreeMap::new(),
            columns: String::new(),
            column_names: ColumnNames::default(),
            header: Vec::new(),
            written: String::new(),
            generated: true,
            terms: super::known::find("reviews").map(|known| known.terms),
            hidden: Vec::new(),
            reported: None,
            remarks: Vec::new(),
            stream: None,
        }
    }

    fn read(located: &Located, config: &DataConfig) -> Result<Self, DataError> {
        let given = Given::of(located)?;
        let mut content = Content::read(located, config, &given, Wanted::Labelled)?;
        // GLUE hides the labels of its test splits behind -1.
        let is_hidden = |label: &str| labels::whole_number(label).unwrap_or(label) == "-1";
        let hides = |rows: &Vec<Raw>| rows.iter().all(|row| is_hidden(row.label.trim()));
        let hidden = content.raw.iter().filter(|(_, rows)| hides(rows));
        let hidden: Vec<String> = hidden.map(|(split, _)| split.clone()).collect();
        content.raw.retain(|_, rows| !hides(rows));
        let reported = located.known.map_or("", |known| known.reported);
        let reported = content.report_on(reported);
        let instead = match &reported {
            Some(split) => {
                format!("the rows of `{split}` are the test split, as in published figures")
            }
            None if content.raw.contains_key("train") => {
                "rows of the training split are used instead".to_owned()
            }
            None if content.raw.is_empty() => "there are no rows with a label".to_owned(),
            None => "the others are read".to_owned(),
        };
        content.remarks.extend(hidden.iter().map(|split| {
            Remark::Note(format!(
                "the labels of the split `{split}` are all `-1`, which means hidden; the split is \
                 skipped, and {instead}"
            ))
        }));
        if let (Some(split), true) = (&reported, hidden.is_empty()) {
            content.remarks.push(Remark::Note(format!(
                "there is no test split; the rows of `{split}` are it, as in published figures"
            )));
        }
        let names = if given.is_empty() { &content.class_names } else { &given.names };
        let mut mixed_labels = None;
        if names.is_empty() {
            let files = content.labels_of_files();
            mixed::check(&files, config)?;
            mixed_labels = mixed::check_together(&files, config)?;
            mixed::check_counting(&content.labels_of_splits(), config)?;
        }
        let settled = classes::settle(&content.occurring(), names, &located.name, config)
            .map_err(|error| content.explained(error, &hidden))?;
        let Classes { task, names: classes, in_files, fates, remarks } = settled;
        let contradicted = contradiction(&content, &fates, &classes);
        let placeholders = placeholders(&content);
        let one_text = one_text::classes_of_one_text(&content, &fates, &classes);
        let (mut splits, mut out_of_scope) = (BTreeMap::new(), BTreeMap::new());
        let (mut nothing_inside, mut places) = (Vec::new(), BTreeMap::new());
        for (split, rows) in content.raw {
            let (mut inside, mut outside) = (Vec::new(), Vec::new());
            let own: &mut Vec<(u32, u64)> = places.entry(split.clone()).or_default();
            for Raw { text, pair, label, place } in rows {
                match fates[&label] {
                    Fate::Class(label) => {
                        inside.push(Example { text, pair, label });
                        own.push(place);
                    }
                    Fate::OutOfScope => outside.push(Example { text, pair, label: u32::MAX }),
                }
            }
            if inside.is_empty() && !outside.is_empty() {
                let own = match split.as_str() {
                    "test" => "; its own rows are tested on as texts of no class",
                    _ => "",
                };
                nothing_inside.push(Remark::Warning(format!(
                    "all {} rows of the split `{split}` are out of scope (`data.ood_label`, or labels that no \
                     training row has), so it says nothing of the classes, and rows of the training split are used \
                     in its place{own}",
                    outside.len()
                )));
            }
            if !outside.is_empty() {
                out_of_scope.insert(split.clone(), outside);
            }
            splits.insert(split, inside);
        }
        let stream = content.stream.map(|stream| Arc::new(stream.with_classes(&classes, &fates)));
        Ok(Self {
            name: located.name.clone(),
            stream,
            task,
            labels: classes,
            file_labels: in_files,
            splits,
            files: content.files,
            places,
            out_of_scope,
            columns: content.described,
            column_names: content.columns,
            header: content.header,
            written: content.written,
            generated: false,
            terms: located.known.map(|known| known.terms),
            hidden,
            reported,
            remarks: [located.remarks.clone(), content.remarks, remarks]
                .into_iter()
                .flatten()
                .chain(mixed_labels)
                .chain(contradicted)
                .chain(placeholders)
                .chain(one_text)
                .chain(nothing_inside)
                .collect(),
        })
    }

    /// The rows of a split; none if the data set has no such split.
    pub fn rows(&self, split: &str) -> &[Example] {
        self.splits.get(split).map_or(&[], Vec::as_slice)
    }

    /// What a split is called where its rows are from.
    pub fn origin_of<'a>(&self, split: &'a str) -> &'a str {
        if split == "test" { self.reported.unwrap_or(split) } else { split }
    }

    /// Where a row of a split stands.
    pub fn place(&self, split: &str, row: usize) -> Place {
        let (file, line) = match self.places.get(split).and_then(|places| places.get(row)) {
            Some(&(file, line)) => (self.files[file as usize].clone(), line),
            None => (String::new(), row as u64 + 1),
        };
        Place { split: split.to_owned(), file, line }
    }

    /// Which columns were taken, and how the files are written, as sentences.
    fn how_read(&self) -> impl Iterator<Item = String> {
        how_read(&self.columns, &self.written)
    }

    /// Tells how it was read, and what else a person should know.
    pub fn tell(&self, show: &mut dyn FnMut(Remark)) {
        self.how_read().map(Remark::Note).chain(self.remarks.iter().cloned()).for_each(show);
    }

    /// The config that opened it, with the columns that were found in it.
    pub fn with_columns(&self, config: &DataConfig) -> DataConfig {
        let ColumnNames { text, pair, label } = self.column_names.clone();
        DataConfig {
            text_column: text,
            text_pair_column: pair,
            label_column: label,
            ..config.clone()
        }
    }

    /// Columns that a model was trained with and that are here, where others are read in their place: those of the
    /// training, and those that are read, for people.
    pub fn other_columns(&self, trained: &ColumnNames) -> Option<[String; 2]> {
        let (own, roles) = (&self.column_names, ["text", "text pair", "label"]);
        let trained = [&trained.text, &trained.pair, &trained.label];
        let read = [&own.text, &own.pair, &own.label];
        let all = roles.into_iter().zip(trained.into_iter().zip(read));
        let other = all.filter(|(_, (there, here))| {
            there != here && !here.is_empty() && self.header.contains(there)
        });
        let (there, here): (Vec<String>, Vec<String>) = other
            .map(|(role, (there, here))| {
                (format!("{role} = `{there}`"), format!("{role} = `{here}`"))
            })
            .unzip();
        (!there.is_empty()).then(|| [there.join(", "), here.join(", ")])
    }

    /// p(label | text) of a text, `[c]`, where it is known.
    pub fn truth(&self, example: &Example) -> Option<[f64; 2]> {
        let positive = self.generated.then(|| reviews::probability(&example.text))?;
        Some([1.0 - positive, positive])
    }
}

/// Which columns were taken, and how the files are written, as sentences.
pub(super) fn how_read<'a>(
    columns: &'a str,
    written: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let both = [("columns", columns), ("format", written)];
    let said = both.into_iter().filter(|(_, what)| !what.is_empty());
    said.map(|(name, what)| format!("{name}: {what}"))
}

/// Texts that other programs write for a missing value.
fn placeholders(content: &Content) -> Option<Remark> {
    let is = |row: &&Raw| labels::looks_missing(row.text.trim());
    let rows: Vec<&Raw> = content.raw.values().flatten().filter(is).collect();
    let first = rows.first()?;
    let (file, line) = first.place;
    let (many, are) = if rows.len() == 1 { ("text", "is") } else { ("texts", "are") };
    Some(Remark::Warning(format!(
        "{} {many} {are} what other programs write for a missing value, such as `{}` in `{}` {} \
         {line}; all are read as texts; if they mean that there is no text, remove those rows",
        rows.len(),
        first.text.trim(),
        content.files[file as usize],
        table::unit(&content.files[file as usize])
    )))
}

/// Texts that stand under several labels, with the first of them, in all splits.
fn contradiction(
    content: &Content,
    fates: &HashMap<String, Fate>,
    classes: &[String],
) -> Option<Remark> {
    let mut first: HashMap<u64, (&Raw, bool)> = HashMap::new();
    let (mut texts, mut example) = (0, None);
    for row in content.raw.values().flatten() {
        let (known, counted) =
            first.entry(text_key(&row.text, row.pair.as_deref())).or_insert((row, false));
        if fates[&row.label] != fates[&known.label] {
            texts += usize::from(!*counted);
            *counted = true;
            example.get_or_insert((*known, row));
        }
    }
    let (one, other) = example?;
    let place = |Raw { place: (file, line), label, .. }: &Raw| {
        let class = match fates[label] {
            Fate::Class(class) => &classes[class as usize],
            Fate::OutOfScope => label,
        };
        let file = &content.files[*file as usize];
        format!("`{file}` {} {line} (`{class}`)", table::unit(file))
    };
    let (many, have) = if texts == 1 { ("text", "has") } else { ("texts", "have") };
    let texts_of = |row: &Raw| {
        [
            clean(&row.text).into_owned(),
            row.pair.as_deref().map_or(String::new(), |pair| clean(pair).into_owned()),
        ]
    };
    let advice = match texts_of(one) == texts_of(other) {
        true => "; no classifier can predict both; correct the labels, or remove one of the rows",
        false => {
            " (the same except for case, accents, white space or invisible characters); check whether one label is \
             wrong: many encoders read such texts alike, and cannot predict both"
        }
    };
    Some(Remark::Warning(format!(
        "{texts} {many} {have} more than one label, such as {} and {}{advice}",
        place(one),
        place(other)
    )))
}
