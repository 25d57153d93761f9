//! Rows that are held in memory at once: a few bytes of a packed file can be millions of them.

use super::parquet::BOUND;
use super::{Row, Value};

/// The most rows that are held.
const MOST_ROWS: usize = if cfg!(test) { 100_000 } else { 10_000_000 };
/// The most bytes that they take.
const MOST_BYTES: usize = if cfg!(test) { 32 << 20 } else { 4 << 30 };

/// What is held so far.
#[derive(Debug, Default)]
pub struct Held {
    rows: usize,
    bytes: usize,
}

impl Held {
    /// Counts a row; the error says which limit it is beyond.
    pub fn add(&mut self, values: &[Value]) -> Result<(), String> {
        let text = |value: &Value| match value {
            Value::Text(text) | Value::Number(text) | Value::Nested(text) => text.len(),
            _ => 0,
        };
        let own = size_of::<Row>()
            + values.iter().map(|value| size_of::<Value>() + text(value)).sum::<usize>();
        self.count(own)
    }

    /// The same for a row of this size.
    pub fn count(&mut self, bytes: usize) -> Result<(), String> {
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.rows > MOST_ROWS {
            return Err(format!("there are more than {MOST_ROWS} rows, which {BOUND} into memory"));
        }
        if self.bytes > MOST_BYTES {
            return Err(format!(
                "the first {} rows take {MOST_BYTES} bytes of memory, which {BOUND}",
                self.rows
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::Int64Type;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::table::RowGroups;
    use crate::data::{DataConfig, Dataset, Untold};

    #[test]
    fn many_rows_and_long_rows_have_a_limit_each() {
        let mut held = Held::default();
        for _ in 0..MOST_ROWS {
            held.count(1).unwrap();
        }
        assert!(held.count(1).unwrap_err().contains("100000 rows"));
        let mut held = Held::default();
        let row = [Value::Text("x".repeat(1 << 20)), Value::Null];
        let counted = (0..5000).take_while(|_| held.add(&row).is_ok()).count();
        assert!((28..32).contains(&counted), "{counted}");
    }

    #[test]
    fn what_is_read_whole_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let dataset = folder.path().join(name).to_string_lossy().into_owned();
            let found = Dataset::open(&DataConfig { dataset, ..DataConfig::default() });
            let found = found.map(Untold::quietly);
            found.map(|found| found.name).unwrap_err().to_string()
        };
        let rows = |count: usize, text: &str| {
            let line = |row: usize| format!("{text},{}\n", ["x", "y"][row % 2]);
            format!("text,label\n{}", (0..count).map(line).collect::<String>())
        };
        std::fs::write(folder.path().join("many.csv"), rows(100_001, "a")).unwrap();
        assert!(open("many.csv").contains("100000 rows"));
        std::fs::write(folder.path().join("long.csv"), rows(40, &"a".repeat(1 << 20))).unwrap();
        assert!(open("long.csv").contains("bytes of memory"));
        // One row group of numbers that pack to nothing.
        let path = folder.path().join("packed.parquet");
        let schema = Arc::new(parse_message_type("message m { required int64 n; }").unwrap());
        let out = std::fs::File::create(&path).unwrap();
        let mut file = SerializedFileWriter::new(out, schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7; 100_001], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
        let groups = RowGroups::open(&[path.to_str().unwrap()]).unwrap();
        let error = groups.fetch(0).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("100000 rows"), "{source}");
    }
}
