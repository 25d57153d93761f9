//! The fields of a body, taken one by one; faults are collected, so that one answer names them all.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::super::problem::{Fault, Problem};
use super::fault;

/// The most faults that one answer names.
const MOST_FAULTS: usize = 32;
/// The most characters of a client's key that are repeated to it.
const SHOWN: usize = 40;

/// What is left of a body, and what was wrong so far; or, of no body, what its fields are: whatever reads a
/// field says what it is, so that the document cannot differ from the check.
pub struct Fields {
    map: Map<String, Value>,
    /// The object that they stand in, if it is not the body itself.
    within: Option<String>,
    /// Unknown fields are left aside.
    open: bool,
    faults: Vec<Fault>,
    described: Option<Described>,
}

/// The schemas of the fields, and those that must be there.
#[derive(Default)]
struct Described {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

/// A character that is neither white space nor a control character.
const NOT_BLANK: &str = r"[^\s\u0000-\u001f\u007f-\u009f]";

pub fn text_schema(chars: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": chars, "pattern": NOT_BLANK })
}

fn texts_schema(most: usize, chars: usize) -> Value {
    json!({ "type": "array", "items": text_schema(chars), "minItems": 1, "maxItems": most })
}

impl Fields {
    /// The body must be an object.
    pub fn new(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(map) => Ok(Self { map, ..Self::empty(None) }),
            _ => Err(Problem::Validation(vec![fault(&[], "must be an object", "model_type")])),
        }
    }

    fn empty(described: Option<Described>) -> Self {
        Self { map: Map::new(), within: None, open: false, faults: Vec::new(), described }
    }

    /// The schema of a body whose fields are read so.
    pub fn schema(read: impl FnOnce(&mut Self), example: &Value) -> Value {
        let mut fields = Self::empty(Some(Described::default()));
        read(&mut fields);
        let Described { properties, required } = fields.described.unwrap_or_default();
        json!({
            "type": "object", "additionalProperties": false, "required": required,
            "properties": properties, "examples": [example],
        })
    }

    /// Says what a field is, where that is asked. No schema is made for a request, which asks nothing: that
    /// cost a third more processor time for an answer from the cache.
    fn describe(&mut self, name: &str, description: &str, schema: impl FnOnce() -> Value) {
        let Some(described) = &mut self.described else { return };
        if let Value::Object(mut schema) = schema() {
            schema.insert("description".to_owned(), description.into());
            described.properties.insert(name.to_owned(), schema.into());
        }
    }

    /// A field that its reader checks itself; one that must be there and is not is a fault.
    pub fn value(
        &mut self,
        name: &'static str,
        required: bool,
        about: &str,
        schema: impl FnOnce() -> Value,
    ) -> Option<Value> {
        self.describe(name, about, schema);
        let value = self.take(name);
        if required {
            self.require(name);
            if value.is_none() {
                self.fault(&[name.into()], "is required", "missing");
            }
        }
        value
    }

    /// A field that may have these values only, since the server does what they say in any case.
    pub fn fixed(&mut self, name: &'static str, allowed: &[Value], about: &str) {
        let value = self.value(name, false, about, || json!({ "enum": allowed }));
        if value.is_some_and(|value| !allowed.contains(&value)) {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            let msg = format!("must be {}, or left out: {about}", allowed.join(" or "));
            self.fault(&[name.into()], msg, "enum");
        }
    }

    /// Leaves aside what is left, for a protocol that allows it.
    pub fn allow_rest(&mut self) {
        self.map.clear();
        self.open = true;
    }

    /// Whether a field is there, `null` or not.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Whether a field is there and is not `null`; one that is `null` is taken out.
    fn given(&mut self, name: &str) -> bool {
        if self.map.get(name).is_some_and(Value::is_null) {
            self.take(name);
        }
        self.has(name)
    }

    pub fn faults(&self) -> usize {
        self.faults.len()
    }

    /// Takes a field out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        // The order of what is left does not matter.
        self.map.swap_remove(name)
    }

    pub fn fault(&mut self, place: &[Value], msg: impl Into<String>, kind: &'static str) {
        let outer = self.within.iter().map(|name| Value::from(name.as_str()));
        let place: Vec<Value> = outer.chain(place.iter().cloned()).collect();
        self.add(fault(&place, msg, kind));
    }

    /// A fault that somebody else found.
    pub fn add(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// A text that must be there.
    pub fn text(&mut self, name: &'static str, chars: usize, about: &str) -> Option<String> {
        self.describe(name, about, || text_schema(chars));
        self.require(name);
        match self.take(name) {
            Some(value) => self.checked(value, &[name.into()], chars),
            None => {
                self.fault(&[name.into()], "is required", "missing");
                None
            }
        }
    }

    /// A text that may be there.
    pub fn optional_text(&mut self, name: &str, chars: usize, about: &str) -> Option<String> {
        self.describe(name, about, || nullable(text_schema(chars)));
        if !self.given(name) {
            return None;
        }
        let value = self.take(name)?;
        self.checked(value, &[name.into()], chars)
    }

    fn require(&mut self, name: &'static str) {
        if let Some(described) = &mut self.described {
            described.required.push(name);
        }
    }

    /// A list of texts that may be there.
    pub fn optional_texts(
        &mut self,
        name: &str,
        most: usize,
        chars: usize,
        about: &str,
    ) -> Option<Vec<String>> {
        self.describe(name, about, || nullable(texts_schema(most, chars)));
        self.given(name).then(|| self.list(name, most, chars))
    }

    /// A list of texts that must be there.
    pub fn texts(
        &mut self,
        name: &'static str,
        most: usize,
        chars: usize,
        about: &str,
    ) -> Vec<String> {
        self.describe(name, about, || texts_schema(most, chars));
        self.require(name);
        self.list(name, most, chars)
    }

    fn list(&mut self, name: &str, most: usize, chars: usize) -> Vec<String> {
        let place = [Value::from(name)];
        let items = match self.take(name) {
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.fault(&place, "must be a list of strings", "list_type");
                return Vec::new();
            }
            None => {
                self.fault(&place, "is required", "missing");
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.fault(&place, "must contain at least one text", "too_short");
        }
        if items.len() > most {
            let msg = format!("must have at most {most} items, got {}", items.len());
            self.fault(&place, msg, "too_long");
            return Vec::new();
        }
        let one = |(index, value)| self.checked(value, &[name.into(), Value::from(index)], chars);
        items.into_iter().enumerate().filter_map(one).collect()
    }

    /// A text of so many characters at most, at this place.
    pub fn checked(&mut self, value: Value, place: &[Value], chars: usize) -> Option<String> {
        let Value::String(text) = value else {
            self.fault(place, "must be a string", "string_type");
            return None;
        };
        // More bytes than that are more characters, however they are counted.
        if text.len() > 4 * chars || text.chars().nth(chars).is_some() {
            self.fault(place, format!("must have at most {chars} characters"), "string_too_long");
            return None;
        }
        if crate::data::is_blank(&text) {
            self.fault(place, "must not be blank", "string_blank");
            return None;
        }
        Some(text)
    }

    pub fn flag(&mut self, name: &str, usual: bool, about: &str) -> bool {
        self.describe(name, about, || json!({ "type": "boolean", "default": usual }));
        match self.take(name) {
            None => usual,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.fault(&[name.into()], "must be true or false", "bool_type");
                usual
            }
        }
    }

    /// A whole number; `null` is possible where none is usual.
    pub fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        usual: Option<u64>,
        about: &str,
    ) -> Option<u64> {
        let (low, high) = range.clone().into_inner();
        self.describe(name, about, || {
            let schema =
                json!({ "type": "integer", "minimum": low, "maximum": high, "default": usual });
            if usual.is_none() { nullable(schema) } else { schema }
        });
        let value = match self.take(name) {
            None => return usual,
            Some(Value::Null) if usual.is_none() => return None,
            Some(value) => value,
        };
        match value.as_u64().or_else(|| whole(&value)) {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let msg = format!("must be a whole number from {low} to {high}");
                self.fault(&[name.into()], msg, "int_range");
                None
            }
        }
    }

    /// A number, or `null` for none.
    pub fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<f64>,
        usual: Option<f64>,
        about: &str,
    ) -> Option<f64> {
        let (low, high) = range.clone().into_inner();
        self.describe(name, about, || {
            let mut schema = json!({ "type": "number", "minimum": low });
            if high < f64::MAX {
                schema["maximum"] = high.into();
            }
            schema["default"] = usual.into();
            nullable(schema)
        });
        let value = match self.take(name) {
            None => return usual,
            Some(Value::Null) => return None,
            Some(value) => value,
        };
        match value.as_f64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let msg = match high {
                    f64::MAX => format!("must be a number of at least {low}"),
                    _ => format!("must be a number from {low} to {high}"),
                };
                self.fault(&[name.into()], msg, "float_range");
                None
            }
        }
    }

    /// An object inside, or `null` or nothing for an empty one.
    pub fn within<T>(&mut self, name: &str, about: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let map = match self.take(name) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                self.fault(&[name.into()], "must be an object", "model_type");
                Map::new()
            }
        };
        let described = self.described.as_ref().map(|_| Described::default());
        let within = Some(name.to_owned());
        let mut inner = Self { map, within, ..Self::empty(described) };
        let value = read(&mut inner);
        if let Some(Described { properties, .. }) = inner.described.take() {
            let schema = json!({
                "type": "object", "additionalProperties": inner.open, "default": null,
                "properties": properties,
            });
            self.describe(name, about, || nullable(schema));
        }
        inner.refuse_rest();
        self.faults.append(&mut inner.faults);
        value
    }

    /// Whatever is left is unknown.
    fn refuse_rest(&mut self) {
        let names: Vec<String> = self.map.keys().cloned().collect();
        for name in names {
            let name: String = name.chars().take(SHOWN).collect();
            self.fault(&[name.into()], "unknown field", "extra_forbidden");
        }
    }

    /// All faults, if there are any.
    pub fn finish(mut self) -> Result<(), Problem> {
        self.refuse_rest();
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::Validation(self.faults)) }
    }
}

/// The schema of what may be `null` too.
fn nullable(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// `3.0` is a whole number in JSON Schema.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}
