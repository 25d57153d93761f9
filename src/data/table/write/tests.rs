use super::*;
use crate::data::table::{Row, open};

const COLUMNS: [(&str, Kind); 4] = [
    ("text", Kind::Text),
    ("confidence", Kind::Float),
    ("accepted", Kind::Bool),
    ("rank", Kind::Integer),
];

fn rows() -> Vec<[Value; 4]> {
    let text = |text: &str| Value::Text(text.into());
    vec![
        [
            text("a \"quoted\",\ttext\r\nover lines\r"),
            Value::Float(0.1),
            Value::Bool(true),
            Value::Integer(-5),
        ],
        [text("naïve ✓ 🎬"), Value::Float(1e-7), Value::Bool(false), Value::Integer(i64::MAX)],
        [Value::Null, Value::Null, Value::Null, Value::Null],
    ]
}

fn write(path: &Path) -> Result<(), TableError> {
    let mut writer = Writer::create(path, &COLUMNS)?;
    for row in rows() {
        writer.write(&row)?;
    }
    writer.finish()
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "a.jsonl", "a.csv", "a.tsv"] {
        let path = folder.path().join(name);
        write(&path).unwrap();
        let table = open(&path).unwrap();
        assert_eq!(table.columns, ["text", "confidence", "accepted", "rank"]);
        let read: Vec<Row> = table.map(|row| row.unwrap()).collect();
        assert_eq!(read.len(), 3);
        for (row, written) in read.iter().zip(rows()) {
            let as_read = |value: &Value| match name {
                "a.parquet" | "a.jsonl" => value.clone(),
                _ => Value::Text(value.written().into_owned()),
            };
            assert_eq!(row.values, written.iter().map(as_read).collect::<Vec<_>>(), "{name}");
        }
    }
}

#[test]
fn a_file_that_is_not_finished_leaves_the_old_one_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.csv", "a.jsonl", "a.parquet"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "before").unwrap();
        let mut writer = Writer::create(&path, &COLUMNS).unwrap();
        writer.write(&rows()[0]).unwrap();
        assert_eq!(names_in(folder.path()).len(), 2);
        drop(writer);
        assert_eq!(names_in(folder.path()), [name]);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        write(&path).unwrap();
        assert_ne!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(names_in(folder.path()), [name]);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_object_goes_whole_to_jsonl_and_by_columns_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let object = serde_json::json!({"text": "fine", "prediction_set": ["a", "b"], "p": 0.5});
    let lines = folder.path().join("a.jsonl");
    let mut writer = Writer::create(&lines, &[]).unwrap();
    writer.write_object(&object).unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read_to_string(&lines).unwrap(), format!("{object}\n"));

    let table = folder.path().join("a.csv");
    let mut writer =
        Writer::create(&table, &[("prediction_set", Kind::Text), ("q", Kind::Float)]).unwrap();
    writer.write_object(&object).unwrap();
    let refused = writer.write_object(&serde_json::json!([1])).unwrap_err();
    assert!(matches!(refused, TableError::NotAnObject { line: 2, .. }), "{refused}");
    writer.finish().unwrap();
    let written = std::fs::read_to_string(&table).unwrap();
    assert_eq!(written, "prediction_set,q\n\"[\"\"a\"\",\"\"b\"\"]\",\n");
}

#[test]
fn values_that_do_not_fit_the_columns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let mut writer = Writer::create(&path, &COLUMNS).unwrap();
    assert!(matches!(writer.write(&[Value::Null]), Err(TableError::RowLength { found: 1, .. })));
    let mut row = rows()[0].clone();
    row[2] = Value::Text("yes".into());
    let message = writer.write(&row).unwrap_err().to_string();
    assert!(message.ends_with("needs a boolean, found text"), "{message}");
    let twice = Writer::create(&path, &[("a", Kind::Text), ("a", Kind::Bool)]);
    assert!(matches!(twice, Err(TableError::RepeatedColumn { .. })));
}

#[test]
fn a_target_that_is_no_file_and_a_missing_folder_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::create_dir(&path).unwrap();
    for path in [path, folder.path().join("missing/a.csv")] {
        let message = Writer::create(&path, &COLUMNS).err().unwrap().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_path() {
    for format in [Format::Csv, Format::Tsv, Format::JsonLines, Format::Parquet] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut writer = Writer::stream(Box::new(full), format, "out.table", &COLUMNS).unwrap();
        let written = writer.write(&rows()[0]).and_then(|()| writer.finish());
        let Err(TableError::Write { path, source }) = written else {
            panic!("{format:?}: {written:?}")
        };
        assert_eq!(path, "out.table");
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}

#[cfg(unix)]
#[test]
fn the_file_is_as_open_as_any_other_and_a_link_stays_a_link() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let (path, link) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    write(&path).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::fs::write(&path, "").unwrap();
    write(&link).unwrap();
    assert!(link.is_symlink() && std::fs::metadata(&path).unwrap().len() > 0);
}
