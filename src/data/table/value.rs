//! One cell of a table, and its reading as text.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// Below this magnitude every integer is an `f64`.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// One cell. CSV and TSV give `Text` only; JSONL and Parquet keep the type that they carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// An integer that `i64` holds.
    Integer(i64),
    /// A floating point number.
    Float(f64),
    /// A number that neither holds digit by digit, such as `1.10` or 30 digits, in the form of JSON.
    Number(String),
    /// Text; also dates and times, in the form of ISO 8601.
    Text(String),
    /// An object or a list, as its JSON text.
    Nested(String),
    /// Bytes that are no text in UTF-8. They are passed on as null.
    Bytes,
}

impl Value {
    /// The cell as a label or a text, `None` where it is missing: null, not a number, or nothing
    /// but white space. An integer gives its digits, and so does a float without a fraction, since
    /// pandas turns a column of integers into floats as soon as one of them is missing.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Null | Value::Bytes => None,
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Integer(value) => Some(Cow::Owned(value.to_string())),
            Value::Float(value) if value.is_nan() => None,
            Value::Float(value) => Some(Cow::Owned(plain(*value))),
            Value::Number(number) if number.contains(['.', 'e', 'E']) => {
                Some(normal(number).map_or(Cow::Borrowed(number), Cow::Owned))
            }
            Value::Number(number) => Some(Cow::Borrowed(number)),
            Value::Text(text) | Value::Nested(text) if text.trim().is_empty() => None,
            Value::Text(text) | Value::Nested(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// The cell as a table of texts has it: nothing is rounded, and null is empty.
    pub fn written(&self) -> Cow<'_, str> {
        match self {
            Value::Null | Value::Bytes => Cow::Borrowed(""),
            Value::Bool(value) => Cow::Owned(value.to_string()),
            Value::Integer(value) => Cow::Owned(value.to_string()),
            Value::Float(value) => Cow::Owned(float_text(*value)),
            Value::Number(text) | Value::Text(text) | Value::Nested(text) => Cow::Borrowed(text),
        }
    }

    /// `an object` or `a list`, where it is one: neither is a text.
    pub fn nested(&self) -> Option<&'static str> {
        match self {
            Value::Nested(json) if json.starts_with('[') => Some("a list"),
            Value::Nested(_) => Some("an object"),
            _ => None,
        }
    }

    /// What a text in the form of JSON holds. Its digits stay as they are.
    ///
    /// # Errors
    /// It is not JSON.
    pub(super) fn from_json(json: &RawValue) -> Result<Value, serde_json::Error> {
        let written = json.get();
        Ok(match written.as_bytes().first() {
            Some(b'"') => Value::Text(serde_json::from_str(written)?),
            Some(b'{' | b'[') => Value::Nested(written.to_owned()),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => Value::number(written.to_owned()),
        })
    }

    /// A number in the form of JSON, as a type where that loses no digit.
    pub(super) fn number(written: String) -> Value {
        if let Some(integer) = written.parse::<i64>().ok().filter(|i| i.to_string() == written) {
            return Value::Integer(integer);
        }
        match written.parse::<f64>() {
            Ok(float) if float_text(float) == written => Value::Float(float),
            _ => Value::Number(written),
        }
    }

    /// What the cell holds, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bytes => "bytes",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Float(_) | Value::Number(_) => "a float",
            Value::Text(_) => "text",
            Value::Nested(_) => self.nested().unwrap_or_default(),
        }
    }
}

impl Serialize for Value {
    /// A float that JSON cannot hold (not a number, infinite) becomes null.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null | Value::Bytes => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(_) => serializer.serialize_unit(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(json) | Value::Nested(json) => {
                let raw = RawValue::from_string(json.clone()).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// Cells under the names of their columns, as one JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    /// One name for each value; no name twice.
    pub names: &'a [String],
    pub values: &'a [Value],
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The digits of a float without a fraction, else [`float_text`].
fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < EXACT_INTEGERS {
        return (value as i64).to_string();
    }
    let text = float_text(value);
    Decimal::read(&text).and_then(|decimal| decimal.whole()).unwrap_or(text)
}

/// The most digits that a number with an exponent is written out to.
const MOST_DIGITS: usize = 40;

/// A number in the form of JSON in the one form that all of the same value have; `None` for one with a fraction
/// that no float has digit by digit, and for one that is too large: they stay as they are.
fn normal(number: &str) -> Option<String> {
    let own = Decimal::read(number)?;
    if let Some(whole) = own.whole() {
        return Some(whole);
    }
    let text = float_text(number.parse().ok()?);
    (Decimal::read(&text)? == own).then_some(text)
}

/// A decimal number: its digits without zeros at the ends, and how many places to shift them to the left.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    digits: String,
    shift: i64,
}

impl Decimal {
    fn read(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (negative, mantissa) =
            mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let dropped = (all.len() - digits.len()) as i64;
        let shift = exponent.checked_sub(fraction.len() as i64)?.checked_add(dropped)?;
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, shift: 0 });
        }
        Some(Self { negative, digits, shift })
    }

    /// The digits of a whole number.
    fn whole(&self) -> Option<String> {
        let zeros = usize::try_from(self.shift).ok()?;
        if zeros.saturating_add(self.digits.len()) > MOST_DIGITS {
            return None;
        }
        let sign = if self.negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        Some(format!("{sign}{digits}{}", "0".repeat(zeros)))
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
        assert_eq!(Value::Float(f64::INFINITY).as_text().unwrap(), "inf");
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

    fn read(json: &str) -> Value {
        Value::from_json(&RawValue::from_string(json.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn json_comes_out_as_it_came_in() {
        for json in [
            "null",
            "true",
            "-7",
            "0.5",
            "1.0",
            "1.10",
            "-0",
            "-0.0",
            "1e400",
            "1E5",
            "9007199254740993",
            "9007199254740993.0",
            "18446744073709551615",
            "123456789012345678901234567890",
            "0.1000000000000000055511151231257827",
            r#""a \"b\"""#,
            r#"{"b": [1.10, 1e400],  "a":null}"#,
            "[ 1 ]",
        ] {
            assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
        }
        assert_eq!(read("7"), Value::Integer(7));
        assert_eq!(read("0.5"), Value::Float(0.5));
        assert_eq!(serde_json::to_string(&Value::Float(f64::INFINITY)).unwrap(), "null");
    }

    #[test]
    fn a_number_reads_as_its_value_where_it_has_a_fraction_and_as_its_digits_where_not() {
        for (json, text) in [
            ("1.10", "1.1"),
            ("2.00", "2"),
            ("1E2", "100"),
            ("1e400", "1e400"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e+0", "1"),
            ("-0.00", "0"),
            ("-1.0e1", "-10"),
            ("100e-2", "1"),
            ("0.0000001", "1e-7"),
            ("25E-1", "2.5"),
            ("1E300", "1e300"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert_eq!(read(json).as_text().unwrap(), text, "{json}");
            assert_eq!(read(json).written(), json);
        }
    }

    #[test]
    fn digits_that_a_float_does_not_keep_are_kept() {
        for (json, text) in [
            ("9007199254740993.0", "9007199254740993"),
            ("9007199254740993e0", "9007199254740993"),
            ("900719925474099.3E+1", "9007199254740993"),
            ("-1234567890123456789.00", "-1234567890123456789"),
            ("1234567890123456790.0", "1234567890123456790"),
            ("9007199254740992.0", "9007199254740992"),
            ("1.2345678901234568e16", "12345678901234568"),
            ("1e22", "10000000000000000000000"),
            ("1E22", "10000000000000000000000"),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ] {
            assert_eq!(read(json).as_text().unwrap(), text, "{json}");
        }
    }

    #[test]
    fn objects_and_lists_are_told_from_texts() {
        assert_eq!(read(r#"{"a":1}"#).nested(), Some("an object"));
        assert_eq!(read("[]").nested(), Some("a list"));
        assert_eq!(read(r#""[1]""#).nested(), None);
    }
}
