use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type,
};
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
        assert!(error.to_string().ends_with("download or save it again"), "{error}");
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
    assert_eq!(caught.to_string(), "Parquet error: the decoder failed: level 9");
}

/// The file in its folder.
const NAME: &str = "a.parquet";

/// A file of this schema, to be written.
fn new_file(schema: &str) -> (tempfile::TempDir, SerializedFileWriter<File>) {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join(NAME)).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::default());
    (folder, SerializedFileWriter::new(file, schema, properties).unwrap())
}

#[test]
fn types_of_other_programs_are_read() {
    let schema = "message schema {
        required int32 small (UINT_8);
        required float share;
        required binary bytes;
        optional group tags (LIST) { repeated group list { optional binary element (UTF8); } }
    }";
    let (folder, mut file) = new_file(schema);
    let path = folder.path().join(NAME);
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
    let tags = Value::Nested(r#"["a \"b\"",null]"#.into());
    assert_eq!(*first, [Value::Integer(255), Value::Float(0.5), text("naïve"), tags]);
    assert_eq!(*second, [Value::Integer(0), Value::Float(2.0), Value::Bytes, Value::Null]);
}

#[test]
fn moments_and_numbers_lose_no_digit() {
    let schema = "message schema {
        required int64 nanos (TIMESTAMP(NANOS,false));
        required int64 micros (TIMESTAMP(MICROS,true));
        required int64 old (TIMESTAMP_MILLIS);
        required int64 time (TIME(NANOS,true));
        required int32 day (DATE);
        required int32 price (DECIMAL(9,2));
        required int64 whole (DECIMAL(18,0));
        required int64 large (UINT_64);
        required float share;
    }";
    let (folder, mut file) = new_file(schema);
    let path = folder.path().join(NAME);
    let mut group = file.next_row_group().unwrap();
    let nanos = 1_704_067_200_123_456_789;
    for column in 0..9 {
        let mut writer = group.next_column().unwrap().unwrap();
        let long = [nanos, nanos / 1000, -1, 45_000_500_000_000, 0, 0, -444, -1][column.min(7)];
        match column {
            4 => writer.typed::<Int32Type>().write_batch(&[19_782], None, None),
            5 => writer.typed::<Int32Type>().write_batch(&[-110], None, None),
            8 => writer.typed::<FloatType>().write_batch(&[0.1], None, None),
            _ => writer.typed::<Int64Type>().write_batch(&[long], None, None),
        }
        .unwrap();
        writer.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    let mut table = open(&path).unwrap();
    let kinds: Vec<Kind> = (0..9).map(|column| table.kind(column)).collect();
    assert_eq!(kinds, [[Kind::Text; 8].as_slice(), &[Kind::Float]].concat());
    let values = table.next().unwrap().unwrap().values;
    assert_eq!(
        values.iter().map(|value| value.written().into_owned()).collect::<Vec<_>>(),
        [
            "2024-01-01T00:00:00.123456789",
            "2024-01-01T00:00:00.123456Z",
            "1969-12-31T23:59:59.999Z",
            "12:30:00.5",
            "2024-02-29",
            "-1.10",
            "-444",
            "18446744073709551615",
            "0.1",
        ]
    );
}

/// In lists and groups the schema says what an integer counts, as at the top.
#[test]
fn moments_in_lists_and_groups_are_those_of_the_schema() {
    let schema = "message schema {
        optional group seen (LIST) { repeated group list {
            optional int64 element (TIMESTAMP(MICROS,false)); } }
        optional group exact (LIST) { repeated group list {
            optional int64 element (TIMESTAMP(NANOS,true)); } }
        required group times { required int64 at (TIMESTAMP(MICROS,false)); required int64 n; }
        optional group by_name (MAP) { repeated group key_value {
            required binary key (UTF8); optional int64 value (TIMESTAMP(NANOS,false)); } }
        required fixed_len_byte_array(2) half (FLOAT16);
    }";
    let (folder, mut file) = new_file(schema);
    let path = folder.path().join(NAME);
    let nanos = 1_704_067_200_123_456_789;
    let mut group = file.next_row_group().unwrap();
    for column in 0..7 {
        let mut writer = group.next_column().unwrap().unwrap();
        let (levels, repeats) = (Some(&[3][..]), Some(&[0][..]));
        match column {
            0 => writer.typed::<Int64Type>().write_batch(&[nanos / 1000], levels, repeats),
            1 => writer.typed::<Int64Type>().write_batch(&[nanos], levels, repeats),
            2 => writer.typed::<Int64Type>().write_batch(&[nanos / 1000], None, None),
            3 => writer.typed::<Int64Type>().write_batch(&[7], None, None),
            4 => {
                let keys = [ByteArray::from(b"a".to_vec())];
                writer.typed::<ByteArrayType>().write_batch(&keys, Some(&[2]), repeats)
            }
            5 => writer.typed::<Int64Type>().write_batch(&[nanos], levels, repeats),
            _ => {
                let half = FixedLenByteArray::from(ByteArray::from(vec![0x00, 0x38]));
                writer.typed::<FixedLenByteArrayType>().write_batch(&[half], None, None)
            }
        }
        .unwrap();
        writer.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    let mut table = open(&path).unwrap();
    assert_eq!(table.kind(4), Kind::Float);
    let values = table.next().unwrap().unwrap().values;
    assert_eq!(
        values.iter().map(|value| value.written().into_owned()).collect::<Vec<_>>(),
        [
            r#"["2024-01-01T00:00:00.123456"]"#,
            r#"["2024-01-01T00:00:00.123456789Z"]"#,
            r#"{"at":"2024-01-01T00:00:00.123456","n":7}"#,
            r#"{"a":"2024-01-01T00:00:00.123456789"}"#,
            "0.5",
        ]
    );
}

#[test]
fn a_text_has_a_most_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for (bytes, fits) in [(LONGEST_TEXT, true), (LONGEST_TEXT + 1, false)] {
        let mut writer = Writer::create(&path, &[("text", Kind::Text)]).unwrap();
        writer.write(&[Value::Text("x".repeat(bytes))]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&path).is_ok(), fits, "{bytes}");
    }
    let list = Value::Nested(format!("[{}1]", "1,".repeat(LONGEST_TEXT)));
    assert!(bounded(list).unwrap_err().to_string().contains(BOUND));
}
