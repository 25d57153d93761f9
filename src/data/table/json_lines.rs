//! JSONL: one JSON object a line.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::SAMPLE_ROWS;
use super::error::TableError;
use super::{Row, Value, utf8};

/// The longest line, in bytes.
const LONGEST_LINE: u64 = 64 << 20;

/// The objects of one JSONL file. The columns are the keys of the objects that are looked at first, in
/// the order in which they appear; another key of a later object is lost. A missing key gives null.
pub(super) struct JsonLinesRows {
    path: String,
    reader: BufReader<Box<dyn Read + Send>>,
    buffer: Vec<u8>,
    line: u64,
    columns: Vec<String>,
    /// Objects that were looked at, with their lines.
    looked_at: VecDeque<Result<Object, TableError>>,
    /// The first key that is lost with its line, and the objects with one.
    lost: Option<(String, u64, usize)>,
}

/// An object and its line.
type Object = (u64, Pairs);

/// Keys in their order, each once, and the values by their places.
#[derive(Debug, Default)]
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let (mut pairs, mut seen) = (Vec::new(), HashSet::new());
                while let Some(key) = map.next_key::<String>()? {
                    // Which of the two is meant cannot be known.
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format_args!(
                            "the key `{key}` occurs twice, so it is unclear which value you mean"
                        )));
                    }
                    let value = map.next_value::<&RawValue>()?;
                    pairs.push((key, Value::from_json(value).map_err(A::Error::custom)?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl JsonLinesRows {
    /// Reads the first objects, for the columns.
    pub(super) fn open(
        input: Box<dyn Read + Send>,
        path: String,
    ) -> Result<JsonLinesRows, TableError> {
        let reader = BufReader::with_capacity(1 << 16, input);
        let mut rows = JsonLinesRows {
            path,
            reader,
            buffer: Vec::new(),
            line: 0,
            columns: Vec::new(),
            looked_at: VecDeque::new(),
            lost: None,
        };
        let mut known = HashSet::new();
        while rows.looked_at.len() < SAMPLE_ROWS {
            let Some(object) = rows.object().transpose() else { break };
            let first = rows.looked_at.is_empty();
            let fatal = |error: &TableError| !error.is_of_a_row() || first && is_array(error);
            match object {
                Err(error) if fatal(&error) => return Err(error),
                object => {
                    let keys = object.iter().flat_map(|(_, Pairs(pairs))| pairs);
                    let keys = keys.map(|(key, _)| key);
                    rows.columns.extend(keys.filter(|key| known.insert((*key).clone())).cloned());
                    rows.looked_at.push_back(object);
                }
            }
        }
        // One that is like no object may be another kind of file.
        if !rows.looked_at.iter().any(Result::is_ok)
            && let Some(Err(first)) = rows.looked_at.pop_front()
        {
            return Err(first);
        }
        if rows.columns.is_empty() {
            let expected = "expected a JSON object with at least one key on the first line";
            return Err(TableError::Empty { path: rows.path, expected });
        }
        Ok(rows)
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next object, `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        let object = match self.looked_at.pop_front() {
            Some(object) => Some(object?),
            None => self.object()?,
        };
        Ok(object.map(|(line, object)| self.row(line, object)))
    }

    fn row(&mut self, line: u64, Pairs(pairs): Pairs) -> Row {
        let mut values: HashMap<String, Value> = pairs.into_iter().collect();
        let value = |column| values.remove(column).unwrap_or(Value::Null);
        let row = Row { line, values: self.columns.iter().map(value).collect() };
        if let Some(key) = values.into_keys().min() {
            self.lost.get_or_insert((key, line, 0)).2 += 1;
        }
        row
    }

    /// What is in none of the columns, for people.
    pub(super) fn lost(&self) -> Option<String> {
        let (key, line, objects) = self.lost.as_ref()?;
        let (path, more) = (&self.path, if *objects == 1 { "object has" } else { "objects have" });
        Some(format!(
            "`{path}` line {line} has the key `{key}`, which none of the first {SAMPLE_ROWS} \
             objects has; keys that only later objects have are ignored ({objects} {more} one); \
             add them, as null, to an object at the beginning"
        ))
    }

    fn object(&mut self) -> Result<Option<Object>, TableError> {
        loop {
            self.buffer.clear();
            let count = self
                .reader
                .by_ref()
                .take(LONGEST_LINE + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| TableError::Read { path: self.path.clone(), source })?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            if count as u64 > LONGEST_LINE {
                let limit = LONGEST_LINE >> 20;
                let what =
                    format!("line {} has more than {limit} MiB, the most that is read", self.line);
                let source = io::Error::new(io::ErrorKind::InvalidData, what);
                return Err(TableError::Read { path: self.path.clone(), source });
            }
            if !self.buffer.trim_ascii().is_empty() {
                return self.parse(&self.buffer).map(|object| Some((self.line, object)));
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Pairs, TableError> {
        let (path, line) = (|| self.path.clone(), self.line);
        let text = utf8(bytes, &self.path, line)?;
        // Before parsing: a file that is one array over many lines would be called broken.
        let found = match text.trim_ascii_start().as_bytes().first() {
            Some(b'{') => {
                return serde_json::from_str(text).map_err(|error| self.broken(text, &error));
            }
            Some(b'[') => ARRAY.to_owned(),
            _ => format!("`{}`", beginning(text)),
        };
        Err(TableError::NotAnObject { path: path(), line, found })
    }

    fn broken(&self, text: &str, error: &serde_json::Error) -> TableError {
        // The parser sees a single line and always says `line 1`, so that part is cut off.
        let what = error.to_string();
        let there = text.get(error.column().saturating_sub(1)..).unwrap_or_default();
        let is_there = |word: &&&str| there.trim_start_matches('-').starts_with(**word);
        let what = match (error.is_eof(), ["NaN", "Infinity"].iter().find(is_there)) {
            (true, _) => "the line ends before its JSON object is complete".to_owned(),
            (_, Some(word)) => format!("`{word}` is no value of JSON: write `null`"),
            _ => what.split(" at line ").next().unwrap_or_default().to_owned(),
        };
        TableError::Json { path: self.path.clone(), line: self.line, column: error.column(), what }
    }
}

/// What a line that is no object is called where it is an array.
const ARRAY: &str = "an array";

/// Whether the file is one array, or begins with one.
fn is_array(error: &TableError) -> bool {
    matches!(error, TableError::NotAnObject { found, .. } if found == ARRAY)
}

/// As much of a line as a message shows.
fn beginning(line: &str) -> String {
    const SHOWN: usize = 40;
    let line = line.trim();
    let shown: String =
        line.chars().filter(|character| !character.is_control()).take(SHOWN).collect();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &[u8]) -> Result<JsonLinesRows, TableError> {
        JsonLinesRows::open(Box::new(io::Cursor::new(text.to_vec())), "a.jsonl".into())
    }

    fn rows(text: &[u8]) -> Vec<Row> {
        let mut rows = open(text).unwrap();
        std::iter::from_fn(|| rows.next_row().unwrap()).collect()
    }

    #[test]
    fn a_run_of_nul_is_refused_by_line() {
        let hole = "\0".repeat(9);
        for line in [format!("{{\"text\":\"b{hole}"), hole.clone(), format!("{hole}c\"}}")] {
            let mut rows = open(format!("{{\"text\":\"a\"}}\n{line}").as_bytes()).unwrap();
            rows.next_row().unwrap();
            let error = rows.next_row().unwrap_err();
            assert!(matches!(error, TableError::Nul { line: 2, count: 9, .. }), "{error}");
        }
    }

    #[test]
    fn keys_may_change_their_order_be_missing_or_be_new() {
        let rows = rows(
            b"{\"text\":\"a\",\"label\":1,\"more\":{\"x\":[1,2]}}\r\n\n  \n{\"new\":3,\"label\":0.5,\"text\":\"b\"}",
        );
        assert_eq!(
            rows[0].values,
            [
                Value::Text("a".into()),
                Value::Integer(1),
                Value::Nested("{\"x\":[1,2]}".into()),
                Value::Null
            ]
        );
        let second = [Value::Text("b".into()), Value::Float(0.5), Value::Null, Value::Integer(3)];
        assert_eq!(rows[1].values, second);
        assert_eq!((rows[0].line, rows[1].line), (1, 4));
    }

    #[test]
    fn the_columns_are_the_keys_of_all_objects_that_are_looked_at() {
        assert_eq!(open(b"{\"z\":1,\"a\":2}\n").unwrap().columns(), ["z", "a"]);
        let mut rows = open(b"{\"text\":\"a\"}\n{}\n{\"label\":\"x\",\"text\":\"b\"}\n").unwrap();
        assert_eq!(rows.columns(), ["text", "label"]);
        assert_eq!(
            rows.next_row().unwrap().unwrap().values,
            [Value::Text("a".into()), Value::Null]
        );
    }

    #[test]
    fn keys_that_only_later_objects_have_are_counted() {
        let first = "{\"text\":\"a\"}\n".repeat(SAMPLE_ROWS);
        let mut late =
            open((first.clone() + "{\"text\":\"b\",\"z\":1,\"y\":2}\n{\"z\":1}\n").as_bytes())
                .unwrap();
        for _ in 0..SAMPLE_ROWS {
            late.next_row().unwrap();
        }
        assert_eq!(late.lost(), None);
        while late.next_row().unwrap().is_some() {}
        let lost = late.lost().unwrap();
        assert!(lost.contains("line 1001 has the key `y`") && lost.contains("2 objects"), "{lost}");
        let mut early =
            open(("{\"z\":null}\n".to_owned() + &first + "{\"z\":1}").as_bytes()).unwrap();
        while early.next_row().unwrap().is_some() {}
        assert_eq!(early.lost(), None);
    }

    #[test]
    fn broken_json_is_refused_by_line_and_character() {
        let mut rows = open(b"{\"text\":\"a\"}\n\n{\"text\":\"b\" \"label\":1}\n").unwrap();
        rows.next_row().unwrap();
        let message = rows.next_row().unwrap_err().to_string();
        assert!(
            message.starts_with("`a.jsonl` line 3, character 13: expected `,` or `}`;"),
            "{message}"
        );
        let cut = open(b"{\"text\":\"a").err().unwrap().to_string();
        assert!(cut.contains("ends before its JSON object is complete"), "{cut}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_by_line_and_character() {
        for twice in [r#"{"text":"a","text":"a"}"#, r#"{"text":"a","x":1,"\u0074ext":null}"#] {
            let mut rows = open(format!("{{\"text\":\"b\"}}\n{twice}\n").as_bytes()).unwrap();
            rows.next_row().unwrap();
            let error = rows.next_row().unwrap_err();
            assert!(error.is_of_a_row());
            let message = error.to_string();
            assert!(message.contains("line 2, character"), "{message}");
            assert!(message.contains("the key `text` occurs twice"), "{message}");
        }
        // Inside a value that only passes through nothing is lost.
        assert_eq!(rows(br#"{"a":{"b":1,"b":2}}"#)[0].values[0].written(), r#"{"b":1,"b":2}"#);
    }

    #[test]
    fn a_line_that_is_no_object_is_shown() {
        let message = open(b"// made by hand\n").err().unwrap().to_string();
        assert!(
            message.contains("line 1") && message.contains("found `// made by hand`"),
            "{message}"
        );
        assert!(message.contains("remove"), "{message}");
    }

    /// The first line is a row like any other, as soon as there is an object.
    #[test]
    fn a_bad_first_line_keeps_nobody_from_the_others() {
        for (bad, says) in [
            ("// made by hand", "found `// made by hand`"),
            (r#"{"text":"a","text":"b"}"#, "the key `text` occurs twice"),
            (r#"{"text":"a","n":NaN}"#, "`NaN` is no value of JSON: write `null`"),
            (r#"{"text":"a","n":-Infinity}"#, "`Infinity` is no value of JSON"),
        ] {
            let mut rows = open(format!("{bad}\n{{\"text\":\"a\"}}\n").as_bytes()).unwrap();
            let error = rows.next_row().unwrap_err();
            assert!(error.is_of_a_row() && error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains("line 1"), "{error}");
            assert_eq!(rows.next_row().unwrap().unwrap().line, 2);
        }
    }

    #[test]
    fn an_array_and_an_empty_file_are_refused() {
        let message = open(b"[\n{\"text\":\"a\"}\n]").err().unwrap().to_string();
        assert!(message.contains("line 1") && message.contains("found an array"), "{message}");
        assert!(matches!(open(b"\n\n"), Err(TableError::Empty { .. })));
        assert!(matches!(open(b"{}\n"), Err(TableError::Empty { .. })));
    }

    #[test]
    fn a_line_without_end_is_refused_with_the_limit() {
        let endless = io::Cursor::new(b"{\"text\":\"".to_vec()).chain(io::repeat(b'x'));
        let error = JsonLinesRows::open(Box::new(endless), "a.jsonl".into()).err().unwrap();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("line 1") && source.contains("64 MiB"), "{source}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_by_line() {
        let mut rows = open(b"{\"text\":\"a\"}\n{\"text\":\"caf\xe9\"}\n").unwrap();
        rows.next_row().unwrap();
        assert!(matches!(rows.next_row(), Err(TableError::NotUtf8 { line: 2, .. })));
    }
}
