use super::*;

/// Gives one byte at a time, as a slow pipe may.
struct Trickle(io::Cursor<&'static [u8]>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

#[test]
fn the_extension_names_the_format() {
    for (name, format) in [
        ("a.parquet", Format::Parquet),
        ("b/A.CSV", Format::Csv),
        ("a.b.tsv", Format::Tsv),
        ("a.jsonl", Format::JsonLines),
        ("a.ndjson", Format::JsonLines),
    ] {
        assert_eq!(Format::of(Path::new(name)).unwrap(), format);
    }
    let message = |name: &str| Format::of(Path::new(name)).unwrap_err().to_string();
    assert_eq!(
        message("a.json"),
        "`a.json` has the unsupported extension `.json`; use `.parquet`, `.csv`, `.tsv`, `.jsonl` or \
         `.ndjson`; write one object per line and name the file `.jsonl`"
    );
    assert!(message("a").starts_with("`a` has no extension"));
}

#[test]
fn a_byte_order_mark_is_dropped_even_when_it_arrives_in_pieces() {
    let csv = b"\xef\xbb\xbftext,label\na,1\n";
    let json = b"\xef\xbb\xbf{\"text\":\"a\",\"label\":\"1\"}\n";
    for (format, bytes) in [(Format::Csv, &csv[..]), (Format::JsonLines, &json[..])] {
        let slow = Box::new(Trickle(io::Cursor::new(bytes)));
        let reading = Reading::default();
        let table = Table::from_reader(slow, format, "standard input", &reading).unwrap();
        assert_eq!(table.columns, ["text", "label"]);
        let rows: Vec<Row> = table.map(|row| row.unwrap()).collect();
        assert_eq!(rows[0].values, [Value::Text("a".into()), Value::Text("1".into())]);
    }
}

#[test]
fn a_table_goes_on_behind_a_bad_row_and_ends_after_any_other_error() {
    let reading = Reading::default();
    let bytes = io::Cursor::new(b"text,label\na,1\nb\nc,2\n");
    let table = Table::from_reader(Box::new(bytes), Format::Csv, "a.csv", &reading).unwrap();
    assert_eq!(table.map(|row| row.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let mut long = b"text,label\n".to_vec();
    long.extend(b"some words of a letter,1\n".repeat(200_000));
    let bytes = io::Cursor::new(long).chain(Broken);
    let table = Table::from_reader(Box::new(bytes), Format::Csv, "a.csv", &reading).unwrap();
    let errors: Vec<_> = table.filter_map(Result::err).collect();
    assert!(matches!(errors[..], [TableError::Read { .. }]));
}

#[test]
fn a_packed_text_is_read_under_either_name() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.csv.gz", "a.csv", "A.TSV.GZ", "a.jsonl.gz"] {
        let path = folder.path().join(name);
        let text = match Format::of(&path).unwrap() {
            Format::JsonLines => "{\"text\":\"one\",\"label\":\"1\"}\n",
            Format::Tsv => "text\tlabel\none\t1\n",
            _ => "text,label\none,1\n",
        };
        let file = File::create(&path).unwrap();
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap();
        let mut table = open(&path).unwrap();
        assert!(table.described.contains("gzip"), "{name}: {}", table.described);
        let row = table.next().unwrap().unwrap();
        assert_eq!(row.values, [Value::Text("one".into()), Value::Text("1".into())]);
    }
    assert!(Format::of(Path::new("a.gz")).is_err());
    assert!(Format::of(Path::new("a.parquet.gz")).is_err());
}

#[cfg(unix)]
#[test]
fn a_pipe_and_a_device_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("a.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(open(&pipe).err().unwrap().to_string().contains("a named pipe"));
    let device = folder.path().join("b.parquet");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    assert!(open(&device).err().unwrap().to_string().contains("a device"));
}

#[test]
fn parquet_is_not_read_from_a_stream() {
    let refused =
        Table::from_reader(Box::new(io::empty()), Format::Parquet, "stdin", &Reading::default());
    assert!(matches!(refused, Err(TableError::NotAFile { .. })));
}

#[test]
fn a_missing_file_a_folder_and_an_empty_file_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder.csv")).unwrap();
    for name in ["missing.csv", "missing.parquet"] {
        let error = open(&path(name)).err().unwrap().to_string();
        assert!(error.contains(name) && error.ends_with("` not found"), "{error}");
    }
    let error = open(&path("folder.csv")).err().unwrap();
    assert!(matches!(error, TableError::Read { .. }), "{error}");
    assert!(error.to_string().contains("folder.csv"));
    for name in ["a.csv", "a.tsv", "a.jsonl", "a.parquet"] {
        std::fs::write(path(name), "").unwrap();
        let error = open(&path(name)).err().unwrap();
        assert!(matches!(error, TableError::Empty { .. }), "{name}: {error}");
    }
}

#[test]
fn a_table_may_be_read_in_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Table>();
    is_send::<Writer>();
}
