//! Valid files with something changed: whatever comes of it is an answer or a refusal, and never a panic, a
//! probability that is none, or memory without end.

use std::path::Path;

use bayes::compute::Backend;
use bayes::data::table::{self, RowGroups};
use bayes::predict::Predictor;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::damage::{damage, fuzz};
use super::folder::Own;

/// What can happen to one value of a JSON file.
#[derive(Clone, Debug)]
enum Edit {
    Become(Value),
    Vanish,
    Twice,
}

fn edit() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1)),
        Just(json!(2)),
        Just(json!(0.5)),
        Just(json!(1e308)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(1_u64 << 32)),
        Just(json!(4_294_967_294_u64)),
        Just(json!(100_000)),
        Just(json!("")),
        Just(json!("a")),
        Just(json!("\u{0}\u{1b}[2J")),
        Just(json!("x".repeat(100_000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[], {}, "a", 1])),
        Just(json!(true)),
    ];
    let one = prop_oneof![
        6 => value.prop_map(Edit::Become),
        1 => Just(Edit::Vanish),
        1 => Just(Edit::Twice),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), one), 1..4)
}

/// The places of a file that are not one of many entries of a vocabulary.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter().take(40) {
                places(inner, &format!("{path}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate().take(10) {
                places(inner, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn apply(edits: &[(prop::sample::Index, Edit)], value: &mut Value) {
    for (index, edit) in edits {
        let mut found = Vec::new();
        places(value, "", &mut found);
        let path = found[index.index(found.len())].clone();
        let (parent, key) = path.rsplit_once('/').unwrap_or(("", ""));
        let key = key.replace("~1", "/").replace("~0", "~");
        match edit {
            Edit::Become(new) => {
                if let Some(place) = value.pointer_mut(&path) {
                    *place = new.clone();
                }
            }
            Edit::Vanish => match value.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.shift_remove(&key)),
                Some(Value::Array(items)) => drop(items.pop()),
                _ => {}
            },
            Edit::Twice => {
                if let Some(Value::Array(items)) = value.pointer_mut(parent)
                    && let Some(last) = items.last().cloned()
                {
                    items.push(last);
                }
            }
        }
    }
}

/// Either it is refused, or its answers are probabilities.
fn answers(folder: &Path) {
    let Ok(predictor) = Predictor::load(folder, &Backend::Cpu) else { return };
    let texts =
        ["please look at my invoice", "\u{10fffd} naïve", "a a a a a a a a a a a a a a a a a"];
    for text in texts {
        let Ok(found) = predictor.predict(&[(text, None)], &mut |_| ()) else { continue };
        let probability_c = &found[0].predictive.probability_c;
        let sum: f64 = probability_c.iter().sum();
        assert!((sum - 1.0).abs() < 1e-6, "{probability_c:?}");
        assert!(probability_c.iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)), "{probability_c:?}");
        assert!(predictor.object(&found[0], &Default::default()).uncertainty.unwrap().is_finite());
    }
}

fn fuzz_json(name: &str) {
    let folder = Own::new();
    let whole: Value = serde_json::from_slice(&std::fs::read(folder.path(name)).unwrap()).unwrap();
    fuzz(name, &edit(), |edits| {
        folder.edit_json(name, |value| {
            *value = whole.clone();
            apply(edits, value);
        });
        answers(&folder.path(""));
    });
}

fn fuzz_bytes(name: &str) {
    let folder = Own::new();
    let whole = std::fs::read(folder.path(name)).unwrap();
    fuzz(name, &damage(), |all| {
        folder.edit(name, |bytes| {
            bytes.clone_from(&whole);
            all.iter().for_each(|one| one.apply(bytes));
        });
        answers(&folder.path(""));
    });
}

#[test]
fn a_changed_manifest_is_an_answer_or_a_refusal() {
    let folder = Own::new();
    let path = folder.path("bayes/manifest.json");
    let mut whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // Its own hash would refuse every change before anything else is read.
    whole.as_object_mut().unwrap().shift_remove("sha256");
    fuzz("manifest", &edit(), |edits| {
        let mut value = whole.clone();
        apply(edits, &mut value);
        std::fs::write(&path, value.to_string()).unwrap();
        answers(&folder.path(""));
    });
}

#[test]
fn a_changed_config_is_an_answer_or_a_refusal() {
    fuzz_json("config.json");
}

#[test]
fn a_changed_tokenizer_is_an_answer_or_a_refusal() {
    fuzz_json("tokenizer.json");
}

#[test]
fn a_changed_posterior_is_an_answer_or_a_refusal() {
    fuzz_bytes("bayes/posterior.safetensors");
}

#[test]
fn a_changed_calibration_is_an_answer_or_a_refusal() {
    fuzz_bytes("bayes/calibration.safetensors");
}

#[test]
fn changed_weights_are_an_answer_or_a_refusal() {
    fuzz_bytes("model.safetensors");
}

/// Files of every kind of page and compression that is read.
fn tables(home: &Path) -> Vec<Vec<u8>> {
    use std::sync::Arc;

    use parquet::basic::{Compression, Encoding, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message schema {
        required binary text (UTF8);
        optional binary label (UTF8);
        optional group tags (LIST) { repeated group list { optional int64 element; } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let plain = || WriterProperties::builder().set_dictionary_enabled(false);
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = [
        plain().build(),
        WriterProperties::builder().set_compression(Compression::SNAPPY).build(),
        plain().set_compression(zstd).set_data_page_row_count_limit(7).build(),
        plain()
            .set_column_encoding("text".into(), Encoding::DELTA_BYTE_ARRAY)
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .build(),
        plain().set_column_encoding("text".into(), Encoding::DELTA_LENGTH_BYTE_ARRAY).build(),
        WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(zstd)
            .build(),
    ];
    let path = home.join("valid.parquet");
    let file = |properties: WriterProperties| {
        let out = std::fs::File::create(&path).unwrap();
        let mut file =
            SerializedFileWriter::new(out, Arc::clone(&schema), Arc::new(properties)).unwrap();
        for part in 0..2 {
            let mut group = file.next_row_group().unwrap();
            let text =
                |row: usize| ByteArray::from(format!("letter number {row} of {part}").into_bytes());
            let texts: Vec<ByteArray> = (0..40).map(text).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            column.close().unwrap();
            let labels: Vec<ByteArray> =
                (0..30).map(|row| ByteArray::from(["a", "b"][row % 2])).collect();
            let levels: Vec<i16> = (0..40).map(|row| i16::from(row % 4 != 0)).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&labels, Some(&levels), None).unwrap();
            column.close().unwrap();
            let numbers: Vec<i64> = (0..80).collect();
            let (levels, repeats): (Vec<i16>, Vec<i16>) = (0..80).map(|at| (3, at % 2)).unzip();
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<Int64Type>()
                .write_batch(&numbers, Some(&levels), Some(&repeats))
                .unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        file.close().unwrap();
        std::fs::read(&path).unwrap()
    };
    properties.into_iter().map(file).collect()
}

#[test]
fn a_changed_parquet_file_is_rows_or_a_refusal() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("changed.parquet");
    let valid = tables(home.path());
    for bytes in &valid {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(table::open(&path).unwrap().filter(Result::is_ok).count(), 80);
        let groups = RowGroups::open(&[path.to_str().unwrap()]).unwrap();
        assert_eq!((groups.fetch(1).unwrap().len(), groups.column(0, 2).unwrap().len()), (40, 40));
    }
    // More rows than were written may be claimed; what is read of them is bounded here.
    const MOST: usize = 100_000;
    let strategy = (any::<prop::sample::Index>(), damage(), any::<bool>());
    fuzz("parquet", &strategy, |(which, all, in_directory)| {
        let mut bytes = valid[which.index(valid.len())].clone();
        if *in_directory {
            // Most bytes are pages: the directory is looked for on purpose.
            let end = bytes.len() - 8;
            let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
            let mut footer = bytes[end - length..end].to_vec();
            all.iter().for_each(|one| one.apply(&mut footer));
            bytes.truncate(end - length);
            bytes.extend(&footer);
            bytes.extend((footer.len() as u32).to_le_bytes());
            bytes.extend(b"PAR1");
        } else {
            all.iter().for_each(|one| one.apply(&mut bytes));
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(rows) = table::open(&path) {
            let _ = rows.take(MOST).take_while(Result::is_ok).count();
        }
        if let Ok(groups) = RowGroups::open(&[path.to_str().unwrap()]) {
            for (number, rows) in groups.sizes().into_iter().enumerate().take(4) {
                if rows <= MOST {
                    let _ = groups.fetch(number);
                    let _ = groups.column(number, 0);
                }
            }
        }
    });
}
