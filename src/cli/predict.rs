//! `bayes predict`.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::progress::Display;
use super::{Common, Outcome, model_folder, print};
use crate::artifact::Artifact;
use crate::calibrate::{Judgement, PredictionSet};
use crate::data::clean;
use crate::data::table::{
    self, ColumnNames, Columns, Format, Kind, Row, SAMPLE_ROWS, Table, Value, Writer,
};
use crate::experiment::Progress;
use crate::predict::{Prediction, PredictionObject, Predictor, Presentation, Text, decision};

/// Rows that are predicted together: enough to sort them by length, few enough to hold.
const CHUNK: usize = 1024;

/// Flags of `bayes predict`.
#[derive(Debug, Args)]
pub struct Options {
    /// The model folder or Hub id [default: the newest under checkpoints]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Texts; without them and --input, lines are read from stdin
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,
    /// A CSV, TSV, JSONL or Parquet file
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to write: .csv, .tsv, .jsonl or .parquet [default: stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What stdin holds
    #[arg(long, value_enum, default_value_t = Stdin::Lines)]
    format: Stdin,
    /// Column of the text [default: detected]
    #[arg(long, default_value = "", value_name = "NAME")]
    text_column: String,
    /// Column of the second text of a pair
    #[arg(long, default_value = "", value_name = "NAME")]
    text_pair_column: String,
    /// Read everything, and begin with what a person should look at first
    #[arg(long, value_enum, value_name = "BY")]
    sort_by: Option<SortBy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortBy {
    /// The largest uncertainty of the model first: label these next. Only where the model knows it
    Epistemic,
    /// The largest uncertainty of the prediction first
    Uncertainty,
    /// The least confidence first
    Confidence,
    /// The text least like the training data first
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
    /// One text a line
    Lines,
    Csv,
    Tsv,
    Jsonl,
}

/// The columns of tabular output, after the text.
const COLUMNS: [(&str, Kind); 7] = [
    ("label", Kind::Text),
    ("confidence", Kind::Float),
    ("uncertainty", Kind::Float),
    ("epistemic", Kind::Float),
    ("decision", Kind::Text),
    ("prediction_set", Kind::Text),
    ("ood_p", Kind::Float),
];

/// A text to classify, and where it came from.
struct Item {
    text: String,
    pair: Option<String>,
    line: u64,
}

type Items<'a> = Box<dyn Iterator<Item = Result<Item>> + 'a>;

/// Runs the command.
pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let folder = model_folder(options.model.as_deref())?;
    let selected = common.device()?;
    let predictor = Predictor::load(&folder, &selected.device)?;
    if let Some(by) = options.sort_by {
        check_order(&predictor, by)?;
    }
    let (items, place) = items(options)?;
    let plain = options.input.is_none() && options.format == Stdin::Lines;
    let mut sink = Sink::open(options, common, &predictor, plain)?;
    let mut display = Display::new(common.quiet || options.input.is_none());
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut sorted = Vec::new();
    let mut done = 0;
    let mut items = items.peekable();
    while items.peek().is_some() {
        for item in items.by_ref().take(CHUNK) {
            chunk.push(item?);
        }
        let predictions = predict(&predictor, &chunk, &place)?;
        done += chunk.len();
        let answered = chunk.drain(..).zip(predictions);
        match options.sort_by {
            Some(by) => sorted.extend(keyed(answered, by)?),
            None => write(&mut sink, answered)?,
        }
        if done.is_multiple_of(16 * CHUNK) {
            display.show(&Progress::Note(format!("{done} rows")));
        }
    }
    // Stable: equal ones stay in their order.
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    write(&mut sink, sorted.into_iter().map(|(_, answered)| answered))?;
    sink.finish()?;
    display.finish();
    Ok(Outcome::Done)
}

/// A text and what is predicted for it.
type Answered = (Item, Prediction);

fn predict(predictor: &Predictor, chunk: &[Item], place: &str) -> Result<Vec<Prediction>> {
    if let Some(item) = chunk.iter().find(|item| clean(&item.text).is_empty()) {
        bail!("{place} {}: the text is empty", item.line);
    }
    let texts: Vec<Text<'_>> =
        chunk.iter().map(|item| (item.text.as_str(), item.pair.as_deref())).collect();
    Ok(predictor.predict(&texts, &mut |_| {})?)
}

/// Refuses an order that the model knows nothing of, before it is asked anything.
fn check_order(predictor: &Predictor, by: SortBy) -> Result<()> {
    let Artifact { uncertainty, calibration, .. } = predictor.artifact();
    let strange = match (by, &calibration.novelty) {
        (SortBy::Epistemic, Some(_)) => ", or by ood-p for the texts least like the training data",
        _ => "",
    };
    let missing = match by {
        SortBy::Epistemic => {
            uncertainty.own_doubt().reason().map(|why| ("epistemic uncertainty", why))
        }
        SortBy::OodP if calibration.novelty.is_none() => {
            Some(("novelty p-values", "it was not calibrated for them"))
        }
        SortBy::OodP | SortBy::Uncertainty | SortBy::Confidence => None,
    };
    match missing {
        Some((what, why)) => {
            bail!("this model has no {what}, since {why}: sort by uncertainty instead{strange}")
        }
        None => Ok(()),
    }
}

/// With what it is sorted by.
fn keyed(answered: impl Iterator<Item = Answered>, by: SortBy) -> Result<Vec<(f64, Answered)>> {
    let key = |(item, prediction): Answered| {
        let key = by.key(&prediction);
        let key =
            key.with_context(|| format!("the answer in line {} has no such value", item.line));
        Ok((key?, (item, prediction)))
    };
    answered.map(key).collect()
}

fn write(sink: &mut Sink<'_>, answered: impl Iterator<Item = Answered>) -> Result<()> {
    for (item, prediction) in answered {
        sink.write(&item, &prediction)?;
    }
    sink.flush()
}

/// The texts, and what to call their source in a message.
fn items(options: &Options) -> Result<(Items<'_>, String)> {
    if !options.texts.is_empty() {
        let texts = options
            .texts
            .iter()
            .zip(1..)
            .map(|(text, line)| Ok(Item { text: text.clone(), pair: None, line }));
        return Ok((Box::new(texts), "text".to_owned()));
    }
    let table = match (&options.input, options.format) {
        (Some(path), _) => table::open(path)?,
        (None, Stdin::Lines) => {
            // Lines without content, such as the last one, are no texts.
            let lines = io::stdin().lock().lines().zip(1..).filter_map(|(line, number)| {
                let line = line.context("cannot read stdin as lines of UTF-8");
                let item = |text: String| Item { text, pair: None, line: number };
                line.map(|text| (!text.trim().is_empty()).then(|| item(text))).transpose()
            });
            return Ok((Box::new(lines), "stdin line".to_owned()));
        }
        (None, format) => {
            let format = match format {
                Stdin::Csv | Stdin::Lines => Format::Csv,
                Stdin::Tsv => Format::Tsv,
                Stdin::Jsonl => Format::JsonLines,
            };
            Table::from_reader(Box::new(io::stdin()), format, "stdin")?
        }
    };
    let place = match &options.input {
        Some(path) => format!("`{}` line", path.display()),
        None => "stdin line".to_owned(),
    };
    Ok((rows(table, options)?, place))
}

fn rows<'a>(mut table: Table, options: &Options) -> Result<Items<'a>> {
    let wanted = ColumnNames {
        text: options.text_column.clone(),
        pair: options.text_pair_column.clone(),
        label: String::new(),
    };
    let sample: Vec<Row> = table.by_ref().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
    let Columns { text, pair, .. } = table::detect(&table.columns, &sample, &wanted, false)?;
    let item = move |row: Row| {
        let value = |column: usize| {
            let value = row.values.get(column).and_then(Value::as_text);
            value.map(|text| text.into_owned()).unwrap_or_default()
        };
        Item { text: value(text), pair: pair.map(value), line: row.line }
    };
    Ok(Box::new(sample.into_iter().map(Ok).chain(table).map(move |row| Ok(item(row?)))))
}

/// Where predictions go.
enum Sink<'a> {
    /// Lines for a person.
    Lines { width: usize, labels: &'a [String] },
    /// One object a line.
    Objects { predictor: &'a Predictor, out: Writer },
    /// Flat columns.
    Flat { out: Writer, labels: &'a [String], paired: bool },
}

impl<'a> Sink<'a> {
    fn open(
        options: &Options,
        common: &Common,
        predictor: &'a Predictor,
        plain: bool,
    ) -> Result<Self> {
        let labels = predictor.labels();
        let paired = !options.text_pair_column.is_empty();
        let mut columns = vec![("text", Kind::Text)];
        columns.extend(paired.then_some(("text_pair", Kind::Text)));
        columns.extend(COLUMNS);
        let stdout = |format: Format, columns: &[(&str, Kind)]| {
            Writer::stream(Box::new(io::stdout()), format, "stdout", columns)
        };
        if let Some(path) = &options.output {
            refuse_input_as_output(options.input.as_deref(), path)?;
            return Ok(match Format::of(path)? {
                Format::JsonLines => Self::Objects { predictor, out: Writer::create(path, &[])? },
                _ => Self::Flat { out: Writer::create(path, &columns)?, labels, paired },
            });
        }
        if common.json {
            let out = stdout(Format::JsonLines, &[])?;
            return Ok(Self::Objects { predictor, out });
        }
        if plain {
            let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
            return Ok(Self::Lines { width, labels });
        }
        Ok(Self::Flat { out: stdout(Format::Csv, &columns)?, labels, paired })
    }

    fn write(&mut self, item: &Item, prediction: &Prediction) -> Result<()> {
        match self {
            Self::Lines { width, labels } => {
                let text: String =
                    clean(&item.text).split_whitespace().collect::<Vec<_>>().join(" ");
                let room = 80usize.saturating_sub(*width + 35).max(20);
                let shown = if text.chars().count() > room {
                    text.chars().take(room - 1).chain(['…']).collect()
                } else {
                    text
                };
                let decision = match decision(&prediction.judgement) {
                    Some(decision) => format!("{decision:<7}  "),
                    None => String::new(),
                };
                print(&format!(
                    "{:<width$}  {:>6.2} %  ±{:.3} nats  {decision}{shown}\n",
                    labels[prediction.label],
                    100.0 * prediction.confidence,
                    prediction.predictive.total,
                ))
            }
            Self::Objects { predictor, out } => {
                let shown = Presentation { logits: true, ..Presentation::default() };
                let object = PredictionObject {
                    text: Some(item.text.clone()),
                    text_pair: item.pair.clone(),
                    ..predictor.object(prediction, &shown)
                };
                Ok(out.write_object(&serde_json::to_value(object)?)?)
            }
            Self::Flat { out, labels, paired } => {
                let mut values = vec![Value::Text(item.text.clone())];
                if *paired {
                    values.push(Value::Text(item.pair.clone().unwrap_or_default()));
                }
                let Judgement { set, ood, .. } = &prediction.judgement;
                let names = |set: &PredictionSet| {
                    set.classes.iter().map(|&class| &*labels[class]).collect::<Vec<_>>().join("|")
                };
                let decision = decision(&prediction.judgement);
                values.extend([
                    Value::Text(labels[prediction.label].clone()),
                    Value::Float(prediction.confidence),
                    Value::Float(prediction.predictive.total),
                    prediction.predictive.epistemic.map_or(Value::Null, Value::Float),
                    decision.map_or(Value::Null, |decision| Value::Text(decision.to_owned())),
                    set.as_ref().map_or(Value::Null, |set| Value::Text(names(set))),
                    ood.map_or(Value::Null, |ood| Value::Float(ood.p_value)),
                ]);
                Ok(out.write(&values)?)
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Lines { .. } => Ok(io::stdout().flush()?),
            Self::Objects { out, .. } | Self::Flat { out, .. } => Ok(out.flush()?),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Lines { .. } => Ok(()),
            Self::Objects { out, .. } | Self::Flat { out, .. } => Ok(out.finish()?),
        }
    }
}

fn refuse_input_as_output(input: Option<&Path>, output: &Path) -> Result<()> {
    let same = |input: &Path| {
        input.canonicalize().ok().is_some_and(|a| output.canonicalize().is_ok_and(|b| a == b))
    };
    if input.is_some_and(same) {
        bail!("`{}` is the input: name another file as output", output.display());
    }
    Ok(())
}
