//! Parquet, row by row. Memory holds one page of each column, not the file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::record::Field;
use parquet::record::reader::ReaderIter;
use parquet::schema::types::{Type, TypePtr};

use super::error::TableError;
use super::parquet::{BOUND, END, Moment, decode, footer_length, guarded, moment, rows};
use super::parquet_names::{ClassNames, class_names};
use super::{Kind, Row, Value};

/// The most bytes of one text: a long book has three million.
const LONGEST_TEXT: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// The decoder quotes the bytes that it could not read; a message need not show them all.
const LONGEST_MESSAGE: usize = 300;

/// The rows of one Parquet file.
pub(super) struct ParquetRows {
    path: String,
    file: Arc<File>,
    metadata: ParquetMetaData,
    schema: TypePtr,
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
        let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
        Ok(ParquetRows { path, file, metadata, schema, next_group: 0, group: None, row: 0 })
    }

    /// The top-level columns. A nested column is one column, read as JSON text.
    pub(super) fn columns(&self) -> Vec<String> {
        let schema = self.metadata.file_metadata().schema();
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// What each column holds in every row.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let schema = self.metadata.file_metadata().schema();
        schema.get_fields().iter().map(|field| kind(field)).collect()
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
                    cells(row, &self.schema).map(bounded).collect::<Result<_, _>>().map(Some)
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
        "it needs more memory than any real table; make it smaller"
    } else if said.contains("Disabled feature") {
        "its compression is not supported; save it with zstd or snappy"
    } else if said.contains("nyi") || said.contains("not implemented") || said.contains("NYI") {
        "it has a type or an encoding that is not supported"
    } else {
        "it is damaged, incomplete or not a Parquet file; download or save it again"
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
        Value::Text(text) | Value::Nested(text) if text.len() > LONGEST_TEXT => {
            Err(ParquetError::General(format!(
                "a text has {} bytes, and {LONGEST_TEXT} {BOUND}",
                text.len()
            )))
        }
        _ => Ok(value),
    }
}

/// What a column holds, as far as this crate writes it as such; all else as its text.
fn kind(column: &Type) -> Kind {
    if !column.is_primitive() || Moment::of(column).is_some() {
        return Kind::Text;
    }
    match (column.get_physical_type(), column.get_basic_info().converted_type()) {
        (PhysicalType::BOOLEAN, _) => Kind::Bool,
        (PhysicalType::FLOAT | PhysicalType::DOUBLE, _) => Kind::Float,
        _ if column.get_basic_info().logical_type_ref() == Some(&LogicalType::Float16) => {
            Kind::Float
        }
        // Half of those are beyond what is written as an integer.
        (PhysicalType::INT64, ConvertedType::UINT_64) => Kind::Text,
        (_, ConvertedType::DECIMAL | ConvertedType::DATE) => Kind::Text,
        (PhysicalType::INT32 | PhysicalType::INT64, _) => Kind::Integer,
        _ => Kind::Text,
    }
}

/// The cells of a row; the schema has a field for each.
pub(super) fn cells(row: parquet::record::Row, schema: &Type) -> impl Iterator<Item = Value> {
    let fields = row.into_columns().into_iter().zip(schema.get_fields());
    fields.map(|((_, field), column)| cell(field, Some(column)))
}

/// Bytes without the annotation of a string are text where they are UTF-8, else they are no cell of a text:
/// pictures beside the texts must not make a table unreadable. `column` is what the schema says of the field.
fn cell(field: Field, column: Option<&Type>) -> Value {
    if let Some(text) = moment(&field, column.and_then(Moment::of)) {
        return Value::Text(text);
    }
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
        Field::ULong(value) => Value::number(value.to_string()),
        Field::Float16(value) => shortest(f32::from(value)),
        Field::Float(value) => shortest(value),
        Field::Double(value) => Value::Float(value),
        Field::Str(text) => Value::Text(text),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_or(Value::Bytes, |text| Value::Text(text.into()))
        }
        nested @ (Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_)) => {
            Value::Nested(json(nested, column))
        }
        // The crate ends whole numbers with a point.
        Field::Decimal(_) => Value::number(field.to_string().trim_end_matches('.').to_owned()),
        other => Value::Text(other.to_string()),
    }
}

/// The digits that name the value among those of its width: 0.1 and not 0.10000000149011612.
fn shortest(value: f32) -> Value {
    Value::Float(format!("{value:?}").parse().unwrap_or(f64::NAN))
}

fn json(field: Field, column: Option<&Type>) -> String {
    match field {
        Field::Group(row) => {
            let mut own = column.map_or(&[][..], group_fields).iter();
            let pairs = row.into_columns().into_iter();
            object(pairs.map(|(key, value)| (key, json(value, own.next().map(|own| &**own)))))
        }
        Field::ListInternal(list) => {
            let of = column.and_then(element);
            let items: Vec<String> =
                list.elements().iter().map(|item| json(item.clone(), of)).collect();
            format!("[{}]", items.join(","))
        }
        Field::MapInternal(map) => {
            let own = column.and_then(|column| group_fields(column).first());
            let own = own.map_or(&[][..], |pair| group_fields(pair));
            let [of_key, of_value] = [0, 1].map(|place| own.get(place).map(|own| &**own));
            object(map.entries().iter().map(|(key, value)| {
                (cell(key.clone(), of_key).written().into_owned(), json(value.clone(), of_value))
            }))
        }
        flat => serde_json::to_string(&cell(flat, column)).expect("a cell is JSON"),
    }
}

fn group_fields(column: &Type) -> &[TypePtr] {
    if column.is_group() { column.get_fields() } else { &[] }
}

/// What the schema says of the items of a list, in the forms that the format allows: a field that repeats is
/// one by itself; in a group for a list, what repeats is the item, or a group around it.
fn element(column: &Type) -> Option<&Type> {
    let info = column.get_basic_info();
    if info.converted_type() != ConvertedType::LIST {
        return Some(column);
    }
    let repeated = group_fields(column).first()?;
    match group_fields(repeated) {
        [item] if repeated.name() != "array" && !repeated.name().ends_with("_tuple") => Some(item),
        _ => Some(repeated),
    }
}

/// An object of values that are JSON; a list of pairs where a key stands twice, which an object cannot have.
fn object(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut seen = HashSet::new();
    let mut repeats = false;
    let pairs = pairs.map(|(key, value)| {
        repeats |= !seen.insert(key.clone());
        (serde_json::Value::String(key).to_string(), value)
    });
    let pairs: Vec<(String, String)> = pairs.collect();
    let joined = |write: &dyn Fn(&(String, String)) -> String| {
        pairs.iter().map(write).collect::<Vec<_>>().join(",")
    };
    match repeats {
        false => format!("{{{}}}", joined(&|(key, value)| format!("{key}:{value}"))),
        true => format!("[{}]", joined(&|(key, value)| format!("[{key},{value}]"))),
    }
}

#[cfg(test)]
mod tests;
