//! A table of predictions: a file, or a stream.

use std::io::Write;
use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json, json};

use super::error::StreamError;
use super::input::Input;
use super::predictions::{Predicted, Predictions};
use super::row::TextRow;
use crate::calibrate::{Judgement, PredictionSet};
use crate::data::table::{self, Cells, Format, Kind, TableError, Value, Writer, distinct_names};
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

/// Whether a file is a table that a [`Sink`] wrote.
pub fn is_predictions(path: &Path) -> bool {
    table::open(path).is_ok_and(|found| {
        let has = |name: &str| found.columns.iter().any(|column| column == name);
        ["confidence", "uncertainty", "decision"].into_iter().all(has)
    })
}

/// Whether a command would write over what it reads.
pub fn is_same_file(input: &Path, output: &Path) -> bool {
    input.canonicalize().ok().is_some_and(|a| output.canonicalize().is_ok_and(|b| a == b))
}

/// A table of predictions that is being written. Without [`Sink::finish`] a file is not there.
pub struct Sink<'a> {
    predictor: &'a Predictor,
    out: Writer,
    /// In JSON lines, one object a line: the names of the input's other columns, which stand under `input`.
    objects: Option<Vec<String>>,
}

impl<'a> Sink<'a> {
    /// Begins a file in the format that its name says.
    ///
    /// # Errors
    /// It is the input, cannot be written, or its format is unknown.
    pub fn create(path: &Path, of: &Predictions<'a>) -> Result<Self, StreamError> {
        refuse_input_as_output(of.input.path.as_deref(), path)?;
        let create = |columns: &[(&str, Kind)]| Writer::create(path, columns);
        Self::open(Format::of_output(path)?, of, create)
    }

    /// Writes to a stream, such as stdout; `name` stands for it in messages.
    ///
    /// # Errors
    /// The stream refuses the names of the columns.
    pub fn stream(
        output: Box<dyn Write + Send>,
        format: Format,
        name: &str,
        of: &Predictions<'a>,
    ) -> Result<Self, StreamError> {
        Self::open(format, of, |columns| Writer::stream(output, format, name, columns))
    }

    fn open(
        format: Format,
        of: &Predictions<'a>,
        writer: impl FnOnce(&[(&str, Kind)]) -> Result<Writer, TableError>,
    ) -> Result<Self, StreamError> {
        let Predictions { predictor, input, .. } = of;
        if format == Format::JsonLines {
            let names = distinct_names(&[], input.rest.iter().map(|(name, _)| name));
            return Ok(Self { predictor, out: writer(&[])?, objects: Some(names) });
        }
        let columns = columns(input);
        let columns: Vec<(&str, Kind)> =
            columns.iter().map(|(name, kind)| (&**name, *kind)).collect();
        Ok(Self { predictor, out: writer(&columns)?, objects: None })
    }

    /// Writes a row: the text, what is predicted for it or why nothing is, and the other columns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, (row, prediction): &Predicted) -> Result<(), StreamError> {
        let labels = self.predictor.labels();
        if let Some(names) = &self.objects {
            let fields = match prediction {
                Ok(prediction) => object(row, prediction, self.predictor)?,
                Err(fault) => fault_object(row, fault),
            };
            let input = (!names.is_empty()).then_some(Cells { names, values: &row.rest });
            return Ok(self.out.write_object(&WithInput { fields: &fields, input })?);
        }
        let mut values = vec![Value::Text(row.text.clone())];
        values.extend(row.pair.clone().map(Value::Text));
        values.extend(match prediction {
            Ok(prediction) => answered(prediction, labels),
            Err(fault) => {
                let mut values = vec![Value::Null; COLUMNS.len() - 1];
                values.push(Value::Text(fault.clone()));
                values
            }
        });
        values.extend(row.rest.iter().cloned());
        Ok(self.out.write(&values)?)
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> Result<(), StreamError> {
        Ok(self.out.flush()?)
    }

    /// Ends the table; a file stands under its name from here on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<(), StreamError> {
        Ok(self.out.finish()?)
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

fn object(
    row: &TextRow,
    prediction: &Prediction,
    predictor: &Predictor,
) -> serde_json::Result<Map<String, Json>> {
    let shown = Presentation { logits: true, ..Presentation::default() };
    let object = PredictionObject {
        text: Some(row.text.clone()),
        text_pair: row.pair.clone(),
        ..predictor.object(prediction, &shown)
    };
    serde_json::from_value(serde_json::to_value(object)?)
}

fn fault_object(row: &TextRow, fault: &str) -> Map<String, Json> {
    let pair = row.pair.as_ref().map(|pair| ("text_pair", json!(pair)));
    let fields = [("text", json!(row.text))].into_iter().chain(pair);
    let fields = fields.chain([("line", json!(row.line)), ("error", json!(fault))]);
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

fn refuse_input_as_output(input: Option<&Path>, output: &Path) -> Result<(), StreamError> {
    if input.is_some_and(|input| is_same_file(input, output)) {
        return Err(StreamError::SameFile { path: output.display().to_string() });
    }
    Ok(())
}
