//! Parquet, row by row. Memory holds one page of each column, not the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::record::Field;
use parquet::record::reader::ReaderIter;
use serde_json::{Map, Value as Json};

use super::error::TableError;
use super::parquet::{BOUND, END, decode, footer_length, guarded, rows};
use super::parquet_names::{ClassNames, class_names};
use super::{Row, Value};

/// The most bytes of one text: a long book has three million.
const LONGEST_TEXT: usize = 64 << 20;
/// The decoder quotes the bytes that it could not read; a message need not show them all.
const LONGEST_MESSAGE: usize = 300;

/// The rows of one Parquet file.
pub(super) struct ParquetRows {
    path: String,
    file: Arc<File>,
    metadata: ParquetMetaData,
    next_group: usize,
    group: Option<ReaderIter>,
    row: u64,
}

impl ParquetRows {
    /// Reads the directory at the end of the file.
    pub(super) fn open(mut file: File, path: String) -> Result<ParquetRows, TableError> {
        let read = |source| TableError::Read { path: path.clone(), source };
        let length = file.metadata().map_err(read)?.len();
        if length == 0 {
            return Err(TableError::Empty { path, expected: "expected a Parquet file" });
        }
        let mut from_end = |bytes: usize| -> std::io::Result<Vec<u8>> {
            let mut end = vec![0; bytes];
            file.seek(SeekFrom::End(-(bytes as i64)))?;
            file.read_exact(&mut end)?;
            Ok(end)
        };
        let damaged = |source| failed(&path, String::new(), source);
        let end = from_end(END.min(length as usize)).map_err(read)?;
        let footer = footer_length(&end, length).map_err(damaged)?;
        let mut bytes = from_end(footer + END).map_err(read)?;
        bytes.truncate(footer);
        let metadata = decode(&bytes, length).map_err(damaged)?;
        let file = Arc::new(file);
        Ok(ParquetRows { path, file, metadata, next_group: 0, group: None, row: 0 })
    }

    /// The top-level columns. A nested column is one column, read as JSON text.
    pub(super) fn columns(&self) -> Vec<String> {
        let schema = self.metadata.file_metadata().schema();
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// What the file says of the integers in its columns.
    pub(super) fn class_names(&self) -> ClassNames {
        class_names(self.metadata.file_metadata())
    }

    /// The next row, `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, TableError> {
        self.row += 1;
        let values = guarded(|| self.next_values());
        let values =
            values.map_err(|source| failed(&self.path, format!(" at row {}", self.row), source))?;
        Ok(values.map(|values| Row { line: self.row, values }))
    }

    fn next_values(&mut self) -> Result<Option<Vec<Value>>, ParquetError> {
        // Not the crate's own `RowIter`: it panics where a row group cannot be opened.
        loop {
            if let Some(group) = &mut self.group
                && let Some(row) = group.next()
            {
                return row.and_then(|row| {
                    let cells = row.into_columns().into_iter().map(|(_, field)| cell(field));
                    cells.map(bounded).collect::<Result<_, _>>().map(Some)
                });
            }
            if self.next_group == self.metadata.num_row_groups() {
                return Ok(None);
            }
            let schema = self.metadata.file_metadata().schema_descr_ptr();
            let group = self.metadata.row_group(self.next_group);
            self.group = Some(rows(schema, group, Arc::clone(&self.file))?);
            self.next_group += 1;
        }
    }
}

pub(super) fn failed(path: &str, place: String, source: ParquetError) -> TableError {
    let said = source.to_string();
    let hint = if said.contains(BOUND) {
        "it takes more memory than any real table; make a smaller one of it"
    } else if said.contains("Disabled feature") {
        "its compression is not supported, write it with zstd or snappy"
    } else if said.contains("nyi") || said.contains("not implemented") || said.contains("NYI") {
        "it has a type or an encoding that is not supported"
    } else {
        "it is damaged, cut short or no Parquet file; fetch or write it again"
    };
    let source = match said.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => ParquetError::General(format!("{} …", &said[..end])),
        None => source,
    };
    TableError::Parquet { path: path.to_owned(), place, hint, source }
}

/// A text that may be held.
pub(super) fn bounded(value: Value) -> Result<Value, ParquetError> {
    match &value {
        Value::Text(text) if text.len() > LONGEST_TEXT => Err(ParquetError::General(format!(
            "a text has {} bytes, and {LONGEST_TEXT} {BOUND}",
            text.len()
        ))),
        _ => Ok(value),
    }
}

/// Bytes without the annotation of a string are text where they are UTF-8, else null: pictures
/// beside the texts must not make a table unreadable.
pub(super) fn cell(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => Value::Integer(value.into()),
        Field::Short(value) => Value::Integer(value.into()),
        Field::Int(value) => Value::Integer(value.into()),
        Field::Long(value) => Value::Integer(value),
        Field::UByte(value) => Value::Integer(value.into()),
        Field::UShort(value) => Value::Integer(value.into()),
        Field::UInt(value) => Value::Integer(value.into()),
        Field::ULong(value) => {
            i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer)
        }
        Field::Float16(value) => Value::Float(value.into()),
        Field::Float(value) => Value::Float(value.into()),
        Field::Double(value) => Value::Float(value),
        Field::Str(text) => Value::Text(text),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_or(Value::Null, |text| Value::Text(text.into()))
        }
        nested @ (Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_)) => {
            Value::Text(json(nested).to_string())
        }
        // Decimals, dates and times, as the crate writes them.
        other => Value::Text(other.to_string()),
    }
}

fn json(field: Field) -> Json {
    match field {
        Field::Group(row) => {
            Json::Object(row.into_columns().into_iter().map(|(key, f)| (key, json(f))).collect())
        }
        Field::ListInternal(list) => {
            Json::Array(list.elements().iter().cloned().map(json).collect())
        }
        Field::MapInternal(map) => {
            let entry = |(key, value): &(Field, Field)| {
                let key = cell(key.clone()).as_text().unwrap_or_default().into_owned();
                (key, json(value.clone()))
            };
            Json::Object(map.entries().iter().map(entry).collect::<Map<_, _>>())
        }
        flat => cell(flat).to_json(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::table::{Kind, Writer, open};

    /// Writes three hundred rows and returns the bytes of the file.
    fn small_file(path: &Path) -> Vec<u8> {
        let columns = [("text", Kind::Text), ("label", Kind::Integer), ("p", Kind::Float)];
        let mut writer = Writer::create(path, &columns).unwrap();
        for i in 0..300 {
            let text = Value::Text(format!("letter number {i}"));
            let p = if i % 3 == 0 { Value::Null } else { Value::Float(f64::from(i)) };
            writer.write(&[text, Value::Integer(i64::from(i % 2)), p]).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    /// Reads all rows; counts them, or gives the error.
    fn read(path: &Path) -> Result<usize, TableError> {
        let mut count = 0;
        for row in open(path)? {
            row?;
            count += 1;
            assert!(count <= 300, "more rows than were written");
        }
        Ok(count)
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let whole = small_file(&path);
        assert_eq!(read(&path).unwrap(), 300);
        for length in (1..whole.len()).step_by(5) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, TableError::Parquet { .. }), "{length}: {error}");
            assert!(error.to_string().ends_with("fetch or write it again"), "{error}");
        }
    }

    #[test]
    fn a_damaged_byte_gives_rows_or_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let whole = small_file(&path);
        let mut refused = 0;
        for position in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[position] ^= 1 << (position % 8);
            std::fs::write(&path, bytes).unwrap();
            refused += usize::from(read(&path).is_err());
        }
        assert!(refused > whole.len() / 30, "{refused} of {}", whole.len() / 3);
    }

    #[test]
    fn a_panic_of_the_decoder_is_an_error() {
        let caught = guarded::<()>(|| panic!("level {}", 9)).unwrap_err();
        assert_eq!(caught.to_string(), "Parquet error: the decoder gave up: level 9");
    }

    #[test]
    fn types_of_other_programs_are_read() {
        let schema = "message schema {
            required int32 small (UINT_8);
            required float share;
            required binary bytes;
            optional group tags (LIST) { repeated group list { optional binary element (UTF8); } }
        }";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::default());
        let mut file =
            SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
        let mut group = file.next_row_group().unwrap();
        let bytes = |bytes: &[u8]| ByteArray::from(bytes.to_vec());

        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[255, 0], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<FloatType>().write_batch(&[0.5, 2.0], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values = [bytes("naïve".as_bytes()), bytes(b"\xff\xd8")];
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        // The first row is the list of a text and a null, the second is null.
        let mut column = group.next_column().unwrap().unwrap();
        let (levels, repeats) = (Some(&[3, 2, 0][..]), Some(&[0, 1, 0][..]));
        let values = [bytes(b"a \"b\"")];
        column.typed::<ByteArrayType>().write_batch(&values, levels, repeats).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();

        let table = open(&path).unwrap();
        assert_eq!(table.columns, ["small", "share", "bytes", "tags"]);
        let rows: Vec<Row> = table.map(|row| row.unwrap()).collect();
        let text = |text: &str| Value::Text(text.into());
        let (first, second) = (&rows[0].values, &rows[1].values);
        let tags = text(r#"["a \"b\"",null]"#);
        assert_eq!(*first, [Value::Integer(255), Value::Float(0.5), text("naïve"), tags]);
        assert_eq!(*second, [Value::Integer(0), Value::Float(2.0), Value::Null, Value::Null]);
    }
}
