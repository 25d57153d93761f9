//! Where the answers of `bayes predict` go.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json, json};

use super::input::{Input, Item};
use super::{Common, Options};
use crate::calibrate::{Judgement, PredictionSet};
use crate::cli::output::{note, print, table_output};
use crate::data::clean;
use crate::data::table::{Cells, Format, Kind, Value, Writer, distinct_names};
use crate::predict::{Prediction, PredictionObject, Predictor, Presentation, decision};

/// The columns of tabular output behind the text; other columns of the input follow.
const COLUMNS: [(&str, Kind); 8] = [
    ("label", Kind::Text),
    ("confidence", Kind::Float),
    ("uncertainty", Kind::Float),
    ("epistemic", Kind::Float),
    ("decision", Kind::Text),
    ("prediction_set", Kind::Text),
    ("ood_p", Kind::Float),
    ("error", Kind::Text),
];

/// Where predictions go.
pub(super) enum Sink<'a> {
    /// Lines for a person.
    Lines {
        width: usize,
        labels: &'a [String],
        place: String,
    },
    /// One object a line; other columns of the input stand under `input`.
    Objects {
        predictor: &'a Predictor,
        out: Writer,
        rest: Vec<String>,
    },
    Flat {
        out: Writer,
        labels: &'a [String],
    },
}

impl<'a> Sink<'a> {
    pub(super) fn open(
        options: &Options,
        common: &Common,
        predictor: &'a Predictor,
        input: &Input<'_>,
    ) -> Result<Self> {
        let labels = predictor.labels();
        let columns = columns(input);
        let columns: Vec<(&str, Kind)> =
            columns.iter().map(|(name, kind)| (&**name, *kind)).collect();
        let rest = distinct_names(&[], input.rest.iter().map(|(name, _)| name));
        let stdout = |format: Format, columns: &[(&str, Kind)]| {
            Writer::stream(table_output(), format, "stdout", columns)
        };
        if let Some(path) = &options.output {
            refuse_input_as_output(options.input.as_deref(), path)?;
            return Ok(match Format::of(path)? {
                Format::JsonLines => {
                    Self::Objects { predictor, out: Writer::create(path, &[])?, rest }
                }
                _ => Self::Flat { out: Writer::create(path, &columns)?, labels },
            });
        }
        if common.json {
            let out = stdout(Format::JsonLines, &[])?;
            return Ok(Self::Objects { predictor, out, rest });
        }
        if options.is_plain() {
            let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
            return Ok(Self::Lines { width, labels, place: input.place.clone() });
        }
        Ok(Self::Flat { out: stdout(Format::Csv, &columns)?, labels })
    }

    pub(super) fn write(&mut self, item: &Item, answer: &Result<Prediction, String>) -> Result<()> {
        match self {
            Self::Lines { width, labels, place } => match answer {
                Ok(prediction) => print(&line(item, prediction, *width, labels)),
                Err(fault) => note(&located(place, item.line, fault)),
            },
            Self::Objects { predictor, out, rest } => {
                let fields = match answer {
                    Ok(prediction) => object(item, prediction, predictor)?,
                    Err(fault) => fault_object(item, fault),
                };
                let input = (!rest.is_empty()).then_some(Cells { names: rest, values: &item.rest });
                Ok(out.write_object(&WithInput { fields: &fields, input })?)
            }
            Self::Flat { out, labels } => {
                let mut values = vec![Value::Text(item.text.clone())];
                values.extend(item.pair.clone().map(Value::Text));
                values.extend(match answer {
                    Ok(prediction) => answered(prediction, labels),
                    Err(fault) => {
                        let mut values = vec![Value::Null; COLUMNS.len() - 1];
                        values.push(Value::Text(fault.clone()));
                        values
                    }
                });
                values.extend(item.rest.iter().cloned());
                Ok(out.write(&values)?)
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Self::Lines { .. } => Ok(std::io::stdout().flush()?),
            Self::Objects { out, .. } | Self::Flat { out, .. } => Ok(out.flush()?),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Lines { .. } => Ok(()),
            Self::Objects { out, .. } | Self::Flat { out, .. } => Ok(out.finish()?),
        }
    }
}

/// A fault with its place; a table's own message says where.
pub(super) fn located(place: &str, line: u64, fault: &str) -> String {
    match fault.starts_with('`') {
        true => fault.to_owned(),
        false => format!("{place} {line}: {fault}"),
    }
}

/// Text, answer, and the other columns; one whose name is taken is called `input_…`.
fn columns(input: &Input<'_>) -> Vec<(String, Kind)> {
    let pair = input.paired.then_some(("text_pair", Kind::Text));
    let own = [("text", Kind::Text)].into_iter().chain(pair).chain(COLUMNS);
    let mut columns: Vec<(String, Kind)> =
        own.map(|(name, kind)| (name.to_owned(), kind)).collect();
    let taken: Vec<&str> = columns.iter().map(|(name, _)| &**name).collect();
    let rest = distinct_names(&taken, input.rest.iter().map(|(name, _)| name));
    columns.extend(rest.into_iter().zip(input.rest.iter().map(|(_, kind)| *kind)));
    columns
}

/// What is said of a text, and behind it the other columns of its row.
struct WithInput<'a> {
    fields: &'a Map<String, Json>,
    input: Option<Cells<'a>>,
}

impl Serialize for WithInput<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields {
            map.serialize_entry(name, value)?;
        }
        if let Some(input) = &self.input {
            map.serialize_entry("input", input)?;
        }
        map.end()
    }
}

fn line(item: &Item, prediction: &Prediction, width: usize, labels: &[String]) -> String {
    let text: String = clean(&item.text).split_whitespace().collect::<Vec<_>>().join(" ");
    let room = 80usize.saturating_sub(width + 35).max(20);
    let shown = if text.chars().count() > room {
        text.chars().take(room - 1).chain(['…']).collect()
    } else {
        text
    };
    let decision = match decision(&prediction.judgement) {
        Some(decision) => format!("{decision:<7}  "),
        None => String::new(),
    };
    format!(
        "{:<width$}  {:>6.2} %  {:.3} nats  {decision}{shown}\n",
        labels[prediction.label],
        100.0 * prediction.confidence,
        prediction.predictive.total,
    )
}

fn object(
    item: &Item,
    prediction: &Prediction,
    predictor: &Predictor,
) -> Result<Map<String, Json>> {
    let shown = Presentation { logits: true, ..Presentation::default() };
    let object = PredictionObject {
        text: Some(item.text.clone()),
        text_pair: item.pair.clone(),
        ..predictor.object(prediction, &shown)
    };
    match serde_json::to_value(object)? {
        Json::Object(fields) => Ok(fields),
        other => bail!("a prediction is written as {other}, not as an object"),
    }
}

fn fault_object(item: &Item, fault: &str) -> Map<String, Json> {
    let pair = item.pair.as_ref().map(|pair| ("text_pair", json!(pair)));
    let fields = [("text", json!(item.text))].into_iter().chain(pair);
    let fields = fields.chain([("line", json!(item.line)), ("error", json!(fault))]);
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn answered(prediction: &Prediction, labels: &[String]) -> Vec<Value> {
    let Judgement { set, ood, .. } = &prediction.judgement;
    let decision = decision(&prediction.judgement);
    vec![
        Value::Text(labels[prediction.label].clone()),
        Value::Float(prediction.confidence),
        Value::Float(prediction.predictive.total),
        prediction.predictive.epistemic.map_or(Value::Null, Value::Float),
        decision.map_or(Value::Null, |decision| Value::Text(decision.to_owned())),
        set.as_ref().map_or(Value::Null, |set| Value::Text(set_text(set, labels))),
        ood.map_or(Value::Null, |ood| Value::Float(ood.p_value)),
        Value::Null,
    ]
}

/// The labels of a set with `|` between them; a JSON list where a label of the model has a `|` itself.
fn set_text(set: &PredictionSet, labels: &[String]) -> String {
    let names: Vec<&str> = set.classes.iter().map(|&class| &*labels[class]).collect();
    let ambiguous = labels.iter().any(|label| label.contains('|'));
    if ambiguous { json!(names).to_string() } else { names.join("|") }
}

fn refuse_input_as_output(input: Option<&Path>, output: &Path) -> Result<()> {
    let same = |input: &Path| {
        input.canonicalize().ok().is_some_and(|a| output.canonicalize().is_ok_and(|b| a == b))
    };
    if input.is_some_and(same) {
        bail!("`{}` is also the input file; choose a different output file", output.display());
    }
    Ok(())
}
