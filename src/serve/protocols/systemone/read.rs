//! What a decision asks: a model, a state, and questions by their names.

use serde_json::{Map, Value};

use super::super::super::problem::Problem;
use super::super::super::request::{Fields, RequestLimits, Sent};
use super::super::{Asked, model_of, options};
use super::schema::{questions_schema, state_schema};

/// Questions about one state.
pub const MOST_QUESTIONS: usize = 1024;
const CONTENT: &str = "must be a string, an object, a list or null";

/// The part of a question that is wrong, what would be right, and a short name.
type Wrong = (&'static str, &'static str, &'static str);

/// What is asked.
pub struct Decide {
    pub asked: Asked,
    pub model: Option<String>,
    /// By their names, in their order.
    pub questions: Vec<(String, Question)>,
}

/// A question.
pub enum Question {
    /// Among these labels.
    Choice(Vec<String>),
    /// Yes or no.
    Noul(Noul),
}

/// What a yes-or-no question says of its outcomes.
#[derive(Default)]
pub struct Noul {
    /// As text, or as JSON where it is no text.
    pub instructions: Option<String>,
    pub yes: Option<String>,
    pub no: Option<String>,
}

pub fn read(body: Value, limits: &RequestLimits) -> Result<Decide, Problem> {
    let mut fields = Fields::new(body)?;
    let decide = read_fields(&mut fields, limits);
    fields.finish()?;
    Ok(decide)
}

pub fn read_fields(fields: &mut Fields, limits: &RequestLimits) -> Decide {
    let model = model_of(fields, true);
    let sent = state(fields, limits).into_iter().collect();
    let questions = questions(fields);
    fields.fixed("assets", &[Value::Null], "the model reads text only");
    let options = options(fields, limits);
    let place = |_| vec!["state".into()];
    Decide { asked: Asked { sent, options, field: "state", place }, model, questions }
}

/// A text; or an object with `text` and for a model of pairs `text_pair`, or with one text by any name.
fn state(fields: &mut Fields, limits: &RequestLimits) -> Option<Sent> {
    let about = "The text; or an object with `text` and, for a model of pairs, `text_pair`; or an \
                 object with one text.";
    let place = || Value::from("state");
    let mut map = match fields.value("state", true, about, || state_schema(limits.chars))? {
        Value::String(text) => {
            let text = fields.checked(text.into(), &[place()], limits.chars)?;
            return Some(Sent { text: text.into(), pair: None });
        }
        Value::Object(map) => map,
        _ => {
            let msg = "must be a string, or an object with `text`: the model reads one text";
            fields.fault(&[place()], msg, "string_type");
            return None;
        }
    };
    let pair = map.swap_remove("text_pair");
    let text = map.swap_remove_entry("text");
    let alone = map.len() == 1 && text.is_none() && pair.is_none();
    let text = if alone {
        map.keys().next().cloned().and_then(|name| map.swap_remove_entry(&name))
    } else {
        text
    };
    let Some((name, text)) = text.filter(|_| map.is_empty()) else {
        let msg = "must have the text as `text`, or no other field: the model reads one text";
        fields.fault(&[place()], msg, "extra_forbidden");
        return None;
    };
    let name: String = name.chars().take(40).collect();
    let text = fields.checked(text, &[place(), name.into()], limits.chars)?;
    let pair = match pair {
        None | Some(Value::Null) => None,
        Some(pair) => {
            Some(fields.checked(pair, &[place(), "text_pair".into()], limits.chars)?.into())
        }
    };
    Some(Sent { text: text.into(), pair })
}

fn questions(fields: &mut Fields) -> Vec<(String, Question)> {
    let about = "By names that you choose, under which the answers stand.";
    let place = || Value::from("questions");
    let Some(questions) = fields.value("questions", true, about, questions_schema) else {
        return Vec::new();
    };
    let questions = match questions {
        Value::Object(questions) if questions.is_empty() => {
            fields.fault(&[place()], "must contain at least one question", "too_short");
            return Vec::new();
        }
        Value::Object(questions) if questions.len() > MOST_QUESTIONS => {
            let msg = format!("must have at most {MOST_QUESTIONS}, got {}", questions.len());
            fields.fault(&[place()], msg, "too_long");
            return Vec::new();
        }
        Value::Object(questions) => questions,
        _ => {
            fields.fault(&[place()], "must be an object", "model_type");
            return Vec::new();
        }
    };
    let mut read = Vec::with_capacity(questions.len());
    for (name, value) in questions {
        let at = |part: &str| {
            let shown: String = name.chars().take(40).collect();
            [place(), shown.into(), part.into()]
        };
        match question(value) {
            Ok(question) => read.push((name, question)),
            Err((part, msg, kind)) => fields.fault(&at(part), msg, kind),
        }
    }
    read
}

/// A question, or which part of it is wrong.
pub fn question(value: Value) -> Result<Question, Wrong> {
    let Value::Object(mut map) = value else {
        return Err(("type", "must be an object with a `type`", "model_type"));
    };
    let kind = map.swap_remove("type");
    let instructions = match map.swap_remove("instructions").map(content) {
        None => None,
        Some(Ok(instructions)) => instructions,
        Some(Err(())) => return Err(("instructions", CONTENT, "content_type")),
    };
    let criteria = map.swap_remove("criteria").filter(|criteria| !criteria.is_null());
    let question = match kind.as_ref().and_then(Value::as_str) {
        Some("choice") => Question::Choice(choice(criteria)?),
        Some("noul") => Question::Noul(noul(instructions, criteria)?),
        Some("score" | "box") => {
            let msg = "this model answers `choice` and, if it has two labels, `noul`";
            return Err(("type", msg, "question_unsupported"));
        }
        _ => return Err(("type", "must be `choice` or `noul`", "enum")),
    };
    match map.is_empty() {
        true => Ok(question),
        false => {
            Err(("type", "a question has `type`, `instructions` and `criteria`", "extra_forbidden"))
        }
    }
}

/// A text or JSON, as text.
fn content(value: Value) -> Result<Option<String>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Object(_) | Value::Array(_) => Ok(Some(value.to_string())),
        Value::Bool(_) | Value::Number(_) => Err(()),
    }
}

fn choice(criteria: Option<Value>) -> Result<Vec<String>, Wrong> {
    let Some(Value::Object(criteria)) = criteria else {
        return Err((
            "criteria",
            "must be an object: labels, and null or a description",
            "model_type",
        ));
    };
    if criteria.is_empty() {
        return Err(("criteria", "must name at least one label", "too_short"));
    }
    let described = |(label, about)| content(about).map(|_| label);
    let labels: Result<_, ()> = criteria.into_iter().map(described).collect();
    labels.map_err(|()| ("criteria", CONTENT, "content_type"))
}

fn noul(instructions: Option<String>, criteria: Option<Value>) -> Result<Noul, Wrong> {
    let mut criteria = match criteria {
        None => Map::new(),
        Some(Value::Object(criteria)) => criteria,
        Some(_) => return Err(("criteria", "must be an object", "model_type")),
    };
    let mut outcome = |name: &str| {
        let outcome = criteria.swap_remove(name).map_or(Ok(None), content);
        outcome.map_err(|()| ("criteria", CONTENT, "content_type"))
    };
    let (yes, no) = (outcome("true")?, outcome("false")?);
    match criteria.is_empty() {
        true => Ok(Noul { instructions, yes, no }),
        false => Err(("criteria", "of `noul` has `true` and `false`", "extra_forbidden")),
    }
}
