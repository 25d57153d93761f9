//! Parquet: flat columns that may be null, zstd, row groups of some thousand rows.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::Value;
use super::error::TableError;
use super::sink::Sink;
use super::write::Kind;

/// A row group is written at this many rows, or bytes of text, whatever comes first.
const GROUP_ROWS: usize = 8192;
const GROUP_BYTES: usize = 16 << 20;

/// Holds one row group and writes it when it is full.
pub(super) struct ParquetWriter {
    file: SerializedFileWriter<Sink>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

/// The values that are not null, and for each row whether there is one (definition level 1).
struct Column {
    values: Values,
    levels: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Integer(Vec<i64>),
}

impl ParquetWriter {
    pub(super) fn new(
        sink: Sink,
        path: &str,
        columns: &[(String, Kind)],
    ) -> Result<ParquetWriter, TableError> {
        let field = |(name, kind): &(String, Kind)| {
            let (physical, logical) = match kind {
                Kind::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
                Kind::Float => (PhysicalType::DOUBLE, None),
                Kind::Bool => (PhysicalType::BOOLEAN, None),
                Kind::Integer => (PhysicalType::INT64, None),
            };
            let column = Type::primitive_type_builder(name, physical)
                .with_logical_type(logical)
                .with_repetition(Repetition::OPTIONAL);
            column.build().map(Arc::new)
        };
        let start = || {
            let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
            let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .build();
            SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties))
        };
        let file = start().map_err(|error| failed(path, error))?;
        let columns = columns.iter().map(|(_, kind)| Column::new(*kind)).collect();
        Ok(ParquetWriter { file, columns, rows: 0, bytes: 0 })
    }

    /// Takes one row, whose values fit the columns.
    pub(super) fn write(&mut self, path: &str, values: &[Value]) -> Result<(), TableError> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            self.bytes += column.push(value);
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group().map_err(|error| failed(path, error))?;
        }
        Ok(())
    }

    /// Writes the last row group and the directory.
    pub(super) fn finish(mut self, path: &str) -> Result<Sink, TableError> {
        if self.rows > 0 {
            self.write_group().map_err(|error| failed(path, error))?;
        }
        self.file.into_inner().map_err(|error| failed(path, error))
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for Column { values, levels } in &mut self.columns {
            let mut writer = group.next_column()?.expect("the schema has one leaf per column");
            let levels = std::mem::take(levels);
            let (levels, repeats) = (Some(&levels[..]), None);
            match values {
                Values::Text(values) => writer.typed::<ByteArrayType>().write_batch(
                    &std::mem::take(values),
                    levels,
                    repeats,
                ),
                Values::Float(values) => writer.typed::<DoubleType>().write_batch(
                    &std::mem::take(values),
                    levels,
                    repeats,
                ),
                Values::Bool(values) => {
                    writer.typed::<BoolType>().write_batch(&std::mem::take(values), levels, repeats)
                }
                Values::Integer(values) => writer.typed::<Int64Type>().write_batch(
                    &std::mem::take(values),
                    levels,
                    repeats,
                ),
            }?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Column {
    fn new(kind: Kind) -> Column {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Integer => Values::Integer(Vec::new()),
        };
        Column { values, levels: Vec::new() }
    }

    /// Appends one value and returns its size in bytes; what does not fit is null.
    fn push(&mut self, value: &Value) -> usize {
        let pushed = match (&mut self.values, value) {
            (_, Value::Null | Value::Bytes) => None,
            (Values::Text(values), Value::Text(text)) => {
                values.push(text.as_str().into());
                Some(text.len())
            }
            (Values::Text(values), other) => {
                let text = other.written();
                values.push(text.as_bytes().to_vec().into());
                Some(text.len())
            }
            (Values::Float(values), Value::Float(value)) => {
                values.push(*value);
                Some(size_of::<f64>())
            }
            (Values::Float(values), Value::Integer(value)) => {
                values.push(*value as f64);
                Some(size_of::<f64>())
            }
            (Values::Bool(values), Value::Bool(value)) => {
                values.push(*value);
                Some(size_of::<bool>())
            }
            (Values::Integer(values), Value::Integer(value)) => {
                values.push(*value);
                Some(size_of::<i64>())
            }
            _ => None,
        };
        self.levels.push(i16::from(pushed.is_some()));
        pushed.unwrap_or(0)
    }
}

/// An error of the operating system comes out as such, so that a full disk reads the same in every
/// format.
fn failed(path: &str, error: ParquetError) -> TableError {
    let path = path.to_owned();
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => TableError::Write { path, source: *source },
            Err(source) => {
                TableError::WriteParquet { path, source: ParquetError::External(source) }
            }
        },
        source => TableError::WriteParquet { path, source },
    }
}
