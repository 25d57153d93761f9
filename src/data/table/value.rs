//! One cell of a table, and its reading as text.

use std::borrow::Cow;

use serde_json::Number;

/// Above this magnitude an `f64` no longer names one integer, so it is not written as one.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// One cell. CSV and TSV give `Text` only; JSONL and Parquet keep the type that they carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Missing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer of any width that `i64` holds; a larger one is kept as `Text`.
    Integer(i64),
    /// A floating point number.
    Float(f64),
    /// Text; also dates, decimals and, as their JSON text, nested values.
    Text(String),
}

impl Value {
    /// The cell as a label or a text, `None` where it is missing: null, not a number, or nothing
    /// but white space. An integer gives its digits, and so does a float without a fraction, since
    /// pandas turns a column of integers into floats as soon as one of them is missing.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Null => None,
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Integer(value) => Some(Cow::Owned(value.to_string())),
            Value::Float(value) if value.is_nan() => None,
            Value::Float(value) if value.fract() == 0.0 && value.abs() < EXACT_INTEGERS => {
                Some(Cow::Owned((*value as i64).to_string()))
            }
            Value::Float(value) => Some(Cow::Owned(float_text(*value))),
            Value::Text(text) if text.trim().is_empty() => None,
            Value::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// The cell as JSON. A float that JSON cannot hold (not a number, infinite) becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Integer(value) => serde_json::Value::Number((*value).into()),
            Value::Float(value) => {
                Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number)
            }
            Value::Text(text) => serde_json::Value::String(text.clone()),
        }
    }

    /// What the cell holds, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "text",
        }
    }
}

impl From<serde_json::Value> for Value {
    /// A nested value is kept as its JSON text.
    fn from(value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Value::Integer(integer),
                // Identifiers above `i64::MAX` would lose digits as floats.
                (None, _) if number.is_u64() => Value::Text(number.to_string()),
                (None, Some(float)) => Value::Float(float),
                (None, None) => Value::Text(number.to_string()),
            },
            serde_json::Value::String(text) => Value::Text(text),
            nested => Value::Text(nested.to_string()),
        }
    }
}

/// The shortest text that reads back as the same float; very large and small ones as `1e-7`.
pub(super) fn float_text(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integral_float_reads_as_its_digits() {
        assert_eq!(Value::Float(1.0).as_text().unwrap(), "1");
        assert_eq!(Value::Float(-0.0).as_text().unwrap(), "0");
        assert_eq!(Value::Float(2.5).as_text().unwrap(), "2.5");
        assert_eq!(Value::Float(1e300).as_text().unwrap(), "1e300");
        assert_eq!(Value::Integer(-3).as_text().unwrap(), "-3");
        assert_eq!(Value::Bool(true).as_text().unwrap(), "true");
    }

    #[test]
    fn nothing_but_white_space_is_missing() {
        for value in [Value::Null, Value::Float(f64::NAN), Value::Text(" \n\u{a0}".into())] {
            assert_eq!(value.as_text(), None, "{value:?}");
        }
        assert_eq!(Value::Text(" good ".into()).as_text().unwrap(), " good ");
    }

    #[test]
    fn json_keeps_large_integers_and_nested_values_as_text() {
        let json = serde_json::json!([18446744073709551615_u64, {"b": [1], "a": null}, 7, 0.5]);
        let values: Vec<Value> =
            json.as_array().unwrap().iter().cloned().map(Value::from).collect();
        assert_eq!(values[0], Value::Text("18446744073709551615".into()));
        assert_eq!(values[1], Value::Text(r#"{"b":[1],"a":null}"#.into()));
        assert_eq!(values[2], Value::Integer(7));
        assert_eq!(values[3], Value::Float(0.5));
        assert_eq!(Value::Float(f64::INFINITY).to_json(), serde_json::Value::Null);
    }
}
