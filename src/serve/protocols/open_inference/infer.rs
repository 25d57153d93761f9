//! Requests for inference: JSON, with the texts in it or behind it.
//!
//! By the binary tensor data extension the header `Inference-Header-Content-Length` says where the JSON ends. The
//! data of the inputs that have a `binary_data_size` follow, in their order; a text is its length, four bytes
//! with the lowest first, and its bytes.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::super::super::body::{is_json, kind_of, parse};
use super::super::super::problem::{Fault, Problem};
use super::super::super::request::{self, Fields, Options, RequestLimits, Sent, fault};
use super::super::{Asked, plain};
use super::tensors::input_schema;

const LENGTH: &str = "Inference-Header-Content-Length";
/// Bytes of a length.
const PREFIX: usize = 4;
/// Characters of an id.
const MOST_ID: usize = 1024;
/// Outputs of a request; no model has so many.
const MOST_OUTPUTS: usize = 64;

/// A request.
pub struct Infer {
    /// Sent back as it is.
    pub id: Option<String>,
    pub asked: Asked,
    /// Names of the outputs; all where none is named.
    pub wanted: Option<Vec<String>>,
}

/// What stands before binary data.
#[derive(Clone, Copy)]
pub struct Head(Option<usize>);

/// Where the JSON ends. Clients of this protocol may send no content type.
pub fn head(headers: &HeaderMap) -> Result<Head, Problem> {
    let binary = kind_of(headers).is_some_and(|kind| kind == "application/octet-stream");
    if headers.contains_key(header::CONTENT_TYPE) && !binary && !is_json(headers) {
        return Err(Problem::UnsupportedMediaType("application/json"));
    }
    let Some(value) = headers.get(LENGTH) else { return Ok(Head(None)) };
    let length = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    length.map(|length| Head(Some(length))).ok_or_else(|| wrong_length("must be a whole number"))
}

fn wrong_length(msg: &str) -> Problem {
    let loc = vec!["header".into(), LENGTH.into()];
    Problem::Validation(vec![Fault { loc, msg: msg.to_owned(), kind: "int_range" }])
}

pub fn read(bytes: &Bytes, Head(length): Head, limits: &RequestLimits) -> Result<Infer, Problem> {
    let length = length.unwrap_or(bytes.len());
    if length > bytes.len() {
        let msg = format!("says {length}, but the body has {} bytes", bytes.len());
        return Err(wrong_length(&msg));
    }
    let (json, mut rest) = bytes.split_at(length);
    let mut fields = Fields::new(parse(json)?)?;
    let infer = read_fields(&mut fields, &mut rest, limits);
    if !rest.is_empty() && fields.faults() == 0 {
        let msg = format!("{} bytes follow that belong to no input", rest.len());
        fields.fault(&["inputs".into()], msg, "binary_data_size");
    }
    fields.finish()?;
    Ok(infer)
}

pub fn schema(limits: &RequestLimits) -> Value {
    let input = json!({ "name": "text", "shape": [1], "datatype": "BYTES", "data": ["A router."] });
    let example = json!({ "id": "1", "inputs": [input], "outputs": [{ "name": "label" }] });
    let mut none: &[u8] = &[];
    Fields::schema(|fields| drop(read_fields(fields, &mut none, limits)), &example)
}

fn read_fields(fields: &mut Fields, rest: &mut &[u8], limits: &RequestLimits) -> Infer {
    let id = id(fields);
    // Names that the path has already; kserve repeats them.
    for name in ["model_name", "model_version"] {
        fields.value(name, false, "The path names the model.", || json!({}));
    }
    let about = "`num_samples`, `seed` and `coverage`, as for /predict; others are left aside.";
    let options = fields.within("parameters", about, |inner| {
        let options = Options {
            num_samples: request::num_samples(inner, limits),
            seed: request::seed(inner),
            coverage: request::coverage(inner),
            ..plain()
        };
        inner.allow_rest();
        options
    });
    let sent = inputs(fields, rest, limits);
    let wanted = wanted(fields);
    let place = |index: usize| vec!["inputs".into(), 0.into(), "data".into(), index.into()];
    Infer { id, asked: Asked { sent, options, field: "inputs", place }, wanted }
}

/// Sent back as it is, so of some length only.
fn id(fields: &mut Fields) -> Option<String> {
    let schema = || json!({ "type": ["string", "null"], "maxLength": MOST_ID });
    match fields.value("id", false, "Sent back as it is.", schema)? {
        Value::String(id) if id.chars().nth(MOST_ID).is_none() => Some(id),
        Value::Null => None,
        _ => {
            let msg = format!("must be a string of at most {MOST_ID} characters");
            fields.fault(&["id".into()], msg, "string_type");
            None
        }
    }
}

/// The names of the outputs.
fn wanted(fields: &mut Fields) -> Option<Vec<String>> {
    let schema = || {
        json!({ "type": "array", "maxItems": MOST_OUTPUTS, "items": {
            "type": "object", "required": ["name"],
            "properties": { "name": { "type": "string" }, "parameters": { "type": "object" } },
        } })
    };
    let outputs = fields.value("outputs", false, "The outputs that are wanted.", schema)?;
    let name = |output: &Value| output.get("name")?.as_str().map(str::to_owned);
    match outputs {
        Value::Null => None,
        Value::Array(outputs) if outputs.is_empty() => None,
        Value::Array(outputs) if outputs.len() <= MOST_OUTPUTS => {
            let names: Option<Vec<String>> = outputs.iter().map(name).collect();
            if names.is_none() {
                fields.fault(&["outputs".into()], "must be objects with a `name`", "model_type");
            }
            names
        }
        _ => {
            let msg = format!("must be a list of at most {MOST_OUTPUTS} objects");
            fields.fault(&["outputs".into()], msg, "list_type");
            None
        }
    }
}

/// `text`, and `text_pair` of as many texts.
fn inputs(fields: &mut Fields, rest: &mut &[u8], limits: &RequestLimits) -> Vec<Sent> {
    let about = "`text`, and for a model of pairs `text_pair`: one text a row.";
    let schema =
        || json!({ "type": "array", "items": input_schema(), "minItems": 1, "maxItems": 2 });
    let Some(inputs) = fields.value("inputs", true, about, schema) else { return Vec::new() };
    let mut found: [Option<Vec<String>>; 2] = [None, None];
    let Value::Array(inputs) = inputs else {
        fields.fault(&["inputs".into()], "must be a list of tensors", "list_type");
        return Vec::new();
    };
    for (index, input) in inputs.into_iter().enumerate() {
        let tensor = Input { fields: &mut *fields, rest: &mut *rest, limits, index };
        let read = tensor.read(input);
        let (name, texts) = match read {
            Ok(read) => read,
            // What follows cannot be told apart any more.
            Err(fault) => {
                fields.add(fault);
                return Vec::new();
            }
        };
        let place = ["inputs".into(), index.into(), "name".into()];
        let slot = match name.as_str() {
            "text" => &mut found[0],
            "text_pair" => &mut found[1],
            _ => {
                fields.fault(&place, "must be `text` or `text_pair`", "unknown_input");
                continue;
            }
        };
        if slot.replace(texts).is_some() {
            fields.fault(&place, "occurs twice", "duplicate_input");
        }
    }
    let [texts, pairs] = found;
    let Some(texts) = texts else {
        if fields.faults() == 0 {
            fields.fault(&["inputs".into()], "the input `text` is required", "missing");
        }
        return Vec::new();
    };
    let Some(pairs) = pairs else {
        return texts.into_iter().map(|text| Sent { text: text.into(), pair: None }).collect();
    };
    if pairs.len() != texts.len() && fields.faults() == 0 {
        let msg = "`text` and `text_pair` must have the same number of texts";
        fields.fault(&["inputs".into()], msg, "length_mismatch");
    }
    let both = texts.into_iter().zip(pairs);
    both.map(|(text, pair)| Sent { text: text.into(), pair: Some(pair.into()) }).collect()
}

/// One tensor on its way in.
struct Input<'a, 'b> {
    fields: &'a mut Fields,
    /// The binary data that is left.
    rest: &'a mut &'b [u8],
    limits: &'a RequestLimits,
    index: usize,
}

impl Input<'_, '_> {
    fn place(&self, parts: &[Value]) -> Vec<Value> {
        ["inputs".into(), self.index.into()].into_iter().chain(parts.iter().cloned()).collect()
    }

    fn wrong(&self, part: &str, msg: impl Into<String>, kind: &'static str) -> Fault {
        fault(&self.place(&[part.into()]), msg, kind)
    }

    /// Its name and its texts.
    fn read(mut self, input: Value) -> Result<(String, Vec<String>), Fault> {
        let Value::Object(mut input) = input else {
            return Err(fault(&self.place(&[]), "must be an object", "model_type"));
        };
        let Some(Value::String(name)) = input.swap_remove("name") else {
            return Err(self.wrong("name", "must be a string", "string_type"));
        };
        if input.swap_remove("datatype") != Some("BYTES".into()) {
            return Err(self.wrong("datatype", "must be `BYTES`", "datatype"));
        }
        let rows = self.rows(input.swap_remove("shape").as_ref())?;
        let size = self.binary_size(input.swap_remove("parameters").as_ref())?;
        let values = match (input.swap_remove("data"), size) {
            (None | Some(Value::Null), Some(size)) => self.unpacked(size)?,
            (Some(_), Some(_)) => {
                let msg = "must be left out, since `binary_data_size` says that the data follows";
                return Err(self.wrong("data", msg, "contradiction"));
            }
            (Some(Value::Array(data)), None) => flat(data, rows),
            (Some(_), None) => return Err(self.wrong("data", "must be a list", "list_type")),
            (None, None) => return Err(self.wrong("data", "is required", "missing")),
        };
        self.refuse_rest(&input)?;
        if values.len() != rows {
            let msg = format!("has {} texts, but `shape` says {rows}", values.len());
            return Err(self.wrong("data", msg, "shape"));
        }
        let chars = self.limits.chars;
        let mut texts = Vec::with_capacity(rows);
        for (row, value) in values.into_iter().enumerate() {
            let place = self.place(&["data".into(), row.into()]);
            texts.extend(self.fields.checked(value, &place, chars));
        }
        Ok((name, texts))
    }

    fn refuse_rest(&self, input: &Map<String, Value>) -> Result<(), Fault> {
        let Some(name) = input.keys().next() else { return Ok(()) };
        let name: String = name.chars().take(40).collect();
        Err(self.wrong(&name, "unknown field", "extra_forbidden"))
    }

    /// `[N]` or `[N, 1]`.
    fn rows(&self, shape: Option<&Value>) -> Result<usize, Fault> {
        let sizes = shape.and_then(Value::as_array);
        let sizes: Option<Vec<u64>> =
            sizes.and_then(|sizes| sizes.iter().map(Value::as_u64).collect());
        let most = self.limits.batch;
        match sizes.as_deref() {
            Some([rows] | [rows, 1]) if (1..=most as u64).contains(rows) => Ok(*rows as usize),
            Some([rows] | [rows, 1]) => {
                let msg = format!("must have from 1 to {most} texts, got {rows}");
                Err(self.wrong("shape", msg, "too_long"))
            }
            _ => Err(self.wrong("shape", "must be [N] or [N, 1]", "shape")),
        }
    }

    fn binary_size(&self, parameters: Option<&Value>) -> Result<Option<usize>, Fault> {
        let size = match parameters {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(parameters)) => parameters.get("binary_data_size"),
            Some(_) => return Err(self.wrong("parameters", "must be an object", "model_type")),
        };
        let Some(size) = size else { return Ok(None) };
        let number = size.as_u64().and_then(|size| usize::try_from(size).ok());
        let fits = number.filter(|&size| size <= self.rest.len());
        let msg = || format!("`binary_data_size` is {size}, but {} bytes follow", self.rest.len());
        fits.map(Some).ok_or_else(|| self.wrong("parameters", msg(), "binary_data_size"))
    }

    /// The texts in so many bytes.
    fn unpacked(&mut self, size: usize) -> Result<Vec<Value>, Fault> {
        let (mut data, rest) = self.rest.split_at(size);
        *self.rest = rest;
        let mut texts = Vec::new();
        while !data.is_empty() {
            let row = texts.len();
            let place = || self.place(&["data".into(), row.into()]);
            let (length, rest) = data.split_first_chunk::<PREFIX>().ok_or_else(|| {
                fault(&place(), "has no length: four bytes, the lowest first", "binary_data")
            })?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > rest.len() {
                let msg = format!("has a length of {length}, but {} bytes follow", rest.len());
                return Err(fault(&place(), msg, "binary_data"));
            }
            let (text, rest) = rest.split_at(length);
            let text = std::str::from_utf8(text);
            let text = text.map_err(|_| fault(&place(), "is not UTF-8", "string_unicode"))?;
            texts.push(text.into());
            if texts.len() > self.limits.batch {
                let msg = format!("must have at most {} texts", self.limits.batch);
                return Err(self.wrong("data", msg, "too_long"));
            }
            data = rest;
        }
        Ok(texts)
    }
}

/// `[[text], [text]]` as `[text, text]`, where the rows are lists.
fn flat(data: Vec<Value>, rows: usize) -> Vec<Value> {
    if data.len() != rows
        || !data.iter().all(|row| matches!(row, Value::Array(one) if one.len() == 1))
    {
        return data;
    }
    data.into_iter()
        .map(|row| match row {
            Value::Array(mut one) => one.pop().unwrap_or_default(),
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests;
