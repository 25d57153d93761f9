//! How the columns of a known data set become a text, or a pair of texts, and a label.

use crate::data::table::{ColumnNames, Row, Table, TableError, Value};

/// The names of columns that are made.
const MADE: [&str; 3] = ["text", "text_pair", "label"];

/// How columns become texts and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As those of any other table.
    #[default]
    Plain,
    /// These two are a pair.
    Pair(&'static str, &'static str),
    /// Two sentences, and the place of a word in each: the word is put between `*`.
    MarkedWord,
    /// A premise, the question for its cause or its effect, and two choices: a row for each, with the premise and the
    /// question as its text, the choice as the second one, and whether it is right as the label.
    Choices,
    /// A paragraph, a question and one of several answers: paragraph and question are the text, the answer the second.
    Answers,
}

impl Form {
    /// The columns that are read where a table has them.
    pub fn columns(self) -> ColumnNames {
        match self {
            Self::Pair(text, pair) => {
                let [text, pair, label] = [text, pair, MADE[2]].map(str::to_owned);
                ColumnNames { text, pair, label }
            }
            Self::Plain | Self::MarkedWord | Self::Choices | Self::Answers => {
                ColumnNames::default()
            }
        }
    }

    /// Columns that files need so that they are read as this.
    pub fn needed(self) -> Vec<&'static str> {
        match self {
            Self::Plain => vec!["text", "label"],
            Self::Pair(text, pair) => vec![text, pair, "label"],
            Self::MarkedWord => {
                vec!["sentence1", "start1", "end1", "sentence2", "start2", "end2", "label"]
            }
            Self::Answers => vec!["paragraph", "question", "answer", "label"],
            Self::Choices => vec!["premise", "question", "choice1", "choice2", "label"],
        }
    }

    /// Whether columns are made of others.
    pub fn makes_columns(self) -> bool {
        matches!(self, Self::MarkedWord | Self::Choices | Self::Answers)
    }

    /// The table with the columns of texts and labels, where they are made of others that it has.
    pub fn read(self, table: Table, path: &str) -> Table {
        if !self.makes_columns() {
            return table;
        }
        let place = |name: &&str| table.columns.iter().position(|column| column == name);
        let Some(places) = self.needed().iter().map(place).collect::<Option<Vec<_>>>() else {
            return table;
        };
        let path = path.to_owned();
        table.reshaped(MADE, move |row| match self {
            Self::Choices => Ok(choices(row, &places).to_vec()),
            Self::Answers => Ok(vec![answer(row, &places)]),
            _ => Ok(vec![marked(row, &places, &path)?]),
        })
    }
}

fn text(row: &Row, place: usize) -> String {
    row.values[place].as_text().map_or(String::new(), |text| text.trim().to_owned())
}

fn answer(row: &Row, places: &[usize]) -> Row {
    let [paragraph, question, answer] = [0, 1, 2].map(|place| text(row, places[place]));
    let both = format!("{paragraph} {question}");
    let values = vec![Value::Text(both), Value::Text(answer), row.values[places[3]].clone()];
    Row { line: row.line, values }
}

fn choices(row: &Row, places: &[usize]) -> [Row; 2] {
    let [premise, question] = [0, 1].map(|place| text(row, places[place]));
    let asked = match question.as_str() {
        "cause" => "What was the cause?",
        "effect" => "What was the effect?",
        other => other,
    };
    // The label is the place of the right choice; `-1` is hidden.
    let right = text(row, places[4]);
    [0, 1].map(|choice| {
        let label = match right.as_str() {
            "0" | "1" => Value::Integer((right == choice.to_string()).into()),
            _ => row.values[places[4]].clone(),
        };
        let second = Value::Text(text(row, places[2 + choice]));
        let values = vec![Value::Text(format!("{premise} {asked}")), second, label];
        Row { line: row.line, values }
    })
}

fn marked(row: &Row, places: &[usize], path: &str) -> Result<Row, TableError> {
    let sentence = |first: usize| {
        let whole = row.values[places[first]].as_text().unwrap_or_default().into_owned();
        let at = |place: usize| text(row, places[place]).parse::<usize>().ok();
        let bounds = at(first + 1).zip(at(first + 2));
        // Places count characters, not bytes.
        let byte = |place: usize| {
            let mut starts = whole.char_indices().map(|(byte, _)| byte).chain([whole.len()]);
            starts.nth(place)
        };
        let bytes = bounds.and_then(|(start, end)| Some(byte(start)?..byte(end)?));
        match bytes.filter(|bytes| bytes.start < bytes.end) {
            Some(bytes) => {
                let (before, after) = (&whole[..bytes.start], &whole[bytes.end..]);
                Ok(Value::Text(format!("{before}*{}*{after}", &whole[bytes])))
            }
            None => Err(TableError::Word {
                path: path.to_owned(),
                line: row.line,
                sentence: if first == 0 { "sentence1" } else { "sentence2" },
            }),
        }
    };
    let values = vec![sentence(0)?, sentence(3)?, row.values[places[6]].clone()];
    Ok(Row { line: row.line, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::{Format, Reading};

    fn read(form: Form, lines: &str) -> Result<Vec<Vec<Value>>, TableError> {
        let reader = Box::new(std::io::Cursor::new(lines.to_owned()));
        let table = Table::from_reader(reader, Format::JsonLines, "a", &Reading::default())?;
        let table = form.read(table, "a");
        let made = table.columns == MADE;
        table.map(|row| Ok(row?.values)).collect::<Result<Vec<_>, _>>().inspect(|rows| {
            assert!(made && rows.iter().all(|row| row.len() == 3), "{rows:?}");
        })
    }

    fn texts(row: &[Value]) -> Vec<String> {
        row.iter().map(|value| value.written().into_owned()).collect()
    }

    #[test]
    fn the_word_is_marked_by_characters_and_not_by_bytes() {
        let line = |start: usize, end: usize| {
            format!(
                r#"{{"word": "bank", "sentence1": "Die „bank“ here", "start1": {start}, "end1": {end}, "sentence2": "A bank", "start2": 2, "end2": 6, "label": 1}}"#
            )
        };
        let rows = read(Form::MarkedWord, &line(5, 9)).unwrap();
        assert_eq!(texts(&rows[0]), ["Die „*bank*“ here", "A *bank*", "1"]);
        for (start, end) in [(9, 5), (5, 5), (14, 99)] {
            let message = read(Form::MarkedWord, &line(start, end)).unwrap_err().to_string();
            assert!(message.contains("`a` line 1") && message.contains("sentence1"), "{message}");
        }
    }

    #[test]
    fn a_choice_is_a_pair_with_its_truth() {
        let line = |label: i64, question: &str| {
            format!(
                r#"{{"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "{question}", "label": {label}}}"#
            )
        };
        let rows = read(Form::Choices, &line(0, "effect")).unwrap();
        assert_eq!(texts(&rows[0]), ["It rained. What was the effect?", "Wet.", "1"]);
        assert_eq!(texts(&rows[1]), ["It rained. What was the effect?", "Dry.", "0"]);
        let labels = |label| {
            let rows = read(Form::Choices, &line(label, "cause")).unwrap();
            rows.iter().map(|row| texts(row)[2].clone()).collect::<Vec<_>>()
        };
        assert_eq!(labels(1), ["0", "1"]);
        assert_eq!(labels(-1), ["-1", "-1"], "hidden");
    }

    #[test]
    fn paragraph_and_question_are_one_text() {
        let line = r#"{"paragraph": "It rained. ", "question": "What?", "answer": "Rain", "idx": {"answer": 1}, "label": 1}"#;
        let rows = read(Form::Answers, line).unwrap();
        assert_eq!(texts(&rows[0]), ["It rained. What?", "Rain", "1"]);
    }

    #[test]
    fn a_table_of_other_columns_is_left_as_it_is() {
        let lines = r#"{"text": "a", "label": 1}"#;
        for form in [Form::MarkedWord, Form::Choices, Form::Pair("a", "b"), Form::Plain] {
            let reader = Box::new(std::io::Cursor::new(lines));
            let table =
                Table::from_reader(reader, Format::JsonLines, "a", &Reading::default()).unwrap();
            assert_eq!(form.read(table, "a").columns, ["text", "label"]);
        }
    }
}
