//! Names of classes that a Parquet file carries beside its integers.
//!
//! Python's `datasets` writes a column of its type `ClassLabel` as integers from 0, and their names into the
//! file's metadata under `huggingface`. The integer −1 means that there is no label.

use std::collections::BTreeMap;

use parquet::file::metadata::FileMetaData;
use serde_json::Value as Json;

/// Under which key.
const KEY: &str = "huggingface";

/// By column.
pub(super) type ClassNames = BTreeMap<String, Vec<String>>;

/// The names in the metadata of a file; what cannot be understood is passed over.
pub(super) fn class_names(metadata: &FileMetaData) -> ClassNames {
    let entries = metadata.key_value_metadata().into_iter().flatten();
    let text = entries.filter(|entry| entry.key == KEY).find_map(|entry| entry.value.as_deref());
    let json: Option<Json> = text.and_then(|text| serde_json::from_str(text).ok());
    json.as_ref().map(of_features).unwrap_or_default()
}

fn of_features(json: &Json) -> ClassNames {
    let features = json.pointer("/info/features").and_then(Json::as_object).into_iter().flatten();
    features.filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
}

/// Of a `ClassLabel`, or of a list of them, which `datasets` has written in several ways.
fn names(feature: &Json) -> Option<Vec<String>> {
    match feature {
        Json::Array(items) if items.len() == 1 => return names(&items[0]),
        Json::Object(own) if own.contains_key("feature") => return names(&own["feature"]),
        _ => {}
    }
    let names = feature.get("names").filter(|_| feature["_type"] == "ClassLabel")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use crate::data::table::{Value, open};

    /// Two rows as Python's `datasets` writes them.
    fn write(path: &Path, metadata: &str, compression: Compression) {
        let schema = "message schema { optional binary text (UTF8); optional int64 label; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let entry = KeyValue::new("huggingface".to_owned(), metadata.to_owned());
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(vec![entry]))
            .set_compression(compression)
            .build();
        let file = File::create(path).unwrap();
        let mut file = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts =
            ["good, good, good, good", "bad"].map(|text| ByteArray::from(text.as_bytes().to_vec()));
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1, 0], Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
    }

    const FEATURES: &str = r#"{"info": {"features": {"text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}"#;

    #[test]
    fn names_in_the_metadata_are_taken_and_damage_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write(&path, FEATURES, Compression::SNAPPY);
        let table = open(&path).unwrap();
        assert_eq!(table.class_names(1), ["neg", "pos"]);
        assert!(table.class_names(0).is_empty() && table.class_names(9).is_empty());
        let class = r#"{"names": ["neg", "pos"], "_type": "ClassLabel"}"#;
        for list in [
            format!(r#"{{"feature": {class}, "_type": "Sequence", "length": -1}}"#),
            format!(r#"{{"feature": {class}, "_type": "List"}}"#),
            format!("[{class}]"),
        ] {
            write(&path, &FEATURES.replace(class, &list), Compression::UNCOMPRESSED);
            assert_eq!(open(&path).unwrap().class_names(1), ["neg", "pos"], "{list}");
        }
        for damaged in
            ["{", "[1]", &FEATURES.replace("\"neg\"", "0"), &FEATURES.replace("Class", "")]
        {
            write(&path, damaged, Compression::UNCOMPRESSED);
            assert!(open(&path).unwrap().class_names(1).is_empty(), "{damaged}");
        }
    }

    #[test]
    fn pages_of_every_common_compression_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(Default::default()),
            Compression::GZIP(Default::default()),
            Compression::BROTLI(Default::default()),
            Compression::LZ4,
            Compression::LZ4_RAW,
        ] {
            write(&path, FEATURES, compression);
            let rows: Vec<_> = open(&path).unwrap().map(|row| row.unwrap().values).collect();
            assert_eq!(rows[1], [Value::Text("bad".into()), Value::Integer(0)], "{compression:?}");
        }
    }
}
