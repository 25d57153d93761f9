//! One text of an input, with what stands beside it.

use crate::data::is_blank;
use crate::data::table::{Row, Value};
use crate::predict::Text;

/// A text to classify, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRow {
    pub text: String,
    pub pair: Option<String>,
    /// Its line, or its number, from 1.
    pub line: u64,
    /// The other columns of its row.
    pub rest: Vec<Value>,
    /// Why it cannot be answered.
    pub(super) fault: Option<String>,
}

impl TextRow {
    pub(super) fn of_line(text: String, line: u64) -> Self {
        let mut row = Self { text, pair: None, line, rest: Vec::new(), fault: None };
        row.check();
        row
    }

    pub(super) fn of_table(
        mut row: Row,
        text: usize,
        pair: Option<usize>,
        others: &[usize],
    ) -> Self {
        let rest =
            others.iter().map(|&column| std::mem::replace(&mut row.values[column], Value::Null));
        let rest = rest.collect();
        let value = |column: usize| {
            let value = row.values.get(column).and_then(Value::as_text);
            value.map(|text| text.into_owned()).unwrap_or_default()
        };
        let nested = [Some(text), pair].into_iter().flatten();
        let fault = nested.filter_map(|column| wrong_kind(row.values.get(column)?)).next();
        let (text, pair) = (value(text), pair.map(value));
        let mut row = Self { text, pair, line: row.line, rest, fault };
        row.check();
        row
    }

    /// What the model is asked.
    pub(super) fn question(&self) -> Text<'_> {
        (&self.text, self.pair.as_deref())
    }

    fn check(&mut self) {
        let empty = |text: &String| is_blank(text);
        if self.fault.is_some() {
            return;
        }
        if empty(&self.text) {
            self.fault = Some("the text is empty".to_owned());
        } else if self.pair.as_ref().is_some_and(empty) {
            self.fault = Some("the second text is empty".to_owned());
        }
    }
}

/// Why a cell is no text, where its kind is the reason.
fn wrong_kind(value: &Value) -> Option<String> {
    if *value == Value::Bytes {
        return Some("the text has bytes that are not UTF-8: write the column as texts".to_owned());
    }
    let found = value.nested()?;
    Some(format!("the text is {found}; write the text itself, or name another text column"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_other_bytes_is_not_said_to_be_empty() {
        let row = |value| Row { line: 1, values: vec![value] };
        let fault = |value| TextRow::of_table(row(value), 0, None, &[]).fault;
        assert_eq!(fault(Value::Null).unwrap(), "the text is empty");
        assert!(fault(Value::Bytes).unwrap().contains("bytes that are not UTF-8"));
        assert_eq!(fault(Value::Text("a".to_owned())), None);
    }
}
