//! `bayes predict`.

mod input;
mod lines;
mod sink;
mod unused;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::output::note;
use super::progress::Display;
use super::tables::TableFlags;
use super::{Common, Outcome, model_folder};
use crate::artifact::Artifact;
use crate::data::{DataConfig, longest_text};
use crate::experiment::Progress;
use crate::numbers::grouped;
use crate::predict::{Pairs, Prediction, Predictor, Text};
use input::{Input, Item};
use sink::Sink;

/// Rows that are predicted together: enough to sort them by length, few enough to hold.
const CHUNK: usize = 1024;
/// Bytes of their texts, as far as they are read.
const CHUNK_BYTES: usize = 4 << 20;
/// Faults that are shown one by one.
const SHOWN_FAULTS: usize = 5;

/// Flags of `bayes predict`.
#[derive(Debug, Args)]
#[command(mut_arg("label_map", |argument| argument.hide(true)))]
pub struct Options {
    /// Model folder or Hub id [default: the newest model under checkpoints]
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
    /// What to do with a row that cannot be classified: `skip` records the reason in its `error`
    /// column, `fail` stops the command [default: skip; fail for texts on the command line]
    #[arg(long, value_enum, value_name = "ACTION")]
    on_error: Option<OnError>,
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

impl SortBy {
    /// Smaller comes first; `None` where the model cannot know it.
    fn key(self, prediction: &Prediction) -> Option<f64> {
        match self {
            Self::Epistemic => prediction.predictive.epistemic.map(|epistemic| -epistemic),
            Self::Uncertainty => Some(-prediction.predictive.total),
            Self::Confidence => Some(prediction.confidence),
            Self::OodP => prediction.judgement.ood.map(|ood| ood.p_value),
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

/// A text, and what is predicted for it, or why nothing is.
type Answered = (Item, Result<Prediction, String>);

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    options.check(common.json)?;
    let folder = model_folder(options.model.as_deref())?;
    let selected = common.device()?;
    let predictor = Predictor::load(&folder, &selected.device)?;
    if let Some(by) = options.sort_by {
        check_order(&predictor, by)?;
    }
    if options.is_plain() && predictor.pairs() == Pairs::Always {
        bail!(
            "this model classifies pairs of texts, but a text here has no second text; give a \
             table with both columns, with `--input` or `--format`"
        );
    }
    if let Some(hint) = options.texts.iter().find_map(|text| names_a_file(text)) {
        note(&hint)?;
    }
    let mut input = Input::open(options, &config(options, &predictor)?, predictor.pairs())?;
    let mut items = std::mem::replace(&mut input.items, Box::new(std::iter::empty())).peekable();
    // Opened with the first answers: a command that is refused by its first row writes nothing.
    let mut sink = None;
    let mut display = Display::new(common.quiet || options.is_plain());
    if !input.described.is_empty() {
        display.show(&Progress::Note(format!("columns: {}", input.described)));
    }
    let tokens = predictor.artifact().manifest.preprocessing.max_length;
    let longest = longest_text(tokens);
    let source = match &options.input {
        Some(path) => format!("`{}`", path.display()),
        None => "standard input".to_owned(),
    };
    let mut told = Told { longest, tokens, source, ..Told::default() };
    let (mut sorted, mut done) = (Vec::new(), 0);
    while items.peek().is_some() {
        let (mut chunk, mut bytes) = (Vec::with_capacity(CHUNK), 0);
        while chunk.len() < CHUNK && bytes < CHUNK_BYTES {
            let Some(item) = items.next() else { break };
            let item = item?;
            bytes += item.text.len().min(longest);
            chunk.push(item);
        }
        let before = done;
        done += chunk.len();
        let answered = answer(&predictor, chunk)?;
        told.hear(&answered, &input.place, options.fails())?;
        match options.sort_by {
            Some(by) => sorted.extend(keyed(answered, by)?),
            None => {
                let sink = match &mut sink {
                    Some(sink) => sink,
                    none => none.insert(Sink::open(options, common, &predictor, &input)?),
                };
                write(sink, answered)?;
            }
        }
        if before / (16 * CHUNK) < done / (16 * CHUNK) {
            display.show(&Progress::Note(format!("{done} rows")));
        }
    }
    // Stable: equal ones stay in their order.
    sorted.sort_by(|(a, _), (b, _): &(f64, Answered)| a.total_cmp(b));
    let mut sink = match sink {
        Some(sink) => sink,
        None => Sink::open(options, common, &predictor, &input)?,
    };
    write(&mut sink, sorted.into_iter().map(|(_, answered)| answered))?;
    display.finish();
    told.end(done, options.is_plain())?;
    sink.finish()?;
    Ok(Outcome::Done)
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

/// How a table is read: with the columns that the model was made from, unless others are named.
fn config(options: &Options, predictor: &Predictor) -> Result<DataConfig> {
    let data = predictor.artifact().manifest.data.as_ref();
    let mut config = data.map(|data| data.like("stdin")).unwrap_or_default();
    options.tables.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
    Ok(config)
}

/// Refuses an order that the model knows nothing of, before it is asked anything.
fn check_order(predictor: &Predictor, by: SortBy) -> Result<()> {
    let Artifact { posterior, calibration, .. } = predictor.artifact();
    let strange = match (by, &calibration.novelty) {
        (SortBy::Epistemic, Some(_)) => {
            ", or `--sort-by ood-p` to get the texts least like the training data first"
        }
        _ => "",
    };
    let missing = match by {
        SortBy::Epistemic => {
            posterior.own_doubt().reason().map(|why| ("epistemic uncertainty", why))
        }
        SortBy::OodP if calibration.novelty.is_none() => {
            Some(("novelty p-values", "it was not calibrated for them"))
        }
        SortBy::OodP | SortBy::Uncertainty | SortBy::Confidence => None,
    };
    match missing {
        Some((what, why)) => {
            bail!(
                "this model reports no {what} because {why}; use `--sort-by uncertainty`{strange}"
            )
        }
        None => Ok(()),
    }
}

/// Predicts what can be predicted. Where the texts together cannot be, each is tried by itself.
fn answer(predictor: &Predictor, mut chunk: Vec<Item>) -> Result<Vec<Answered>> {
    let good: Vec<Text<'_>> = chunk
        .iter()
        .filter(|item| item.fault.is_none())
        .map(|item| (item.text.as_str(), item.pair.as_deref()))
        .collect();
    let predictions: Vec<Result<Prediction, String>> = match predictor.predict(&good, &mut |_| {}) {
        Ok(predictions) => predictions.into_iter().map(Ok).collect(),
        Err(_) => good.iter().map(|text| alone(predictor, *text)).collect(),
    };
    let mut predictions = predictions.into_iter();
    let answer = |mut item: Item| {
        let answer = match item.fault.take() {
            Some(fault) => Err(fault),
            None => predictions.next().expect("one prediction for each text"),
        };
        (item, answer)
    };
    Ok(chunk.drain(..).map(answer).collect())
}

fn alone(predictor: &Predictor, text: Text<'_>) -> Result<Prediction, String> {
    let predicted = predictor.predict(&[text], &mut |_| {}).map_err(|error| {
        // It counts the texts of one call, and there is one.
        format!("{:#}", anyhow::Error::from(error)).replace("text 1 ", "the text ")
    })?;
    predicted.into_iter().next().ok_or_else(|| "there is no prediction".to_owned())
}

/// With what it is sorted by; what could not be answered comes last.
fn keyed(answered: Vec<Answered>, by: SortBy) -> Result<Vec<(f64, Answered)>> {
    let key = |(item, answer): Answered| {
        let key = match &answer {
            Ok(prediction) => by.key(prediction).with_context(|| {
                format!("the prediction in line {} has no such value", item.line)
            })?,
            Err(_) => f64::INFINITY,
        };
        Ok((key, (item, answer)))
    };
    answered.into_iter().map(key).collect()
}

fn write(sink: &mut Sink<'_>, answered: impl IntoIterator<Item = Answered>) -> Result<()> {
    for (item, answer) in answered {
        sink.write(&item, &answer)?;
    }
    sink.flush()
}

/// What a person is told of rows that could not be answered, or not whole.
#[derive(Default)]
struct Told {
    /// Where the texts are from.
    source: String,
    faults: usize,
    first: String,
    /// Bytes that are read of a text, and texts that have more.
    longest: usize,
    long: usize,
    /// Tokens that are read of a text, and texts that have more.
    tokens: usize,
    cut: usize,
}

impl Told {
    fn hear(&mut self, answered: &[Answered], place: &str, fails: bool) -> Result<()> {
        for (item, answer) in answered {
            if let Err(fault) = answer {
                let said = sink::located(place, item.line, fault);
                if fails {
                    bail!("{said}");
                }
                self.faults += 1;
                match self.faults {
                    1 => self.first = said.clone(),
                    _ if self.faults > SHOWN_FAULTS => continue,
                    _ => {}
                }
                if place != "stdin line" {
                    note(&format!("warning: {said}"))?;
                }
                continue;
            }
            self.long += usize::from(item.text.len() > self.longest);
            self.cut += usize::from(answer.as_ref().is_ok_and(|prediction| prediction.truncated));
        }
        Ok(())
    }

    /// # Errors
    /// Not one row was answered.
    fn end(&self, rows: usize, plain: bool) -> Result<()> {
        if self.cut > 0 {
            note(&format!(
                "{} of {} texts were truncated to {} tokens",
                grouped(self.cut as u64),
                grouped((rows - self.faults) as u64),
                self.tokens
            ))?;
        }
        if self.long > 0 {
            note(&format!(
                "warning: {} texts have more than {} bytes; only their beginning and end were read",
                self.long,
                grouped(self.longest as u64)
            ))?;
        }
        if rows == 0 {
            note(&format!("warning: {} contains no text to classify", self.source))?;
        }
        if self.faults > 0 && self.faults == rows {
            bail!("none of {rows} rows could be classified: {}", self.first);
        }
        if self.faults > 0 {
            let column = if plain { "" } else { "; the `error` column gives the reason" };
            note(&format!(
                "warning: {} of {rows} rows could not be classified{column}",
                self.faults
            ))?;
        }
        Ok(())
    }
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
