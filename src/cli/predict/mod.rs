//! `bayes predict`.

mod screen;
mod select;
mod told;
mod unused;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::output::{note, table_output};
use super::precision::PrecisionFlag;
use super::progress::Display;
use super::tables::TableFlags;
use super::zero_shot::ZeroShotFlags;
use super::{Common, Outcome, model_folder};
use crate::data::Overrides;
use crate::data::table::Format;
use crate::experiment::Progress;
use crate::predict::stream::{self, Input, Order, Predicted, Predictions, Sink, StreamError};
use crate::predict::{Loading, Predictor};
use screen::Screen;
use select::SelectFlags;
use told::Told;

/// Flags of `bayes predict`.
#[derive(Debug, Args)]
#[command(mut_arg("label_map", |argument| argument.hide(true)))]
pub struct Options {
    /// Model folder or Hub id [default: that of BAYES_MODEL, else the newest under
    /// checkpoints]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Texts to classify; without TEXT or --input, one text per line is read from stdin
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,
    /// CSV, TSV, JSONL or Parquet file to classify
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Output file: .csv, .tsv, .jsonl or .parquet, uncompressed [default: stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of stdin [default: lines]
    #[arg(long, value_enum)]
    format: Option<Stdin>,
    /// Read all texts, then sort the output so that the texts a person should review come first
    #[arg(long, value_enum, value_name = "BY")]
    sort_by: Option<SortBy>,
    #[command(flatten)]
    select: SelectFlags,
    /// What to do with a row that cannot be classified: `skip` records the reason in its `error`
    /// column, `fail` stops the command [default: skip; fail for texts on the command line]
    #[arg(long, value_enum, value_name = "ACTION")]
    on_error: Option<OnError>,
    #[command(flatten)]
    zero_shot: ZeroShotFlags,
    #[command(flatten)]
    precision: PrecisionFlag,
    #[command(flatten)]
    tables: TableFlags,
}

impl Options {
    fn format(&self) -> Stdin {
        self.format.unwrap_or(Stdin::Lines)
    }

    /// Whether texts come without a table.
    fn is_plain(&self) -> bool {
        self.input.is_none() && self.format() == Stdin::Lines
    }

    fn order(&self) -> Order {
        let sorted = || self.sort_by.map(|by| Order::Sorted(by.into()));
        self.select.selection().map(Order::Chosen).or_else(sorted).unwrap_or_default()
    }

    /// How the table of labelled texts is read: with the columns that are named, and otherwise by itself where the input
    /// is a table, which these flags are about.
    fn of_labelled(&self) -> Overrides {
        let said = self.tables.overrides();
        if self.is_plain() || !self.texts.is_empty() {
            return said;
        }
        let Overrides { text_column, text_pair_column, label_column, .. } = said;
        Overrides { text_column, text_pair_column, label_column, ..Overrides::default() }
    }

    fn fails(&self) -> bool {
        let usual = if self.texts.is_empty() { OnError::Skip } else { OnError::Fail };
        self.on_error.unwrap_or(usual) == OnError::Fail
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Classify the other rows
    Skip,
    /// Stop at the first such row and do not write the `--output` file
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortBy {
    /// Highest epistemic (model) uncertainty first; label these next. Requires a model that reports
    /// epistemic uncertainty
    Epistemic,
    /// Highest prediction uncertainty first
    Uncertainty,
    /// Lowest confidence first
    Confidence,
    /// Texts least like the training data first
    OodP,
}

impl From<SortBy> for stream::SortBy {
    fn from(by: SortBy) -> Self {
        match by {
            SortBy::Epistemic => Self::Epistemic,
            SortBy::Uncertainty => Self::Uncertainty,
            SortBy::Confidence => Self::Confidence,
            SortBy::OodP => Self::OodP,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stdin {
    /// One text per line
    Lines,
    Csv,
    Tsv,
    Jsonl,
}

impl Stdin {
    /// The format of a table, where it is one.
    fn table(self) -> Option<Format> {
        match self {
            Self::Lines => None,
            Self::Csv => Some(Format::Csv),
            Self::Tsv => Some(Format::Tsv),
            Self::Jsonl => Some(Format::JsonLines),
        }
    }
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    options.check(common.json)?;
    options.check_output()?;
    let backend = common.backend()?;
    let folder = model_folder(options.model.as_deref())?;
    let loading =
        Loading { labels: options.zero_shot.labels(), precision: options.precision.on(&backend)? };
    let predictor = Predictor::load_as(&folder, &backend, &loading)?;
    let order = options.order();
    // Before anything is read.
    order.check(&predictor)?;
    let input = options.input(&predictor)?;
    if let Some(hint) = options.texts.iter().find_map(|text| names_a_file(text)) {
        note(&hint)?;
    }
    let mut display = Display::new(common.quiet || options.is_plain());
    if !input.described().is_empty() {
        display.show(&Progress::Note(format!("columns: {}", input.described())));
    }
    if !input.written().is_empty() {
        display.show(&Progress::Note(format!("format: {}", input.written())));
    }
    let wanted = stream::Options { order, fails: options.fails() };
    let mut predictions = Predictions::new(&predictor, input, wanted)?;
    let mut told = Told::new(options, &predictor);
    if let Some(path) = &options.select.labelled {
        let said = options.of_labelled();
        let labelled = Input::file(path, &predictor, &said)?;
        for (what, how) in [("columns", labelled.described()), ("format", labelled.written())] {
            if !how.is_empty() {
                display.show(&Progress::Note(format!("labelled: {what}: {how}")));
            }
        }
        let trained = predictor.artifact().manifest.data.as_ref();
        let column = said.label_column.or(trained.map(|data| data.label_column.clone()));
        let column = column.filter(|name| !name.is_empty()).unwrap_or("label".to_owned());
        let mut hear = |event| told.hear(&event, &mut display);
        predictions = predictions.beside(labelled, &column, &mut hear)?;
    }
    // Opened with the first predictions: a command that is refused by its first row writes nothing.
    let mut output = None;
    while let Some(batch) = predictions.next_batch(&mut |event| told.hear(&event, &mut display))? {
        let output = match &mut output {
            Some(output) => output,
            none => none.insert(Output::open(options, common, &predictor, &predictions)?),
        };
        for predicted in &batch {
            output.write(predicted, &predictions)?;
        }
        output.flush()?;
    }
    let output = match output {
        Some(output) => output,
        None => Output::open(options, common, &predictor, &predictions)?,
    };
    display.finish();
    told.end(predictions.finish()?)?;
    output.finish()?;
    Ok(Outcome::Done)
}

impl Options {
    fn input<'a>(&'a self, predictor: &Predictor) -> Result<Input<'a>, StreamError> {
        let mut said = self.tables.overrides();
        if self.select.labelled.is_some() {
            // That is a column of the other table.
            said.label_column = None;
        }
        if !self.texts.is_empty() {
            return Input::texts(self.texts.iter().cloned(), predictor);
        }
        if let Some(path) = &self.input {
            return Input::file(path, predictor, &said);
        }
        let (stdin, name) = (Box::new(io::stdin()), "stdin");
        match self.format().table() {
            Some(format) => Input::table(stdin, format, name, predictor, &said),
            None => Input::lines(stdin, name, predictor, &said),
        }
    }
}

/// Where predictions go.
enum Output<'a> {
    Screen(Screen<'a>),
    Table(Sink<'a>),
}

impl<'a> Output<'a> {
    fn open(
        options: &Options,
        common: &Common,
        predictor: &'a Predictor,
        predictions: &Predictions<'a>,
    ) -> Result<Self> {
        if let Some(path) = &options.output {
            return Ok(Self::Table(Sink::create(path, predictions)?));
        }
        let format = match common.json {
            true => Format::JsonLines,
            false if options.is_plain() => return Ok(Self::Screen(Screen::new(predictor))),
            false => Format::Csv,
        };
        Ok(Self::Table(Sink::stream(table_output(), format, "stdout", predictions)?))
    }

    fn write(&mut self, predicted: &Predicted, of: &Predictions<'_>) -> Result<()> {
        match self {
            Self::Screen(screen) => screen.write(predicted, of),
            Self::Table(sink) => Ok(sink.write(predicted)?),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Screen(screen) => screen.flush(),
            Self::Table(sink) => Ok(sink.flush()?),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Screen(screen) => screen.finish(),
            Self::Table(sink) => Ok(sink.finish()?),
        }
    }
}

/// What to say of a text that may have been meant as an input.
fn names_a_file(text: &str) -> Option<String> {
    Path::new(text).is_file().then(|| {
        format!(
            "warning: `{text}` is a file, but is classified as a text; to classify its rows, use \
             `--input {text}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_the_name_of_a_file_is_pointed_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv").display().to_string();
        assert_eq!(names_a_file(&path), None);
        std::fs::write(&path, "text\na row\n").unwrap();
        assert!(names_a_file(&path).unwrap().contains(&format!("`--input {path}`")));
        assert_eq!(names_a_file(&folder.path().display().to_string()), None);
        assert_eq!(names_a_file(&"a long text ".repeat(9999)), None);
    }
}
